"""Averages of crops that are turned as their poses say, and how much of the particle they show.

Crops of one view (all side views, all top views) are turned in plane until they lie as that view
does, and averaged. Poses that are wrong give a blur, or the average of crops that are not turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import map_coordinates

from napari_so3.insight.averages import sample
from napari_so3.poses.poses import angles_to_matrices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

NEIGHBOURS = (-2, -1, 1, 2)  # orders that an angular order is compared with


@dataclass(frozen=True)
class View:
    """A view of a particle, and what counts as one.

    Parameters
    ----------
    name : str
        Such as ``"side"``.
    rot, tilt, psi : float
        RELION angles of the view, degrees.
    radius : float
        Views this far away still count, degrees.
    """

    name: str
    rot: float
    tilt: float
    psi: float = 0.0
    radius: float = 20.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) float64 rotation, reference to image."""
        matrix: NDArray[np.float64] = angles_to_matrices(
            np.array([[self.rot, self.tilt, self.psi]])
        )[0]
        return matrix


# Of a particle with axis z, which is upright in the side view.
TOP, SIDE = View("top", 0.0, 0.0), View("side", 0.0, 90.0, 90.0)


@dataclass(frozen=True, eq=False)
class ViewAverage:
    """Mean of the crops of one view.

    Parameters
    ----------
    turned, plain : ndarray
        (n, n) float32: of the crops turned as their poses say, and of the same crops as they are,
        both moved to their centres. All 0 where there are none.
    rows : ndarray
        (m,) int64, which crops they are.
    """

    turned: NDArray[np.float32]
    plain: NDArray[np.float32]
    rows: NDArray[np.int64]


