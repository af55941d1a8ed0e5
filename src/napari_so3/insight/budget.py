"""How many rotations a model needs: the same weights on other grids, on the same micrographs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_so3.picking.evaluate import match_points
from napari_so3.picking.pick import PickError, find_picks, prepare
from napari_so3.picking.picks import is_above
from napari_so3.picking.score import ScoreMaps, ScoreProgress, Scorer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from numpy.typing import NDArray

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.pick import PickSettings
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.preprocess import WorkingImage

GRIDS = ((1, 8), (4, 4), (4, 8), (8, 8), (12, 8), (32, 8))
MATCH = 0.25  # diameters: two picks this close are the same
ENOUGH = 0.99  # share of the picks that is to be kept


@dataclass(frozen=True)
class BudgetRow:
    """A number of rotations, compared with the largest of the survey (the reference).

    Parameters
    ----------
    views, in_plane : int
        Views S and in-plane angles n.
    seconds : float
        To score a micrograph and find its picks, median over the micrographs; files are read ahead
        and do not count.
    picks : int
        Picks of all micrographs at the threshold.
    kept : float
        Share of the reference's picks that are among the best candidates, as many as the reference
        has picks: the ranking alone, whatever the threshold.
    kept_at_threshold : float
        Share of the reference's picks that are among the picks at the same threshold.
    new : int
        Picks at the threshold that the reference does not have.
    shift : float
        Median absolute change of P over the reference's picks that are candidates here; NaN if
        there are none.
    """

    views: int
    in_plane: int
    seconds: float
    picks: int
    kept: float
    kept_at_threshold: float
    new: int
    shift: float

    @property
    def rotations(self) -> int:
        """Number of rotations R."""
        return self.views * self.in_plane


@dataclass(frozen=True)
class Budget:
    """What fewer rotations cost and save.

    Parameters
    ----------
    rows : tuple of BudgetRow
        The fewest rotations first; the last is the reference.
    own : tuple of int
        Views and in-plane angles that the model comes with.
    micrographs : int
        How many were picked.
    threshold : float
        AL1 probability of a pick.
    """

    rows: tuple[BudgetRow, ...]
    own: tuple[int, int]
    micrographs: int
    threshold: float

    @property
    def reference(self) -> BudgetRow:
        """The most rotations."""
        return self.rows[-1]

    def is_own(self, row: BudgetRow) -> bool:
        """Tell whether these are the rotations that the model comes with."""
        return (row.views, row.in_plane) == self.own

    def smallest(self, share: float = ENOUGH) -> BudgetRow:
        """Find the fewest rotations that keep a share of the reference's picks.

        Parameters
        ----------
        share : float
            Of the picks, among as many (`BudgetRow.kept`).

        Returns
        -------
        BudgetRow
            The reference itself if no fewer do.
        """
        return next(row for row in self.rows if row.kept >= share or row is self.reference)

    def suggested(self) -> BudgetRow:
        """Find what to use: the smallest that is enough, or else the model's own rotations.

        Returns
        -------
        BudgetRow
            The reference only if the model's own rotations were not compared.
        """
        enough = self.smallest()
        own = [row for row in self.rows if self.is_own(row)]
        return own[0] if enough is self.reference and own else enough

    def advice(self) -> str:
        """Say which number of rotations is enough, for people."""
        most, enough = self.reference, self.smallest()
        if enough is not most:
            return (
                f"{enough.rotations} rotations rank {100 * enough.kept:.1f} % of the same picks "
                f"first as {most.rotations} do, in {seconds(enough.seconds)} instead of "
                f"{seconds(most.seconds)} per micrograph."
            )
        best = max(self.rows[:-1], key=lambda row: row.kept, default=most)
        return (
            f"No smaller number keeps {100 * ENOUGH:.0f} % of the picks of {most.rotations} "
            f"rotations; {best.rotations} keep {100 * best.kept:.1f} %. More is not always better: "
            f"the model comes with {self.own[0] * self.own[1]}."
        )


def seconds(time: float) -> str:
    """Write a short time with two digits, such as ``0.45 s`` or ``12 s``."""
    return f"{time:.0f} s" if time >= 10 else f"{time:.2g} s"


@dataclass(frozen=True, eq=False)
class _Found:
    """Candidates of all micrographs, best first: where, log-odds and P."""

    micrograph: NDArray[np.int64]
    position: NDArray[np.float64]  # (n, 2) y and x, Å
    logit: NDArray[np.float64]
    probability: NDArray[np.float64]

    def first(self, n: int) -> _Found:
        return _Found(*(v[:n] for v in vars(self).values()))

    def above(self, threshold: float) -> _Found:
        return self.first(int(is_above(self.logit, threshold).sum()))

    def __len__(self) -> int:
        return len(self.logit)


def survey_grids(picker: Picker) -> tuple[tuple[int, int], ...]:
    """Choose numbers of rotations to compare: usual ones, and the model's own.

    Parameters
    ----------
    picker : Picker
        The model as it comes.

    Returns
    -------
    tuple of (int, int)
        Views and in-plane angles, the fewest rotations first.
    """
    own = picker.net.config.grid
    chosen = {*GRIDS, (own.n_directions, own.n_psi)}
    return tuple(sorted(chosen, key=_size))


def survey_budget(
    micrographs: Sequence[Micrograph],
    picker: Picker,
    settings: PickSettings,
    device: torch.device,
    grids: Sequence[tuple[int, int]] | None = None,
    threshold: float | None = None,
) -> Iterator[ScoreProgress | Budget]:
    """Pick micrographs with fewer and more rotations, and compare; nothing is trained.

    Parameters
    ----------
    micrographs : sequence of Micrograph
        A few, with known pixel sizes.
    picker : Picker
        The model as it comes.
    settings : PickSettings
        Diameter and distances.
    device : torch.device
        Where to compute.
    grids : sequence of (int, int), optional
        Views and in-plane angles; by default `survey_grids`. The one of the most rotations is the
        reference.
    threshold : float, optional
        AL1 probability of a pick; by default what the model suggests.

    Yields
    ------
    ScoreProgress or Budget
        Progress, and the budget so far after each number of rotations: first of the reference, at
        last of all. Stop iterating to cancel.

    Raises
    ------
    PickError
        If a micrograph cannot be picked, or there are no picks to compare.
    ValueError
        If there are no micrographs or no grids.
    """
    chosen = sorted(survey_grids(picker) if grids is None else set(grids), key=_size)
    if not micrographs or not chosen:
        raise ValueError("a survey needs at least one micrograph and one number of rotations")
    images = [(one, prepare(one, picker, settings)) for one in micrographs]
    limit = picker.threshold if threshold is None else threshold
    own, total = picker.net.config.grid, sum(map(_size, chosen))
    rows: list[BudgetRow] = []
    reference: _Found | None = None
    for grid in reversed(chosen):
        survey = _pick_all(images, picker.with_rotations(*grid), settings, device)
        done = sum(row.rotations for row in rows)
        for event in survey:
            if isinstance(event, ScoreProgress):
                share = done + _size(grid) * event.done / event.total
                note = event.note or f"{_size(grid)} rotations ({grid[0]} x {grid[1]})"
                yield ScoreProgress(round(100 * share), 100 * total, note)
                continue
            found, seconds = event
            reference = found.above(limit) if reference is None else reference
            if not len(reference):
                raise PickError(
                    f"With {_size(grid)} rotations there are no picks above P = {limit:.4g}; "
                    "lower the threshold, or take other micrographs."
                )
            rows.insert(0, _compare(grid, seconds, found, reference, limit, settings))
            yield Budget(tuple(rows), (own.n_directions, own.n_psi), len(images), limit)


def _size(grid: tuple[int, int]) -> int:
    return grid[0] * grid[1]


def _pick_all(
    images: Sequence[tuple[Micrograph, WorkingImage]],
    picker: Picker,
    settings: PickSettings,
    device: torch.device,
) -> Iterator[ScoreProgress | tuple[_Found, float]]:
    """Pick prepared micrographs: progress, and at last the candidates and the seconds of one."""
    scorer = Scorer(picker.net, device)
    next(iter(scorer.score(images[0][1])))  # the first step also makes threads and buffers
    seconds, tables = [], []
    for index, (micrograph, image) in enumerate(images):
        spent, start = 0.0, time.perf_counter()
        for event in scorer.score(image):
            if isinstance(event, ScoreMaps):
                picks = find_picks(event, image, micrograph, picker, settings)
            spent += time.perf_counter() - start  # what the caller does meanwhile is left out
            if isinstance(event, ScoreProgress):
                done = index * event.total + event.done
                yield ScoreProgress(done, len(images) * event.total, event.note)
            start = time.perf_counter()
        seconds.append(spent)
        assert micrograph.pixel_size is not None
        where = picks.table[["y", "x"]].to_numpy() * micrograph.pixel_size
        score = picks.table[["logit", "probability"]].to_numpy()
        tables.append(np.column_stack((np.full(len(where), index), where, score)))
    rows = np.concatenate(tables)
    rows = rows[np.argsort(-rows[:, 3], kind="stable")]
    found = _Found(rows[:, 0].astype(np.int64), rows[:, 1:3], rows[:, 3], rows[:, 4])
    yield found, float(np.median(seconds))


def _compare(
    grid: tuple[int, int],
    seconds: float,
    found: _Found,
    reference: _Found,
    threshold: float,
    settings: PickSettings,
) -> BudgetRow:
    """Count what has been kept of the reference's picks."""
    radius, n = MATCH * settings.diameter, len(reference)
    picks = found.above(threshold)
    kept = _matched(found.first(n), reference, radius)
    same = _matched(picks, reference, radius)
    changes = _changes(found, reference, radius)
    return BudgetRow(
        *grid,
        seconds,
        len(picks),
        kept / n,
        same / n,
        len(picks) - same,
        float(np.median(changes)) if len(changes) else float("nan"),
    )


def _matched(found: _Found, reference: _Found, radius: float) -> int:
    """Count the picks that are also picks of the reference."""
    matched = 0
    for i in np.unique(reference.micrograph):
        here, there = (each.position[each.micrograph == i] for each in (found, reference))
        matched += int(match_points(here, there, radius).sum())
    return matched


def _changes(found: _Found, reference: _Found, radius: float) -> NDArray[np.float64]:
    """Absolute changes of P of the reference's picks that are candidates here, however low."""
    changes = []
    for i in np.unique(reference.micrograph):
        here, there = found.micrograph == i, reference.micrograph == i
        if not here.any():
            continue
        away, nearest = cKDTree(found.position[here]).query(reference.position[there])
        change = np.abs(found.probability[here][nearest] - reference.probability[there])
        changes.append(change[away <= radius])
    return np.concatenate(changes) if changes else np.zeros(0)
