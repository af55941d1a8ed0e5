"""Volumes in a ball, and shells of their Fourier transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOFT_EDGE = 0.1  # of the radius, over which a ball ends


def soft_ball(size: int) -> NDArray[np.float32]:
    """Ball that touches the faces of a cube, falling from 1 to 0 at its rim.

    Parameters
    ----------
    size : int
        Edge of the cube, voxels.

    Returns
    -------
    ndarray
        (size, size, size) float32 weights.
    """
    squares = (np.arange(size) - (size - 1) / 2) ** 2
    radius = np.sqrt(squares[:, None, None] + squares[:, None] + squares) / (size / 2)
    rim = np.clip((radius - 1.0 + SOFT_EDGE) / SOFT_EDGE, 0.0, 1.0)
    weights: NDArray[np.float32] = (0.5 + 0.5 * np.cos(np.pi * rim)).astype(np.float32)
    return weights


def fourier_shell_correlation(
    a: NDArray[np.float32], b: NDArray[np.float32], voxel_size: float
) -> NDArray[np.float64]:
    """Correlate two volumes shell by shell in Fourier space.

    Parameters
    ----------
    a, b : ndarray
        (n, n, n) floats.
    voxel_size : float
        Å per voxel.

    Returns
    -------
    ndarray
        (n // 2, 2) float64: frequency in 1/Å, from the first shell to Nyquist, and correlation.
    """
    n = len(a)
    first, second = (np.fft.fftn(v - v.mean()) for v in (a, b))
    shells = _Shells(n)
    product = shells.sums((first * second.conj()).real)
    norm = np.sqrt(shells.sums(np.abs(first) ** 2) * shells.sums(np.abs(second) ** 2))
    value = product / np.maximum(norm, 1e-30)
    inside = slice(1, n // 2 + 1)
    return np.column_stack((np.arange(len(value))[inside] / (n * voxel_size), value[inside]))


def power_spectrum(volume: NDArray[np.float32], voxel_size: float) -> NDArray[np.float64]:
    """Mean power of a volume over the shells of its Fourier transform.

    Parameters
    ----------
    volume : ndarray
        (n, n, n) floats; it is padded to twice its size.
    voxel_size : float
        In any unit.

    Returns
    -------
    ndarray
        (n + 1, 2) float64: frequency from 0 to Nyquist in one over the unit, and power.
    """
    n = 2 * len(volume)
    shells = _Shells(n)
    power = shells.sums(np.abs(np.fft.fftn(volume, s=3 * [n], axes=(0, 1, 2))) ** 2)
    mean = (power / shells.sums(np.ones(3 * [n])))[: n // 2 + 1]
    return np.column_stack((np.arange(len(mean)) / (n * voxel_size), mean))


class _Shells:
    """Shells, one frequency thick, of the transform of n^3 voxels."""

    def __init__(self, n: int) -> None:
        f = (np.fft.fftfreq(n) * n) ** 2
        radius = np.sqrt(f[:, None, None] + f[:, None] + f)
        self._index = np.rint(radius).astype(np.int64).ravel()

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over each shell, the innermost first."""
        total: NDArray[np.float64] = np.bincount(self._index, values.ravel()).astype(np.float64)
        return total
