"""What the dock "Poses" runs in worker threads: it knows torch, and neither Qt nor layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.io.micrographs import read_micrograph
from napari_so3.poses.poses import PosesError
from napari_so3.session.journal import SessionError
from napari_so3.widgets.engine import Problem, Progress
from napari_so3.widgets.pose_models import MATCHER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.poses.poses import Poses
    from napari_so3.session.poses import PoseStore
    from napari_so3.widgets.engine import Note
    from napari_so3.widgets.pose_models import PoseModel


@dataclass(frozen=True, eq=False)
class Todo:
    """Picks of one micrograph that are to get poses.

    Parameters
    ----------
    name : str
        Of the micrograph.
    path : Path
        Its file.
    points : ndarray
        (n, 2) y and x, pixels.
    rotation : ndarray
        (n,) rotation of the picker that answered most.
    """

    name: str
    path: Path
    points: NDArray[np.float64]
    rotation: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PoseJob:
    """Picks that are to get poses.

    Parameters
    ----------
    model : PoseModel
        From which.
    store : PoseStore
        Where they are kept.
    todo : tuple of Todo
        Which picks.
    again : bool
        Also those that have one.
    refine : bool
        Move each pose to where its projection fits best.
    diameter, pixel_size, device
        As in `Session`.
    """

    model: PoseModel
    store: PoseStore
    todo: tuple[Todo, ...]
    again: bool
    refine: bool
    diameter: float
    pixel_size: float | None
    device: str


@dataclass(frozen=True, eq=False)
class Estimated:
    """All poses that a micrograph has now."""

    name: str
    poses: Poses


@dataclass(frozen=True)
class Summary:
    """What was done, in a sentence; ``problems`` are others, on what was not."""

    sentence: str
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Read:
    """Poses of a micrograph from its table."""

    name: str
    poses: Poses | None


def read_poses(store: PoseStore, name: str) -> Iterator[Read | Problem]:
    """Read the poses of a micrograph from its table."""
    try:
        yield Read(name, store.get(name))
    except PosesError as error:
        yield Problem(f"{error} Estimate the poses of that micrograph anew.")


def estimate(job: PoseJob) -> Iterator[Note | Progress | Problem | Estimated | Summary]:
    """Give poses to picks, micrograph by micrograph.

    Parameters
    ----------
    job : PoseJob
        Which picks.

    Yields
    ------
    Note, Progress, Problem, Estimated or Summary
        The last ends it, or a problem. Stop iterating to cancel; what is estimated stays.
    """
    todo = [part for part in (_left(job, each) for each in job.todo) if len(part.points)]
    total, done, problems = sum(len(part.points) for part in todo), 0, []
    micrographs = 0
    for part in todo:
        try:
            for event in _estimate_one(job, part):
                if isinstance(event, Progress):
                    step = len(part.points) * event.done // max(event.total, 1)
                    yield Progress(done + step, total, 1, part.name if len(todo) > 1 else "")
                else:
                    yield Estimated(part.name, job.store.write(part.name, event))
                    micrographs += 1
                    done += len(part.points)
        except SessionError as error:
            yield Problem(str(error))
            return
        except MemoryError:
            problems.append(f"{part.path.name} does not fit into memory.")
        except OSError as error:
            problems.append(f"{part.path.name} cannot be read ({error.strerror or error}).")
        except ValueError as error:  # of micrographs and of settings: one sentence each
            problems.append(str(error))
    yield Summary(_summary(done, micrographs, job), tuple(problems))


def _left(job: PoseJob, part: Todo) -> Todo:
    """Leave out the picks that have a pose, unless all are to be done again."""
    if job.again:
        return part
    try:
        found = job.store.match(part.name, part.points)
    except PosesError:
        found = None
    if found is None:
        return part
    missing = ~found.known
    return Todo(part.name, part.path, part.points[missing], part.rotation[missing])


def _summary(done: int, micrographs: int, job: PoseJob) -> str:
    if done == 0:
        return "Nothing to do: all picks have poses." if not job.again else "No poses."
    many = f" in {micrographs:,} micrographs" if micrographs > 1 else ""
    return f"{done:,} pose{'s' if done != 1 else ''}{many} with {job.model.name}."


def _estimate_one(job: PoseJob, part: Todo) -> Iterator[Any]:
    """Yield progress and at last the poses of the picks of one micrograph."""
    if job.model.model == MATCHER:
        yield matched_poses(job.model, part)
        return
    from napari_so3.picking.pick import choose_device
    from napari_so3.poses.estimate import PoseSettings, estimate_poses

    micrograph = read_micrograph(part.path, job.pixel_size)
    settings = PoseSettings(job.diameter, job.pixel_size, refine=job.refine)
    device = choose_device(job.device)
    for event in estimate_poses(micrograph, part.points, job.model.source, settings, device):
        if hasattr(event, "done"):
            yield Progress(event.done, event.total, 1, "")
        else:
            yield event


def matched_poses(model: PoseModel, part: Todo) -> Poses:
    """Turn the matched rotations of a matcher into poses; how sure they are is not known.

    Parameters
    ----------
    model : PoseModel
        The matcher.
    part : Todo
        Its picks.

    Returns
    -------
    Poses
        One pose for each pick, with NaN for what a matcher does not tell.
    """
    import pandas as pd

    from napari_so3.poses.poses import COLUMNS, Poses

    grid = model.source.net.config.grid
    n = len(part.points)
    table = pd.DataFrame(np.full((n, len(COLUMNS)), np.nan), columns=list(COLUMNS))
    table[["y", "x"]] = part.points
    table[["rot", "tilt", "psi"]] = grid.euler_angles[part.rotation]
    table[["dy", "dx"]] = 0.0
    matrices = grid.matrices.numpy()[part.rotation]
    provenance = {"model": model.name, "fingerprint": model.fingerprint}
    return Poses(
        table, matrices[:, None], np.ones((n, 1)), model.symmetry, str(part.path), provenance
    )
