"""What the tabs "Budget" and "Check" run in worker threads; it knows torch, but no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from scipy.special import expit

from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.widgets.engine import HIGHEST, Note, Problem, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_so3.insight.budget import Budget
    from napari_so3.insight.self_check import SelfCheck
    from napari_so3.session.state import Session
    from napari_so3.widgets.see_engine import SeeEngine, SeeJob


@dataclass(frozen=True)
class BudgetJob:
    """Micrographs that are to be picked with fewer and more rotations.

    Parameters
    ----------
    paths : tuple of Path
        Files.
    model, diameter, pixel_size, threshold, device
        As in `Session`.
    """

    paths: tuple[Path, ...]
    model: str
    diameter: float
    pixel_size: float | None
    threshold: float | None
    device: str

    @classmethod
    def of(cls, session: Session, names: tuple[str, ...]) -> BudgetJob:
        """Take micrographs of a session, with its settings of now."""
        return cls(
            tuple(session.paths[name] for name in names),
            session.model,
            session.diameter,
            session.pixel_size,
            session.threshold,
            session.device,
        )


def survey(job: BudgetJob) -> Iterator[Note | Progress | Budget | Problem]:
    """Compare numbers of rotations.

    Parameters
    ----------
    job : BudgetJob
        Micrographs and model.

    Yields
    ------
    Note, Progress, Budget or Problem
        The budget so far after each number; a problem ends it. Stop iterating to cancel.
    """
    yield Note("Loading the model")
    from napari_so3.insight.budget import survey_budget
    from napari_so3.io.models import ModelFileError
    from napari_so3.picking.pick import PickError, PickSettings, choose_device
    from napari_so3.picking.picker import load_picker
    from napari_so3.picking.score import ScoreProgress

    try:
        picker, device = load_picker(job.model), choose_device(job.device)
        micrographs = [read_micrograph(path, job.pixel_size) for path in job.paths]
        for event in survey_budget(
            micrographs,
            picker,
            PickSettings(job.diameter),
            device,
            threshold=_probability(job.threshold),
        ):
            if isinstance(event, ScoreProgress):
                yield Progress(event.done, event.total, event.total, event.note)
            else:
                yield event
    except MemoryError:
        yield Problem("The micrographs do not fit into memory.")
    except OSError as error:
        yield Problem(f"A micrograph cannot be read ({error.strerror or error}).")
    except (MicrographError, ModelFileError, PickError) as error:
        yield Problem(str(error))


def check(
    engine: SeeEngine, job: SeeJob, threshold: float | None
) -> Iterator[Note | Progress | SelfCheck | Problem | Any]:
    """Check a picker on a micrograph that is turned and mirrored.

    Parameters
    ----------
    engine : SeeEngine
        Keeps the network.
    job : SeeJob
        Micrograph and model.
    threshold : float or None
        As in `Session`.

    Yields
    ------
    Note, Progress, SelfCheck or Problem
        The last two end it. Stop iterating to cancel.
    """
    yield Note("Loading the model")
    from napari_so3.insight.self_check import self_check

    yield from engine.run(job, partial(self_check, threshold=_probability(threshold)))


def _probability(log_odds: float | None) -> float | None:
    return None if log_odds is None else min(float(expit(log_odds)), HIGHEST)
