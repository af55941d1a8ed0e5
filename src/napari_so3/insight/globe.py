"""A globe of viewing directions, and a dial of in-plane angles: where things are on the screen.

Directions are unit vectors (x, y, z) in the right-handed frame of the model. The globe is seen from
outside, from far away: +z (tilt 0) is the north pole and on top, and rot grows eastwards, to the
right. On the screen x grows to the right and y **up**; the radius of the globe is 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

GRATICULE = 30  # degrees between two lines


def angles_of(directions: ArrayLike) -> NDArray[np.float64]:
    """Tell the rot and tilt of directions.

    Parameters
    ----------
    directions : array_like
        (..., 3) vectors x, y, z.

    Returns
    -------
    ndarray
        (..., 2) float64, degrees: rot in [0, 360), tilt in [0, 180].
    """
    x, y, z = np.moveaxis(np.asarray(directions, dtype=np.float64), -1, 0)
    tilt = np.degrees(np.arctan2(np.hypot(x, y), z))
    return np.stack([np.degrees(np.arctan2(y, x)) % 360.0, tilt], axis=-1)


def camera(rot: float, tilt: float) -> NDArray[np.float64]:
    """Look at the globe from where a direction points.

    Parameters
    ----------
    rot, tilt : float
        Of the direction that comes to the middle, degrees.

    Returns
    -------
    ndarray
        (3, 3) rotation; its rows are what is right, up and towards the observer.
    """
    a, b = np.radians(rot), np.radians(tilt)
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    north = np.array([-np.cos(b) * np.cos(a), -np.cos(b) * np.sin(a), np.sin(b)])
    return np.stack([east, north, np.cross(east, north)])


def drag(rot: float, tilt: float, right: float, up: float) -> tuple[float, float]:
    """Turn the globe so that its surface follows the mouse.

    Parameters
    ----------
    rot, tilt : float
        Of the direction in the middle, degrees.
    right, up : float
        What the mouse has moved, radii of the globe.

    Returns
    -------
    rot, tilt : float
        The new ones; north stays on top.
    """
    turned = (rot - np.degrees(right)) % 360.0
    return float(turned), float(np.clip(tilt + np.degrees(up), 0.0, 180.0))


def nearest(on_screen: NDArray[np.float64], x: float, y: float, reach: float) -> int | None:
    """Find the point on the front of the globe that is nearest to the mouse.

    Parameters
    ----------
    on_screen : ndarray
        (n, 3) points right, up and towards the observer: directions times `camera`, transposed.
    x, y : float
        The mouse, right and up of the middle.
    reach : float
        How far away it may be.

    Returns
    -------
    int or None
        None if there is none so near.
    """
    away = np.hypot(on_screen[:, 0] - x, on_screen[:, 1] - y)
    away[on_screen[:, 2] < 0] = np.inf
    found = int(away.argmin()) if len(away) else 0
    return found if len(away) and away[found] <= reach else None


def graticule() -> list[NDArray[np.float64]]:
    """Draw circles of latitude and meridians every `GRATICULE` degrees.

    Returns
    -------
    list of ndarray
        Lines, each (n, 3) points on the sphere; the first one is the equator.
    """
    tilts = [90, *(t for t in range(GRATICULE, 180, GRATICULE) if t != 90)]
    around, along = np.arange(0.0, 361.0, 10.0), np.arange(0.0, 181.0, 10.0)
    circles = [_points(around, np.full_like(around, tilt)) for tilt in tilts]
    meridians = [_points(np.full_like(along, rot), along) for rot in range(0, 360, GRATICULE)]
    return [*circles, *meridians]


def _points(rot: NDArray[np.float64], tilt: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = np.radians(rot), np.radians(tilt)
    return np.stack([np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), np.cos(b)], axis=-1)


def needle(psi: ArrayLike) -> NDArray[np.float64]:
    """Tell where the needle of the dial points: it turns as the particle does in the picture.

    With psi 90 degrees larger, a particle in a picture whose row 0 is on top is turned by a quarter
    against the clock (``np.rot90``). At psi 0 the needle points to the right.

    Parameters
    ----------
    psi : array_like
        (...) degrees.

    Returns
    -------
    ndarray
        (..., 2) float64, right and up.
    """
    a = np.radians(np.asarray(psi, dtype=np.float64))
    return np.stack([np.cos(a), np.sin(a)], axis=-1)


def psi_at(x: float, y: float) -> float:
    """Tell the psi, in [0, 360), whose needle points so much to the right and up."""
    return float(np.degrees(np.arctan2(y, x)) % 360.0)
