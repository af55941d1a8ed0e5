"""Cut particles out of a preprocessed micrograph, centred to a fraction of a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.picking.preprocess import WorkingImage

AT_ONCE = 256
LEAST_SPREAD = 0.1  # of a crop: blank ones are not blown up


def particle_images(working: WorkingImage, points: NDArray[np.floating], box: int) -> Tensor:
    """Cut out particles.

    Parameters
    ----------
    working : WorkingImage
        A micrograph as networks see it.
    points : ndarray
        (n, 2) centres y and x in pixels of the micrograph.
    box : int
        Edge of the crops, working pixels; odd.

    Returns
    -------
    Tensor
        (n, 1, box, box) float32, the centre on the middle pixel, by bicubic interpolation; beyond
        the border the micrograph is reflected. Not yet `standardise`d.
    """
    image = working.pixels
    height, width = image.shape
    centres = torch.from_numpy(np.asarray(points, dtype=np.float64) / np.array(working.scale))
    steps = torch.arange(box, dtype=torch.float64) - box // 2
    # grid_sample counts from -1 to 1, x before y
    y = 2 * (centres[:, 0, None] + steps) / max(height - 1, 1) - 1
    x = 2 * (centres[:, 1, None] + steps) / max(width - 1, 1) - 1
    crops = torch.empty(len(centres), 1, box, box)
    for first in range(0, len(centres), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        n = len(y[part])
        at = torch.stack(
            (x[part][:, None].expand(n, box, box), y[part][:, :, None].expand(n, box, box)), dim=-1
        )
        # one image, tall grid: the crops below each other
        tall = at.reshape(1, n * box, box, 2).float()
        cut = F.grid_sample(
            image[None, None], tall, mode="bicubic", padding_mode="reflection", align_corners=True
        )
        crops[part] = cut.reshape(n, 1, box, box)
    return crops


def standardise(crops: Tensor) -> Tensor:
    """Give every crop mean 0 and standard deviation 1, as pose networks expect.

    Parameters
    ----------
    crops : Tensor
        (n, 1, box, box).

    Returns
    -------
    Tensor
        (n, 1, box, box).
    """
    flat = crops - crops.mean(dim=(-2, -1), keepdim=True)
    return flat / flat.std(dim=(-2, -1), keepdim=True).clamp(min=LEAST_SPREAD)
