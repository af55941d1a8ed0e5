"""See all rotations of a micrograph and read every map, in a process of its own.

Run as a script: ``python see.py KEPT MODEL DIAMETER PIXEL_SIZE MICROGRAPH``. The maps are kept as
the plugin does (``stack``) or in a float32 array (``array``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_so3.insight import rotation_maps
from napari_so3.insight.rotation_maps import RotationMaps, see_rotations
from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.pick import PickSettings
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Array:
    """The maps as a float32 array."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._values = np.zeros(shape, np.float32)
        self.shape = shape

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Array:
        return cls(shape)

    def write(self, rotations: slice, rows: slice, cols: slice, values: NDArray[Any]) -> None:
        self._values[rotations, rows, cols] = values

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        return self._values[key]


def _main(kept: str, model: str, diameter: str, pixel_size: str, path: str) -> None:
    if kept == "array":
        rotation_maps.RotationStack = Array
    picker = load_picker(model)
    scorer = Scorer(picker.net, torch.device("cpu"))
    micrograph = read_micrograph(Path(path), float(pixel_size))
    *_, maps = see_rotations(micrograph, picker, PickSettings(float(diameter)), scorer)
    assert isinstance(maps, RotationMaps)
    for rotation in range(len(maps.rotations)):
        assert np.isfinite(maps.stack[rotation]).all()


if __name__ == "__main__":
    _main(*sys.argv[1:])
