"""Join the scores of the rotations into one.

The question is whether there is a particle in any orientation. All work is on logits. AL1 ("at
least one") is ``P = 1 - prod_r (1 - sigmoid(l_r + b))`` (paper, section 2.3). The bias ``b`` is
chosen so that all-zero logits give ``P = prior`` for every number of rotations; with
``prior = 0.5`` it is the paper's ``log(2^(1/R) - 1)``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F

from napari_so3.so3.bias import al1_bias

if TYPE_CHECKING:
    from torch import Tensor

Aggregation = Literal["al1", "max", "lse"]

SMALLEST = 1e-45  # of float32: a sum that has underflown stays finite as a logarithm


def _log_softplus(x: Tensor) -> Tensor:
    """``log(log(1 + e^x))`` for any finite x: far below zero it is ``x - e^x / 2``."""
    low = x.clamp(max=-15.0)
    return torch.where(x < -15.0, low - low.exp() / 2, F.softplus(x.clamp(min=-15.0)).log())


def _log_expm1(log_s: Tensor) -> Tensor:
    """``log(e^S - 1)`` from ``log S``, without cancellation for small S or overflow for large."""
    small = log_s.clamp(max=math.log(1e-2))
    s = small.exp()
    series = small + s / 2 + s * s / 24
    big = log_s.clamp(min=math.log(1e-2)).exp()
    return torch.where(log_s < math.log(1e-2), series, big + torch.log(-torch.expm1(-big)))


class _AL1(torch.autograd.Function):
    """AL1 logit over one dimension; the gradient is ``sigmoid(l_r) / P``, computed as logs."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, dim: int, bias: float) -> Tensor:
        shifted = logits + bias
        joined = _log_expm1(torch.logsumexp(_log_softplus(shifted), dim=dim))
        ctx.save_for_backward(shifted, joined)
        ctx.dim = dim
        return joined

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        shifted, joined = ctx.saved_tensors
        share = F.logsigmoid(shifted) - F.logsigmoid(joined).unsqueeze(ctx.dim)
        return grads[0].unsqueeze(ctx.dim) * share.exp(), None, None


def aggregate(logits: Tensor, dim: int = 1, how: Aggregation = "al1", prior: float = 0.5) -> Tensor:
    """Join the logits of the rotations into one logit.

    Half-precision logits are taken to float32 first.

    Parameters
    ----------
    logits : Tensor
        (..., R, ...) raw logits.
    dim : int
        The dimension of the rotations.
    how : {"al1", "max", "lse"}
        ``"al1"``: at least one rotation (the paper's default). ``"max"``: the best rotation.
        ``"lse"``: ``logsumexp - log R``, exactly one rotation.
    prior : float
        AL1 only: the probability that all-zero logits stand for.

    Returns
    -------
    Tensor
        Logit of the presence of a particle, without dimension ``dim``.

    Raises
    ------
    ValueError
        If ``how`` is unknown or the prior is not a probability.
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    n = logits.shape[dim]
    if how == "al1":
        joined: Tensor = _AL1.apply(logits, dim, al1_bias(n, prior))
        return joined
    if how == "max":
        return logits.amax(dim=dim)
    if how == "lse":
        return torch.logsumexp(logits, dim=dim) - math.log(n)
    raise ValueError(f"rotations are joined by 'al1', 'max' or 'lse', not {how!r}")


class RotationStream:
    """Join rotations that arrive in chunks, keeping only maps of the size of one.

    Sums are kept in float64, so that the result does not depend on the chunks.

    Parameters
    ----------
    n_rotations : int
        Number of rotations R in all.
    how, prior
        As in `aggregate`.

    Attributes
    ----------
    best : Tensor
        (...) float32, the largest logit so far.
    best_rotation : Tensor
        (...) int64, the rotation that gave it.
    """

    def __init__(self, n_rotations: int, how: Aggregation = "al1", prior: float = 0.5) -> None:
        self.n_rotations, self.how = n_rotations, how
        self._bias = al1_bias(n_rotations, prior)
        self._sum: Tensor | None = None
        self.best: Tensor
        self.best_rotation: Tensor

    def update(self, logits: Tensor, first_rotation: int) -> None:
        """Add the logits (n, ...) of rotations ``first_rotation`` to ``first_rotation + n``."""
        best, index = logits.float().max(dim=0)
        index += first_rotation
        total = self._chunk(logits)
        if self._sum is None:
            self._sum, self.best, self.best_rotation = total, best, index
            return
        self._merge(total, best, index)

    def merge(self, other: RotationStream) -> None:
        """Add what another stream of the same maps has seen."""
        if other._sum is None:
            return
        if self._sum is None:
            self._sum, self.best, self.best_rotation = other._sum, other.best, other.best_rotation
            return
        self._merge(other._sum, other.best, other.best_rotation)

    def _chunk(self, logits: Tensor) -> Tensor:
        """Sum over a chunk: of softplus for AL1, otherwise of exp, as its logarithm."""
        if self.how == "al1":  # float32 holds softplus to its last digits down to logits of -87
            return F.softplus(logits.float() + self._bias).sum(dim=0, dtype=torch.float64)
        return torch.logsumexp(logits.double(), dim=0)

    def _merge(self, total: Tensor, best: Tensor, index: Tensor) -> None:
        assert self._sum is not None
        if self.how == "al1":
            self._sum = self._sum + total
        else:
            self._sum = torch.logaddexp(self._sum, total)
        # On a tie the lower index wins, in whatever order the chunks come.
        wins = (best > self.best) | ((best == self.best) & (index < self.best_rotation))
        self.best = torch.where(wins, best, self.best)
        self.best_rotation = torch.where(wins, index, self.best_rotation)

    def finish(self) -> Tensor:
        """Return the joined logit, (...) float32.

        Raises
        ------
        ValueError
            If no rotation was added.
        """
        if self._sum is None:
            raise ValueError("no rotation was added to the stream")
        if self.how == "al1":
            return _log_expm1(self._sum.clamp(min=SMALLEST).log()).float()
        if self.how == "max":
            return self.best
        return (self._sum - math.log(self.n_rotations)).float()
