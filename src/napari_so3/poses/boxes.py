"""Boxes of particles, cut out of a micrograph as RELION's extraction does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.io.micrographs import Micrograph

_BACKGROUND = 0.375  # of the box: RELION's radius of the background circle


class BoxError(ValueError):
    """Boxes that cannot be cut; one sentence that names the micrograph."""


def box_centres(points: NDArray[np.floating]) -> NDArray[np.int64]:
    """Give the pixels that boxes are centred on: coordinates without their fractions, as RELION.

    A file that names the boxes is to give these as the coordinates of the particles, with shifts
    from them, since programs count shifts from the centre of the image.

    Parameters
    ----------
    points : ndarray
        (n, 2) y and x, pixels of the micrograph.

    Returns
    -------
    ndarray
        (n, 2) int64.
    """
    return np.trunc(np.asarray(points, dtype=np.float64).reshape(-1, 2)).astype(np.int64)


def extract_boxes(
    micrograph: Micrograph,
    points: NDArray[np.floating],
    box: int,
    *,
    invert: bool = True,
    normalise: bool = True,
) -> NDArray[np.float32]:
    """Cut boxes out of a micrograph at its own pixel size, without interpolation.

    Pixel ``box // 2`` of a box is at `box_centres`. Beyond the edge of the micrograph its nearest
    pixel is repeated, as in RELION. Pixels that are no numbers become the median of the others.

    Parameters
    ----------
    micrograph : Micrograph
        Micrograph.
    points : ndarray
        (n, 2) y and x, pixels.
    box : int
        Edge, pixels; even, as RELION wants it.
    invert : bool
        Make the particles white, if they are dark in the micrograph.
    normalise : bool
        Subtract from each box the plane that fits its background, and divide by the standard
        deviation of that. Background is what is further than 0.375 boxes from the centre.

    Returns
    -------
    ndarray
        (n, box, box) float32.

    Raises
    ------
    BoxError
        The box is odd or below 8 pixels, or lies completely outside of the micrograph.
    """
    if box < 8 or box % 2:
        raise BoxError(
            f"{micrograph.name}: boxes of {box} pixels cannot be cut; the edge must be even and at "
            "least 8."
        )
    image, centres = _mended(micrograph.to_float32()), box_centres(points)
    window = np.arange(box) - box // 2
    boxes = np.empty((len(centres), box, box), dtype=np.float32)
    for i, centre in enumerate(centres):
        rows, columns = (
            _inside(middle + window, side) for middle, side in zip(centre, image.shape, strict=True)
        )
        if rows is None or columns is None:
            raise BoxError(
                f"{micrograph.name}: the box at x = {centre[1]}, y = {centre[0]} lies completely "
                "outside of the micrograph; remove that pick."
            )
        boxes[i] = image[np.ix_(rows, columns)]
    if normalise:
        _normalise(boxes)
    return -boxes if invert else boxes


def _mended(image: NDArray[np.float32]) -> NDArray[np.float32]:
    finite = np.isfinite(image)
    if not finite.all():
        image[~finite] = np.median(image[finite]) if finite.any() else 0.0
    return image


def _inside(pixels: NDArray[np.int64], side: int) -> NDArray[np.int64] | None:
    """Nearest pixels of the image; None where all are outside."""
    if pixels[-1] < 0 or pixels[0] >= side:
        return None
    return np.clip(pixels, 0, side - 1)


def _normalise(boxes: NDArray[np.float32]) -> None:
    """Make the background of (n, box, box) boxes flat, with mean 0 and deviation 1, in place."""
    box = boxes.shape[-1]
    axis = np.arange(box) - float(box // 2)
    plane = np.stack(np.broadcast_arrays(axis[:, None], axis, 1.0), axis=-1)  # (box, box, 3)
    outside = np.hypot(*plane[..., :2].transpose(2, 0, 1)) > int(_BACKGROUND * box + 0.5)
    solve = np.linalg.pinv(plane[outside])
    for image in boxes:
        image -= (plane @ (solve @ image[outside])).astype(np.float32)
        spread = image[outside].std()
        if spread > 0:
            image /= spread
