"""The camera of a 3D canvas as the rotation of a particle.

A rotation ``r`` leads from the particle (x, y, z) to its image: x to the right, y down as arrays
are shown, and so z away from the observer, since the frame is right-handed. The rows of ``r`` are
these three directions in the particle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.components import Camera
    from numpy.typing import NDArray

FRAME = ("away", "down", "right")  # of z, y and x; napari's own default shows the mirror image


def set_frame(camera: Camera) -> None:
    """Let a camera show volumes [z, y, x] in a right-handed frame (x, y, z).

    Parameters
    ----------
    camera : napari.components.Camera
        Of a viewer in 3D.
    """
    camera.orientation = FRAME


def rotation_of(camera: Camera) -> NDArray[np.float64]:
    """Tell under which rotation a camera shows the particle.

    Parameters
    ----------
    camera : napari.components.Camera
        In the frame of `set_frame`.

    Returns
    -------
    ndarray
        (3, 3) float64, particle to image.
    """
    away = np.asarray(camera.view_direction, dtype=np.float64)[::-1]
    down = -np.asarray(camera.up_direction, dtype=np.float64)[::-1]
    return np.stack((np.cross(down, away), down, away))


def turn_camera(camera: Camera, rotation: NDArray[np.float64]) -> None:
    """Let a camera show the particle as its image under a rotation does.

    Parameters
    ----------
    camera : napari.components.Camera
        In the frame of `set_frame`.
    rotation : ndarray
        (3, 3) particle to image.
    """
    camera.set_view_direction(rotation[2, ::-1], -rotation[1, ::-1])
