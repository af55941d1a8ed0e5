"""Which views of a particle the picks show, and whether some are preferred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincc

from napari_so3.insight.globe import angles_of
from napari_so3.poses.blur import Blur
from napari_so3.poses.cells import N_CELLS, cells, count, interpolate, smoothing
from napari_so3.poses.chance import ALARM, FINE, judge, width_for

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BINS = 36  # of in-plane angles
TYPICAL = 99  # simulated sets that tell what is typical
IN_PLANE = np.arange(1, 5)  # Fourier components in which in-plane angles are compared


@dataclass(frozen=True, eq=False)
class Coverage:
    """The views of picks; symmetric copies of a view count as one.

    Attributes
    ----------
    n : int
        Number of picks.
    group : ndarray
        (G, 3, 3) float64 point group of the particle.
    directions : ndarray
        (N, 3) float64 views, equally spread over the sphere.
    density : ndarray
        (N,) float64 density of the picks there, smoothed; 1 is that of picks which show all views
        equally often. All 1 without picks.
    even : ndarray
        (N,) float64 the same of very many picks that show all views: 1 unless the estimator of the
        poses has views of its own that it prefers.
    in_plane : ndarray
        (36,) float64 numbers of picks per 10 degrees of psi, from 0; those of symmetric copies
        count in shares. At tilt 0 and 180 psi is that of rot 0.
    share : float
        As if this share of the views were covered evenly: the exponential of the entropy of the
        density, relative to that of as many picks without preferred views. 0 to 1.
    half : float
        The smallest share of all views that half of the picks show, corrected for their number; at
        most 0.5.
    p : float
        Probability that as many picks without preferred views look as uneven.
    p_in_plane : float
        The same of in-plane angles, which nothing in the ice prefers.
    power : float
        Probability that a p below 0.01 would be found if half of all views were missing.
    clarity : float
        Of the estimator, see `Blur`.
    """

    n: int
    group: NDArray[np.float64]
    directions: NDArray[np.float64]
    density: NDArray[np.float64]
    even: NDArray[np.float64]
    in_plane: NDArray[np.float64]
    share: float = 1.0
    half: float = 0.5
    p: float = 1.0
    p_in_plane: float = 1.0
    power: float = 0.0
    clarity: float = 1.0

    @property
    def is_preferred(self) -> bool:
        """Whether chance hardly makes views so uneven."""
        return self.p < ALARM

    @property
    def effective_views(self) -> float:
        """Number of views, about 6 degrees apart, that are as good as covered evenly."""
        return self.share * N_CELLS / len(self.group)

    @property
    def peak(self) -> tuple[float, float]:
        """The rot and tilt of the most frequent view, degrees."""
        rot, tilt = angles_of(self.directions[self.density.argmax()])
        return float(rot), float(tilt)

    @property
    def has_axis(self) -> bool:
        """Whether the symmetry tells top views from side views (C2 and up, D2 and up)."""
        return len(self.group) > 1 and bool(np.allclose(np.abs(self.group[:, 2, 2]), 1))

    def at(self, views: ArrayLike) -> NDArray[np.float64]:
        """Read the density at views (..., 3)."""
        return interpolate(self.density, views)


def view_coverage(
    matrices: NDArray[np.floating],
    group: ArrayLike,
    weights: ArrayLike | None = None,
    blur: Blur | None = None,
) -> Coverage:
    """Count the views of picks, and compare them with those of simulated ones.

    Parameters
    ----------
    matrices : ndarray
        (n, 3, 3) poses, particle to image.
    group : array_like
        (G, 3, 3) rotations of the point group, as those of `symmetry_group`.
    weights : array_like, optional
        (n,) how much every pick counts, not negative.
    blur : Blur, optional
        Of the estimator of the poses; by default they have no errors.

    Returns
    -------
    Coverage
        What they cover.

    Raises
    ------
    ValueError
        The matrices or the weights have another shape.
    """
    blur = blur or Blur()
    rotations, copies = np.asarray(group, dtype=np.float64), np.asarray(matrices, dtype=np.float64)
    w = np.ones(len(copies)) if weights is None else np.asarray(weights, dtype=np.float64)
    if copies.shape[1:] != (3, 3) or w.shape != (len(copies),):
        raise ValueError(f"poses are (n, 3, 3) and weights (n,), not {copies.shape}, {w.shape}")
    directions = cells().directions
    if w.sum() <= 0:
        even = np.ones(N_CELLS)
        return Coverage(0, rotations, directions, even, even, np.zeros(BINS), clarity=blur.clarity)
    kernel = smoothing(rotations, width_for(FINE, len(rotations)))
    shares = count(copies[:, 2], w / w.sum())
    worth = max(1, round(w.sum() ** 2 / (w**2).sum()))  # picks that all count the same
    chance = judge(shares, worth, rotations, blur)
    by_chance = chance.even[:TYPICAL].astype(np.float32) @ kernel
    density = shares @ kernel
    psi, p_in_plane = _in_plane(copies, rotations, w)
    return Coverage(
        len(copies), rotations, directions, density, chance.expected @ kernel, psi,
        share=min(1.0, float(_share(density) / np.median(_share(by_chance)))),
        half=min(0.5, float(0.5 * _half(density) / np.median(_half(by_chance)))),
        p=chance.p, p_in_plane=p_in_plane, power=chance.power, clarity=blur.clarity,
    )  # fmt: skip


def picks_near(
    matrices: NDArray[np.floating], direction: ArrayLike, radius_deg: float, group: ArrayLike
) -> NDArray[np.intp]:
    """Find the picks that show a view, or a symmetric copy of it.

    Parameters
    ----------
    matrices : ndarray
        (n, 3, 3) poses.
    direction : array_like
        (3,) unit vector.
    radius_deg : float
        How far their views may be from it, degrees.
    group : array_like
        (G, 3, 3) point group.

    Returns
    -------
    ndarray
        Indices, in ascending order.
    """
    wanted = np.asarray(group, dtype=np.float64) @ np.asarray(direction, dtype=np.float64)
    views = np.asarray(matrices, dtype=np.float64)[:, 2]
    nearest = (views @ wanted.T).max(axis=1, initial=-1)
    return np.flatnonzero(nearest >= np.cos(np.radians(radius_deg)))


def _share(density: NDArray[np.floating]) -> NDArray[np.float64]:
    """Exponential of the entropy of densities (..., N), relative to an even one."""
    logs = density * np.log(np.maximum(density, 1e-12))
    share: NDArray[np.float64] = np.exp(-(logs @ cells().areas))
    return share


def _half(density: NDArray[np.floating]) -> NDArray[np.float64]:
    """Smallest share of the sphere with half of the picks, of densities (..., N)."""
    order = np.argsort(-density, axis=-1)
    areas = cells().areas[order]
    mass = np.cumsum(np.take_along_axis(density, order, axis=-1) * areas, axis=-1)
    inside = mass <= 0.5 * mass[..., -1:]
    share: NDArray[np.float64] = (areas * inside).sum(axis=-1)
    return share


def _in_plane(
    matrices: NDArray[np.float64], group: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Count in-plane angles (36,), and tell the probability that they are so uneven by chance."""
    copies = matrices[:, None] @ group  # (n, G, 3, 3)
    # The third column is (-sin tilt cos psi, sin tilt sin psi, cos tilt).
    psi = np.arctan2(copies[..., 1, 2], -copies[..., 0, 2])
    bins = np.floor(psi % (2 * np.pi) * BINS / (2 * np.pi)).astype(np.intp) % BINS
    shares = np.broadcast_to(weights[:, None] / len(group), psi.shape)
    counts = np.bincount(bins.ravel(), shares.ravel(), BINS).astype(np.float64)
    waves = np.exp(1j * psi[..., None] * IN_PLANE).mean(axis=1) * weights[:, None]
    variance = (np.abs(waves) ** 2).sum(axis=0)
    # What symmetric copies cancel says nothing; the power of the others is that of random walks.
    alive = variance > 1e-6 * (weights**2).sum()
    powers = np.abs(waves.sum(axis=0)[alive]) ** 2 / variance[alive]
    return counts, float(gammaincc(alive.sum(), powers.sum())) if alive.any() else 1.0
