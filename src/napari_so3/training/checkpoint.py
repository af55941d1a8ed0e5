"""Where a training stands, on disk: a killed run goes on as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.io.models import ModelFileError, read_model_file, write_model_file

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from napari_so3.training.fit import FitConfig

KIND = "checkpoint"


@dataclass
class TrainingState:
    """What a training knows of its past.

    Parameters
    ----------
    step : int
        Steps done.
    best : float
        Largest validation so far.
    best_weights : dict
        State of the network at that time; empty before the first validation.
    epochs_since_best : int
        Epochs since then.
    stalled : int
        Epochs without improvement since the rate was last lowered.
    reductions : int
        How often the rate was lowered.
    """

    step: int = 0
    best: float = float("-inf")
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    epochs_since_best: int = 0
    stalled: int = 0
    reductions: int = 0

    def note(self, validation: float, net: nn.Module, config: FitConfig) -> None:
        """Take in the validation of an epoch: the best weights, the rate, the patience."""
        if validation > self.best:
            self.best, self.epochs_since_best, self.stalled = validation, 0, 0
            self.best_weights = {k: v.detach().clone() for k, v in net.state_dict().items()}
            return
        self.epochs_since_best += 1
        self.stalled += 1
        if self.stalled > config.patience:
            self.stalled, self.reductions = 0, self.reductions + 1


def digest(*parts: object) -> str:
    """Tell what a training starts or learns from in a few characters.

    Parameters
    ----------
    *parts : object
        Arrays (their values count), and anything whose ``repr`` says what it is.

    Returns
    -------
    str
        Hexadecimal; other parts give another one.
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
        total.update(b";")
    return total.hexdigest()[:16]


def _identity(config: FitConfig, net: nn.Module) -> dict[str, Any]:
    shape = {name: list(value.shape) for name, value in net.state_dict().items()}
    identity: dict[str, Any] = json.loads(json.dumps({"fit": asdict(config), "weights": shape}))
    return identity


def save_checkpoint(
    path: Path,
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: TrainingState,
    config: FitConfig,
) -> None:
    """Write a checkpoint; it replaces the last one only when it is complete.

    Parameters
    ----------
    path : Path
        File.
    net : Module
        Network.
    optimiser : Optimizer
        Adam, after at least one step.
    state : TrainingState
        Counters and best weights.
    config : FitConfig
        Only a training of the same settings may go on from here.
    """
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best_weights.items()}
    for i, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{name}": value for name, value in moments.items()}
    counters = asdict(state)
    del counters["best_weights"]
    if not state.best_weights:
        del counters["best"]
    header = {"kind": KIND, "training": _identity(config, net), "state": counters}
    write_model_file(path, header, tensors)


def load_checkpoint(
    path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, config: FitConfig
) -> TrainingState:
    """Bring network and optimiser to where a checkpoint was written.

    Parameters
    ----------
    path : Path
        File of `save_checkpoint`.
    net : Module
        Network of the same shape; changed in place.
    optimiser : Optimizer
        Adam of its parameters; changed in place.
    config : FitConfig
        Must be that of the checkpoint.

    Returns
    -------
    TrainingState
        Counters and best weights.

    Raises
    ------
    ModelFileError
        If the file is damaged, no checkpoint, or of a training with other settings.
    """
    header, tensors = read_model_file(path)
    if header.get("kind") != KIND:
        raise ModelFileError(f"{path.name}: it is not a checkpoint; move it away to train anew.")
    if header.get("training") != _identity(config, net):
        raise ModelFileError(
            f"{path.name}: this checkpoint belongs to a training with other settings; remove it to "
            "train anew, or give the same settings to go on."
        )
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "best": {}, "adam": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    net.load_state_dict(parts["net"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["adam"].items():
        index, _, moment = name.partition(".")
        moments.setdefault(int(index), {})[moment] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    device = next(net.parameters()).device
    best = {name: value.to(device) for name, value in parts["best"].items()}
    return TrainingState(best_weights=best, **header["state"])
