"""Cells of equal size on the sphere of views, and functions on them that know the symmetry.

A view is a unit vector (x, y, z) in the frame of the particle: the third row of a pose. Those of
the symmetric copies ``r g`` of a pose are ``d @ g``.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import KDTree, SphericalVoronoi

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

N_CELLS = 1200  # about 6 degrees apart
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
_NEIGHBOURS = 6  # between which a function is interpolated


class Cells(NamedTuple):
    """The cells.

    Attributes
    ----------
    directions : ndarray
        (N, 3) float64 middles, a Fibonacci lattice from +z to -z.
    areas : ndarray
        (N,) float64 shares of the sphere; they sum to 1 and differ by a few percent.
    tree : KDTree
        Of the middles.
    """

    directions: NDArray[np.float64]
    areas: NDArray[np.float64]
    tree: KDTree


def lattice(n: int) -> NDArray[np.float64]:
    """Spread views evenly over the sphere, from +z to -z: (n, 3) float64, a Fibonacci lattice."""
    s = np.arange(n)
    z, rot = 1 - (2 * s + 1) / n, s * _GOLDEN_ANGLE
    x, y = np.sqrt(1 - z**2) * np.cos(rot), np.sqrt(1 - z**2) * np.sin(rot)
    return np.stack([x, y, z], axis=1)


@cache
def cells() -> Cells:
    """Divide the sphere; the same cells at each call."""
    directions = lattice(N_CELLS)
    areas = SphericalVoronoi(directions).calculate_areas()
    return Cells(directions, areas / areas.sum(), KDTree(directions))


def count(views: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the weights (n,) of the views (n, 3) in every cell: (N,) float64."""
    counts: NDArray[np.float64] = np.bincount(cell_of(views), weights, N_CELLS).astype(np.float64)
    return counts


def cell_of(views: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find the cells (n,) of views (n, 3)."""
    return np.asarray(cells().tree.query(views)[1], dtype=np.intp)


def smoothing(group: ArrayLike, width: float) -> NDArray[np.float32]:
    """Make the matrix that turns shares of views in the cells into a smooth density.

    Parameters
    ----------
    group : array_like
        (G, 3, 3) rotations of the point group; the density is the same at symmetric views.
    width : float
        Standard deviation of the smoothing, radians.

    Returns
    -------
    ndarray
        (N, N) float32: ``shares @ smoothing(...)`` is 1 everywhere if the shares are the areas.
    """
    matrices = np.ascontiguousarray(group, dtype=np.float64)
    return _smoothing(matrices.tobytes(), width)


@lru_cache(maxsize=8)
def _smoothing(group: bytes, width: float) -> NDArray[np.float32]:
    directions, areas, _ = cells()
    middles = directions.astype(np.float32)
    total = np.zeros((N_CELLS, N_CELLS), dtype=np.float32)
    for g in np.frombuffer(group).reshape(-1, 3, 3):
        total += np.exp((middles @ g.astype(np.float32) @ middles.T - 1) / width**2)
    total /= areas.astype(np.float32) @ total
    total.flags.writeable = False
    return total


def interpolate(values: NDArray[np.floating], views: ArrayLike) -> NDArray[np.float64]:
    """Read a function on the cells between their middles.

    Parameters
    ----------
    values : ndarray
        (N,) values.
    views : array_like
        (..., 3) unit vectors.

    Returns
    -------
    ndarray
        (...) float64.
    """
    distances, found = cells().tree.query(np.asarray(views, dtype=np.float64), _NEIGHBOURS)
    spacing = np.sqrt(4 * np.pi / N_CELLS)
    weights = np.exp(-2 * (distances / spacing) ** 2)
    blended: NDArray[np.float64] = (weights * values[found]).sum(-1) / weights.sum(-1)
    return blended
