"""What is drawn of poses over a micrograph: where, how, and in which colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_so3.insight.orientation_map import colour_of_view

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

LENGTH, SHORTEST = 0.45, 0.12  # of the diameter: seen from the side, and from the top
IN_UNIT = np.array([0.31, 0.17, 0.93])  # as `so3.rotations.INSIDE_UNIT`: the copy that is shown


def centres(table: pd.DataFrame, pixel_size: float) -> NDArray[np.float64]:
    """Tell where particles are: the picks and the shifts of their poses.

    Parameters
    ----------
    table : DataFrame
        Of `Poses`.
    pixel_size : float
        Å per pixel of the micrograph.

    Returns
    -------
    ndarray
        (n, 2) y and x, pixels.
    """
    shifts = table[["dy", "dx"]].fillna(0.0).to_numpy() / pixel_size
    return np.asarray(table[["y", "x"]].to_numpy() + shifts)


def arrows(
    places: NDArray[np.float64],
    matrices: NDArray[np.float64],
    diameter: float,
    polar: bool,
) -> NDArray[np.float64]:
    """Find the arrows of particles: along z, as it lies in the image.

    Parameters
    ----------
    places : ndarray
        (n, 2) y and x of the particles, pixels.
    matrices : ndarray
        (n, 3, 3) poses, reference to image.
    diameter : float
        Of the particle, pixels.
    polar : bool
        Whether both ends of z differ. If not, there are lines through the middle.

    Returns
    -------
    ndarray
        (n, 2, 2) beginning, and way to the end, both y and x.
    """
    along = matrices[:, 1::-1, 2]  # z of the particle in the image, y before x
    sine = np.linalg.norm(along, axis=1, keepdims=True)
    upwards = np.broadcast_to([-1.0, 0.0], along.shape)  # a view from the top has no direction
    unit = np.where(sine > 1e-6, along / np.maximum(sine, 1e-6), upwards)
    way = unit * np.maximum(LENGTH * sine, SHORTEST) * diameter
    if polar:
        return np.stack([places, way], axis=1)
    return np.stack([places - way, 2 * way], axis=1)


def view_colours(matrices: NDArray[np.float64], group: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Give the colours of views; symmetric copies have the same one.

    Parameters
    ----------
    matrices : ndarray
        (n, 3, 3) poses, reference to image.
    group : ndarray
        (G, 3, 3) rotations that leave the particle unchanged.

    Returns
    -------
    ndarray
        (n, 3) uint8 red, green and blue.
    """
    copies = np.einsum("ni,gij->ngj", matrices[:, 2], group)
    best = (copies @ IN_UNIT).argmax(axis=1)
    return colour_of_view(copies[np.arange(len(copies)), best])


def paste(
    images: NDArray[np.float32], places: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Paste small images into a large one; where they overlap, the brighter pixel stays.

    Parameters
    ----------
    images : ndarray
        (n, b, b) float32, not negative, b odd.
    places : ndarray
        (n, 2) y and x of their middles, pixels of the large one.
    shape : tuple of int
        Of the large one.

    Returns
    -------
    ndarray
        (h, w) float32, 0 where there is none.
    """
    box = images.shape[-1] if len(images) else 1
    half = box // 2 + 1
    large = np.zeros((shape[0] + 2 * half, shape[1] + 2 * half), dtype=np.float32)
    for image, (y, x) in zip(images, places, strict=True):
        top, left = round(y), round(x)
        if not (0 <= top < shape[0] and 0 <= left < shape[1]):
            continue
        moved = ndimage.shift(np.pad(image, 1), (y - top, x - left), order=1, prefilter=False)
        part = large[top : top + box + 2, left : left + box + 2]
        np.maximum(part, moved, out=part)
    return large[half:-half, half:-half]
