"""The picks of a session as files of other programs: what is shown, and nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_so3.io.coordinates import EACH, WRITERS, write_coordinates
from napari_so3.io.files import shown_path
from napari_so3.io.micrographs import MicrographError, micrograph_name
from napari_so3.io.star import write_autopick_star
from napari_so3.picking.orientation import BOX
from napari_so3.picking.picks import DIGITS, LIST_FILE
from napari_so3.poses.writing import particle_table, write_particles
from napari_so3.session.choice import SAME, without_candidate
from napari_so3.session.journal import SessionError
from napari_so3.session.pool import read_run

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from napari_so3.session.state import Session

PARTICLES = "particles"  # the format that can hold poses and images
BOXED = (PARTICLES, "box", "cbox")  # formats that hold a size in pixels or Å per pixel
WITHOUT = tuple(form for form in WRITERS if form not in BOXED)


@dataclass(frozen=True)
class Exporting:
    """How many of the micrographs are written."""

    done: int
    total: int


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    path : Path
        File or folder.
    micrographs, picks, by_hand : int
        Of micrographs; of picks in all; of those among them that a person marked where there was
        no candidate.
    without_pose : int
        Picks that are left out, since poses were asked for and they have none.
    """

    path: Path
    micrographs: int
    picks: int
    by_hand: int
    without_pose: int = 0


def read_candidates(session: Session) -> list[str]:
    """Load the candidates of the run that a session shows.

    Parameters
    ----------
    session : Session
        Its pool is filled.

    Returns
    -------
    list of str
        Sentences on tables that cannot be used.
    """
    folder = session.run_folder
    items, problems = ({}, []) if folder is None else read_run(folder, session.names)
    session.pool.replace(items)
    return problems


def box_size(session: Session, pixel_size: float) -> int:
    """Suggest the edge of a box, pixels: one and a half diameters, even."""
    return 2 * int(np.ceil(BOX * session.diameter / pixel_size / 2))


def picks_table(session: Session, name: str, by_hand: bool = True) -> pd.DataFrame | None:
    """Collect the picks of a micrograph.

    Parameters
    ----------
    session : Session
        Session.
    name : str
        Micrograph.
    by_hand : bool
        Also particles that were marked where there is no candidate; their score is NaN.

    Returns
    -------
    DataFrame or None
        x, y (pixels) and score (log-odds), best first; None where the micrograph has neither
        candidates nor marked particles.
    """
    marks, found = session.marks.of(name), session.picks_of(name)
    if found is None:
        added = marks.points("positive") if by_hand else np.zeros((0, 2))
        if not len(added):
            return None
        table = pd.DataFrame({"x": [], "y": [], "score": []}, dtype=np.float64)
    else:
        candidates, shown = found
        columns = {"x": candidates.x, "y": candidates.y, "score": candidates.logit}
        table = pd.DataFrame({k: v[shown].astype(np.float64) for k, v in columns.items()})
        table = table.round({"x": DIGITS["x"], "y": DIGITS["y"], "score": DIGITS["logit"]})
        near = SAME * session.diameter / candidates.pixel_size
        added = without_candidate(marks, candidates.y, candidates.x, near)
    if by_hand and len(added):
        hand = pd.DataFrame({"x": added[:, 1], "y": added[:, 0], "score": np.nan})
        table = pd.concat([table, hand], ignore_index=True) if len(table) else hand
    return table


def count_by_hand(session: Session) -> int:
    """Count the particles that were marked where there is no candidate."""
    total = 0
    for name, marks in session.marks.all.items():
        found = session.pool.get(name)
        if found is None:
            total += marks.count("positive")
        elif marks.marks:
            near = SAME * session.diameter / found.pixel_size
            total += len(without_candidate(marks, found.y, found.x, near))
    return total


