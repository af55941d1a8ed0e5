"""What the tab "Compare" of the dock "Poses" runs in worker threads; it knows no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_so3.io.files import atomic_path
from napari_so3.widgets.engine import Note, Problem, Progress
from napari_so3.widgets.why_engine import NotWritten, Written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_so3.poses.compare import Comparison
    from napari_so3.session.poses import PoseStore


@dataclass(frozen=True, eq=False)
class CompareJob:
    """Poses of a session and a file that are compared.

    Parameters
    ----------
    store : PoseStore
        Poses of the session.
    names : tuple of str
        Micrographs.
    symmetry : str
        Point group.
    path : Path
        Poses of another program.
    align : bool
        Whether the poses of the file are of a map that is turned.
    """

    store: PoseStore
    names: tuple[str, ...]
    symmetry: str
    path: Path
    align: bool


@dataclass(frozen=True, eq=False)
class Compared:
    """How far the poses are apart, and what is to be minded."""

    comparison: Comparison
    notes: tuple[str, ...]


def compare_with_file(job: CompareJob) -> Iterator[Note | Progress | Problem | Compared]:
    """Compare the poses of a session with those of a file.

    Parameters
    ----------
    job : CompareJob
        Which.

    Yields
    ------
    Note, Progress, Problem or Compared
        The last two end it.
    """
    yield Note(f"Reading {job.path.name}")
    from napari_so3.poses.compare import compare_poses, poses_table, read_poses

    try:
        other = read_poses(job.path)
        known = [name for name in job.names if name in job.store]
        own = []
        for done, name in enumerate(known, start=1):
            yield Progress(done, len(known), 1, "")
            own.append(job.store.get(name))
        there = [poses for poses in own if poses is not None]
        if not there:
            yield Problem("There are no poses yet: estimate them in the tab Picks.")
            return
        yield Note("Comparing")
        table = poses_table(job.path.with_name("the session"), there)
        yield Compared(compare_poses(table, other, job.symmetry, align=job.align), other.notes)
    except OSError as error:
        yield Problem(f"{job.path.name} cannot be read ({error.strerror or error}).")
    except ValueError as error:  # of the readers and of what they read: one sentence each
        yield Problem(str(error))


def write_comparison(comparison: Comparison, path: Path) -> Iterator[Written | NotWritten]:
    """Write the errors as a figure, or as a table if the path ends in csv.

    Parameters
    ----------
    comparison : Comparison
        The errors.
    path : Path
        File ending in png, pdf, svg or csv; replaced as a whole.

    Yields
    ------
    Written or NotWritten
        What became of it.
    """
    from napari_so3.poses.figures_errors import errors_figure

    try:
        if path.suffix.lower() == ".csv":
            comparison.write_csv(path)
        else:
            with atomic_path(path) as temporary:
                figure = errors_figure(comparison.errors)
                figure.savefig(temporary, format=path.suffix[1:].lower())
    except (OSError, ValueError) as error:
        yield NotWritten(f"{path}: cannot be written ({error}); choose another file.")
    else:
        yield Written(path)
