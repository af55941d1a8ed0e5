"""What the docks run in worker threads: it knows torch, and neither Qt nor layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.picks import Picks
    from napari_so3.picking.score import Scorer


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
    model : str
        The model that was asked for.
    picker : Picker or None
        None if it cannot be loaded.
    models : tuple of str
        Names of the bundled models.
    devices : tuple of (str, str)
        Name and description of each device.
    device : str
        Name of the one that will be used.
    problem : str
        A sentence on what was asked for and is not there.
    """

    model: str
    picker: Picker | None
    models: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]
    device: str
    problem: str = ""


class Engine:
    """Loads models and picks; a network that was made ready for a device is kept for the next run.

    The methods import torch, which takes seconds: call them in a worker thread.
    """

    def __init__(self) -> None:
        self._ready: dict[tuple[str, torch.device], Scorer] = {}

    def look_up(self, model: str, device: str) -> Setup:
        """Find the model and the devices.

        Parameters
        ----------
        model : str
            Name of a bundled model, or path of a model file.
        device : str
            As in `choose_device`.

        Returns
        -------
        Setup
            Also where something is missing.
        """
        import torch

        from napari_so3.io.models import ModelFileError
        from napari_so3.picking.pick import PickError, choose_device, describe_device
        from napari_so3.picking.picker import bundled_models, load_picker

        picker, problems = None, []
        try:
            picker = load_picker(model)
        except ModelFileError as error:
            problems.append(str(error))
        names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        try:
            chosen = str(choose_device(device))
        except PickError:
            problems.append("The preferences ask for a GPU that is not there: the CPU is used.")
            chosen = "cpu"
        return Setup(
            model,
            picker,
            tuple(bundled_models()),
            tuple((name, describe_device(torch.device(name))) for name in names),
            "cuda:0" if chosen == "cuda" else chosen,
            " ".join(problems),
        )

    def pick(
        self, micrograph: Micrograph, model: str, diameter: float, device: str
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

        Yields
        ------
        Note, Progress, Picks or Problem
            The last two end it. Stop iterating to cancel.
        """
        yield Note("Loading the model")
        from napari_so3.io.models import ModelFileError
        from napari_so3.picking.pick import PickError, PickSettings, choose_device, pick
        from napari_so3.picking.picker import load_picker
        from napari_so3.picking.score import ScoreProgress, Scorer

        try:
            settings = PickSettings(diameter)
            picker = load_picker(model)
            key = (picker.fingerprint, choose_device(device))
            # taken out while in use: a cancelled run may still be at its last step
            scorer = self._ready.pop(key, None) or Scorer(picker.net, key[1])
            yield Note(f"Reading {micrograph.path.name}")
            rotations = len(picker.net.config.grid)
            for event in pick(micrograph, picker, settings, scorer):
                if isinstance(event, ScoreProgress):
                    yield Progress(event.done, event.total, rotations, event.note)
                else:
                    yield event
            self._ready = {key: scorer}
        except MemoryError:
            yield Problem(f"{micrograph.path.name} does not fit into memory.")
        except OSError as error:
            yield Problem(f"{micrograph.path.name} cannot be read ({error.strerror or error}).")
        except (ModelFileError, PickError) as error:
            yield Problem(str(error))
