"""Where the batches of a training come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.picking.evaluate import crop_aupr
from napari_so3.training.distributed import Processes
from napari_so3.training.tiles import (
    POSITIVE,
    Batch,
    draw_crops,
    draw_tiles,
    prepare_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from napari_so3.so3.networks import PickerConfig
    from napari_so3.training.tiles import (
        LabelledMicrograph,
        TargetMap,
    )

    Build = Callable[[np.random.Generator], Sequence[Sequence[LabelledMicrograph]]]

VALIDATION_SEED = 2**31 - 1


@dataclass
class TileSource:
    """Tiles of several sets of micrographs, the same number of each in every batch.

    The micrographs are made anew every ``refresh`` steps: drawn or simulated again, and brought to
    a magnification of their own, since no user knows a diameter exactly.

    Parameters
    ----------
    build : callable
        Gives the sets of labelled micrographs.
    config : PickerConfig
        Network that is trained.
    pixels_per_diameter : float
        Working pixels across a particle.
    tile : int
        Edge of a tile's target, map pixels.
    tiles_per_set : int
        Of each set in a batch.
    near : float
        Share of the tiles around a labelled particle.
    magnification : float
        Largest factor by which a diameter may be wrong.
    refresh : int
        Steps.
    seed : int
        Of the refreshments.
    """

    build: Build
    config: PickerConfig
    pixels_per_diameter: float
    tile: int = 64
    tiles_per_set: int = 1
    near: float = 0.0
    magnification: float = 1.18
    refresh: int = 100
    seed: int = 0
    _age: int = field(default=-1, init=False)
    _sets: list[list[TargetMap]] = field(default_factory=list, init=False)

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Draw the batch of a step (number from 0)."""
        age = step // self.refresh
        if age != self._age:
            fresh = np.random.default_rng((self.seed, Processes().rank, age))
            self._sets = [[self._prepare(one, fresh) for one in part] for part in self.build(fresh)]
            self._age = age
        smallest = min(min(m.target.shape) for maps in self._sets for m in maps)
        drawn = [
            draw_tiles(
                maps,
                min(self.tile, smallest),
                self.config.receptive_field,
                self.config.stride,
                self.tiles_per_set,
                rng,
                self.near,
            )
            for maps in self._sets
        ]
        return Batch(torch.cat([b.images for b in drawn]), torch.cat([b.targets for b in drawn]))

    def _prepare(self, one: LabelledMicrograph, rng: np.random.Generator) -> TargetMap:
        wrong = float(np.exp(rng.uniform(-1, 1) * np.log(self.magnification)))
        return prepare_target(
            one, self.pixels_per_diameter, self.config.receptive_field, self.config.stride, wrong
        )


@dataclass
class CropSource:
    """Crops of the receptive field, one score each: the paper's protocol (section 3.1).

    Parameters
    ----------
    maps : sequence of TargetMap
        Prepared micrographs.
    config : PickerConfig
        Network that is trained.
    batch : int
        Crops in a batch.
    positive_share : float
        Share of the crops with a particle in the middle.
    """

    maps: Sequence[TargetMap]
    config: PickerConfig
    batch: int = 512
    positive_share: float = 0.1

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Draw a batch; the step does not matter."""
        field_, stride = self.config.receptive_field, self.config.stride
        return draw_crops(self.maps, field_, stride, self.batch, rng, self.positive_share)


def judge_by_auprc(source: TileSource | CropSource) -> Callable[[nn.Module], float]:
    """Give a validation for `fit`: `batch_auprc` of one batch of a source."""
    batch = validation_batch(source)
    return lambda net: batch_auprc(net, batch)


def validation_batch(source: TileSource | CropSource) -> Batch:
    """Draw the batch that every validation uses."""
    return source(0, np.random.default_rng(VALIDATION_SEED))


def batch_auprc(net: nn.Module, batch: Batch, images_at_once: int = 8) -> float:
    """Area under the precision-recall curve of the scores of a batch, ignored ones left out.

    Parameters
    ----------
    net : Module
        In evaluation mode.
    batch : Batch
        Unlabelled scores count as background.
    images_at_once : int
        For the memory's sake.

    Returns
    -------
    float
        0 to 1; NaN never: 0 without positives.
    """
    device = next(net.parameters()).device
    with torch.no_grad():
        scores = torch.cat(
            [net(part.to(device)).float().cpu() for part in batch.images.split(images_at_once)]
        )
    known = batch.targets >= 0
    right = (batch.targets == POSITIVE)[known].numpy()
    return float(crop_aupr(scores[known].numpy(), right)) if right.any() else 0.0
