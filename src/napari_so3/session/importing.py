"""Coordinates of other programs in a session: first what they are, then what is made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from napari_so3.io.coordinates import (
    CoordinateError,
    read_coordinate_file,
    read_coordinate_folder,
)
from napari_so3.io.micrographs import MicrographError
from napari_so3.io.names import match_names
from napari_so3.picking.evaluate import outside
from napari_so3.picking.orientation import (
    AS_THEY_ARE,
    BOX,
    check_orientation,
    read_as,
)
from napari_so3.picking.picks import CANDIDATES, COLUMNS, Picks
from napari_so3.session.choice import SAME
from napari_so3.session.export import box_size
from napari_so3.session.journal import SessionError
from napari_so3.session.pool import Candidates
from napari_so3.session.state import PICKS

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.io.coordinates import CoordinateFile
    from napari_so3.io.names import NameMatch
    from napari_so3.picking.orientation import (
        OrientationCheck,
    )
    from napari_so3.session.marks import Kind
    from napari_so3.session.state import Session

CHECKED = 3  # micrographs, of those with most coordinates, on which the orientation is checked
_SURE = 1 - 1e-6  # the largest probability that a confidence is taken for


@dataclass(frozen=True)
class Importing:
    """How many of the micrographs have been looked at."""

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Found:
    """Coordinates of one micrograph of the session.

    Parameters
    ----------
    table : DataFrame
        x, y in pixels as in the file, and where it has them score and box.
    shape : (int, int)
        Rows and columns of the micrograph.
    pixel_size : float or None
        Å.
    """

    table: pd.DataFrame
    shape: tuple[int, int]
    pixel_size: float | None

    def points(self, reading: str, box: float) -> NDArray[np.float64]:
        """Positions (n, 2) y and x in a reading, `box` standing for boxes that are not known."""
        points = self.table[["y", "x"]].to_numpy(np.float64)
        if "box" in self.table and len(self.table):
            box = float(self.table["box"].median())
        return read_as(points, reading, self.shape, box)


@dataclass(frozen=True, eq=False)
class ImportPlan:
    """What a file or folder of coordinates holds for a session; nothing is changed yet.

    Parameters
    ----------
    path : Path
        File or folder.
    format : str
        What it is, in words.
    found : dict
        Micrograph of the session to its coordinates.
    match : NameMatch
        Which names fit.
    notes : tuple of str
        What was done to read them, and what cannot be used.
    checks : dict
        Micrograph to how the coordinates fit it, for some.
    """

    path: Path
    format: str
    found: dict[str, Found]
    match: NameMatch
    notes: tuple[str, ...]
    checks: dict[str, OrientationCheck]

    @property
    def points(self) -> int:
        """Number of coordinates that belong to micrographs of the session."""
        return sum(len(each.table) for each in self.found.values())

    @property
    def reading(self) -> str:
        """The reading that most of the checked micrographs are clearly better in."""
        best = [check.best for check in self.checks.values()]
        return max(best, key=best.count) if best else AS_THEY_ARE

    def sentences(self) -> list[str]:
        """Say what there is, to be read before it is used."""
        said = [f"{self.path.name}: {self.format}.", self.match.sentence()]
        said.append(f"{self.points} coordinates belong to micrographs of this session.")
        said += [f"{note[0].upper()}{note[1:]}." for note in self.notes]
        said += [f"{name}: {check.sentence()}" for name, check in self.checks.items()]
        return said


def plan_import(session: Session, path: Path) -> Generator[Importing | ImportPlan, None, None]:
    """Read coordinates, and compare them with the micrographs of a session.

    Parameters
    ----------
    session : Session
        Its micrographs, and its diameter.
    path : Path
        File, or folder of files.

    Yields
    ------
    Importing, ImportPlan
        Progress, and at last the plan. Stop iterating to cancel.

    Raises
    ------
    CoordinateError
        The file cannot be read, or a folder holds no coordinates.
    """
    files = list(read_coordinate_folder(path)) if path.is_dir() else [read_coordinate_file(path)]
    if not files:
        raise CoordinateError(f"{path}: there are no coordinates in this folder.")
    tables = _by_name(files)
    match = match_names([str(p) for p in session.paths.values()], tables)
    names = {str(p): name for name, p in session.paths.items()}
    notes = list(dict.fromkeys(note for file in files for note in file.notes))
    found: dict[str, Found] = {}
    for done, (micrograph, name) in enumerate(match.pairs, start=1):
        try:
            opened = session.read(names[micrograph])
        except MicrographError as error:
            notes.append(f"left out: {error}".rstrip("."))
            continue
        shape = (opened.data.shape[0], opened.data.shape[1])
        found[names[micrograph]] = Found(tables[name], shape, opened.pixel_size)
        yield Importing(done, len(match.pairs))
    kinds = ", ".join(dict.fromkeys(file.format for file in files))
    checks = {name: _check(session, name, found[name]) for name in _largest(found)}
    yield ImportPlan(path, kinds, found, match, tuple(notes), checks)


def _by_name(files: Sequence[CoordinateFile]) -> dict[str, pd.DataFrame]:
    """Tables by the name of their micrograph, which a file of a single one may not tell."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for file in files:
        if "micrograph" in file.table and len(file.table):
            for name, part in file.table.groupby("micrograph", sort=False):
                tables.setdefault(str(name), []).append(part)
        else:
            tables.setdefault(file.path.name, []).append(file.table)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _largest(found: dict[str, Found]) -> list[str]:
    return sorted(found, key=lambda name: -len(found[name].table))[:CHECKED]


