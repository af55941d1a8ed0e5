"""The training loop: tiles in, a better network out, one step per yield."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from napari_so3.training.tiles import draw_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from napari_so3.so3.networks import PickerNet
    from napari_so3.training.tiles import TargetMap

LEFT_OUT = 0.1  # share of the highest unlabelled scores that an incomplete tile leaves out


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Parameters
    ----------
    steps : int
        Optimisation steps.
    tile : int
        Edge of a tile's target, map pixels.
    tiles_per_set : int
        Tiles that every data set gives to a step.
    learning_rate : float
        Peak of the one-cycle schedule of Adam.
    positive_weight : float
        Weight of a particle pixel against a background pixel.
    seed : int
        Seed of the tiles.
    """

    steps: int = 3000
    tile: int = 24
    tiles_per_set: int = 2
    learning_rate: float = 3e-3
    positive_weight: float = 4.0
    seed: int = 0


@dataclass(frozen=True)
class FitProgress:
    """One step: its number from 1, its loss, and the seconds since the start."""

    step: int
    steps: int
    loss: float
    seconds: float


def tile_loss(logits: Tensor, target: Tensor, complete: Tensor, positive_weight: float) -> Tensor:
    """Weighted binary cross entropy over the pixels that are known.

    Parameters
    ----------
    logits : Tensor
        (n, h, w) AL1 logits.
    target : Tensor
        (n, h, w) int8: 1 particle, 0 background or unlabelled, -1 left out.
    complete : Tensor
        (n,) bool; where false, the highest `LEFT_OUT` of the unlabelled pixels are left out: a
        particle that nobody labelled is likely to be among them.
    positive_weight : float
        Weight of particle pixels.

    Returns
    -------
    Tensor
        Scalar.
    """
    known = target >= 0
    for i in torch.nonzero(~complete).flatten().tolist():
        unlabelled = target[i] == 0
        if bool(unlabelled.any()):
            limit = torch.quantile(logits[i].detach()[unlabelled], 1.0 - LEFT_OUT)
            known[i] &= (target[i] == 1) | (logits[i].detach() <= limit)
    weight = torch.where(target == 1, positive_weight, 1.0) * known
    loss = F.binary_cross_entropy_with_logits(logits, target.clamp(min=0).float(), reduction="none")
    return (loss * weight).sum() / weight.sum()


def fit(
    net: PickerNet,
    data: Callable[[np.random.Generator], list[list[TargetMap]]],
    config: FitConfig,
    refresh: int = 200,
) -> Iterator[FitProgress]:
    """Train a network in place.

    Parameters
    ----------
    net : PickerNet
        Trained in place; in evaluation mode after the last step.
    data : callable
        Gives the target maps of every data set, drawn anew (magnification, simulated particles)
        every ``refresh`` steps.
    config : FitConfig
        Steps, tiles and rates.
    refresh : int
        Steps between two calls of ``data``.

    Yields
    ------
    FitProgress
        After every step. Stop iterating to stop training.
    """
    rng = np.random.default_rng(config.seed)
    field, stride = net.config.receptive_field, net.config.stride
    optimiser = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps, pct_start=0.1
    )
    start = time.monotonic()
    net.train()
    for step in range(config.steps):
        if step % refresh == 0:
            sets = data(rng)
        drawn = [
            draw_tiles(maps, config.tile, field, stride, config.tiles_per_set, rng) for maps in sets
        ]
        images, targets, complete = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        loss = tile_loss(net(images), targets, complete, config.positive_weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        yield FitProgress(step + 1, config.steps, float(loss.detach()), time.monotonic() - start)
    net.eval()
