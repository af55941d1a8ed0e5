"""Whether coordinates fit a micrograph as they are, or turned, exchanged or shifted.

Programs disagree on the edge that y is counted from and on the corner or centre of a box, and files
do not say what they mean. The micrograph tells: at particles it is darker than around them, or a
picker has found something there. The evidence at the coordinates as they are is compared with that
at the same coordinates read in another way.

Criterion: for every particle the evidence of a reading minus the evidence as they are; a place
outside of the micrograph has none, 0. Another reading is clearly better where a one-sided t test of
these differences has p < `CHANCE`, shared among the readings, and the mean evidence of the reading
is at least `LEAST_EVIDENCE` and twice that of the coordinates as they are, be this positive or
negative: around bright particles it is dark as well. Neighbouring particles are not quite
independent, which is why `CHANCE` is as small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, stats
from scipy.signal import fftconvolve
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CHANCE = 1e-5
LEAST_EVIDENCE = 0.3  # standard deviations of the evidence over the micrograph
LEAST_POINTS = 8
SURE = 5.0  # standard errors of the evidence
BOX = 1.5  # diameters, where the coordinates do not tell their box
AS_THEY_ARE = "as they are"
READINGS = {
    AS_THEY_ARE: "as they are",
    "y turned": "with y counted from the opposite edge",
    "x turned": "with x counted from the opposite edge",
    "both turned": "with x and y counted from the opposite edges",
    "exchanged": "with x and y exchanged",
    "corners": "as corners of boxes, whose centres are half a box further",
    "shifted": "with half a box taken off x and y",
}
_BINNED = 8  # pixels that a diameter has after binning
_CLIP = 5.0  # robust standard deviations of binned pixels
_GRID = 64  # places along an axis that tell what evidence is anywhere
_RING = 1.6  # outer diameter of the ring around a particle, diameters


@dataclass(frozen=True)
class ReadingFit:
    """How well one reading of coordinates fits.

    Attributes
    ----------
    evidence, error : float
        Mean evidence in standard deviations over the micrograph, and its standard error; random
        places have 0.
    chance : float
        One-sided p of being no better than the coordinates as they are; 1 for these.
    """

    evidence: float
    error: float
    chance: float


@dataclass(frozen=True)
class OrientationCheck:
    """How coordinates fit a micrograph in every reading.

    Attributes
    ----------
    readings : dict of str to ReadingFit
        By key of `READINGS`.
    best : str
        Key of the reading to believe: another than "as they are" only where it is clearly better.
    points, outside : int
        Number of coordinates, and of those outside of the micrograph as they are.
    """

    readings: dict[str, ReadingFit]
    best: str
    points: int
    outside: int

    def sentence(self) -> str:
        """Say what to think of the coordinates."""
        if self.points < LEAST_POINTS:
            return f"{self.points} coordinates are too few to tell whether they fit the micrograph."
        here, best = self.readings[AS_THEY_ARE], self.readings[self.best]
        if self.best != AS_THEY_ARE:
            return (
                f"Read {READINGS[self.best]}, the coordinates fit the micrograph much better "
                f"(evidence of particles {_figure(best)}, against {_figure(here)} as they are)."
            )
        lost = f"; {self.outside} of {self.points} are outside of it" if self.outside else ""
        if here.evidence > SURE * here.error:
            return f"The coordinates fit the micrograph as they are{lost}."
        if here.evidence < -SURE * here.error and here.evidence < -LEAST_EVIDENCE:
            return (
                "The coordinates are on places without particles, or the particles are bright in "
                f"this micrograph (evidence of dark ones {_figure(here)}){lost}."
            )
        return (
            "The micrograph does not tell whether the coordinates fit: they are on particles no "
            f"more than random places, in every reading ({_figure(here)} as they are){lost}."
        )


def _figure(fit: ReadingFit) -> str:
    return f"{fit.evidence:.2f} ± {fit.error:.2f}"


def check_orientation(
    image_or_scores: NDArray[np.generic] | pd.DataFrame,
    coordinates: pd.DataFrame,
    diameter_px: float,
    shape: tuple[int, int] | None = None,
) -> OrientationCheck:
    """Compare coordinates with a micrograph in every reading that programs use.

    Parameters
    ----------
    image_or_scores : ndarray or DataFrame
        The micrograph, (ny, nx), particles dark; or the candidates of a picker on it, with x, y and
        score or logit, whose scores within a quarter diameter are the evidence.
    coordinates : DataFrame
        x and y, pixels; with box (pixels) where it is known, else `BOX` diameters.
    diameter_px : float
        Longest diameter of the particle, pixels.
    shape : (int, int), optional
        Rows and columns of the micrograph; needed with candidates.

    Returns
    -------
    OrientationCheck
        Evidence of each reading, and the best one.

    Raises
    ------
    ValueError
        The diameter is not positive, the image is not 2D, or candidates come without shape.
    """
    if not diameter_px > 0:
        raise ValueError(f"a diameter of {diameter_px} pixels is not positive")
    points = coordinates[["y", "x"]].to_numpy(np.float64)
    edge = float(coordinates["box"].median()) if "box" in coordinates else BOX * diameter_px
    if isinstance(image_or_scores, np.ndarray):
        if image_or_scores.ndim != 2:
            raise ValueError(f"an image of {image_or_scores.ndim} dimensions is no micrograph")
        shape = (image_or_scores.shape[0], image_or_scores.shape[1])
        evidence: _Darkness | _Candidates = _Darkness(image_or_scores, diameter_px)
    elif shape is None:
        raise ValueError("candidates do not tell the shape of the micrograph")
    else:
        evidence = _Candidates(image_or_scores, diameter_px, shape)
    values = {}
    for reading in READINGS:
        places = read_as(points, reading, shape, edge)
        inside = ((places >= -0.5) & (places <= np.array(shape) - 0.5)).all(axis=1)
        values[reading] = np.where(inside, evidence.at(places), 0.0)
        if reading == AS_THEY_ARE:
            outside = int((~inside).sum())
    return _judge(values, len(points), outside)


def read_as(
    points: NDArray[np.float64], reading: str, shape: tuple[int, int], box: float
) -> NDArray[np.float64]:
    """Read coordinates in another way.

    Parameters
    ----------
    points : ndarray
        (n, 2) y and x, pixels.
    reading : str
        Key of `READINGS`.
    shape : (int, int)
        Rows and columns of the micrograph.
    box : float
        Edge of the boxes, pixels.

    Returns
    -------
    ndarray
        (n, 2) y and x.
    """
    if reading == "exchanged":
        return points[:, ::-1]
    if reading in ("corners", "shifted"):
        return points + (box / 2 if reading == "corners" else -box / 2)
    turned = np.array([reading in (f"{axis} turned", "both turned") for axis in "yx"])
    return np.where(turned, np.array(shape) - 1.0 - points, points)


def _judge(values: dict[str, NDArray[np.float64]], points: int, outside: int) -> OrientationCheck:
    here = values[AS_THEY_ARE]
    readings = {}
    for name, each in values.items():
        chance = 1.0 if name == AS_THEY_ARE else _chance(each - here)
        mean = float(each.mean()) if points else 0.0
        error = float(each.std(ddof=1)) / math.sqrt(points) if points > 1 else math.inf
        readings[name] = ReadingFit(mean, error, chance)
    best = max(readings, key=lambda name: readings[name].evidence)
    fit = readings[best]
    clear = (
        points >= LEAST_POINTS
        and fit.chance < CHANCE / (len(READINGS) - 1)
        and fit.evidence >= LEAST_EVIDENCE
        and fit.evidence >= 2 * abs(readings[AS_THEY_ARE].evidence)
    )
    return OrientationCheck(readings, best if clear else AS_THEY_ARE, points, outside)


def _chance(differences: NDArray[np.float64]) -> float:
    """One-sided p of differences that are 0 on average."""
    spread = differences.std(ddof=1) if len(differences) > 1 else 0.0
    if spread == 0:
        return 1.0
    t = differences.mean() / spread * math.sqrt(len(differences))
    return float(stats.t.sf(t, len(differences) - 1))


class _Darkness:
    """How much darker than around them the discs of a micrograph are."""

    def __init__(self, image: NDArray[np.generic], diameter: float) -> None:
        self._bin = max(1, min(round(diameter / _BINNED), *image.shape))
        small = _binned(image, self._bin)
        diameter = diameter / self._bin
        disc, whole = _disc(diameter), _disc(_RING * diameter)
        contrast = _convolved(small, whole) - _convolved(small, disc)
        spread = 1.4826 * float(np.median(np.abs(contrast - np.median(contrast))))
        self._map = (contrast - contrast.mean()) / (spread or 1.0)

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evidence at (n, 2) y and x, in standard deviations over the micrograph."""
        places = (points - (self._bin - 1) / 2) / self._bin
        found: NDArray[np.float64] = ndimage.map_coordinates(
            self._map, places.T, order=1, mode="nearest"
        )
        return found


