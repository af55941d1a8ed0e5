"""Whether a picker sees the same in a micrograph that is turned or mirrored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from napari_so3.picking.evaluate import match_points
from napari_so3.picking.pick import PickError, pick
from napari_so3.picking.picks import Picks
from napari_so3.so3.rotations import euler_to_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.pick import PickSettings
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.score import ScoreProgress, Scorer
    from napari_so3.so3.rotations import RotationGrid

MATCH = 0.25  # diameters: a pick has moved as it should if one is this close to where it should be
CLOSED = 1e-6  # radians: rotations this close are the same


@dataclass(frozen=True)
class Turn:
    """Something that is done to a picture.

    Parameters
    ----------
    words : str
        What, for people; as arrays are shown, row 0 on top.
    image : callable
        Does it to an array (ny, nx).
    back : callable
        Leads y and x of the result, and the shape (ny, nx) of the picture before, to y and x
        before.
    matrix : Tensor
        (3, 3) float64; the particle of rotation ``r`` is then seen as ``matrix r``.
    psi : int or None
        By how many degrees psi grows; None for mirrors, which change the view.
    """

    words: str
    image: Callable[[NDArray[Any]], NDArray[Any]]
    back: Callable[[Any, Any, int, int], tuple[Any, Any]]
    matrix: Tensor
    psi: int | None = None


def _diagonal(*signs: float) -> Tensor:
    return torch.diag(torch.tensor(signs, dtype=torch.float64))


def _quarters(k: int, back: Callable[[Any, Any, int, int], tuple[Any, Any]]) -> Turn:
    # As y points down, this turns x towards -y; psi + 90 degrees is rot90(+1).
    matrix = euler_to_matrix(0.0, 0.0, 90.0 * k)
    words = f"turned by {90 * k}° (counter-clockwise)"
    return Turn(words, partial(np.rot90, k=k), back, matrix, 90 * k)


TURNS = (
    _quarters(1, lambda y, x, ny, nx: (x, nx - 1 - y)),
    _quarters(2, lambda y, x, ny, nx: (ny - 1 - y, nx - 1 - x)),
    _quarters(3, lambda y, x, ny, nx: (ny - 1 - x, y)),
    Turn(
        "mirrored, top to bottom",
        np.flipud,
        lambda y, x, ny, nx: (ny - 1 - y, x),
        _diagonal(1.0, -1.0, -1.0),
    ),
    Turn(
        "mirrored, left to right",
        np.fliplr,
        lambda y, x, ny, nx: (y, nx - 1 - x),
        _diagonal(-1.0, 1.0, -1.0),
    ),
)


@dataclass(frozen=True)
class Turned:
    """How the picks have moved when the picture was turned or mirrored in one way.

    All shares are of the picks of the picture as it is, at the threshold; NaN where there is
    nothing to take a share or a median of.

    Parameters
    ----------
    words : str
        What was done.
    picks : int
        Picks in the turned picture.
    moved : float
        Share that a pick of the turned picture matches within a quarter of the diameter.
    moved_closely : float
        The same within a working pixel.
    known : float
        Share that a candidate of the turned picture matches, above the threshold or below.
    away : float
        Median distance to where they should be of those that moved, Å.
    shift, largest_shift : float
        Median and largest absolute change of P, of the picks that are candidates at all there.
    closed : bool
        Whether the rotations of the model become each other, so that all should stay the same but
        for rounding. If not, another set of rotations looks at the turned picture.
    rotation_kept : float
        Share of the picks that moved whose matched rotation is just the one that it should be.
    psi, psi_seen : float or None
        By how many degrees psi should grow, and by how many it has grown, from 0 to 360: the
        median over those that moved. None for mirrors.
    """

    words: str
    picks: int
    moved: float
    moved_closely: float
    known: float
    away: float
    shift: float
    largest_shift: float
    closed: bool
    rotation_kept: float
    psi: float | None
    psi_seen: float | None


@dataclass(frozen=True)
class SelfCheck:
    """What a picker makes of a micrograph that is turned and mirrored.

    Parameters
    ----------
    rows : tuple of Turned
        One per turn.
    picks : int
        Picks in the micrograph as it is.
    threshold : float
        AL1 probability of a pick.
    match, pixel : float
        A quarter of the diameter and a working pixel, Å.
    """

    rows: tuple[Turned, ...]
    picks: int
    threshold: float
    match: float
    pixel: float

    def sentences(self) -> list[str]:
        """Say what there is to say, for people."""
        said = [f"{self.picks} picks with P of {self.threshold:.2g} or more."]
        for mirrored, what in ((False, "Turned by 90°, 180° and 270°"), (True, "Mirrored")):
            rows = [row for row in self.rows if (row.psi is None) == mirrored]
            said += [
                f"{what}: {_least(row.moved for row in rows)} of them moved with the picture; "
                f"{_least(row.known for row in rows)} if candidates below the threshold count.",
                *([] if mirrored else [_about_psi(rows)]),
                f"{_least(row.rotation_kept for row in rows).capitalize()} matched just the "
                f"{'mirrored' if mirrored else 'turned'} rotation."
                if all(row.closed for row in rows)
                else "These rotations do not become each other then: some change is expected.",
            ]
        shift = max(row.shift for row in self.rows)
        return [*said, f"P changed by {shift:.2g} at most in the median."]


def _least(shares: Iterable[float]) -> str:
    least = min(shares)
    return "all" if least == 1 else f"at least {100 * least:.3g} %"


def _about_psi(rows: Sequence[Turned]) -> str:
    if any(row.psi_seen is None for row in rows):
        return "None is left whose in-plane angle psi could be compared."
    grew = ", ".join(f"{row.psi_seen:.0f}°" for row in rows)
    if all(row.psi_seen == row.psi for row in rows):
        return f"Their in-plane angle psi grew by {grew}, as it should."
    return f"Their in-plane angle psi grew by {grew}, and should have grown as the picture turned."


def self_check(
    micrograph: Micrograph,
    picker: Picker,
    settings: PickSettings,
    scorer: Scorer,
    threshold: float | None = None,
) -> Iterator[ScoreProgress | SelfCheck]:
    """Pick a micrograph as it is, turned by 90, 180 and 270 degrees, and mirrored; compare.

    Parameters
    ----------
    micrograph : Micrograph
        With a known pixel size.
    picker : Picker
        The model.
    settings : PickSettings
        Diameter and distances.
    scorer : Scorer
        The picker's network on a device.
    threshold : float, optional
        AL1 probability of a pick; by default what the model suggests.

    Yields
    ------
    ScoreProgress or SelfCheck
        Progress, and at last the result. Stop iterating to cancel.

    Raises
    ------
    PickError
        If the micrograph cannot be picked, or has no picks.
    """
    limit = picker.threshold if threshold is None else threshold
    image, n = micrograph.to_float32(), 1 + len(TURNS)
    here: Picks | None = None
    rows: list[Turned] = []
    for step, turn in enumerate((None, *TURNS)):
        data = image if turn is None else np.ascontiguousarray(turn.image(image))
        for event in pick(replace(micrograph, data=data), picker, settings, scorer):
            if not isinstance(event, Picks):
                done = step * event.total + event.done
                note = event.note or ("as it is" if turn is None else turn.words)
                yield type(event)(done, n * event.total, note)
            elif turn is None:
                here = event.above(limit)
            else:
                assert here is not None
                rows.append(_compare(here, event, turn, limit, micrograph, picker, settings))
        if here is not None and not len(here):
            raise PickError(
                f"{micrograph.path.name}: there are no picks above P = {limit:.2g} to compare; "
                "lower the threshold, or take another micrograph."
            )
    assert here is not None
    match, pixel = MATCH * settings.diameter, picker.working_pixel_size(settings.diameter)
    yield SelfCheck(tuple(rows), len(here), limit, match, pixel)


def expected_rotations(grid: RotationGrid, turn: Turn) -> tuple[NDArray[np.int64], bool]:
    """Find what the rotations of a grid become.

    Parameters
    ----------
    grid : RotationGrid
        The rotations.
    turn : Turn
        What is done to the picture.

    Returns
    -------
    index : ndarray
        (R,) int64: of the rotation that is closest to each turned one.
    closed : bool
        Whether all of them are rotations of the grid.
    """
    index, angle = grid.nearest(turn.matrix @ grid.matrices)
    return index.numpy(), float(angle.max()) < CLOSED


def _compare(
    here: Picks,
    candidates: Picks,
    turn: Turn,
    threshold: float,
    micrograph: Micrograph,
    picker: Picker,
    settings: PickSettings,
) -> Turned:
    """Turn the picks back and look for those of the picture as it is."""
    apix, grid = micrograph.pixel_size or 1.0, picker.net.config.grid
    ny, nx = micrograph.data.shape
    before, there = ({c: t[c].to_numpy() for c in t} for t in (here.table, candidates.table))
    wanted = np.column_stack((before["y"], before["x"])) * apix
    back = np.column_stack(turn.back(there["y"], there["x"], ny, nx)) * apix
    n = len(candidates.above(threshold))
    radius = MATCH * settings.diameter
    pixel = picker.working_pixel_size(settings.diameter)
    moved, closely = (match_points(wanted, back[:n], r).mean() for r in (radius, pixel))
    away, nearest = _nearest(wanted, back)
    known = away <= radius
    change = np.abs(there["probability"][nearest[known]] - before["probability"][known])
    same = known & (nearest < n)
    expected, closed = expected_rotations(grid, turn)
    right = there["rotation"][nearest[same]] == expected[before["rotation"][same]]
    psi = (there["psi"][nearest[same]] - before["psi"][same]) % 360.0
    return Turned(
        turn.words,
        n,
        float(moved),
        float(closely),
        float(known.mean()),
        _median(away[same]),
        _median(change),
        float(change.max()) if len(change) else float("nan"),
        closed,
        float(right.mean()) if len(right) else float("nan"),
        turn.psi,
        _circular_median(psi) if turn.psi is not None and len(psi) else None,
    )


def _nearest(
    wanted: NDArray[np.float64], back: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if not len(back):
        return np.full(len(wanted), np.inf), np.zeros(len(wanted), np.int64)
    away, nearest = cKDTree(back).query(wanted)
    return np.asarray(away), np.asarray(nearest)


def _median(values: Any) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _circular_median(degrees: NDArray[np.float64]) -> float:
    """Of the angles themselves, the one from which the others are least far; 0 to 360."""
    kinds, counts = np.unique(np.round(degrees, 3), return_counts=True)
    apart = np.abs((kinds[:, None] - kinds + 180.0) % 360.0 - 180.0)
    return float(kinds[np.argmin(apart @ counts)])