def export(
    session: Session,
    output: Path,
    form: str,
    box: int | None = None,
    by_hand: bool = True,
    poses: bool = False,
    images: bool = False,
) -> Generator[Exporting | Exported, None, None]:
    """Write the picks of a session.

    Parameters
    ----------
    session : Session
        With its candidates in the pool.
    output : Path
        Folder, or file for formats that hold all micrographs in one.
    form : str
        Key of `napari_so3.io.coordinates.WRITERS`.
    box : int, optional
        Edge of a box, pixels; by default `box_size`.
    by_hand : bool
        As in `picks_table`.
    poses : bool
        Write their poses too; picks that have none are left out and counted.
    images : bool
        Cut the boxes, and write them as stacks beside the file.

    Yields
    ------
    Exporting, Exported
        After every micrograph where each has a file, and at last what was written. Stop iterating
        to cancel; files that are written are whole.

    Raises
    ------
    BoxError, CoordinateError, MicrographError, PosesError, StarError, WritingError
        Something cannot be read or written.
    SessionError
        There is nothing to write, the pixel size is not known or not one, or poses or images are
        asked for in a format that has none.
    """
    if (poses or images) and form != PARTICLES:
        raise SessionError(f"Only the format {PARTICLES} holds poses and images, not {form}.")
    tables = {}
    for name in session.names:
        table = picks_table(session, name, by_hand)
        if table is not None:
            tables[name] = table
    if not tables:
        raise SessionError("There are no picks to export: pick some micrographs first.")
    without = sum(map(len, tables.values()))
    if poses:
        tables = posed_tables(session, tables)
    picks = sum(map(len, tables.values()))
    size = _pixel_size(session, tables, form)
    box = box or box_size(session, size or 1.0)
    named = {shown_path(session.paths[name]): table for name, table in tables.items()}
    if form in EACH:
        yield from _write_each(output, form, named, box, size)
    elif poses or images:
        if size is None:
            raise SessionError("The micrographs do not tell their pixel size: give it in Å.")
        names = {shown_path(session.paths[name]): name for name in tables}
        opener = (lambda shown: session.read(names[shown])) if images else None
        for event in write_particles(output, named, size, box, opener):
            yield Exporting(event.done, event.total)
    else:
        write_coordinates(output, form, named, box=box, pixel_size=size)
    by_hand_count = sum(int(table["score"].isna().sum()) for table in tables.values())
    yield Exported(output, len(tables), picks, by_hand_count, without - picks)


def posed_tables(session: Session, tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Give picks their poses, and leave out those that have none.

    Parameters
    ----------
    session : Session
        Whose poses.
    tables : mapping
        Micrograph to `picks_table`.

    Returns
    -------
    dict
        Micrographs with poses to tables as of `napari_so3.poses.writing.particle_table`.

    Raises
    ------
    PosesError
        A table of poses cannot be read.
    SessionError
        No pick has a pose.
    """
    posed = {}
    for name, table in tables.items():
        found = session.poses.match(name, table[["y", "x"]].to_numpy())
        if found is not None and found.known.any():
            rows = found.rows[found.known]
            posed[name] = particle_table(found.poses.take(rows), table["score"][found.known])
    if not posed:
        raise SessionError("None of the picks has a pose: estimate their poses first.")
    return posed


def _write_each(
    output: Path, form: str, tables: Mapping[str, pd.DataFrame], box: int, size: float | None
) -> Iterator[Exporting]:
    rows = []
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SessionError(f"{output}: cannot be made ({error.strerror or error}).") from error
    for done, (micrograph, table) in enumerate(tables.items(), start=1):
        file = output / (micrograph_name(micrograph) + EACH[form])
        write_coordinates(file, form, {micrograph: table}, box=box, pixel_size=size)
        rows.append((micrograph, shown_path(file)))
        yield Exporting(done, len(tables))
    if form == "star":
        write_autopick_star(output / LIST_FILE, rows)


def _pixel_size(session: Session, tables: Mapping[str, pd.DataFrame], form: str) -> float | None:
    """Pixel size of all micrographs, Å; None if it is not known of any, or does not matter."""
    if session.pixel_size is not None:
        return session.pixel_size
    sizes: set[float | None] = set()
    for name in tables:
        candidates = session.pool.get(name)
        if candidates is not None:
            sizes.add(candidates.pixel_size)
        elif os.path.exists(session.paths[name]):
            try:
                sizes.add(session.read(name).pixel_size)
            except MicrographError:
                continue
    if len(sizes) > 1:
        if form not in BOXED:
            return None
        listed = ", ".join(f"{size} Å" for size in sorted(sizes, key=lambda s: s or 0.0))
        raise SessionError(
            f"The micrographs have different pixel sizes ({listed}), so that boxes of one size in "
            f"pixels would differ; export them without boxes ({', '.join(WITHOUT)}), or from "
            "sessions of their own."
        )
    return sizes.pop() if sizes else None
