"""Losses over score maps in which some pixels are labelled and many are not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F

from napari_so3.training.tiles import NEGATIVE, POSITIVE, UNLABELLED

if TYPE_CHECKING:
    from torch import Tensor

LossName = Literal["bce", "trimmed", "ge-binomial", "nnpu"]

BINOMIAL_SAMPLE = 240  # unlabelled scores that one binomial counts, as in Topaz' minibatch


@dataclass(frozen=True)
class Loss:
    """A loss and its settings.

    Where no pixel is unlabelled, all are the same weighted binary cross entropy. Else positives and
    the rest are averaged apart, and the positives weigh as much as if all of them were labelled.

    Parameters
    ----------
    name : {"trimmed", "bce", "ge-binomial", "nnpu"}
        What to do with unlabelled pixels. ``"bce"``: take them for background.
        ``"trimmed"``: the same, but leave out the share that the network itself scores highest
        and that the expected number of particles covers. ``"ge-binomial"``: ask only that their
        number of positives follow a binomial distribution (Bepler et al. 2019, eq. 4).
        ``"nnpu"``: the non-negative risk of Kiryo et al. 2017, eq. 6.
    positive_weight : float
        Weight of a positive pixel against a negative one.
    prior : float
        Expected share of positives among the unlabelled pixels.
    trimmed : float
        Share of the unlabelled pixels that ``"trimmed"`` leaves out.
    slack : float
        Weight of the binomial term.
    """

    name: LossName = "trimmed"
    positive_weight: float = 4.0
    prior: float = 0.02
    trimmed: float = 0.1
    slack: float = 1.0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        logits : Tensor
            (n, h, w) AL1 logits.
        target : Tensor
            (n, h, w) int8 codes of `napari_so3.training.tiles`.

        Returns
        -------
        Tensor
            Scalar.
        """
        positive, negative = logits[target == POSITIVE], logits[target == NEGATIVE]
        unlabelled = logits[target == UNLABELLED]
        if unlabelled.numel() == 0:
            weight = self.positive_weight * positive.numel() + negative.numel()
            return (self.positive_weight * _missed(positive).sum() + _false(negative).sum()) / max(
                weight, 1.0
            )
        if self.name == "ge-binomial":
            loss = _mean(_missed(positive)) + _mean(_false(negative))
            return loss + self.slack * binomial_penalty(unlabelled, self.prior)
        found = self.positive_weight * self.prior * _mean(_missed(positive))
        if self.name == "nnpu":
            risk = nonnegative_risk(positive, unlabelled, self.prior)
            return found + risk + _mean(_false(negative)) * self.prior
        if self.name == "trimmed":
            unlabelled = _lowest(unlabelled, 1.0 - self.trimmed)
        return found + _mean(_false(torch.cat((negative, unlabelled))))


def _missed(logits: Tensor) -> Tensor:
    """Cross entropy of what is a particle."""
    return F.softplus(-logits)


def _false(logits: Tensor) -> Tensor:
    """Cross entropy of what is none."""
    return F.softplus(logits)


def _mean(losses: Tensor) -> Tensor:
    return losses.sum() / max(losses.numel(), 1)


def _lowest(logits: Tensor, share: float) -> Tensor:
    """Keep the share of the lowest logits."""
    kept = max(1, int(share * logits.numel()))
    limit = torch.sort(logits.detach()).values[kept - 1]
    return logits[logits <= limit]


def binomial_penalty(logits: Tensor, prior: float) -> Tensor:
    """Cross entropy between the number of positives and a binomial distribution (GE-binomial).

    The number of positives among N scores is a sum of Bernoulli variables, taken as a normal
    distribution of the same mean and variance: ``-sum_c q(c) log Binom(c; N, prior)`` with
    ``q = softmax_c(-(c - mu)^2 / (2 var))`` (Bepler et al. 2019, section 2.2).

    Parameters
    ----------
    logits : Tensor
        (m,) scores; `BINOMIAL_SAMPLE` of them, evenly spread, are counted.
    prior : float
        Expected share of positives.

    Returns
    -------
    Tensor
        Scalar.
    """
    n = min(BINOMIAL_SAMPLE, logits.numel())
    chosen = torch.linspace(0, logits.numel() - 1, n).round().long()
    p = torch.sigmoid(logits[chosen])
    mean, variance = p.sum(), (p * (1 - p)).sum()
    count = torch.arange(n + 1, dtype=logits.dtype, device=logits.device)
    q = torch.softmax(-((count - mean) ** 2) / (2 * variance + 1e-6), dim=0)
    log_binomial = (
        math.lgamma(n + 1)
        - torch.lgamma(count + 1)
        - torch.lgamma(n - count + 1)
        + count * math.log(prior)
        + (n - count) * math.log1p(-prior)
    )
    return -(q * log_binomial).sum()


def nonnegative_risk(positive: Tensor, unlabelled: Tensor, prior: float) -> Tensor:
    """Non-negative risk of the unlabelled scores (Kiryo et al. 2017, eq. 6 and algorithm 1).

    ``R = E_u[l(-g)] - prior E_p[l(-g)]`` estimates the risk of the negatives; where the sample
    makes it negative, its gradient is turned, so that over-fitted scores are let go.

    Parameters
    ----------
    positive, unlabelled : Tensor
        (p,) and (u,) logits.
    prior : float
        Expected share of positives among the unlabelled.

    Returns
    -------
    Tensor
        Scalar.
    """
    risk = F.softplus(unlabelled).mean()
    if positive.numel():
        risk = risk - prior * F.softplus(positive).mean()
    return risk if bool(risk >= 0) else -risk
