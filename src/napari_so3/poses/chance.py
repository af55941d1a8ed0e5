"""What numbers of particles would show by chance if all views were equally frequent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.poses.cells import cells, smoothing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.poses.blur import Blur

SIMULATED = 999  # sets of particles
WIDTH = 0.35  # radians: the test looks at broad features, and not at the grid of an estimator
FINE = 0.15  # radians: smoothing of the density that is shown
WITHIN = 0.33  # of the size of the asymmetric unit: the most that is smoothed away
ALARM = 0.01  # how often views that are even are called preferred


def width_for(width: float, order: int) -> float:
    """Make a smoothing narrow enough for the asymmetric unit of a group of so many rotations."""
    return min(width, WITHIN * float(np.sqrt(4 * np.pi / order)))


def unevenness(
    shares: NDArray[np.float64], expected: NDArray[np.float64], group: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure how far the density of views is from the expected one.

    Parameters
    ----------
    shares : ndarray
        (..., N) shares of the views in the cells.
    expected : ndarray
        (..., N) expected ones.
    group : ndarray
        (G, 3, 3) point group.

    Returns
    -------
    ndarray
        (...) mean squared difference of the smoothed densities over the sphere.
    """
    kernel = smoothing(group, width_for(WIDTH, len(group)))
    difference = (shares - expected).astype(np.float32) @ kernel
    measured: NDArray[np.float64] = difference.astype(np.float64) ** 2 @ cells().areas
    return measured


def draw(n: int, shares: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Simulate sets of `n` particles: (SIMULATED, N) shares in the cells; the same for a seed."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(n, shares, size=SIMULATED) / n


def half_missing(group: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the shares (N,) of cells if half of all views were missing: those far from z."""
    directions, areas, _ = cells()
    nearness = (directions @ group[:, :, 2].T).max(axis=1)  # to the nearest symmetric copy of z
    order = np.argsort(-nearness)
    shares = np.zeros_like(areas)
    kept = order[np.cumsum(areas[order]) <= 0.5]
    shares[kept] = areas[kept]
    return np.asarray(shares / shares.sum())


@dataclass(frozen=True)
class Chance:
    """Whether views are as even as chance allows.

    Attributes
    ----------
    p : float
        Probability that as many particles without preferred views look as uneven as these.
    power : float
        Probability that it would be noticed (p below `ALARM`) if half of all views were missing.
    even : ndarray
        (SIMULATED, N) shares in the cells of the particles without preferred views.
    expected : ndarray
        (N,) shares that very many of them would have.
    """

    p: float
    power: float
    even: NDArray[np.float64]
    expected: NDArray[np.float64]


def judge(
    shares: NDArray[np.float64],
    n: int,
    group: NDArray[np.float64],
    blur: Blur,
) -> Chance:
    """Compare the views of particles with simulated ones.

    Parameters
    ----------
    shares : ndarray
        (N,) shares of the views in the cells.
    n : int
        Number of particles, at least one.
    group : ndarray
        (G, 3, 3) point group.
    blur : Blur
        Of the estimator of the poses.

    Returns
    -------
    Chance
        The comparison.
    """
    expected = known = cells().areas if blur.expected is None else blur.expected
    even = draw(n, expected, seed=0)
    if blur.measured:  # what is expected is known from so many only
        known = draw(blur.measured, expected, seed=2)
    by_chance = unevenness(even, known, group)
    p = (1 + np.sum(by_chance >= unevenness(shares, expected, group))) / (1 + SIMULATED)
    seen = blur.clarity * half_missing(group) + (1 - blur.clarity) * expected
    noticed = unevenness(draw(n, seen, seed=1), expected, group)
    power = np.mean(noticed > np.quantile(by_chance, 1 - ALARM))
    return Chance(float(p), float(power), even, expected)
