"""Crops of picks, and the averages of those that a network has seen alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.picking.picks import is_above
from napari_so3.picking.preprocess import CLIP, fourier_resample, mend_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_so3.picking.picks import Picks

MOST = 200  # picks in an average: the best ones
_MARGIN = 0.75  # of the box on each side, for turned crops and for the rim of the resampling


@dataclass(frozen=True, eq=False)
class PicksOn:
    """Picks on one micrograph, as far as averages need them.

    Parameters
    ----------
    path : Path
        File of the micrograph.
    y, x : ndarray
        (n,) pixels of the micrograph.
    logit : ndarray
        (n,) log-odds.
    rotation : ndarray
        (n,) rotation that answered most, index in the grid of the model.
    pixel_size : float or None
        Å; None stands for what the file says.
    """

    path: Path
    y: NDArray[Any]
    x: NDArray[Any]
    logit: NDArray[Any]
    rotation: NDArray[Any]
    pixel_size: float | None = None

    def __len__(self) -> int:
        return len(self.logit)

    @classmethod
    def of(cls, picks: Picks, threshold: float) -> PicksOn:
        """Take the picks of a table whose probability reaches a threshold."""
        logit = picks.table["logit"].to_numpy()
        table = picks.table[is_above(logit, threshold)]
        y, x, logit, rotation = (table[n].to_numpy() for n in ("y", "x", "logit", "rotation"))
        pixel_size = picks.provenance.get("pixel_size")
        return cls(Path(picks.micrograph), y, x, logit, rotation, pixel_size)


@dataclass(frozen=True, eq=False)
class Average:
    """Mean of the crops of picks.

    Parameters
    ----------
    image : ndarray or None
        (n, n) float32, particles bright, in standard deviations of a single crop; None without a
        pick.
    n : int
        Picks in it.
    total : int
        Picks that could have been in it; the best `MOST` are taken.
    micrographs : int
        Micrographs that they lie on.
    """

    image: NDArray[np.float32] | None
    n: int
    total: int
    micrographs: int


@dataclass(frozen=True)
class Kin:
    """Picks that were won by the same rotation or view.

    Parameters
    ----------
    picks : tuple of (int, int)
        Micrograph and pick, indices, of those that are averaged.
    total : int
        How many there are in all.
    """

    picks: tuple[tuple[int, int], ...]
    total: int


class Pick(NamedTuple):
    """A pick that is not its own kin.

    Parameters
    ----------
    path : Path
        Micrograph.
    y, x : float
        Place, pixels.
    near : float
        Picks within this distance are the same one, pixels.
    """

    path: Path
    y: float
    x: float
    near: float


def find_kin(others: Sequence[PicksOn], rotations: range, this: Pick) -> Kin:
    """Find the best picks that any of some rotations has won.

    Parameters
    ----------
    others : sequence of PicksOn
        One per micrograph.
    rotations : range
        Indices of the grid.
    this : Pick
        Is left out.

    Returns
    -------
    Kin
        The best first.
    """
    found: list[tuple[float, int, int]] = []
    for owner, on in enumerate(others):
        won = (on.rotation >= rotations.start) & (on.rotation < rotations.stop)
        if on.path == this.path:
            won &= np.hypot(on.y - this.y, on.x - this.x) > this.near
        found += [(-float(on.logit[i]), owner, int(i)) for i in np.flatnonzero(won)]
    found.sort()
    return Kin(tuple((owner, i) for _, owner, i in found[:MOST]), len(found))


class Averager:
    """Adds up crops.

    Parameters
    ----------
    kin : Kin
        Whose.
    """

    def __init__(self, kin: Kin) -> None:
        self.members, self._total = frozenset(kin.picks), kin.total
        self._sum: NDArray[np.float64] | None = None
        self._n = 0
        self._owners: set[int] = set()

    def add(self, pick: tuple[int, int], crop: NDArray[np.float32]) -> None:
        """Add the crop of a pick."""
        self._sum = crop.astype(np.float64) if self._sum is None else self._sum + crop
        self._n += 1
        self._owners.add(pick[0])

    def finish(self) -> Average:
        """Give the mean of what was added."""
        mean = None if self._sum is None else (self._sum / self._n).astype(np.float32)
        return Average(mean, self._n, self._total, len(self._owners))


def cut_all(
    others: Sequence[PicksOn], picks: Sequence[tuple[int, int]], cut: Cutter
) -> Iterator[tuple[tuple[int, int], NDArray[np.float32] | None]]:
    """Cut the crops of picks, one micrograph after another.

    Parameters
    ----------
    others : sequence of PicksOn
        One per micrograph.
    picks : sequence of (int, int)
        Micrograph and pick, indices; sorted, so that no micrograph is opened twice.
    cut : Cutter
        How.

    Yields
    ------
    pick : (int, int)
        Micrograph and pick.
    crop : ndarray or None
        (n, n) float32; None where the micrograph cannot be read.
    """
    owner_now, micrograph = -1, None
    for owner, index in picks:
        on = others[owner]
        if owner != owner_now:
            owner_now = owner
            try:
                micrograph = read_micrograph(on.path, on.pixel_size)
            except (MicrographError, OSError):
                micrograph = None  # the table of micrographs says what is wrong with the file
        if micrograph is None or micrograph.pixel_size is None:
            yield (owner, index), None
            continue
        place = float(on.y[index]), float(on.x[index])
        turn = cut.turn_of(int(on.rotation[index]))
        yield (owner, index), cut(micrograph.data, place, micrograph.pixel_size, turn)


@dataclass(frozen=True, eq=False)
class Cutter:
    """Cuts particles out of micrographs at the scale of the network.

    Parameters
    ----------
    size : int
        Edge of a crop, pixels; odd.
    step : float
        Å per pixel of a crop.
    sign : int
        -1 where particles are dark in the micrograph.
    psi : ndarray
        (R,) in-plane angles of the rotations, degrees.
    upright : float
        In-plane angle that all crops are turned to, degrees.
    """

    size: int
    step: float
    sign: int
    psi: NDArray[np.float64]
    upright: float

    def turn_of(self, rotation: int) -> float:
        """Degrees that a crop which matched this rotation is turned by."""
        return float(self.upright - self.psi[rotation])

    def __call__(
        self, data: NDArray[Any], place: tuple[float, float], pixel_size: float, turn: float
    ) -> NDArray[np.float32]:
        """Cut one.

        Parameters
        ----------
        data : ndarray
            (ny, nx) micrograph; only what is needed is read.
        place : (float, float)
            y and x of the centre, pixels.
        pixel_size : float
            Å per pixel.
        turn : float
            Degrees that the crop is turned by, in the sense of ``np.rot90(crop, +1)``.

        Returns
        -------
        ndarray
            (size, size) float32, mean 0 and standard deviation 1, particles bright.
        """
        reach = (self.size / 2 + _MARGIN * self.size) * self.step / pixel_size
        rows, columns = (
            slice(max(0, int(c - reach)), min(n, int(c + reach) + 2))
            for c, n in zip(place, data.shape, strict=True)
        )
        region = mend_pixels(np.asarray(data[rows, columns], dtype=np.float32))
        shape = tuple(max(1, round(n * pixel_size / self.step)) for n in region.shape)
        small = self.sign * fourier_resample(region, (shape[0], shape[1]))
        scale = tuple(n / m for n, m in zip(region.shape, shape, strict=True))
        centre = (place[0] - rows.start) / scale[0], (place[1] - columns.start) / scale[1]
        along = self.step / (scale[0] * pixel_size), self.step / (scale[1] * pixel_size)
        crop = sample(small, centre, along, self.size, turn)
        crop = np.clip(crop - crop.mean(), -CLIP * crop.std(), CLIP * crop.std())
        return np.asarray(crop / max(float(crop.std()), 1e-12), dtype=np.float32)


def sample(
    image: NDArray[np.float32],
    centre: tuple[float, float],
    step: tuple[float, float],
    size: int,
    turn: float = 0.0,
) -> NDArray[np.float32]:
    """Sample a square of an image, turned about its centre; the image is mirrored at its borders.

    Parameters
    ----------
    image : ndarray
        (h, w).
    centre : (float, float)
        y and x of the middle of the square, pixels.
    step : (float, float)
        Pixels of the image per pixel of the square along y and x.
    size : int
        Edge of the square, pixels.
    turn : float
        Degrees, in the sense of ``np.rot90(square, +1)``: what psi grows by.

    Returns
    -------
    ndarray
        (size, size) float32.
    """
    axis = np.arange(size) - (size - 1) / 2
    dy, dx = axis[:, None], axis[None]
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    at = np.stack(
        [
            centre[0] + step[0] * (c * dy + s * dx),
            centre[1] + step[1] * (c * dx - s * dy),
        ]
    )
    out: NDArray[np.float32] = map_coordinates(image, at, order=3, mode="mirror")
    return out
