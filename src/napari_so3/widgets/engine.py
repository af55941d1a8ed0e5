"""What the docks run in worker threads: it knows torch, and neither Qt nor layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy.special import expit, logit

from napari_so3.picking.picks import CANDIDATES, Picks
from napari_so3.session.pool import Candidates, read_run
from napari_so3.session.state import MODELS, PICKS
from napari_so3.widgets.pick_job import Begun, Failed, Finished, Picked, RunChosen
from napari_so3.widgets.scorers import Scorers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.batch import BatchSettings
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.score import Scorer
    from napari_so3.session.state import Session
    from napari_so3.widgets.pick_job import PickJob


HIGHEST = 1.0 - 1e-16  # probability of a pick, at most: that of 37 log-odds


@dataclass(frozen=True)
class Note:
    """What is being done, where there is no progress to show."""

    text: str


@dataclass(frozen=True)
class Progress:
    """How far the scoring is.

    Parameters
    ----------
    done, total : int
        Steps; a step is a rotation of a tile.
    rotations : int
        Steps of a tile.
    note : str
        A sentence on how it goes.
    """

    done: int
    total: int
    rotations: int
    note: str


@dataclass(frozen=True)
class Problem:
    """A sentence that says why picking is not possible."""

    sentence: str


@dataclass(frozen=True)
class Setup:
    """What there is to choose from, and what the choice means.

    Parameters
    ----------
    model, rotations : str, tuple of int or None
        The model that was asked for, and its rotations.
    picker : Picker or None
        None if it cannot be loaded.
    own : int
        Rotations that the model comes with.
    models : tuple of str
        Names of the bundled models, and paths of those that were trained in the session.
    devices : tuple of (str, str)
        Name and description of each device.
    device : str
        Name of the one that will be used.
    problem : str
        A sentence on what was asked for and is not there.
    """

    model: str
    rotations: tuple[int, int] | None
    picker: Picker | None
    own: int
    models: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]
    device: str
    problem: str = ""


SessionEvent = Note | RunChosen | Begun | Progress | Picked | Failed | Finished | Problem


class Engine:
    """Loads models and picks; a network that was made ready for a device is kept for the next run.

    The methods import torch, which takes seconds: call them in a worker thread.
    """

    def __init__(self) -> None:
        self._scorers = Scorers()

    def look_up(
        self,
        model: str,
        device: str,
        folder: Path | None = None,
        rotations: tuple[int, int] | None = None,
    ) -> Setup:
        """Find the model and the devices.

        Parameters
        ----------
        model : str
            Name of a bundled model, or path of a model file.
        device : str
            As in `choose_device`.
        folder : Path, optional
            Folder of the session.
        rotations : tuple of int, optional
            As in `load_picker`.

        Returns
        -------
        Setup
            Also where something is missing.
        """
        import torch

        from napari_so3.io.models import ModelFileError
        from napari_so3.picking.pick import PickError, choose_device, describe_device
        from napari_so3.picking.picker import bundled_models, load_picker

        picker, own, problems = None, 0, []
        try:
            own = len(load_picker(model).net.config.grid)
            picker = load_picker(model, rotations)
        except ModelFileError as error:
            problems.append(str(error))
        names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        try:
            chosen = str(choose_device(device))
        except PickError:
            problems.append("The preferences ask for a GPU that is not there: the CPU is used.")
            chosen = "cpu"
        trained = sorted((folder / MODELS).glob("*.safetensors")) if folder else ()
        return Setup(
            model,
            rotations,
            picker,
            own,
            (*bundled_models(), *map(str, trained)),
            tuple((name, describe_device(torch.device(name))) for name in names),
            "cuda:0" if chosen == "cuda" else chosen,
            " ".join(problems),
        )

    def pick(
        self,
        micrograph: Micrograph,
        model: str,
        diameter: float,
        device: str,
        rotations: tuple[int, int] | None = None,
    ) -> Iterator[Note | Progress | Problem | Picks]:
        """Pick a micrograph.

        Parameters
        ----------
        micrograph : Micrograph
            With a known pixel size.
        model : str
            Name of a bundled model, or path of a model file.
        diameter : float
            Particle diameter, Å.
        device : str
            As in `choose_device`.
        rotations : tuple of int, optional
            As in `load_picker`.

        Yields
        ------
        Note, Progress, Picks or Problem
            The last two end it. Stop iterating to cancel.
        """
        yield Note("Loading the model")
        from napari_so3.picking.pick import pick

        yield from self.apply(pick, micrograph, model, diameter, device, rotations)

    def apply(
        self,
        verb: Callable[..., Iterator[Any]],
        micrograph: Micrograph,
        model: str,
        diameter: float,
        device: str,
        rotations: tuple[int, int] | None = None,
    ) -> Iterator[Any]:
        """Do something with a micrograph and a model.

        Parameters
        ----------
        verb : callable
            Is given the micrograph, the picker, the settings and the scorer, like
            `napari_so3.picking.pick.pick`, and yields its progress and its result.
        micrograph, model, diameter, device
            As in `pick`.
        rotations : tuple of int, optional
            As in `load_picker`.

        Yields
        ------
        Note, Progress, Problem or any
            What the verb yields, its progress as `Progress`; a problem ends it.
        """
        from napari_so3.io.models import ModelFileError
        from napari_so3.picking.pick import PickError, PickSettings
        from napari_so3.picking.picker import load_picker
        from napari_so3.picking.score import ScoreProgress

        try:
            settings = PickSettings(diameter)
            picker = load_picker(model, rotations)
            with self._scorers.of(picker, device) as scorer:
                yield Note(f"Reading {micrograph.path.name}")
                steps = len(picker.net.config.grid)
                for event in verb(micrograph, picker, settings, scorer):
                    if isinstance(event, ScoreProgress):
                        yield Progress(event.done, event.total, steps, event.note)
                    else:
                        yield event
        except MemoryError:
            yield Problem(f"{micrograph.path.name} does not fit into memory.")
        except OSError as error:
            yield Problem(f"{micrograph.path.name} cannot be read ({error.strerror or error}).")
        except (ModelFileError, PickError) as error:
            yield Problem(str(error))

    def pick_session(self, job: PickJob) -> Iterator[SessionEvent]:
        """Pick micrographs of a session into its folder.

        Parameters
        ----------
        job : PickJob
            Which, and how.

        Yields
        ------
        Note, RunChosen, Begun, Progress, Picked, Failed, Finished or Problem
            The last two end it. Stop iterating to cancel; what is picked stays.
        """
        yield Note("Loading the model")
        from napari_so3.io.models import ModelFileError
        from napari_so3.picking.batch import BatchSettings
        from napari_so3.picking.listing import OutputError
        from napari_so3.picking.pick import PickError, PickSettings
        from napari_so3.picking.picker import load_picker

        try:
            picker = load_picker(job.model, job.rotations)
            limit = picker.threshold if job.threshold is None else float(expit(job.threshold))
            batch = BatchSettings(
                picker, PickSettings(job.diameter), min(limit, HIGHEST), job.pixel_size
            )
            yield from self._pick_into(job, run_name(picker, job), batch)
        except (ModelFileError, OutputError, PickError) as error:
            yield Problem(str(error))

    def _pick_into(self, job: PickJob, run: str, batch: BatchSettings) -> Iterator[SessionEvent]:
        from napari_so3.picking.batch import open_folder

        names, folder = job.names, job.root / PICKS / run
        if run != job.run and job.which == "ahead":
            return
        open_folder(folder, batch)
        items = None if run == job.run else read_run(folder, tuple(job.paths))[0]
        grid = batch.picker.net.config.grid
        yield RunChosen(run, float(logit(batch.picker.threshold)), grid.n_psi, items)
        if job.which == "unpicked":
            picked = job.picked if items is None else items
            names = tuple(name for name in names if name not in picked)
        if names:
            with self._scorers.of(batch.picker, job.device) as scorer:
                yield from _pick_all(names, job, folder, batch, scorer)
        else:
            yield Finished(0, 0)


def run_name(picker: Picker, job: PickJob | Session) -> str:
    """Name the folder of picks after what they are made with.

    Rotations are named where they are not the model's own.
    """
    name = re.sub(r"[^\w.+-]+", "_", picker.name)
    given = f"-{job.pixel_size:g}Apx" if job.pixel_size else ""
    model, *grid = picker.fingerprint.split("-")
    turned = f"-{grid[0]}" if grid else ""
    return f"{name}-{model[:6]}{turned}-{job.diameter:g}A{given}"


def _pick_all(
    names: tuple[str, ...], job: PickJob, folder: Path, batch: BatchSettings, scorer: Scorer
) -> Iterator[SessionEvent]:
    """Run the batch, and say with names what happens."""
    from napari_so3.picking.batch import Begun as BatchBegun
    from napari_so3.picking.batch import Done, pick_many
    from napari_so3.picking.batch import Failed as BatchFailed

    paths, rotations = [job.paths[name] for name in names], len(batch.picker.net.config.grid)
    again, failed = job.which == "again", 0
    for event in pick_many(paths, folder, batch, scorer.device, scorer, again, rest=False):
        if isinstance(event, BatchBegun):
            yield Begun(event.index, len(names), names[event.index])
        elif isinstance(event, Done):
            name = names[event.index]
            picks = Picks.read_csv(folder / CANDIDATES / f"{name}.csv")
            yield Picked(name, Candidates.of(picks), event.reused)
        elif isinstance(event, BatchFailed):
            failed += 1
            yield Failed(names[event.index], event.reason)
        else:
            yield Progress(event.done, event.total, rotations, event.note)
    yield Finished(len(names) - failed, failed)
