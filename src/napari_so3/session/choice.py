"""Which candidates are picks: threshold, borders, excluded areas, views, and the labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.path import Path as Polygon
from scipy.spatial import KDTree

from napari_so3.session.marks import Marks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_so3.session.marks import Area
    from napari_so3.session.pool import Candidates, Flat

SAME = 0.25  # of a diameter: the largest distance of a label from the candidate that it is about
NO_MARKS = Marks()


@dataclass(frozen=True)
class Choice:
    """What makes a candidate a pick.

    A label has the last word: a candidate at a positive label is a pick, whatever its score, and
    one at a negative or ignored label is none.

    Parameters
    ----------
    threshold : float
        Smallest AL1 log-odds.
    overrides : mapping
        Name of a micrograph to another threshold there.
    margin : float
        Smallest distance from the border, Å.
    hidden_views : frozenset of int
        Views of the model's grid whose picks are left out.
    in_plane : int
        Rotations of the grid per view: the view of a rotation is its index divided by this.
    same : float
        Largest distance of a label from the candidate that it is about, Å.
    """

    threshold: float
    overrides: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.0
    hidden_views: frozenset[int] = frozenset()
    in_plane: int = 1
    same: float = 0.0

    def limit(self, name: str) -> float:
        """Threshold of a micrograph, log-odds."""
        return self.overrides.get(name, self.threshold)

    def of(self, name: str, candidates: Candidates, marks: Marks) -> NDArray[np.bool_]:
        """Tell which candidates of a micrograph are picks.

        Parameters
        ----------
        name : str
            Micrograph.
        candidates : Candidates
            Its candidates.
        marks : Marks
            Its labels and excluded areas.

        Returns
        -------
        ndarray
            (n,) bool.
        """
        c = candidates
        scores = self._scores(c.logit, c.rotation, c.edge)
        _judge(scores, c.y, c.x, marks, self.same / c.pixel_size)
        return reaches(scores, self.limit(name))

    def scores(
        self, flat: Flat, names: Sequence[str], marks: Mapping[str, Marks]
    ) -> NDArray[np.float32]:
        """Give the log-odds that the threshold is compared with.

        Parameters
        ----------
        flat : Flat
            Candidates of all micrographs.
        names : sequence of str
            Micrographs, in their order.
        marks : mapping
            Micrograph to its labels, for those that have some.

        Returns
        -------
        ndarray
            (N,) float32: -inf for what is left out whatever its score, inf for what is a pick
            whatever its score. It stays as it is while the threshold moves.
        """
        scores = self._scores(flat.logit, flat.rotation, flat.edge)
        for index, name in enumerate(names):
            here = marks.get(name, NO_MARKS)
            part = slice(flat.start[index], flat.start[index + 1])
            if (here.marks or here.areas) and part.stop > part.start:
                near = self.same / flat.pixel_size[index]
                _judge(scores[part], flat.y[part], flat.x[part], here, near)
        return scores

    def chosen(
        self, flat: Flat, names: Sequence[str], scores: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Tell which candidates of all micrographs are picks.

        Parameters
        ----------
        flat : Flat
            All candidates.
        names : sequence of str
            Micrographs, in their order.
        scores : ndarray
            (N,) of `scores`.

        Returns
        -------
        ndarray
            (N,) bool.
        """
        limit: float | NDArray[np.float32] = self.threshold
        if self.overrides:
            limits = np.array([self.limit(name) for name in names], dtype=np.float32)
            limit = limits[flat.owner]
        return reaches(scores, limit)

    def counts(
        self, flat: Flat, names: Sequence[str], scores: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Count the picks of every micrograph, (M,); parameters as of `chosen`."""
        return flat.per_micrograph(self.chosen(flat, names, scores))

    def _scores(
        self,
        logit: NDArray[np.float32],
        rotation: NDArray[np.int32],
        edge: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        scores = logit.copy()
        if self.margin > 0:
            scores[edge < self.margin] = -np.inf
        if self.hidden_views:
            hidden = np.isin(rotation // self.in_plane, list(self.hidden_views))
            scores[hidden] = -np.inf
        return scores


def reaches(scores: NDArray[np.float32], limit: float | NDArray[np.float32]) -> NDArray[np.bool_]:
    """Compare log-odds with a threshold in single precision, as which they are kept."""
    return np.asarray(scores >= np.float32(limit))


def without_candidate(marks: Marks, y: ArrayLike, x: ArrayLike, near: float) -> NDArray[np.float64]:
    """Find the particles that were marked where there is no candidate.

    Parameters
    ----------
    marks : Marks
        Labels.
    y, x : array_like
        (n,) candidates, pixels.
    near : float
        Largest distance of a label from its candidate, pixels.

    Returns
    -------
    ndarray
        (k, 2) y and x.
    """
    points = marks.points("positive")
    return points[~_is_near(points, np.column_stack([y, x]), near)]


def inside(areas: Sequence[Area], y: ArrayLike, x: ArrayLike) -> NDArray[np.bool_]:
    """Tell which points lie in any of the polygons.

    Parameters
    ----------
    areas : sequence of Area
        Corners (y, x).
    y, x : array_like
        (n,).

    Returns
    -------
    ndarray
        (n,) bool.
    """
    points = np.column_stack([y, x])
    found = np.zeros(len(points), dtype=bool)
    for area in areas:
        found |= Polygon(np.array(area)).contains_points(points)
    return found


def _judge(
    scores: NDArray[np.float32],
    y: NDArray[np.float32],
    x: NDArray[np.float32],
    marks: Marks,
    near: float,
) -> None:
    """Let areas and labels decide on the candidates of a micrograph, in place."""
    points = np.column_stack([y, x])
    if marks.areas:
        scores[inside(marks.areas, y, x)] = -np.inf
    if marks.marks:
        for kind in ("negative", "ignored"):
            scores[_is_near(points, marks.points(kind), near)] = -np.inf
        scores[_is_near(points, marks.points("positive"), near)] = np.inf


def _is_near(points: ArrayLike, others: ArrayLike, near: float) -> NDArray[np.bool_]:
    """Tell which of the points (n, 2) have one of the others (m, 2) within a distance."""
    points, others = np.asarray(points, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if len(points) == 0 or len(others) == 0:
        return np.zeros(len(points), dtype=bool)
    distance, _ = KDTree(others).query(points, distance_upper_bound=near + 1e-6)
    return np.isfinite(distance)
