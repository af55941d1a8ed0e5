"""From a user's labels to a picker: fine-tune a model, or train one from scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from napari_so3.picking.evaluate import average_precision
from napari_so3.so3.networks import PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.advice import check_labels, divide
from napari_so3.training.checkpoint import digest
from napari_so3.training.fit import FitConfig, FitProgress
from napari_so3.training.losses import Loss
from napari_so3.training.phases import Phase, fit_phases
from napari_so3.training.settle import calibrate, calibrate_to_number, finding, made_now
from napari_so3.training.sources import TileSource, judge_by_auprc
from napari_so3.training.tiles import NEGATIVE_RADIUS, POSITIVE_RADIUS

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from napari_so3.picking.picker import Picker
    from napari_so3.training.fit import Enough
    from napari_so3.training.losses import LossName
    from napari_so3.training.settle import Candidates
    from napari_so3.training.tiles import LabelledMicrograph

FAST_GRID = RotationGrid(4, 4)
NEAR = 0.75  # share of the tiles that hold a label, where not everything is labelled
STEPS_PER_EPOCH = 20
TILE = 48  # score-map pixels along an edge
LARGEST_SHARE = 0.5  # of the unlabelled pixels that may be taken for unlabelled particles


class TrainError(ValueError):
    """A training that cannot be done; the text is one sentence for the user."""


@dataclass(frozen=True)
class TeachSettings:
    """How to learn from labels.

    Parameters
    ----------
    from_scratch : bool
        Forget the weights of the starting model; its shape is kept.
    steps : int, optional
        Optimisation steps; by default `FINE_TUNING`, or `FROM_SCRATCH` on 16 rotations and then
        `FINE_TUNING` on all.
    loss : {"trimmed", "bce", "ge-binomial", "nnpu"}
        What to do with what is not labelled; see `Loss`.
    expected : float, optional
        Particles in a micrograph, labelled or not, where the labels are incomplete; by default as
        many as the starting model picks.
    tiles : int
        Tiles in a batch.
    seed : int
        Of weights and batches.
    """

    from_scratch: bool = False
    steps: int | None = None
    loss: LossName = "trimmed"
    expected: float | None = None
    tiles: int = 4
    seed: int = 0

    FINE_TUNING = 60
    FROM_SCRATCH = 300

    def phases(self, loss: Loss, grid: RotationGrid) -> list[Phase]:
        """Phases of the training with this loss, on these rotations in the end."""
        last = self._phase(self.steps or self.FINE_TUNING, 1e-3, loss)
        if not self.from_scratch:
            return [last]
        first = self._phase(self.steps or self.FROM_SCRATCH, 3e-3, loss)
        return [replace(first, grid=FAST_GRID), replace(last, grid=grid)]

    def _phase(self, steps: int, rate: float, loss: Loss) -> Phase:
        return Phase(
            FitConfig(
                epochs=max(1, round(steps / STEPS_PER_EPOCH)),
                steps_per_epoch=min(steps, STEPS_PER_EPOCH),
                learning_rate=rate,
                schedule="one-cycle",
                loss=loss,
                seed=self.seed,
            )
        )


@dataclass(frozen=True)
class Note:
    """Something that the user should know, in words."""

    text: str


@dataclass(frozen=True)
class Working:
    """How far the picking before or after the steps of a training is.

    Parameters
    ----------
    text : str
        What it is for.
    done, total : int
        Micrographs.
    """

    text: str
    done: int
    total: int


def teach(
    micrographs: Mapping[str, LabelledMicrograph],
    start: Picker,
    settings: TeachSettings,
    name: str = "trained",
    checkpoint: Path | None = None,
    device: torch.device | None = None,
    enough: Enough | None = None,
) -> Generator[Note | Working | FitProgress | Picker, None, None]:
    """Train a picker on labelled micrographs.

    Where `hold_out` holds some out, the best weights on them are kept. If not, all are learnt from
    and the last weights are kept.

    Parameters
    ----------
    micrographs : mapping
        Name to labelled micrograph.
    start : Picker
        Model to start from; also counts the particles where nobody says how many to expect.
    settings : TeachSettings
        How.
    name : str
        Of the new picker.
    checkpoint : Path, optional
        Beginning of the names of checkpoints; a killed training goes on from there. They are
        removed when the iteration goes on after the picker.
    device : torch.device, optional
        Where; the CPU by default.
    enough : callable, optional
        Asked after every step: once it says yes, that step is the last one, and the picker is made
        of the best weights so far.

    Yields
    ------
    Note, Working, FitProgress or Picker
        Advice, steps, and at last the picker. Stop iterating to give the training up.

    Raises
    ------
    TrainError
        If there are too few labels, or the starting model has no layers to train.
    """
    if not isinstance(start.net, PickerNet):
        raise TrainError(
            f"{start.name}: a template matcher cannot learn from labels; start from "
            "a model with layers."
        )
    device = device or torch.device("cpu")
    yield from (Note(text) for text in advise(micrographs))
    training, held_out = divide(micrographs)
    expected = settings.expected
    if expected is None and not _all_complete(micrographs):
        expected = yield from estimate_number(micrographs, start, device)
        yield Note(
            f"{start.name} finds {expected:.0f} particles in a micrograph; that many are expected "
            "where not all are labelled."
        )
    ppd = start.pixels_per_diameter
    torch.manual_seed(settings.seed)
    net = PickerNet(start.net.config)
    if not settings.from_scratch:
        net.load_state_dict(start.net.state_dict())

    def source(part: Mapping[str, LabelledMicrograph], net: PickerNet) -> TileSource:
        incomplete = [m for m in part.values() if not m.labels.complete]
        complete = [m for m in part.values() if m.labels.complete]
        sets = [s for s in (incomplete, complete) if s]
        return TileSource(
            lambda _rng: sets,
            net.config,
            ppd,
            tile=TILE,
            tiles_per_set=max(1, settings.tiles // len(sets)),
            near=NEAR if incomplete else 0.0,
            magnification=1.1,
            seed=settings.seed,
        )

    last = None
    loss = choose_loss(list(training.values()), expected, settings.loss)
    for event in fit_phases(
        net.to(device),
        settings.phases(loss, net.config.grid),
        lambda net: source(training, net),
        (lambda net: judge_by_auprc(source(held_out, net))) if held_out else None,
        checkpoint,
        digest(*(part for name, one in micrographs.items() for part in _identity(name, one))),
        enough,
    ):
        if isinstance(event, FitProgress):
            last = event
            yield event
        else:
            made = replace(
                start, net=event.cpu().eval(), name=name, calibration=(1.0, 0.0), threshold=0.5
            )
            made = yield from _calibrated(made, start, held_out or training, expected, device)
            record = _record(start, settings, expected, len(micrographs), last)
            yield replace(made, training={**record, **made.training})


def _identity(name: str, one: LabelledMicrograph) -> tuple[object, ...]:
    labels = one.labels
    arrays = (labels.positives, labels.negatives, labels.ignored_discs, *labels.ignored_polygons)
    return name, one.diameter, one.pixel_size, labels.complete, *arrays


def _calibrated(
    made: Picker,
    start: Picker,
    seen: Mapping[str, LabelledMicrograph],
    expected: float | None,
    device: torch.device,
) -> Generator[Working, None, Picker]:
    """Calibrate the picker, and note what on."""
    candidates = yield from _finding("Calibrating", made, seen, device)
    labels = sum(len(m.labels.positives) for m in seen.values())
    if expected is None:
        made = calibrate(made, candidates)
    else:
        number = max(expected * len(seen), labels)
        made = calibrate_to_number(made, candidates, number, start.calibration[0])
    order = (-candidates.logits).argsort(kind="stable")
    precision = average_precision(candidates.right[order], max(labels, 1))
    return replace(
        made,
        training={
            "calibrated on": f"{labels} labels in {len(seen)} micrographs",
            "average precision, calibration micrographs": round(precision, 4),
        },
    )


def _record(
    start: Picker,
    settings: TeachSettings,
    expected: float | None,
    n: int,
    last: FitProgress | None,
) -> dict[str, Any]:
    """Write down how a picker was made."""
    record: dict[str, Any] = {
        **made_now(),
        "start": "from scratch" if settings.from_scratch else f"{start.name} {start.fingerprint}",
        "data": [f"{n} micrographs of the user"],
        "loss": settings.loss,
        "expected": expected,
        "seed": settings.seed,
    }
    if last is not None and last.step < last.steps:
        record["stopped"] = f"by the user at step {last.step} of {last.steps}"
    if last is not None and last.best is not None:
        record["validation AUPRC"] = round(last.best, 4)
    return record


def _finding(
    text: str, picker: Picker, micrographs: Mapping[str, LabelledMicrograph], device: torch.device
) -> Generator[Working, None, Candidates]:
    """Find candidates, and tell how far that is."""
    steps = finding(picker, micrographs.values(), device)
    while True:
        try:
            yield Working(text, next(steps), len(micrographs))
        except StopIteration as end:
            found: Candidates = end.value
            return found


def advise(micrographs: Mapping[str, LabelledMicrograph]) -> list[str]:
    """Say in words what is known about the labels, and what would help.

    Parameters
    ----------
    micrographs : mapping
        Name to labelled micrograph.

    Returns
    -------
    list of str
        Sentences of `check_labels`.

    Raises
    ------
    TrainError
        If nothing can be learnt from them.
    """
    advice = check_labels(
        {name: one.labels for name, one in micrographs.items()},
        max((one.diameter for one in micrographs.values()), default=None),
        {name: one.pixel_size for name, one in micrographs.items()},
    )
    if advice[0].level == "stop":
        raise TrainError(advice[0].text)
    return [one.text for one in advice]


def estimate_number(
    micrographs: Mapping[str, LabelledMicrograph], picker: Picker, device: torch.device
) -> Generator[Working, None, float]:
    """Count the picks of a model, and never fewer than the labels.

    Parameters
    ----------
    micrographs : mapping
        Name to labelled micrograph.
    picker : Picker
        Model; its own threshold counts.
    device : torch.device
        Where to compute.

    Yields
    ------
    Working
        How far it is.

    Returns
    -------
    float
        Particles per micrograph.
    """
    candidates = yield from _finding("Counting particles", picker, micrographs, device)
    limit = math.log(picker.threshold / (1.0 - picker.threshold))
    labels = sum(len(m.labels.positives) for m in micrographs.values())
    return max(int((candidates.logits >= limit).sum()), labels) / len(micrographs)


def choose_loss(
    micrographs: Sequence[LabelledMicrograph],
    expected: float | None,
    name: LossName,
) -> Loss:
    """Turn the expected number of particles into shares of the unlabelled pixels.

    Parameters
    ----------
    micrographs : sequence of LabelledMicrograph
        To learn from.
    expected : float or None
        Particles per micrograph; None if all labels are complete.
    name : str
        Loss.

    Returns
    -------
    Loss
        With its shares.
    """
    incomplete = [m for m in micrographs if not m.labels.complete]
    if expected is None or not incomplete:
        return Loss(name)
    area = 0.0  # in squared diameters
    missing = 0.0
    for one in incomplete:
        ny, nx = one.micrograph.data.shape
        area += ny * nx * (one.pixel_size / one.diameter) ** 2
        missing += max(expected - len(one.labels.positives), 0.0)
    share = missing * math.pi / max(area, 1e-9)  # per squared radius in diameters
    prior = min(max(share * POSITIVE_RADIUS**2, 1e-4), LARGEST_SHARE)
    trimmed = min(share * NEGATIVE_RADIUS**2, LARGEST_SHARE)
    return Loss(name, prior=prior, trimmed=trimmed)


def _all_complete(micrographs: Mapping[str, LabelledMicrograph]) -> bool:
    return all(m.labels.complete for m in micrographs.values())