def turns_to_view(
    matrices: NDArray[np.float64], view: NDArray[np.float64], group: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find how images must be turned in plane to lie as a view does.

    Parameters
    ----------
    matrices : ndarray
        (n, 3, 3) poses, reference to image.
    view : ndarray
        (3, 3) rotation of the view.
    group : ndarray
        (G, 3, 3) rotations that leave the particle unchanged; of its copies, the nearest counts.

    Returns
    -------
    turns : ndarray
        (n,) degrees, in the sense of ``np.rot90(image, +1)``.
    away : ndarray
        (n,) rotation that is left after the turn, degrees in [0, 180]: how far the views are apart.
    """
    # Turned by a, the trace of Rz(a) m with m = pose g view^T is cosine * cos(a) + sine * sin(a)
    # + m[2, 2]; where it is largest, the angle that is left is smallest.
    between = np.einsum("nij,gjk,lk->ngil", matrices, group, view, optimize=True)
    cosine = between[..., 0, 0] + between[..., 1, 1]
    sine = between[..., 0, 1] - between[..., 1, 0]
    trace = np.hypot(cosine, sine) + between[..., 2, 2]
    best = trace.argmax(axis=1)[:, None]
    angle = np.arctan2(*(np.take_along_axis(v, best, 1)[:, 0] for v in (sine, cosine)))
    left = np.arccos(np.clip((np.take_along_axis(trace, best, 1)[:, 0] - 1) / 2, -1, 1))
    return -np.degrees(angle), np.degrees(left)


def average_view(
    crops: Sequence[NDArray[np.float32]] | NDArray[np.float32],
    matrices: NDArray[np.float64],
    group: NDArray[np.float64],
    view: View,
    size: int,
    shifts: ArrayLike | None = None,
) -> ViewAverage:
    """Average the crops that show one view.

    Parameters
    ----------
    crops : sequence of ndarray
        n images (h, w); about 1.5 times as wide as the average, so that corners are not mirrored.
    matrices : ndarray
        (n, 3, 3) their poses; those with NaN are left out.
    group : ndarray
        (G, 3, 3) rotations that leave the particle unchanged. Those of a rounder one (D28 for D7)
        join views that differ by less than is seen, such as all side views of a barrel.
    view : View
        Which view.
    size : int
        Edge of the average, pixels.
    shifts : array_like, optional
        (n, 2) y and x from the middle of each crop to the particle's centre, pixels; 0 by default.

    Returns
    -------
    ViewAverage
        Of the crops within ``view.radius``.
    """
    known = np.flatnonzero(np.isfinite(matrices).all(axis=(1, 2)))
    turns, away = turns_to_view(matrices[known], view.matrix, group)
    near = away <= view.radius
    rows = known[near]
    offsets = np.zeros((len(crops), 2)) if shifts is None else np.asarray(shifts, np.float64)
    sums = np.zeros((2, size, size))
    for row, turn in zip(rows, turns[near], strict=True):
        crop = crops[row]
        middle = [(n - 1) / 2 + offset for n, offset in zip(crop.shape, offsets[row], strict=True)]
        for i, angle in enumerate((float(turn), 0.0)):
            sums[i] += sample(crop, (middle[0], middle[1]), (1.0, 1.0), size, angle)
    turned, plain = (sums / max(len(rows), 1)).astype(np.float32)
    return ViewAverage(turned, plain, rows)


def ring_contrast(image: NDArray[np.float32], period: float, width: float) -> float:
    """Measure rings that are stacked along the vertical axis, such as those of a barrel's side.

    Parameters
    ----------
    image : ndarray
        (n, n) average, the axis of the rings vertical, centred.
    period : float
        Distance of two rings, pixels.
    width : float
        How much of the image about its vertical middle line is looked at, pixels; along the line,
        four periods are.

    Returns
    -------
    float
        Amplitude of the modulation along the axis with that period, in the units of the image. Its
        rotational average, which crops that are not turned have as well, and the slow shape of the
        particle are taken out before.
    """
    axis = np.arange(len(image)) - (len(image) - 1) / 2
    straight = image - rotational_average(image)
    profile = straight[:, np.abs(axis) <= width / 2].mean(axis=1, dtype=np.float64)
    inside = np.abs(axis) <= 2 * period
    along, profile = axis[inside], profile[inside]
    wave = np.exp(2j * np.pi * along / period)
    # Fitted together with a parabola, so that a smooth blob has no rings.
    basis = np.stack([np.ones_like(along), along, along**2, wave.real, wave.imag], axis=1)
    found = np.linalg.lstsq(basis, profile, rcond=None)[0]
    return float(np.hypot(found[3], found[4]))


def rotational_average(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give every pixel of an image (n, n) the mean of the circle about the middle that it is on."""
    axis = np.arange(len(image)) - (len(image) - 1) / 2
    radius = np.hypot(axis[:, None], axis)
    means = _circles(image, np.arange(radius.max() + 2)).mean(axis=1)
    out: NDArray[np.float64] = np.interp(radius, np.arange(len(means)), means)
    return out


def angular_power(
    image: NDArray[np.float32], order: int, inner: float, outer: float
) -> tuple[float, float]:
    """Measure an n-fold ring, such as a barrel from the top.

    Parameters
    ----------
    image : ndarray
        (n, n) average, centred.
    order : int
        7 for a seven-fold ring; at least 3.
    inner, outer : float
        Radii between which it is looked at, pixels.

    Returns
    -------
    power : float
        Mean square of the image's variation of that order along circles.
    others : float
        Mean of the same over the four neighbouring orders, which noise and other blur have alike.
    """
    radii = np.arange(inner, outer + 1e-6, 0.5)
    circles = _circles(image, radii)
    powers = 2 * np.abs(np.fft.rfft(circles, axis=1) / circles.shape[1]) ** 2
    mean = (powers * radii[:, None]).sum(axis=0) / radii.sum()
    return float(mean[order]), float(np.mean([mean[order + away] for away in NEIGHBOURS]))


def _circles(image: NDArray[np.float32], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample circles about the middle of an image: (r, 128); beyond its border, it goes on."""
    centre = (len(image) - 1) / 2
    angles = np.arange(128) * (2 * np.pi / 128)
    at = [centre + radii[:, None] * along(angles) for along in (np.sin, np.cos)]
    out: NDArray[np.float64] = map_coordinates(image.astype(np.float64), at, mode="nearest")
    return out
