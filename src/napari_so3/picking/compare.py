"""Compare the picks of micrographs with their labels, and with chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.picking.evaluate import match_points, precision_recall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_so3.picking.evaluate import Curve, OperatingPoint
    from napari_so3.picking.picks import Picks


RECALLS = (0.5, 0.8, 0.9)


class EvaluationError(ValueError):
    """Picks and labels cannot be compared; the text is one sentence for the user."""


@dataclass(frozen=True, eq=False)
class ScoredPoints:
    """What a program found in one micrograph.

    Parameters
    ----------
    points : ndarray
        (n, 2) float64 y and x, micrograph pixels.
    scores : ndarray
        (n,) float64, higher is better.
    pixel_size : float
        Å.
    shape : (int, int)
        Rows and columns of the micrograph.
    log_odds : bool
        Whether the scores are log-odds of a probability.
    """

    points: NDArray[np.float64]
    scores: NDArray[np.float64]
    pixel_size: float
    shape: tuple[int, int]
    log_odds: bool = True

    @classmethod
    def of(cls, picks: Picks) -> ScoredPoints:
        """Take over picks.

        Raises
        ------
        EvaluationError
            If their provenance does not tell the pixel size and the shape.
        """
        try:
            pixel_size = float(picks.provenance["pixel_size"])
            ny, nx = map(int, picks.provenance["shape"])
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"the picks of {picks.micrograph} do not tell the pixel size and the shape of the "
                "micrograph; pick it again."
            ) from error
        points = picks.table[["y", "x"]].to_numpy(dtype=np.float64)
        return cls(points, picks.table["logit"].to_numpy(dtype=np.float64), pixel_size, (ny, nx))


@dataclass(frozen=True, eq=False)
class MicrographFigures:
    """How one micrograph went."""

    name: str
    labels: int
    picks: int
    curve: Curve


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Picks of several micrographs against labels, pooled.

    Parameters
    ----------
    curve, chance : Curve
        Of the picks, and of as many random points with random scores in the same micrographs.
    micrographs : tuple of MicrographFigures
        One by one, by name.
    unlabelled : tuple of str
        Micrographs whose list of labels is empty; they do not count.
    labels : int
        Number of labels.
    scores, right : ndarray
        (n,) of all picks, in the order of the micrographs, best first in each.
    radius : float
        Match radius, Å.
    radius_pixels : (float, float)
        Smallest and largest match radius in micrograph pixels.
    log_odds : bool
        Whether all scores are log-odds.
    complete : bool
        Whether every particle has a label; if not, precision is a lower bound.
    """

    curve: Curve
    chance: Curve
    micrographs: tuple[MicrographFigures, ...]
    unlabelled: tuple[str, ...]
    labels: int
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    radius: float
    radius_pixels: tuple[float, float]
    log_odds: bool
    complete: bool

    @property
    def recall(self) -> float:
        """Recall of all picks together."""
        return float(self.right.sum() / self.labels)

    @property
    def mean_average_precision(self) -> float:
        """Mean of the micrographs' average precision."""
        return float(np.mean([m.curve.average_precision for m in self.micrographs]))


def evaluate_picks(
    picks: Mapping[str, ScoredPoints],
    labels: Mapping[str, NDArray[np.float64]],
    radius: float,
    *,
    complete: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Compare picks with labels, micrograph by micrograph.

    Only micrographs that both sides name and that have labels count. Picks are matched best score
    first, each to the nearest label within the radius that is still free.

    Parameters
    ----------
    picks : mapping of str to ScoredPoints
        By micrograph.
    labels : mapping of str to ndarray
        By micrograph: (m, 2) float64 y and x, micrograph pixels.
    radius : float
        Match radius, Å.
    complete : bool
        Whether every particle has a label.
    seed : int
        Of the random points that tell the chance level.

    Returns
    -------
    Evaluation
        All figures.

    Raises
    ------
    EvaluationError
        If the radius is not positive or no micrograph with labels has picks.
    """
    if not 0 < radius < np.inf:
        raise EvaluationError(f"a match radius of {radius:g} Å is not positive.")
    shared = sorted(picks.keys() & labels.keys())
    names = [name for name in shared if len(labels[name])]
    if not names:
        raise EvaluationError("no micrograph has both picks and labels.")
    rng = np.random.default_rng(seed)
    chosen = [picks[name] for name in names]
    wanted = [labels[name] for name in names]
    real = [_hits(p, w, radius) for p, w in zip(chosen, wanted, strict=True)]
    random = [_hits(_random(p, rng), w, radius) for p, w in zip(chosen, wanted, strict=True)]
    figures = tuple(
        MicrographFigures(name, len(w), len(hits[0]), precision_recall(*hits, len(w)))
        for name, w, hits in zip(names, wanted, real, strict=True)
    )
    total = sum(map(len, wanted))
    scores, right = _pool(real)
    pixels = [radius / p.pixel_size for p in chosen]
    return Evaluation(
        curve=precision_recall(scores, right, total),
        chance=precision_recall(*_pool(random), total),
        micrographs=figures,
        unlabelled=tuple(name for name in shared if not len(labels[name])),
        labels=total,
        scores=scores,
        right=right,
        radius=radius,
        radius_pixels=(min(pixels), max(pixels)),
        log_odds=all(p.log_odds for p in chosen),
        complete=complete,
    )


Hits = tuple["NDArray[np.float64]", "NDArray[np.bool_]"]


def _hits(picks: ScoredPoints, labels: NDArray[np.float64], radius: float) -> Hits:
    """Scores, best first, and whether they are right."""
    order = np.argsort(-picks.scores, kind="stable")
    right = match_points(picks.points[order], labels, radius / picks.pixel_size)
    return picks.scores[order], right


def _random(picks: ScoredPoints, rng: np.random.Generator) -> ScoredPoints:
    """As many points anywhere, with random scores."""
    (ny, nx), n = picks.shape, len(picks.points)
    x, y, scores = rng.random(n) * nx, rng.random(n) * ny, rng.random(n)
    return ScoredPoints(np.column_stack([y, x]), scores, picks.pixel_size, picks.shape)


def _pool(hits: Sequence[Hits]) -> Hits:
    scores, right = zip(*hits, strict=True)
    return np.concatenate(scores), np.concatenate(right)


def suggest_threshold(held_out: Evaluation, recall: float | None = None) -> OperatingPoint:
    """Choose the threshold of a picker on micrographs that it was not trained on.

    Parameters
    ----------
    held_out : Evaluation
        Of all candidates.
    recall : float, optional
        Part of the labels to find; by default the threshold of the highest F1.

    Returns
    -------
    OperatingPoint
        The threshold, and precision and recall there.

    Raises
    ------
    EvaluationError
        If there are no picks, or the recall is not reached.
    """
    point = held_out.curve.best if recall is None else held_out.curve.at_recall(recall)
    if point is None:
        wanted = "there are no picks" if recall is None else f"no threshold finds {recall:.0%}"
        raise EvaluationError(f"no threshold can be suggested: {wanted} of the labelled particles.")
    return point
