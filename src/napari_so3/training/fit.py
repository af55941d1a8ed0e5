"""The training loop: batches in, a better network out, one step per yield.

Everything that is random in step n comes from the seed, the process and n, so that a run that was
killed goes on from its checkpoint to the very weights of a run that was not.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_so3.so3.layers import SO3BatchNorm2d
from napari_so3.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from napari_so3.training.distributed import Processes
from napari_so3.training.losses import Loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor, nn

    from napari_so3.training.tiles import Batch

    Criterion = Callable[[Tensor, Tensor], Tensor]
    Draw = Callable[[int, np.random.Generator], Batch]
    Validate = Callable[[nn.Module], float]
    Enough = Callable[[], bool]

WARM_UP = 0.1  # share of the steps of "one-cycle" in which the rate rises
PLATEAU_FACTOR = 0.3  # what "plateau" multiplies the rate with


class FitError(ValueError):
    """A training that cannot go on; the text is one sentence for the user."""


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Parameters
    ----------
    epochs, steps_per_epoch : int
        An epoch ends with a validation and a checkpoint.
    learning_rate : float
        Of Adam; its peak for ``"one-cycle"``.
    schedule : {"one-cycle", "plateau"}
        ``"one-cycle"``: up in the first tenth of the steps, then down to zero on a cosine.
        ``"plateau"``: lower it when the validation has not improved for ``patience`` epochs
        (the paper's protocol, section 3.1).
    patience, stop_patience : int
        ``"plateau"``: epochs without improvement before the rate is lowered, and before the
        training ends.
    loss : callable
        What is minimised: outputs of the network and targets to a scalar; a frozen dataclass.
    freeze_norm : bool
        Keep the statistics of the batch norms (fine-tuning on few labels).
    seed : int
        Of the batches.
    origin : str
        Digest of what the training starts and learns from: a checkpoint of another one is refused.
    """

    epochs: int = 200
    steps_per_epoch: int = 100
    learning_rate: float = 1e-3
    schedule: Literal["one-cycle", "plateau"] = "plateau"
    patience: int = 3
    stop_patience: int = 5
    loss: Criterion = field(default_factory=Loss)
    freeze_norm: bool = False
    seed: int = 0
    origin: str = ""

    @property
    def steps(self) -> int:
        """Steps of a training that is not stopped early."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class FitProgress:
    """What a step did.

    Parameters
    ----------
    step, steps : int
        Number of the step from 1, and of all.
    epoch, epochs : int
        Likewise for epochs.
    loss : float
        Loss of the step.
    validation : float or None
        Figure of merit on the held-out part, with the last step of an epoch.
    best : float or None
        Largest validation so far.
    learning_rate : float
        Used in the step.
    images_per_second : float
        Of all processes, since the start or the resumption.
    seconds_per_step : float
        Since the start or the resumption, validations included.
    eta_seconds : float
        Until the last step, at this speed.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    validation: float | None
    best: float | None
    learning_rate: float
    images_per_second: float
    seconds_per_step: float
    eta_seconds: float


