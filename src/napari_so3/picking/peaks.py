"""Peaks of a score map, with sub-pixel positions and non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray


def local_maxima(logits: NDArray[np.float32], floor: float) -> NDArray[np.int64]:
    """Find the pixels that no neighbour of the eight exceeds.

    Parameters
    ----------
    logits : ndarray
        (h, w) float32 score map.
    floor : float
        Lowest logit that counts.

    Returns
    -------
    ndarray
        (n, 2) int64 rows and columns.
    """
    highest = F.max_pool2d(torch.from_numpy(logits)[None], 3, stride=1, padding=1)[0].numpy()
    peak = (logits >= highest) & (logits > floor)
    return np.argwhere(peak)


def _vertex(
    before: NDArray[np.float64], at: NDArray[np.float64], after: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offset, within half a pixel, and rise of the top of the parabola through three samples."""
    curvature = before - 2 * at + after
    safe = np.where(curvature < -1e-9, curvature, -1.0)
    offset = np.where(curvature < -1e-9, 0.5 * (before - after) / safe, 0.0)
    offset = np.clip(offset, -0.5, 0.5)
    return offset, 0.5 * (after - before) * offset + 0.5 * curvature * offset**2


def refine(
    logits: NDArray[np.float32], index: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Move peaks to the top of a parabola along each axis.

    The top is also the better score: it does not depend on where the particle lies between the
    pixels of the map, so that a micrograph that is shifted or turned gives the same scores.

    Parameters
    ----------
    logits : ndarray
        (h, w) float32 score map.
    index : ndarray
        (n, 2) int64 rows and columns of local maxima.

    Returns
    -------
    position : ndarray
        (n, 2) float64 rows and columns; peaks on the border stay where they are along that axis.
    value : ndarray
        (n,) float32 logits at the tops.
    """
    padded = np.pad(logits.astype(np.float64), 1, mode="edge")
    y, x = index[:, 0] + 1, index[:, 1] + 1
    at = padded[y, x]
    dy, rise_y = _vertex(padded[y - 1, x], at, padded[y + 1, x])
    dx, rise_x = _vertex(padded[y, x - 1], at, padded[y, x + 1])
    inside_y = (index[:, 0] > 0) & (index[:, 0] < logits.shape[0] - 1)
    inside_x = (index[:, 1] > 0) & (index[:, 1] < logits.shape[1] - 1)
    offset: NDArray[np.float64] = np.stack((dy * inside_y, dx * inside_x), axis=-1)
    value = at + rise_y * inside_y + rise_x * inside_x
    return index + offset, value.astype(np.float32)


def suppress(
    positions: NDArray[np.float64], score: NDArray[np.float32], distance: float
) -> NDArray[np.int64]:
    """Keep the best of any points closer than a distance, greedily from the best down.

    Parameters
    ----------
    positions : ndarray
        (n, 2) float64.
    score : ndarray
        (n,) float32.
    distance : float
        In the units of the positions.

    Returns
    -------
    ndarray
        (m,) int64 indices of those kept, best first.
    """
    order = np.argsort(-score, kind="stable")
    if len(order) == 0:
        return order
    tree = cKDTree(positions)
    alive = np.ones(len(order), dtype=bool)
    kept = []
    for i in order:
        if alive[i]:
            kept.append(i)
            alive[tree.query_ball_point(positions[i], distance)] = False
    return np.array(kept, dtype=np.int64)
