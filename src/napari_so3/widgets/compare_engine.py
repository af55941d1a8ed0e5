"""What a comparison runs in a worker thread: it knows torch, and neither Qt nor layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logit

from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.widgets.comparison import compare
from napari_so3.widgets.engine import Note, Problem, run_name

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.session.pool import Candidates
    from napari_so3.widgets.comparison import Comparison


@dataclass(frozen=True)
class CompareJob:
    """Two models that are to pick one micrograph.

    Parameters
    ----------
    path, pixel_size, diameter, device
        The micrograph, and how it is picked.
    before, after : str
        Models.
    run, candidates : str, Candidates or None
        What the session knows of the micrograph: it is not picked again by that model.
    """

    path: Path
    pixel_size: float | None
    diameter: float
    device: str
    before: str
    after: str
    run: str
    candidates: Candidates | None


def compare_models(job: CompareJob) -> Iterator[Note | Comparison | Problem]:
    """Pick a micrograph with two models, each at its own threshold, and compare.

    Parameters
    ----------
    job : CompareJob
        Micrograph and models.

    Yields
    ------
    Note, Comparison or Problem
        The last two end it. Stop iterating to cancel.
    """
    yield Note("Loading the models")
    from napari_so3.io.models import ModelFileError
    from napari_so3.picking.pick import PickError

    try:
        micrograph = read_micrograph(job.path, job.pixel_size)
        before = yield from _points(job, micrograph, job.before)
        after = yield from _points(job, micrograph, job.after)
        assert micrograph.pixel_size is not None  # or it could not have been picked
        yield compare(before, after, job.diameter, micrograph.pixel_size)
    except MemoryError:
        yield Problem(f"{job.path.name} does not fit into memory.")
    except (MicrographError, ModelFileError, OSError, PickError, RuntimeError) as error:
        yield Problem(str(error).splitlines()[0])


def _points(
    job: CompareJob, micrograph: Micrograph, model: str
) -> Generator[Note, None, NDArray[np.float64]]:
    """Give the picks (n, 2) of a model, best first."""
    from napari_so3.picking.pick import PickSettings, choose_device, pick
    from napari_so3.picking.picker import load_picker
    from napari_so3.picking.score import ScoreProgress, Scorer

    picker = load_picker(model)
    limit = float(logit(picker.threshold))
    known = job.candidates
    if known is not None and run_name(picker, job) == job.run:
        return np.column_stack([known.y, known.x])[known.logit >= limit].astype(np.float64)
    scorer = Scorer(picker.net, choose_device(job.device))
    for event in pick(micrograph, picker, PickSettings(job.diameter), scorer):
        if isinstance(event, ScoreProgress):
            yield Note(f"Picking with {picker.name}: {100 * event.done // event.total} %")
    table = event.table  # the last event is the picks
    return table.loc[table["logit"] >= limit, ["y", "x"]].to_numpy(dtype=np.float64)
