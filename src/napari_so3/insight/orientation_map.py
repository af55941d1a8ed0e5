"""Pictures of the winning rotation: hue tells which one, brightness how sure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_so3.insight.evidence import bias_of, sigmoid
from napari_so3.insight.stack import maxima

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_so3.insight.rotation_maps import RotationMaps, Rotations

Colouring = Literal["in-plane", "view"]

LIGHTNESS, CHROMA = 0.74, 0.12  # of OKLab; in the gamut of a screen for every hue
DEPTH = 0.16  # lightness of the poles over and under that of the equator
SPREAD = np.radians(110)  # how far from the middle of a few views the farthest gets its colour
ALL_OVER = 0.55  # length of the mean of views: below, they are those of half the sphere or more
REACH = 2  # map pixels: discs of half a diameter, with 20 working pixels per diameter


def colour_of_psi(psi: ArrayLike) -> NDArray[np.uint8]:
    """Give the colour of an in-plane angle: once around the hues, all equally light.

    Parameters
    ----------
    psi : array_like
        (...) degrees.

    Returns
    -------
    ndarray
        (..., 3) uint8 red, green and blue.
    """
    angle = np.radians(np.asarray(psi, dtype=np.float64))
    light = np.full_like(angle, LIGHTNESS)
    return _oklab(np.stack((light, CHROMA * np.cos(angle), CHROMA * np.sin(angle)), axis=-1))


def colour_of_view(directions: ArrayLike, among: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Give the colour of a viewing direction: hue around z, light towards +z, dark towards -z.

    The colours are continuous over the sphere. Two hues could not tell all opposite views apart
    (Borsuk-Ulam), so lightness takes part.

    Parameters
    ----------
    directions : array_like
        (..., 3) unit vectors (x, y, z).
    among : array_like, optional
        (S, 3) all views of a model. If they keep to a part of the sphere, as those of a symmetric
        map do, that part gets most of the colours.

    Returns
    -------
    ndarray
        (..., 3) uint8 red, green and blue.
    """
    views = np.asarray(directions, dtype=np.float64)
    if among is not None:
        views = _spread(views, np.asarray(among, dtype=np.float64))
    x, y, z = np.moveaxis(views, -1, 0)
    return _oklab(np.stack((LIGHTNESS + DEPTH * z, CHROMA * x, CHROMA * y), axis=-1))


def _spread(views: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move views (..., 3) away from the middle of others (S, 3), if those keep together."""
    total = among.sum(axis=0)
    length = np.linalg.norm(total)
    if length <= ALL_OVER * len(among):
        return views
    middle = total / length
    farthest = np.arccos(np.clip(among @ middle, -1, 1).min())
    if not 1e-3 < farthest < SPREAD:
        return views
    cosine = np.clip(views @ middle, -1, 1)
    angle = np.minimum(np.arccos(cosine) * (SPREAD / farthest), np.pi)[..., None]
    aside = views - cosine[..., None] * middle
    aside = aside / np.maximum(np.linalg.norm(aside, axis=-1, keepdims=True), 1e-12)
    return np.asarray(np.cos(angle) * middle + np.sin(angle) * aside)


def colours(rotations: Rotations, by: Colouring) -> NDArray[np.uint8]:
    """Give the colour of every rotation.

    Parameters
    ----------
    rotations : Rotations
        The rotations.
    by : {"in-plane", "view"}
        What the colour tells.

    Returns
    -------
    ndarray
        (R, 3) uint8 red, green and blue.

    Raises
    ------
    ValueError
        If there is no such colouring.
    """
    if by == "in-plane":
        return colour_of_psi(rotations.angles[:, 2])
    if by == "view":
        views = rotations.directions
        return np.repeat(colour_of_view(views, views), rotations.n_psi, axis=0)
    raise ValueError(f"rotations are coloured by 'in-plane' or 'view', not {by!r}")


def orientation_image(maps: RotationMaps, by: Colouring = "in-plane") -> NDArray[np.uint8]:
    """Paint the winning rotations: the colour tells which, the brightness is the probability.

    Parameters
    ----------
    maps : RotationMaps
        Of a micrograph.
    by : {"in-plane", "view"}
        What the colour tells.

    Returns
    -------
    ndarray
        (h, w, 3) uint8 red, green and blue; black where there is no particle.
    """
    sure, winner = winners(maps)
    painted = colours(maps.rotations, by).astype(np.float32)[winner] * sure[..., None]
    return np.asarray(np.rint(painted), dtype=np.uint8)


def winners(maps: RotationMaps) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Name the winning rotation of the surest place nearby.

    Peaks are a few pixels wide, and beside the top of a peak another rotation may win by a hair. So
    each pixel shows the surest place within `REACH` pixels: a particle is a disc of one rotation.

    Parameters
    ----------
    maps : RotationMaps
        Of a micrograph.

    Returns
    -------
    probability : ndarray
        (h, w) float32 calibrated probability of a particle, of the surest place nearby.
    rotation : ndarray
        (h, w) int16 rotation that wins there.
    """
    sure, winner = _surest_nearby(probability_maps(maps)[0], maps.best)
    # Once more for the rotation: the flanks of a peak reach further than its top.
    return sure, _surest_nearby(sure, winner)[1]


def _surest_nearby(
    probability: NDArray[np.float32], best: NDArray[np.int16]
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Give each pixel the largest probability in a disc around it, and the winner there."""
    height, width = probability.shape
    margins = ((REACH, REACH), (REACH, REACH))
    probability, best = np.pad(probability, margins, constant_values=-1), np.pad(best, margins)
    sure, winner = np.full((height, width), -1, np.float32), np.zeros((height, width), np.int16)
    steps = range(-REACH, REACH + 1)
    for dy, dx in itertools.product(steps, steps):
        if dy * dy + dx * dx > REACH * (REACH + 1):
            continue
        rows, cols = (slice(REACH + d, REACH + d + n) for d, n in ((dy, height), (dx, width)))
        surer = probability[rows, cols] > sure
        np.copyto(sure, probability[rows, cols], where=surer)
        np.copyto(winner, best[rows, cols], where=surer)
    return sure, winner


def probability_maps(maps: RotationMaps) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the probability of a particle from all rotations, and from the best one alone.

    Parameters
    ----------
    maps : RotationMaps
        Of a micrograph.

    Returns
    -------
    joined : ndarray
        (h, w) float32, calibrated: that of the picks.
    best : ndarray
        (h, w) float32, calibrated, as if no other rotation had anything to say.
    """
    scale, offset = maps.calibration
    best = scale * (maxima(maps.stack)[1].astype(np.float64) + bias_of(maps)) + offset
    joined = sigmoid(maps.log_odds.astype(np.float64))
    return joined.astype(np.float32), sigmoid(best).astype(np.float32)


def _oklab(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Turn OKLab colours (..., 3) into those of a screen (sRGB)."""
    cones = (lab @ TO_CONES.T) ** 3
    linear = np.clip(cones @ TO_RGB.T, 0.0, 1.0)
    light = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * light), dtype=np.uint8)


# Björn Ottosson, "A perceptual color space for image processing" (2020)
TO_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