def _binned(image: NDArray[np.generic], factor: int) -> NDArray[np.float64]:
    """Means of square blocks, without what is no number and extremes."""
    ny, nx = (n // factor for n in image.shape)
    blocks = np.asarray(image[: ny * factor, : nx * factor], dtype=np.float32)
    finite = np.isfinite(blocks)
    if not finite.all():
        fill = np.median(blocks[finite]) if finite.any() else 0.0
        blocks = np.where(finite, blocks, np.float32(fill))
    small = blocks.reshape(ny, factor, nx, factor).mean(axis=(1, 3), dtype=np.float64)
    middle = float(np.median(small))
    reach = _CLIP * 1.4826 * float(np.median(np.abs(small - middle)))
    clipped: NDArray[np.float64] = np.clip(small, middle - reach, middle + reach)
    return clipped


def _disc(diameter: float) -> NDArray[np.float64]:
    """Disc of sum 1."""
    reach = math.ceil(diameter / 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(diameter / 2 + 0.5 - np.hypot(y, x), 0.0, 1.0)
    return np.asarray(disc / disc.sum(), dtype=np.float64)


def _convolved(image: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    reach = kernel.shape[0] // 2
    padded = np.pad(image, reach, mode="symmetric")
    return np.asarray(fftconvolve(padded, kernel, mode="valid"), dtype=np.float64)


class _Candidates:
    """Scores of the candidates near places, against those near places anywhere."""

    def __init__(self, candidates: pd.DataFrame, diameter: float, shape: tuple[int, int]) -> None:
        score = candidates["score" if "score" in candidates else "logit"].to_numpy(np.float64)
        self._reach = diameter / 4
        self._tree = cKDTree(candidates[["y", "x"]].to_numpy(np.float64))
        self._score = score - score.min(initial=np.inf)
        y, x = (np.linspace(0, n - 1, _GRID) for n in shape)
        anywhere = self._best(np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2))
        self._mean, self._spread = float(anywhere.mean()), float(anywhere.std()) or 1.0

    def _best(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Best score within reach, above the worst one of all; 0 where there is none."""
        near = self._tree.query_ball_point(points, self._reach)
        best = [self._score[found].max() if found else 0.0 for found in near]
        return np.array(best, dtype=np.float64)

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evidence at (n, 2) y and x, in standard deviations over the micrograph."""
        evidence: NDArray[np.float64] = (self._best(points) - self._mean) / self._spread
        return evidence
