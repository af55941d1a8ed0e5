"""What a pose network says of its images: a weight for each of many poses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAR = np.radians(15.0)  # poses within this are one, up to what matters
AT_ONCE = 64  # images whose poses are compared


@dataclass(frozen=True, eq=False)
class PoseDistribution:
    """Distributions over poses, one per image.

    Parameters
    ----------
    logits : ndarray
        (n, R).
    matrices : ndarray
        (n, R, 3, 3) float64 pose that each rotation of the grid stands for in this image.
    group : ndarray
        (G, 3, 3) float64 symmetry; a pose times an element is the same pose.
    spread : float
        Standard deviation of a pose about the truth along each of three axes, radians, given that
        it is the right one.
    """

    logits: NDArray[np.floating[Any]]
    matrices: NDArray[np.float64]
    group: NDArray[np.float64]
    spread: float = 0.1

    def __len__(self) -> int:
        return len(self.logits)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(n, R) float64; rows sum to 1."""
        shifted = self.logits.astype(np.float64)
        weights = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        out: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
        return out

    @property
    def entropy(self) -> NDArray[np.float64]:
        """(n,) float64 entropy of the probabilities, nats."""
        p = self.probabilities
        terms = -p * np.log(np.where(p > 0, p, 1.0))
        return np.asarray(terms.sum(axis=1))

    @property
    def effective_number(self) -> NDArray[np.float64]:
        """(n,) float64 number of equally likely rotations with the same entropy."""
        return np.exp(self.entropy)

    def top(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Find the likeliest poses that are apart from each other.

        The likeliest rotation gathers all poses within 15 degrees: their mean, weighted and up to
        symmetry, is the first pose and the sum of their probabilities its share. The rest is
        treated likewise.

        Parameters
        ----------
        k : int
            How many.

        Returns
        -------
        poses : ndarray
            (n, k, 3, 3) float64, NaN where there are fewer.
        shares : ndarray
            (n, k) float64, falling; 0 where there are fewer.
        """
        n = len(self)
        poses, shares = np.full((n, k, 3, 3), np.nan), np.zeros((n, k))
        for first in range(0, n, AT_ONCE):
            part = slice(first, first + AT_ONCE)
            poses[part], shares[part] = self._top(part, k)
        order = np.argsort(-shares, axis=1, kind="stable")
        return (
            np.take_along_axis(poses, order[..., None, None], axis=1),
            np.take_along_axis(shares, order, axis=1),
        )

    def _top(self, part: slice, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        left, matrices = self.probabilities[part].copy(), self.matrices[part]
        rows = np.arange(len(left))
        poses, shares = np.full((len(left), k, 3, 3), np.nan), np.zeros((len(left), k))
        for i in range(k):
            centre = matrices[rows, left.argmax(axis=1)]  # (n, 3, 3)
            copies, angles = self._nearest_copies(matrices, centre)
            weights = np.where(angles <= NEAR, left, 0.0)
            shares[:, i] = weights.sum(axis=1)
            some = shares[:, i] > 1e-9
            if some.any():
                mean = np.einsum("nr,nrij->nij", weights[some], copies[some])
                poses[some, i] = _nearest_rotation(mean)
            left = np.where(angles <= NEAR, 0.0, left)
        return poses, shares

    def _nearest_copies(
        self, matrices: NDArray[np.float64], centre: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Find the copies of poses (n, R, 3, 3) nearest to one (n, 3, 3), and how far they are."""
        turned = np.swapaxes(centre, 1, 2)[:, None] @ matrices  # (n, R, 3, 3): centre^T m
        traces = np.einsum("nrij,gji->nrg", turned, self.group)
        which = traces.argmax(axis=2)
        trace = np.take_along_axis(traces, which[..., None], axis=2)[..., 0]
        angles = np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))
        return matrices @ self.group[which], angles

    @property
    def mode(self) -> NDArray[np.float64]:
        """(n, 3, 3) float64 likeliest pose."""
        return self.top(1)[0][:, 0]

    def density(self, rotations: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate the density on SO(3): a bell of width `spread` about every pose.

        Parameters
        ----------
        rotations : ndarray
            (m, 3, 3) rotations.

        Returns
        -------
        ndarray
            (n, m) float64, 1 on average over all rotations: relative to no knowledge.
        """
        kappa = 1.0 / (2.0 * self.spread**2)
        out = np.zeros((len(self), len(rotations)))
        normal = _bell_mean(kappa)
        for g in self.group:
            flat = (rotations @ g.T).reshape(len(rotations), 9)
            for i, (p, poses) in enumerate(zip(self.probabilities, self.matrices, strict=True)):
                cosine = (poses.reshape(-1, 9) @ flat.T - 1.0) / 2.0  # (R, m)
                out[i] += p @ np.exp(2.0 * kappa * (cosine - 1.0)) / normal
        return out / len(self.group)


def _bell_mean(kappa: float) -> float:
    """Mean of ``exp(2 kappa (cos angle - 1))`` over SO(3)."""
    t = (np.arange(20_000) + 0.5) * np.pi / 20_000
    share = (1.0 - np.cos(t)) / np.pi * (np.pi / len(t))
    return float((np.exp(2.0 * kappa * (np.cos(t) - 1.0)) * share).sum())


def _nearest_rotation(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations nearest to sums of rotations (n, 3, 3)."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., -1] *= np.linalg.det(u @ vt)[..., None]
    return np.asarray(u @ vt)
