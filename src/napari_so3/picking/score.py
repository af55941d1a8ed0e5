"""Score a working image: tile by tile with exact seams, rotation by rotation, on CPU or GPU."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from napari_so3.so3.aggregation import RotationStream
from napari_so3.so3.dense import DenseScorer
from napari_so3.so3.template import TemplateNet, TemplateScorer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.picking.preprocess import WorkingImage
    from napari_so3.so3.dense import Keep
    from napari_so3.so3.networks import PickerNet
    from napari_so3.so3.rotations import RotationGrid

TILE = 320  # score-map pixels along an edge, at most
GPU_SHARE = 0.3  # of the free memory for feature maps; the rest is workspace and reserve


@dataclass(frozen=True)
class ScoreMaps:
    """What the network says about a working image.

    Parameters
    ----------
    logits : ndarray
        (h, w) float32, the rotations joined.
    best_rotation : ndarray
        (h, w) int16, index of the rotation with the largest logit.
    step : int
        Working pixels per map pixel; map pixel (0, 0) lies on working pixel (0, 0).
    grid : RotationGrid
        The rotations.
    """

    logits: NDArray[np.float32]
    best_rotation: NDArray[np.int16]
    step: int
    grid: RotationGrid


@dataclass(frozen=True)
class ScoreProgress:
    """Steps done and in all; a step is a rotation of a tile."""

    done: int
    total: int
    note: str = ""


class LogitStore(Protocol):
    """Where the logits of every rotation go; several threads write to it at once."""

    def write(
        self, rotations: slice, rows: slice, cols: slice, values: NDArray[np.float16]
    ) -> None:
        """Take the logits (n, h, w) of some rotations in a part of the map."""


class Scorer:
    """A network made ready for many images on one device.

    On a GPU the rotations go in chunks that fit the free memory, and are halved if it runs out all
    the same; if a single one does not fit, the CPU takes over and `note` says so.

    Parameters
    ----------
    net : PickerNet or TemplateNet
        The network.
    device : torch.device
        Where to compute.
    workers : int, optional
        CPU threads; as many as torch uses by default.
    """

    def __init__(
        self,
        net: PickerNet | TemplateNet,
        device: torch.device,
        workers: int | None = None,
    ) -> None:
        self._net, self._workers = net, workers
        self.device = device
        self._dense = _dense_scorer(net, device, workers)
        self._chunk = len(net.config.grid)
        self.note = ""

    def score(
        self, image: WorkingImage, keep: LogitStore | None = None
    ) -> Iterator[ScoreProgress | ScoreMaps]:
        """Score an image; progress first, the result last.

        The border is padded by reflection, so that the map covers the whole image.

        Parameters
        ----------
        image : WorkingImage
            Preprocessed micrograph.
        keep : LogitStore, optional
            Takes the logits of every rotation, R maps of the size of the result.

        Yields
        ------
        ScoreProgress or ScoreMaps
            Stop iterating to cancel.
        """
        config = self._net.config
        step, field = config.stride, config.receptive_field
        height, width = ((n - 1) // step + 1 for n in image.pixels.shape)
        padded = pad_reflect(image.pixels, field // 2)[None, None]
        n = len(config.grid)
        logits = np.zeros((height, width), np.float32)
        best = np.zeros((height, width), np.int16)
        tiles = [(rows, cols) for rows in cut(height, TILE) for cols in cut(width, TILE)]
        for tile, (rows, cols) in enumerate(tiles):
            patch = padded[
                ...,
                rows.start * step : (rows.stop - 1) * step + field,
                cols.start * step : (cols.stop - 1) * step + field,
            ]
            take = None if keep is None else partial(_write, keep, rows, cols)
            for done in self._stream(patch, take):
                if isinstance(done, RotationStream):
                    logits[rows, cols] = done.finish().cpu().numpy()
                    best[rows, cols] = done.best_rotation.cpu().numpy().astype(np.int16)
                else:
                    yield ScoreProgress(tile * n + done, len(tiles) * n, self.note)
        yield ScoreMaps(logits, best, step, config.grid)

    def _stream(self, patch: Tensor, keep: Keep | None) -> Iterator[RotationStream | int]:
        if self.device.type == "cuda":
            free = GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]
            fits = int(free / self._dense.bytes_per_rotation(*patch.shape[-2:]))
            self._chunk = max(1, min(self._chunk, fits))
        while True:
            try:
                yield from self._dense.stream(patch, self._chunk, keep)
                return
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                if self._chunk > 1:
                    self._chunk //= 2
                    continue
            self.device = torch.device("cpu")
            self._dense = _dense_scorer(self._net, self.device, self._workers)
            self.note = "the GPU's memory is full; going on with the CPU"


def _write(
    keep: LogitStore, rows: slice, cols: slice, rotations: slice, values: NDArray[np.float16]
) -> None:
    keep.write(rotations, rows, cols, values)


def _dense_scorer(
    net: PickerNet | TemplateNet, device: torch.device, workers: int | None
) -> DenseScorer | TemplateScorer:
    if isinstance(net, TemplateNet):
        return TemplateScorer(net, device, workers)
    return DenseScorer(net, device, workers)


def cut(length: int, most: int) -> list[slice]:
    """Cut a length into the fewest pieces of at most ``most``, as equal as can be.

    Parameters
    ----------
    length, most : int
        Pixels.

    Returns
    -------
    list of slice
        One after another.
    """
    n = math.ceil(length / most)
    edges = [length * i // n for i in range(n + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def pad_reflect(image: Tensor, margin: int) -> Tensor:
    """Pad an image on all sides by reflection, also where it is smaller than the margin.

    Parameters
    ----------
    image : Tensor
        (h, w).
    margin : int
        Pixels per side.

    Returns
    -------
    Tensor
        (h + 2 margin, w + 2 margin).
    """
    out = image[None, None]
    left = margin
    while left > 0:
        now = min(left, out.shape[-1] - 1, out.shape[-2] - 1)
        if now < 1:
            return F.pad(out, (left,) * 4, mode="replicate")[0, 0]
        out = F.pad(out, (now,) * 4, mode="reflect")
        left -= now
    return out[0, 0]
