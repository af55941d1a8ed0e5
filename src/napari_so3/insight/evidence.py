"""What each rotation has to do with the probability of a particle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.so3.bias import al1_bias

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_so3.insight.rotation_maps import RotationMaps
    from napari_so3.so3.aggregation import Aggregation

    Floats = NDArray[np.float64]

LOW = -700.0  # above, e^x is a number; below -37, log(1 + e^x) is e^x to the last digit
SMALL = math.log(1e-2)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Shares of the rotations in a probability, at one place or at many.

    Parameters
    ----------
    logits : ndarray
        (R, ...) float64, as the network gave them.
    shares : ndarray
        (R, ...) float64, the odds of each rotation against those of all; they sum to 1. That is the
        probability that the particle has this rotation, if it has one of them. Where every rotation
        by itself says little, it is also the share of P. Maximum: the best rotation has all.
    bias : float
        What is added to every logit: it keeps many rotations from making a particle of noise.
    logit : ndarray
        (...) float64, the rotations joined.
    calibration : tuple of float
        Scale and offset that turn joined logits into log-odds of a pick being right.
    """

    logits: Floats
    shares: Floats
    bias: float
    logit: Floats
    calibration: tuple[float, float] = (1.0, 0.0)

    @property
    def probabilities(self) -> Floats:
        """(R, ...) float64, what the network gives each rotation; not calibrated."""
        return sigmoid(self.logits + self.bias)

    @property
    def probability(self) -> Floats:
        """(...) float64, calibrated probability of a particle: that of the picks."""
        return self._calibrated(self.logit)

    @property
    def probability_of_best(self) -> Floats:
        """(...) float64, calibrated probability if the best rotation were the only one."""
        return self._calibrated(self.logits.max(axis=0) + self.bias)

    @property
    def effective_number(self) -> Floats:
        """(...) float64, how many rotations share the evidence: exp of the entropy, 1 to R."""
        logs = np.log(np.where(self.shares > 0, self.shares, 1.0))
        return np.asarray(np.exp(-np.sum(self.shares * logs, axis=0)))

    def top(self, n: int) -> NDArray[np.intp]:
        """Name the strongest rotations.

        Parameters
        ----------
        n : int
            How many, at most.

        Returns
        -------
        ndarray
            (n, ...) indices of rotations, the strongest first.
        """
        return np.argsort(-self.logits, axis=0, kind="stable")[:n]

    def _calibrated(self, logit: Floats) -> Floats:
        scale, offset = self.calibration
        return sigmoid(scale * logit + offset)


def weigh(
    logits: ArrayLike,
    how: Aggregation = "al1",
    prior: float = 0.5,
    calibration: tuple[float, float] = (1.0, 0.0),
) -> Evidence:
    """Weigh the rotations against each other.

    Parameters
    ----------
    logits : array_like
        (R, ...) logits of the rotations, any float.
    how : {"al1", "max", "lse"}
        How the model joins them.
    prior : float
        AL1 only: the probability that all-zero logits stand for.
    calibration : tuple of float
        Scale and offset that turn joined logits into log-odds of a pick being right.

    Returns
    -------
    Evidence
        The shares and the sum.

    Raises
    ------
    ValueError
        If ``how`` is unknown or the prior is not a probability.
    """
    values = np.asarray(logits, dtype=np.float64)
    if how == "max":
        shares = np.zeros_like(values)
        np.put_along_axis(shares, values.argmax(axis=0)[None], 1.0, axis=0)
        return Evidence(values, shares, 0.0, values.max(axis=0), calibration)
    odds = np.logaddexp.reduce(values, axis=0)
    shares = np.exp(values - odds)
    if how == "al1":
        bias = al1_bias(len(values), prior)
        joined = _log_expm1(np.logaddexp.reduce(_log_softplus(values + bias), axis=0))
        return Evidence(values, shares, bias, joined, calibration)
    if how == "lse":
        bias = -math.log(len(values))
        return Evidence(values, shares, bias, odds + bias, calibration)
    raise ValueError(f"rotations are joined by 'al1', 'max' or 'lse', not {how!r}")


def bias_of(maps: RotationMaps) -> float:
    """Give what is added to every logit of these maps before they are joined."""
    return weigh(np.zeros(len(maps.rotations)), maps.aggregation, maps.prior).bias


def evidence_at(maps: RotationMaps, y: float, x: float) -> Evidence:
    """Weigh the rotations at a place.

    Parameters
    ----------
    maps : RotationMaps
        Of a micrograph.
    y, x : float
        Micrograph pixels.

    Returns
    -------
    Evidence
        Of (R,) logits.
    """
    return weigh(maps.at(y, x), maps.aggregation, maps.prior, maps.calibration)


def sigmoid(logit: Floats) -> Floats:
    """Turn log-odds into probabilities: ``1 / (1 + e^-x)`` for any x."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -logit)))


def _log_softplus(x: Floats) -> Floats:
    """``log(log(1 + e^x))`` for any x."""
    return np.where(x < LOW, x, np.log(np.logaddexp(0.0, np.maximum(x, LOW))))


def _log_expm1(log_s: Floats) -> Floats:
    """``log(e^S - 1)`` from ``log S``, without cancellation for small S or overflow for large."""
    small = np.minimum(log_s, SMALL)
    s = np.exp(small)
    big = np.exp(np.maximum(log_s, SMALL))
    series = small + s / 2 + s * s / 24
    return np.where(log_s < SMALL, series, big + np.log(-np.expm1(-big)))
