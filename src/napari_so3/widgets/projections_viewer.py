"""The projections of a filter under all rotations of a model, in a viewer of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
import numpy as np

from napari_so3.widgets.filter_canvas import SIGNED
from napari_so3.widgets.layers import ANGSTROM, KEY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.insight.rotation_maps import Rotations


def open_projections(
    images: NDArray[np.float32], pixel_size: float, rotations: Rotations, title: str
) -> napari.Viewer:
    """Show the projections of a filter as an image stack; its slider goes through the rotations.

    Parameters
    ----------
    images : ndarray
        (R, k, k) float32.
    pixel_size : float
        Å per pixel.
    rotations : Rotations
        Of the images.
    title : str
        Of the window.

    Returns
    -------
    napari.Viewer
        Another one, so that the view of the micrograph stays as it is.
    """
    largest = float(np.abs(images).max()) or 1.0
    viewer = napari.Viewer(title=title)
    viewer.add_image(
        images,
        name=title,
        scale=(1, pixel_size, pixel_size),
        units=("pixel", *ANGSTROM),
        axis_labels=("rotation", "y", "x"),
        contrast_limits=(-largest, largest),
        colormap=SIGNED,
        interpolation2d="nearest",
        metadata={KEY: {"kind": "projections"}},
    )
    text = viewer.canvas.overlays.text
    text.visible = True

    def name_rotation() -> None:
        index = int(viewer.dims.current_step[0])
        text.text = f"rotation {index + 1} of {len(images)}: {rotations.name(index)}"

    viewer.dims.events.current_step.connect(name_rotation)
    viewer.dims.set_current_step(0, 0)
    name_rotation()
    return viewer