def fit(
    net: nn.Module,
    draw: Draw,
    config: FitConfig,
    validate: Validate | None = None,
    checkpoint: Path | None = None,
    enough: Enough | None = None,
) -> Iterator[FitProgress]:
    """Train a network in place.

    With a validation, the weights that did best in it are the ones that the network has when the
    iteration ends, however it ends. Under ``torchrun`` the gradients are averaged over all
    processes, each of which draws batches of its own.

    Parameters
    ----------
    net : Module
        Images (n, 1, h, w) to what the loss takes; on the device to train on.
    draw : callable
        Gives the batch of a step from its number (from 0) and a generator.
    config : FitConfig
        Steps, rates, loss.
    validate : callable, optional
        Gives a figure of merit of the network (larger is better), in evaluation mode.
    checkpoint : Path, optional
        File that is written after every epoch; if it exists, the training goes on from it. It is
        left at the end, when going on from it ends at once.
    enough : callable, optional
        Asked after every step: once it says yes, the step is the last one, and is validated.

    Yields
    ------
    FitProgress
        After every step. Stop iterating to stop training.

    Raises
    ------
    ValueError
        If the schedule is ``"plateau"`` and there is no validation.
    FitError
        If the loss is not finite.
    ModelFileError
        If the checkpoint is damaged or belongs to another training.
    """
    if config.schedule == "plateau" and validate is None:
        raise ValueError("the schedule 'plateau' needs a validation")
    processes = Processes()
    device = next(net.parameters()).device
    optimiser = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    state = TrainingState()
    if checkpoint is not None and checkpoint.exists():
        state = load_checkpoint(checkpoint, net, optimiser, config)
    wrapped = processes.wrap(net)
    clock = _Clock(state.step)
    try:
        while state.step < config.steps and not _out_of_patience(config, state):
            batch = draw(
                state.step, np.random.default_rng((config.seed, processes.rank, state.step))
            )
            rate = _learning_rate(config, state)
            loss = _step(wrapped, optimiser, batch, config, rate, device)
            state.step += 1
            stopped = enough is not None and bool(processes.same(enough()))
            epoch_ends = state.step % config.steps_per_epoch == 0
            validation = None
            if validate is not None and (epoch_ends or stopped):
                validation = processes.same(_validated(net, validate, processes.rank))
                state.note(validation, net, config)
            if checkpoint is not None and epoch_ends and processes.rank == 0:
                save_checkpoint(checkpoint, net, optimiser, state, config)
            yield clock.progress(config, state, loss, validation, rate, len(batch.images))
            if stopped:
                break
    finally:
        if state.best_weights:
            net.load_state_dict(state.best_weights)
        net.eval()


def _step(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    config: FitConfig,
    rate: float,
    device: torch.device,
) -> float:
    net.train()
    if config.freeze_norm:
        for module in net.modules():
            if isinstance(module, SO3BatchNorm2d):
                module.eval()
    for group in optimiser.param_groups:
        group["lr"] = rate
    mixed = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
    with mixed:
        logits = net(batch.images.to(device))
    loss = config.loss(logits.float(), batch.targets.to(device))
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FitError(
            f"the loss became {value}; the learning rate {config.learning_rate:g} is too high, or "
            "a micrograph holds pixels that are not numbers."
        )
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return value


def _out_of_patience(config: FitConfig, state: TrainingState) -> bool:
    return config.schedule == "plateau" and state.epochs_since_best >= config.stop_patience


def _learning_rate(config: FitConfig, state: TrainingState) -> float:
    if config.schedule == "plateau":
        return config.learning_rate * PLATEAU_FACTOR**state.reductions
    done = (state.step + 1) / config.steps
    if done < WARM_UP:
        return config.learning_rate * done / WARM_UP
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def _validated(net: nn.Module, validate: Validate, rank: int) -> float:
    """Validate on the first process; the others wait for its figure."""
    if rank != 0:
        return math.nan
    net.eval()
    with torch.no_grad():
        return validate(net)


class _Clock:
    """Speed and remaining time since the start or the resumption."""

    def __init__(self, first_step: int) -> None:
        self._first, self._start, self._images = first_step, time.monotonic(), 0

    def progress(
        self,
        config: FitConfig,
        state: TrainingState,
        loss: float,
        validation: float | None,
        rate: float,
        images: int,
    ) -> FitProgress:
        self._images += images * Processes().count
        seconds = max(time.monotonic() - self._start, 1e-9)
        per_step = seconds / (state.step - self._first)
        return FitProgress(
            step=state.step,
            steps=config.steps,
            epoch=(state.step - 1) // config.steps_per_epoch + 1,
            epochs=config.epochs,
            loss=loss,
            validation=validation,
            best=state.best if state.best_weights else None,
            learning_rate=rate,
            images_per_second=self._images / seconds,
            seconds_per_step=per_step,
            eta_seconds=per_step * (config.steps - state.step),
        )
