"""Compare picks with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.picking.picks import Picks


def match_picks(picks: Picks, labels: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """Tell which picks are right: a label within the radius that no better pick has taken.

    Parameters
    ----------
    picks : Picks
        Best first, as they come.
    labels : ndarray
        (n, 2) y and x, micrograph pixels.
    radius : float
        Pixels; a quarter of the diameter is strict enough for chance to be low.

    Returns
    -------
    ndarray
        (len(picks),) bool.
    """
    hit = np.zeros(len(picks), dtype=bool)
    if len(labels) == 0 or len(picks) == 0:
        return hit
    taken = np.zeros(len(labels), dtype=bool)
    points = picks.table[["y", "x"]].to_numpy()
    for i, near in enumerate(cKDTree(labels).query_ball_point(points, radius)):
        free = [j for j in near if not taken[j]]
        if free:
            taken[min(free, key=lambda j: float(np.hypot(*(labels[j] - points[i]))))] = True
            hit[i] = True
    return hit


def average_precision(hit: NDArray[np.bool_], n_labels: int) -> float:
    """Area under the precision-recall curve of ranked picks (Topaz' definition).

    Parameters
    ----------
    hit : ndarray
        (n,) bool, best pick first: whether it is right.
    n_labels : int
        Number of labels, also of those that no pick has found.

    Returns
    -------
    float
        Sum over the right picks of the precision down to them, divided by ``n_labels``.

    Raises
    ------
    ValueError
        If there are no labels.
    """
    if n_labels < 1:
        raise ValueError("average precision needs at least one label")
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float((precision * hit).sum() / n_labels)
