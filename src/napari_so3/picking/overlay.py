"""A picture of picks on their micrograph, for reports and for a look without napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from napari_so3.picking.preprocess import fourier_resample, mend_pixels, normalise_locally

if TYPE_CHECKING:
    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.picks import Picks

LONGEST_EDGE = 1600  # pixels of the picture
RING = (90, 220, 120)


def draw_overlay(micrograph: Micrograph, picks: Picks, diameter: float) -> Image.Image:
    """Draw rings of the particle's size around the picks.

    Parameters
    ----------
    micrograph : Micrograph
        With a known pixel size.
    picks : Picks
        What to mark.
    diameter : float
        Particle diameter, Å.

    Returns
    -------
    PIL.Image.Image
        RGB, row 0 on top, at most `LONGEST_EDGE` pixels long, contrast stretched for the eye.
    """
    ny, nx = micrograph.data.shape
    factor = min(1.0, LONGEST_EDGE / max(ny, nx))
    shape = (max(1, round(ny * factor)), max(1, round(nx * factor)))
    small = fourier_resample(mend_pixels(micrograph.to_float32()), shape)
    assert micrograph.pixel_size is not None
    size = diameter / micrograph.pixel_size * factor
    grey = np.clip((normalise_locally(small, 3.0 * size) + 3.0) / 6.0 * 255.0, 0, 255)
    picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for y, x in picks.table[["y", "x"]].to_numpy() * (shape[0] / ny, shape[1] / nx):
        r = size / 2
        draw.ellipse((x - r, y - r, x + r, y + r), outline=RING, width=max(1, round(size / 25)))
    return picture
