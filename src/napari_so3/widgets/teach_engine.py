"""What the training panel runs in worker threads: it knows torch, and neither Qt nor layers."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_so3 import __version__
from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.session.command_line import train_command
from napari_so3.session.state import LABELS, MODELS
from napari_so3.training.labels import LabelsError, write_labels
from napari_so3.widgets.background import collector_at_rest, one_core_left
from napari_so3.widgets.engine import Note, Problem

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.picker import Picker
    from napari_so3.session.marks import Marks
    from napari_so3.session.state import Session
    from napari_so3.training.fit import FitProgress

CHECKPOINT = ".training-"  # beginning of the names of checkpoints, in the folder of the models


@dataclass(frozen=True)
class TeachJob:
    """What is to be learnt, and how: a copy, which stays while the session changes.

    Parameters
    ----------
    folder : Path
        Of the session.
    paths, marks : mapping
        Files and marks of the labelled micrographs, by name.
    model, diameter, pixel_size, device
        As in `Session`.
    name : str
        Of the new model.
    from_scratch : bool
        Whether the weights of the model are forgotten.
    enough : threading.Event
        Set to end the training after the present step, and to keep the best.
    """

    folder: Path
    paths: Mapping[str, Path]
    marks: Mapping[str, Marks]
    model: str
    diameter: float
    pixel_size: float | None
    device: str
    name: str
    from_scratch: bool
    enough: threading.Event


@dataclass(frozen=True)
class Made:
    """A new model.

    Parameters
    ----------
    path : Path
        Its file.
    card : str
        Its card.
    training : dict
        How it was made.
    """

    path: Path
    card: str
    training: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A line for a shell that does the same."""

    text: str


def labelled(session: Session) -> dict[str, Marks]:
    """Find the micrographs of a session that something can be learnt from, and their marks."""
    found = {name: marks for name, marks in session.marks.all.items() if name in session.paths}
    return {
        name: marks
        for name, marks in found.items()
        if marks.complete or marks.count("positive") or marks.count("negative")
    }


def until(
    cancelled: threading.Event, function: Callable[..., Iterator[Any]], *arguments: Any
) -> Iterator[Any]:
    """Go through the events of a job until it is cancelled, and tidy up in the same thread."""
    with closing(function(*arguments)) as events:
        for event in events:
            if cancelled.is_set():
                return
            yield event


def teach_session(job: TeachJob) -> Iterator[Note | FitProgress | Made | Problem]:
    """Train a model on the labels of a session.

    Parameters
    ----------
    job : TeachJob
        What and how.

    Yields
    ------
    Note, FitProgress, Made or Problem
        The last two end it. Stop iterating to give it up; the same job goes on from there.
    """
    yield Note("Loading the model")
    import torch

    from napari_so3.io.models import ModelFileError
    from napari_so3.picking.pick import PickError
    from napari_so3.training.fit import FitError
    from napari_so3.training.teach import TrainError

    try:
        with one_core_left(), collector_at_rest():
            yield from _teach(job)
    except torch.OutOfMemoryError:
        yield Problem("The memory of the GPU does not suffice for this training; choose the CPU.")
    except MemoryError:
        yield Problem("The memory does not suffice for this training; label fewer micrographs.")
    except OSError as error:
        file = error.filename2 or error.filename or job.folder
        yield Problem(f"{file}: {error.strerror or error}; mend that and train again.")
    except (FitError, LabelsError, MicrographError, ModelFileError, PickError, TrainError) as error:
        yield Problem(str(error))
    except RuntimeError as error:  # a worker would take it for a return value
        yield Problem(f"torch cannot go on: {str(error).splitlines()[0]}")


def _teach(job: TeachJob) -> Iterator[Note | FitProgress | Made | Problem]:
    from napari_so3.picking.card import card_text
    from napari_so3.picking.pick import choose_device
    from napari_so3.picking.picker import Picker, load_picker
    from napari_so3.training.fit import FitProgress
    from napari_so3.training.teach import TeachSettings, Working, teach
    from napari_so3.training.tiles import LabelledMicrograph

    start, device = load_picker(job.model), choose_device(job.device)
    micrographs, problems = _keep_labels(job)
    yield from problems
    learnt = {
        micrograph.path.name: LabelledMicrograph(micrograph, labels, job.diameter)
        for micrograph, labels in micrographs
    }
    models = job.folder / MODELS
    models.mkdir(parents=True, exist_ok=True)
    name = free_name(models, job.name)
    events = teach(
        learnt,
        start,
        TeachSettings(from_scratch=job.from_scratch),
        name,
        _checkpoint(job, models, start),
        device,
        job.enough.is_set,
    )
    for event in events:
        if isinstance(event, Picker):
            path = models / f"{name}.safetensors"
            event.save(path)
            made = load_picker(path)  # with its fingerprint
            yield Made(path, card_text(made), made.training)
        elif isinstance(event, FitProgress):
            yield event
        elif isinstance(event, Working):
            yield Note(f"{event.text}: {event.done} of {event.total} micrographs done")
        else:
            yield Note(event.text)


def _keep_labels(job: TeachJob) -> tuple[list[tuple[Micrograph, Any]], list[Note]]:
    """Open the labelled micrographs, sorted as the command line does, and write their labels."""
    pairs, labels, unread = [], {}, []
    for name, path in sorted(job.paths.items(), key=lambda item: item[1]):
        try:
            micrograph = read_micrograph(path, job.pixel_size)
        except MicrographError as error:
            unread.append(Note(f"Left out: {error}"))
            continue
        if micrograph.pixel_size is None:
            raise LabelsError(
                f"{path.name}: the file does not tell its pixel size; type it into the dock."
            )
        labels[name] = job.marks[name].to_labels(job.diameter / 2 / micrograph.pixel_size)
        pairs.append((micrograph, labels[name]))
    if unread and not pairs:
        raise LabelsError(unread[0].text)
    write_labels(job.folder / LABELS, labels)
    return pairs, unread


def _checkpoint(job: TeachJob, models: Path, start: Picker) -> Path:
    """Name the checkpoint after all that it depends on, and remove those of other trainings."""
    from napari_so3.training.checkpoint import digest

    labels = (job.folder / LABELS).read_bytes()
    own = digest(
        __version__, labels, start.fingerprint, job.diameter, job.pixel_size, job.from_scratch
    )
    checkpoint = models / f"{CHECKPOINT}{own}"
    for file in models.glob(f"{CHECKPOINT}*"):
        if not file.name.startswith(checkpoint.name):
            file.unlink(missing_ok=True)
    return checkpoint


def free_name(models: Path, name: str) -> str:
    """Choose a name that no bundled model and no model in the folder has: NAME, NAME-2, ..."""
    from napari_so3.picking.picker import bundled_models

    taken, tried, n = bundled_models(), name, 1
    while tried in taken or (models / f"{tried}.safetensors").exists():
        n += 1
        tried = f"{name}-{n}"
    return tried


def write_command(job: TeachJob, session: Session) -> Iterator[Note | Command | Problem]:
    """Write the labels of a session, and the command that trains on them.

    Parameters
    ----------
    job : TeachJob
        What and how.
    session : Session
        That it comes from.

    Yields
    ------
    Note, Command or Problem
        The last two end it.
    """
    try:
        _, problems = _keep_labels(job)
    except (LabelsError, OSError) as error:
        yield Problem(str(error))
        return
    yield from problems
    name = free_name(job.folder / MODELS, job.name)
    yield Command(train_command(session, name, job.from_scratch))
