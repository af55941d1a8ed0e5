"""Peaks of a score map, with sub-pixel positions and non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray


def local_maxima(
    logits: NDArray[np.float32], floor: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the pixels that no neighbour of the eight exceeds.

    Parameters
    ----------
    logits : ndarray
        (h, w) float32 score map.
    floor : float
        Lowest logit that counts.

    Returns
    -------
    index : ndarray
        (n, 2) int64 rows and columns.
    value : ndarray
        (n,) float32 logits there.
    """
    highest = F.max_pool2d(torch.from_numpy(logits)[None], 3, stride=1, padding=1)[0].numpy()
    peak = (logits >= highest) & (logits > floor)
    index = np.argwhere(peak)
    return index, logits[peak]


def _vertex(
    before: NDArray[np.float64], at: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Offset of the top of the parabola through three samples, within half a pixel."""
    curvature = before - 2 * at + after
    safe = np.where(curvature < -1e-9, curvature, -1.0)
    offset = np.where(curvature < -1e-9, 0.5 * (before - after) / safe, 0.0)
    return np.clip(offset, -0.5, 0.5)


def refine(logits: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Move peaks to the top of a parabola along each axis.

    Parameters
    ----------
    logits : ndarray
        (h, w) float32 score map.
    index : ndarray
        (n, 2) int64 rows and columns of local maxima.

    Returns
    -------
    ndarray
        (n, 2) float64 rows and columns; peaks on the border stay where they are along that axis.
    """
    padded = np.pad(logits.astype(np.float64), 1, mode="edge")
    y, x = index[:, 0] + 1, index[:, 1] + 1
    at = padded[y, x]
    dy = _vertex(padded[y - 1, x], at, padded[y + 1, x])
    dx = _vertex(padded[y, x - 1], at, padded[y, x + 1])
    inside_y = (index[:, 0] > 0) & (index[:, 0] < logits.shape[0] - 1)
    inside_x = (index[:, 1] > 0) & (index[:, 1] < logits.shape[1] - 1)
    offset: NDArray[np.float64] = np.stack((dy * inside_y, dx * inside_x), axis=-1)
    return index + offset


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
