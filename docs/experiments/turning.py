"""Measure how many picks move with a micrograph that is turned or mirrored.

``python docs/experiments/turning.py DATA`` picks the held-out micrographs of every set of
``napari_so3.training.datasets`` with the bundled model, as they are and turned, and prints the
share of the picks at the model's threshold that one of the turned picks at the same threshold
matches to one working pixel (diameter / 20).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import Scorer
from napari_so3.training.datasets import DATA_SETS, read_part

# how to turn an image of (ny, nx), and how to turn positions back
TURNS = {
    "quarter turn": (np.rot90, lambda y, x, ny, nx: (x, nx - 1 - y)),
    "rows reversed": (lambda a: a[::-1], lambda y, x, ny, nx: (ny - 1 - y, x)),
    "columns reversed": (lambda a: a[:, ::-1], lambda y, x, ny, nx: (y, nx - 1 - x)),
}


def main(data: Path) -> None:
    """Print one line per set and turn."""
    picker = load_picker("general")
    scorer = Scorer(picker.net, torch.device("cpu"))

    def positions(image: np.ndarray, pixel_size: float, diameter: float) -> np.ndarray:
        micrograph = Micrograph(Path("turned.mrc"), image, pixel_size, "given")
        *_, picks = pick(micrograph, picker, PickSettings(diameter), scorer)
        return picks.above(picker.threshold).table[["y", "x"]].to_numpy()

    for what in DATA_SETS:
        micrographs = list(read_part(data, what, held_out=True).values())
        for name, (turn, back) in TURNS.items():
            gaps = []
            for m in micrographs:
                image = m.micrograph.to_float32()
                here = positions(image, m.pixel_size, m.diameter)
                there = positions(np.ascontiguousarray(turn(image)), m.pixel_size, m.diameter)
                returned = np.stack(back(*there.T, *image.shape), axis=-1)
                gaps.append(cKDTree(returned).query(here)[0] * m.pixel_size)
            moved = np.concatenate(gaps) <= what.diameter / picker.pixels_per_diameter
            print(f"{what.name}, {name}: {moved.mean():.4f} of {len(moved)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
