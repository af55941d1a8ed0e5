"""Train in phases, on few rotations first: the weights are 3D, so that they outlive their grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from napari_so3.training.checkpoint import digest
from napari_so3.training.fit import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from napari_so3.so3.networks import PickerNet
    from napari_so3.so3.pose_networks import PoseNet
    from napari_so3.so3.rotations import RotationGrid
    from napari_so3.training.fit import Draw, Enough, FitConfig, FitProgress, Validate


Net = TypeVar("Net", "PickerNet", "PoseNet")


@dataclass(frozen=True)
class Phase:
    """A grid of rotations, or None for the one that the network has, and how to train on it."""

    config: FitConfig
    grid: RotationGrid | None = None


def fit_phases(
    net: Net,
    phases: Sequence[Phase],
    source: Callable[[Net], Draw],
    judge: Callable[[Net], Validate] | None = None,
    checkpoint: Path | None = None,
    origin: str = "",
    enough: Enough | None = None,
) -> Iterator[FitProgress | Net]:
    """Train a network through several phases.

    Parameters
    ----------
    net : PickerNet or PoseNet
        Start, on the device to train on; left alone where a phase has a grid, or else trained in
        place.
    phases : sequence of Phase
        One after another.
    source : callable
        Makes the source of batches for a network.
    judge : callable, optional
        Makes what validates a network; no validation by default.
    checkpoint : Path, optional
        Beginning of the names of the checkpoints, one per phase; removed when the iteration goes on
        after the trained network.
    origin : str
        Digest of what is learnt from; a checkpoint of other data or another start is refused.
    enough : callable, optional
        Asked after every step: once it says yes, that step is the last one of all phases.

    Yields
    ------
    FitProgress, PickerNet or PoseNet
        Steps, counted through all phases, and at last the trained network on the grid of the last
        phase. The time left takes a step to cost as much as its rotations.
    """
    weights = [value.detach().cpu().numpy() for value in net.state_dict().values()]
    origin = digest(origin, *weights)
    before, total = 0, sum(phase.config.steps for phase in phases)
    files = []
    for number, phase in enumerate(phases, start=1):
        net = _on_grid(net, phase)
        validate = None if judge is None else judge(net)
        file = None
        if checkpoint is not None:
            file = checkpoint.with_name(f"{checkpoint.name}.phase{number}")
            files.append(file)
        config = replace(phase.config, origin=origin)
        later = sum(_cost(net, other) for other in phases[number:]) / _cost(net)
        for progress in fit(net, source(net), config, validate, file, enough):
            yield replace(
                progress,
                step=before + progress.step,
                steps=total,
                eta_seconds=progress.eta_seconds + progress.seconds_per_step * later,
            )
        before += phase.config.steps
        if enough is not None and enough():
            net = _on_grid(net, phases[-1])
            break
    yield net
    for file in files:
        file.unlink(missing_ok=True)


def _on_grid(net: Net, phase: Phase) -> Net:
    if phase.grid is None:
        return net
    moved: Net = net.with_grid(phase.grid)
    return moved.to(next(net.parameters()).device)


def _cost(net: Any, phase: Phase | None = None) -> float:
    """Rotations of all steps of a phase, or those of the network in one step."""
    if phase is None:
        return len(net.config.grid)
    return phase.config.steps * len(phase.grid or net.config.grid)
