"""What an estimator of poses does to the views of particles: errors, and views that it prefers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from napari_so3.poses.cells import N_CELLS, cell_of, smoothing
from napari_so3.poses.chance import WIDTH, width_for

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

DRAWN = 6000  # poses that tell what a grid does


@dataclass(frozen=True, eq=False)
class Blur:
    """What an estimator does to views; by default nothing.

    Attributes
    ----------
    clarity : float
        What it leaves of an unevenness, from 0 (guesses) to 1 (no errors).
    expected : ndarray or None
        (N,) shares of the cells of views that it finds where all views are equally frequent; None
        if it has no views of its own that it prefers.
    measured : int
        Number of particles from which these shares are known.
    """

    clarity: float = 1.0
    expected: NDArray[np.float64] | None = None
    measured: int = 0


def measure_blur(
    predicted: NDArray[np.floating], true: NDArray[np.floating], group: ArrayLike
) -> Blur:
    """Measure what an estimator does to the views of particles.

    Parameters
    ----------
    predicted : ndarray
        (m, 3, 3) poses that it gives to simulated particles; more than there will be picks.
    true : ndarray
        (m, 3, 3) their poses, uniform on SO(3).
    group : array_like
        (G, 3, 3) point group.

    Returns
    -------
    Blur
        For `view_coverage`.
    """
    rotations = np.asarray(group, dtype=np.float64)
    kernel = smoothing(rotations, width_for(WIDTH, len(rotations)))
    found, there = (cell_of(np.asarray(m)[:, 2]) for m in (predicted, true))
    excess = kernel[found, there].mean() - 1
    clarity = float(np.clip(excess / (kernel[there, there].mean() - 1), 0, 1))
    return Blur(clarity, np.bincount(found, minlength=N_CELLS) / len(found), len(found))


def blur_of_confidence(confidence: NDArray[np.floating]) -> Blur:
    """Take poses for right as often as their probabilities (n,) say; NaN is not known."""
    known = confidence[np.isfinite(confidence)]
    return Blur(float(known.mean())) if len(known) else Blur()


def blur_of_grid(grid: NDArray[np.floating], group: ArrayLike) -> Blur:
    """Tell what becomes of views if poses are only those of a grid, as those of a matcher.

    Parameters
    ----------
    grid : ndarray
        (R, 3, 3) rotations.
    group : array_like
        (G, 3, 3) point group.

    Returns
    -------
    Blur
        Of an estimator that always finds the nearest one.
    """
    rotations, known = np.asarray(group, dtype=np.float64), np.asarray(grid, dtype=np.float64)
    quaternions = np.random.default_rng(0).normal(size=(DRAWN, 4))
    true = Rotation.from_quat(quaternions).as_matrix()
    best, nearest = np.full(DRAWN, -2.0), np.zeros(DRAWN, dtype=np.intp)
    for g in rotations:  # the trace of a^T b is largest at the smallest angle
        traces = true.reshape(-1, 9) @ (known @ g).reshape(-1, 9).T
        nearest = np.where(traces.max(axis=1) > best, traces.argmax(axis=1), nearest)
        best = np.maximum(best, traces.max(axis=1))
    return measure_blur(known[nearest], true, rotations)
