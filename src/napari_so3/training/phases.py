"""Train in phases, on few rotations first: the weights are 3D, so that they outlive their grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_so3.training.checkpoint import digest
from napari_so3.training.fit import fit
from napari_so3.training.sources import batch_auprc, validation_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from napari_so3.so3.networks import PickerNet
    from napari_so3.so3.rotations import RotationGrid
    from napari_so3.training.fit import FitConfig, FitProgress
    from napari_so3.training.sources import CropSource, TileSource

    MakeSource = Callable[[PickerNet], TileSource | CropSource]


@dataclass(frozen=True)
class Phase:
    """A grid of rotations, or None for the one that the network has, and how to train on it."""

    config: FitConfig
    grid: RotationGrid | None = None


def fit_phases(
    net: PickerNet,
    phases: Sequence[Phase],
    source: MakeSource,
    held_out: MakeSource | None = None,
    checkpoint: Path | None = None,
    origin: str = "",
) -> Iterator[FitProgress | PickerNet]:
    """Train a network through several phases.

    Parameters
    ----------
    net : PickerNet
        Start, on the device to train on; left alone where a phase has a grid, or else trained in
        place.
    phases : sequence of Phase
        One after another.
    source : callable
        Makes the source of batches for a network.
    held_out : callable, optional
        Makes the source that the validation batch is drawn from; no validation by default.
    checkpoint : Path, optional
        Beginning of the names of the checkpoints, one per phase; removed at the end.
    origin : str
        Digest of what is learnt from; a checkpoint of other data or another start is refused.

    Yields
    ------
    FitProgress or PickerNet
        Steps, counted through all phases, and at last the trained network.
    """
    weights = [value.detach().cpu().numpy() for value in net.state_dict().values()]
    origin = digest(origin, *weights)
    before, total = 0, sum(phase.config.steps for phase in phases)
    files = []
    for number, phase in enumerate(phases, start=1):
        if phase.grid is not None:
            device = next(net.parameters()).device
            net = net.with_grid(phase.grid).to(device)
        validate = None
        if held_out is not None:
            batch = validation_batch(held_out(net))
            validate = lambda trained, batch=batch: batch_auprc(trained, batch)  # noqa: E731
        file = None
        if checkpoint is not None:
            file = checkpoint.with_name(f"{checkpoint.name}.phase{number}")
            files.append(file)
        config = replace(phase.config, origin=origin)
        for progress in fit(net, source(net), config, validate, file):
            yield replace(progress, step=before + progress.step, steps=total)
        before += phase.config.steps
    for file in files:
        file.unlink(missing_ok=True)
    yield net
