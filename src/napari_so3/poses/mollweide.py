"""The sphere of views as an ellipse: Mollweide's projection, in which areas are true.

Longitude is rot and latitude is 90 - tilt: tilt 0 is on top, tilt 180 below, rot 0 in the middle,
and rot grows to the right. On the ellipse x is in [-2, 2] to the right and y in [-1, 1] **up**.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_so3.poses.cells import interpolate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEAST_TOP = 2.0
_STEPS = 60  # at most, to find the auxiliary angle
_CLOSE = 1e-12


def to_ellipse(views: ArrayLike) -> NDArray[np.float64]:
    """Tell where views are drawn.

    Parameters
    ----------
    views : array_like
        (..., 3) unit vectors (x, y, z).

    Returns
    -------
    ndarray
        (..., 2) float64 right and up.
    """
    x, y, z = np.moveaxis(np.asarray(views, dtype=np.float64), -1, 0)
    longitude = np.arctan2(y, x)
    theta = _auxiliary(np.clip(z, -1, 1))
    return np.stack([2 / np.pi * longitude * np.cos(theta), np.sin(theta)], axis=-1)


def from_ellipse(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Tell which view is drawn at a place.

    Parameters
    ----------
    x, y : array_like
        (...) right and up.

    Returns
    -------
    ndarray
        (..., 3) float64 unit vectors; NaN outside the ellipse.
    """
    right, up = np.broadcast_arrays(np.asarray(x, dtype=np.float64), y)
    inside = (right / 2) ** 2 + up**2 <= 1
    theta = np.arcsin(np.where(inside, up, 0))
    width = np.maximum(np.cos(theta), _CLOSE)
    longitude = np.pi * np.clip(np.where(inside, right, 0) / (2 * width), -1, 1)
    z = np.clip((2 * theta + np.sin(2 * theta)) / np.pi, -1, 1)
    flat = np.sqrt(1 - z**2)
    views = np.stack([flat * np.cos(longitude), flat * np.sin(longitude), z], axis=-1)
    views[~inside] = np.nan
    return views


def _auxiliary(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve 2 theta + sin(2 theta) = pi z, for z = sin(latitude)."""
    # Near the poles the equation is flat, and Newton's steps would only halve the error there.
    low, high = np.full_like(z, -np.pi / 2), np.full_like(z, np.pi / 2)
    for _ in range(_STEPS):
        theta = (low + high) / 2
        too_high = 2 * theta + np.sin(2 * theta) > np.pi * z
        high, low = np.where(too_high, theta, high), np.where(too_high, low, theta)
    return (low + high) / 2


def draw(values: NDArray[np.floating], rows: int) -> NDArray[np.float64]:
    """Make a picture of a function on the cells of the sphere.

    Parameters
    ----------
    values : ndarray
        (N,) values, as the density of a coverage.
    rows : int
        Height in pixels.

    Returns
    -------
    ndarray
        (rows, 2 rows) float64, row 0 on top; NaN outside the ellipse.
    """
    middles = (np.arange(2 * rows) + 0.5) * 2 / rows  # of pixels, from the left or from the top
    views = from_ellipse(middles - 2, 1 - middles[:rows, None])
    inside = np.isfinite(views[..., 0])
    picture = np.full(inside.shape, np.nan)
    picture[inside] = interpolate(values, views[inside])
    return picture


def brightest(density: NDArray[np.floating]) -> float:
    """Tell which density is drawn brightest: the largest, or twice that of even views."""
    return max(LEAST_TOP, float(density.max()))


def outlines(views: ArrayLike, radius_deg: float) -> list[NDArray[np.float64]]:
    """Draw circles around views.

    Parameters
    ----------
    views : array_like
        (n, 3) unit vectors.
    radius_deg : float
        Radius, degrees.

    Returns
    -------
    list of ndarray
        Lines (m, 2) on the ellipse, right and up; a circle over the edge is of several.
    """
    return [line for d in np.asarray(views) for line in project_line(_circle(d, radius_deg))]


def project_line(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Project a line (m, 3) on the sphere; where it crosses the edge it is cut into (k, 2)."""
    drawn = to_ellipse(points)
    cuts = np.flatnonzero(np.abs(np.diff(drawn[:, 0])) > 1) + 1
    return [part for part in np.split(drawn, cuts) if len(part) > 1]


def _circle(view: NDArray[np.float64], radius_deg: float) -> NDArray[np.float64]:
    """Give the points (m, 3) of a closed circle around a view."""
    least = np.eye(3)[np.abs(view).argmin()]
    aside = np.cross(view, least)
    aside /= np.linalg.norm(aside)
    angle = np.radians(np.arange(0, 361, 6))[:, None]
    around = np.cos(angle) * aside + np.sin(angle) * np.cross(view, aside)
    radius = np.radians(radius_deg)
    return np.asarray(np.cos(radius) * view + np.sin(radius) * around)
