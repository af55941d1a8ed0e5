"""Probabilities that mean what they say: how far they are off, and how to mend them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BINS = 15
# Spread of the prior on ln(scale) and on the offset: a few labels move them little.
SCALE_SPREAD, OFFSET_SPREAD = 1.0, 10.0


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often picks of a probability are right.

    Parameters
    ----------
    count : ndarray
        (bins,) int64, number of picks whose probability falls into each bin; the bins divide 0 to
        1 equally.
    probability, right : ndarray
        (bins,) float64, mean probability of the picks of a bin and the part of them that is right;
        NaN where a bin is empty.
    """

    count: NDArray[np.int64]
    probability: NDArray[np.float64]
    right: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of the two, weighted by the picks."""
        full = self.count > 0
        distance = np.abs(self.probability[full] - self.right[full])
        return float(np.average(distance, weights=self.count[full]))


def reliability(probability: ArrayLike, right: ArrayLike, bins: int = BINS) -> Reliability:
    """Sort picks into bins of equal width by their probability.

    Parameters
    ----------
    probability : array_like
        (n,) from 0 to 1.
    right : array_like
        (n,) bool.
    bins : int
        How many. Few picks leave many bins noisy, which raises the error.

    Returns
    -------
    Reliability
        The curve; its `error` is the expected calibration error.

    Raises
    ------
    ValueError
        If there are no picks, a probability is outside 0 to 1 or the lengths differ.
    """
    p, hit = np.asarray(probability, dtype=np.float64), np.asarray(right, dtype=bool)
    if p.ndim != 1 or p.shape != hit.shape or len(p) == 0:
        raise ValueError("probability and right must be lists of one length, not empty")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a probability is outside 0 to 1")
    index = np.minimum((p * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, weights=p, minlength=bins) / count
        rate = np.bincount(index, weights=hit, minlength=bins) / count
    return Reliability(count, mean, rate)


def fit_platt(
    logits: ArrayLike, right: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, float]:
    """Fit the line that turns logits into log-odds that are met (Platt scaling).

    The likelihood is maximised together with a prior: normal, on ln(scale) around 0 and on the
    offset around 0. The scale is therefore positive and finite whatever the labels, and a handful
    of labels leaves the logits nearly as they are.

    Parameters
    ----------
    logits : array_like
        (n,) finite.
    right : array_like
        (n,) bool.
    weights : array_like, optional
        (n,) not negative: how often each counts; by default once.

    Returns
    -------
    (float, float)
        Scale and offset; the probability is ``expit(scale * logit + offset)``.

    Raises
    ------
    ValueError
        If a number is not finite, a weight is negative, or the lengths differ.
    """
    x, y = np.asarray(logits, dtype=np.float64), np.asarray(right, dtype=np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if x.ndim != 1 or not x.shape == y.shape == w.shape:
        raise ValueError("logits, right and weights must be lists of one length")
    if not (np.isfinite(x).all() and np.isfinite(w).all() and (w >= 0).all()):
        raise ValueError("logits and weights must be finite, and weights not negative")

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_scale, offset = parameters
        z = np.exp(log_scale) * x + offset
        slope = w * (expit(z) - y)
        prior = (log_scale / SCALE_SPREAD) ** 2 / 2 + (offset / OFFSET_SPREAD) ** 2 / 2
        gradient = [
            (slope * np.exp(log_scale) * x).sum() + log_scale / SCALE_SPREAD**2,
            slope.sum() + offset / OFFSET_SPREAD**2,
        ]
        return float((w * (np.logaddexp(0, z) - y * z)).sum() + prior), np.array(gradient)

    bounds = [(-10.0, 10.0), (None, None)]
    fit = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(fit.x[0])), float(fit.x[1])
