"""Tell right picks from wrong ones; precision and recall at every threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_so3.picking.picks import Picks


def outside(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark the points that lie beyond the pixels of an image.

    Parameters
    ----------
    points : ndarray
        (n, 2) y and x, pixels.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    ndarray
        (n,) bool.
    """
    beyond: NDArray[np.bool_] = np.any((points < -0.5) | (points > np.array(shape) - 0.5), axis=1)
    return beyond


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
    return match_points(picks.table[["y", "x"]].to_numpy(), labels, radius)


def match_points(
    points: NDArray[np.float64], labels: NDArray[np.float64], radius: float
) -> NDArray[np.bool_]:
    """Tell which points are right, as `match_picks` does.

    Parameters
    ----------
    points : ndarray
        (n, 2) y and x, pixels, best first.
    labels : ndarray
        (m, 2) y and x, pixels.
    radius : float
        Pixels.

    Returns
    -------
    ndarray
        (n,) bool.
    """
    hit = np.zeros(len(points), dtype=bool)
    if len(labels) == 0 or len(points) == 0:
        return hit
    taken = np.zeros(len(labels), dtype=bool)
    nearby: Any = cKDTree(labels).query_ball_point(points, radius)  # a list of labels per point
    for i, near in enumerate(nearby):
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
    return precision_recall(-np.arange(len(hit)), hit, n_labels).average_precision


def crop_aupr(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the precision-recall curve of classified crops.

    Parameters
    ----------
    scores : array_like
        (n,) any score, higher for particles; equal scores are one threshold.
    labels : array_like
        (n,) whether there is a particle.

    Returns
    -------
    float
        What scikit-learn calls `average_precision_score`.

    Raises
    ------
    ValueError
        If no crop holds a particle.
    """
    right = np.asarray(labels, dtype=bool)
    return precision_recall(np.asarray(scores), right, int(right.sum())).average_precision


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold and what it gives; ``threshold`` is in the scores' units (log-odds)."""

    threshold: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return float(_f1(np.float64(self.precision), np.float64(self.recall)))

    @property
    def probability(self) -> float:
        """The threshold as a probability, where the scores are log-odds."""
        return float(expit(self.threshold))


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall at every threshold that makes a difference.

    Parameters
    ----------
    threshold, precision, recall : ndarray
        (k,) float64, highest threshold first; picks with a score of at least the threshold count.
    """

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def average_precision(self) -> float:
        """Sum over thresholds of the precision times the recall gained."""
        return float((self.precision * np.diff(self.recall, prepend=0.0)).sum())

    @property
    def best(self) -> OperatingPoint | None:
        """The point of the highest F1; None where there are no picks."""
        return self._point(int(np.argmax(self.f1))) if len(self.f1) else None

    @property
    def f1(self) -> NDArray[np.float64]:
        """(k,) harmonic mean of precision and recall."""
        return _f1(self.precision, self.recall)

    def at_recall(self, recall: float) -> OperatingPoint | None:
        """Find the highest threshold that reaches a recall; None if none does."""
        first = int(np.searchsorted(self.recall, recall - 1e-12))
        return self._point(first) if first < len(self.recall) else None

    def _point(self, i: int) -> OperatingPoint:
        return OperatingPoint(*(float(v[i]) for v in (self.threshold, self.precision, self.recall)))


def _f1(precision: Any, recall: Any) -> NDArray[np.float64]:
    return np.asarray(2 * precision * recall / np.maximum(precision + recall, 1e-12))


def precision_recall(scores: NDArray[Any], right: NDArray[np.bool_], n_labels: int) -> Curve:
    """Rank picks by their scores, and count.

    Parameters
    ----------
    scores : ndarray
        (n,) in any order; equal scores pass a threshold together.
    right : ndarray
        (n,) bool.
    n_labels : int
        Number of labels, also of those that no pick has found.

    Returns
    -------
    Curve
        One point per distinct score.

    Raises
    ------
    ValueError
        If there are no labels, a score is NaN or the lengths differ.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if n_labels < 1:
        raise ValueError("precision and recall need at least one label")
    if scores.ndim != 1 or scores.shape != right.shape or np.isnan(scores).any():
        raise ValueError("scores and labels must be lists of one length, without NaN")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if len(ranked) else order
    found = np.cumsum(right[order])[last]
    return Curve(ranked[last], found / (last + 1.0), found / float(n_labels))