def _check(session: Session, name: str, found: Found) -> OrientationCheck:
    diameter = session.diameter / (found.pixel_size or 1.0)
    return check_orientation(session.read(name).to_float32(), found.table, diameter)


def use_as_labels(
    session: Session, plan: ImportPlan, reading: str = AS_THEY_ARE, kind: Kind = "positive"
) -> int:
    """Mark the coordinates; it can be undone, micrograph by micrograph.

    Parameters
    ----------
    session : Session
        Session.
    plan : ImportPlan
        What was read.
    reading : str
        Key of `napari_so3.picking.orientation.READINGS`.
    kind : {"positive", "negative", "ignored"}
        What they are marked as.

    Returns
    -------
    int
        Number of marks; coordinates outside of their micrograph are left out.
    """
    total = 0
    for name, found in plan.found.items():
        diameter = session.diameter / (found.pixel_size or 1.0)
        points = found.points(reading, BOX * diameter)
        points = points[~outside(points, found.shape)]
        session.marks.mark(name, kind, points, near=SAME * diameter)
        total += len(points)
    return total


def use_as_picks(session: Session, plan: ImportPlan, reading: str = AS_THEY_ARE) -> str:
    """Make a run of picks of the coordinates, and show it.

    Scores between 0 and 1 are taken for probabilities, others for log-odds; where there are none
    all are 0. The threshold is such that all are shown at first.

    Parameters
    ----------
    session : Session
        Session that is kept.
    plan : ImportPlan
        What was read.
    reading : str
        Key of `napari_so3.picking.orientation.READINGS`.

    Returns
    -------
    str
        Name of the run.

    Raises
    ------
    SessionError
        The picks cannot be written, or a pixel size is not known.
    """
    assert session.folder is not None
    unknown = [name for name, found in plan.found.items() if found.pixel_size is None]
    if unknown:
        raise SessionError(f"Enter the pixel size of {unknown[0]} in Å first.")
    run, folder = _new_run(session.folder / PICKS, plan.path)
    items = {}
    try:
        (folder / CANDIDATES).mkdir(parents=True)
        for name, found in plan.found.items():
            picks = _picks(session, plan, name, found, reading)
            picks.write_csv(folder / CANDIDATES / f"{name}.csv")
            items[name] = Candidates.of(picks)
    except OSError as error:
        raise SessionError(f"{folder}: cannot be written ({error.strerror or error}).") from error
    lowest = min((float(each.logit.min()) for each in items.values() if len(each)), default=0.0)
    session.set_run(run)
    session.pool.replace(items)
    session.update({"suggested": lowest, "threshold": None, "hidden_views": (), "in_plane": 1})
    return run


def _new_run(picks: Path, path: Path) -> tuple[str, Path]:
    stem = re.sub(r"[^\w.-]+", "_", path.stem)
    names = (f"imported-{stem}{end}" for end in ("", *(f"-{n}" for n in range(2, 10_000))))
    run = next(name for name in names if not (picks / name).exists())
    return run, picks / run


def _picks(session: Session, plan: ImportPlan, name: str, found: Found, reading: str) -> Picks:
    size = found.pixel_size
    assert size is not None
    points = found.points(reading, BOX * session.diameter / size)
    inside = ~outside(points, found.shape)
    score = np.zeros(len(points))
    if "score" in found.table:
        score = _log_odds(found.table["score"].to_numpy(np.float64))
    points, score = points[inside], score[inside]
    order = np.argsort(-score, kind="stable")
    columns = {
        "y": points[order, 0],
        "x": points[order, 1],
        "logit": score[order],
        "probability": expit(score[order]),
        "rotation": np.full(len(order), -1),
    }
    table = pd.DataFrame(columns | dict.fromkeys(("rot", "tilt", "psi"), np.nan))[list(COLUMNS)]
    return Picks(
        table,
        str(session.paths[name]),
        {
            "model": plan.path.name,
            "fingerprint": "",
            "diameter": session.diameter,
            "distance": None,
            "margin": 0.0,
            "pixel_size": size,
            "pixel_size_source": "given" if session.pixel_size else "header",
            "shape": list(found.shape),
            "box": box_size(session, size),
        },
    )


def _log_odds(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of scores, which confidences from 0 to 1 are turned into; 0 for what has none."""
    finite = score[np.isfinite(score)]
    if len(finite) and finite.min() >= 0 and finite.max() <= 1:
        score = logit(np.clip(score, 1 - _SURE, _SURE))
    return np.nan_to_num(score, nan=0.0)
