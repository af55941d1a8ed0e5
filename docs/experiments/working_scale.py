"""Measure the working scale: diameter / 20 against a fixed 8 Å per pixel.

``python docs/experiments/working_scale.py`` trains a network of 16 rotations twice on simulated
micrographs of random proteins of 80 to 400 Å, once at each scale, and prints the average precision
on 24 others (match radius a quarter of the diameter) by particle size. With the data folder of
``napari_so3.training.datasets`` as argument it does so on the real sets. About ten minutes each on
one CPU core.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.picking.evaluate import average_precision, match_picks
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picker import Picker
from napari_so3.picking.score import Scorer
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.datasets import DATA_SETS, read_part
from napari_so3.training.fit import FitConfig, fit
from napari_so3.training.scenes import simulate_labelled
from napari_so3.training.tiles import Batch, draw_tiles, prepare_target

if TYPE_CHECKING:
    from napari_so3.training.tiles import LabelledMicrograph, TargetMap

CONFIG = PickerConfig(grid=RotationGrid(4, 4))
TILE, STEPS = 24, 400
BANDS = ((80, 140), (140, 240), (240, 400))
SCALES = {
    "diameter / 20": lambda diameter: 20.0,
    "8 Å per pixel": lambda diameter: diameter / 8.0,
}


def train(pixels_across, micrographs, steps: int) -> PickerNet:
    """Train on the sets of micrographs that ``micrographs`` gives every 50 steps."""
    torch.manual_seed(0)
    net = PickerNet(CONFIG)
    field, stride = CONFIG.receptive_field, CONFIG.stride
    sets: list[list[TargetMap]] = []

    def draw(step: int, rng: np.random.Generator) -> Batch:
        if step % 50 == 0:
            sets.clear()
            for labelled in micrographs(rng):
                jitter = rng.uniform(0.9, 1.1)
                maps = [
                    prepare_target(m, pixels_across(m.diameter), field, stride, jitter)
                    for m in labelled
                ]
                sets.append([t for t in maps if min(t.target.shape) >= TILE])
        drawn = [draw_tiles(maps, TILE, field, stride, 2, rng) for maps in sets]
        return Batch(torch.cat([b.images for b in drawn]), torch.cat([b.targets for b in drawn]))

    for progress in fit(net, draw, FitConfig(steps // 50, 50, 3e-3, "one-cycle")):
        if progress.step % 50 == 0:
            print(f"  step {progress.step}, loss {progress.loss:.3f}", file=sys.stderr)
    return net


def precision(net: PickerNet, pixels_across, test: list[LabelledMicrograph]) -> float:
    """Average precision over micrographs."""
    scorer = Scorer(net, torch.device("cpu"))
    scores, hits, labels = [], [], 0
    for m in test:
        picker = Picker(net, "trial", pixels_across(m.diameter))
        *_, picks = pick(m.micrograph, picker, PickSettings(m.diameter, margin=0.0), scorer)
        scores.append(picks.table["logit"].to_numpy())
        hits.append(match_picks(picks, m.labels.positives, m.diameter / 4 / m.pixel_size))
        labels += len(m.labels.positives)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return average_precision(np.concatenate(hits)[order], labels)


def simulated():
    """Give training micrographs drawn anew, and tests by particle size."""
    test = [simulate_labelled((), np.random.default_rng(1000 + i)) for i in range(24)]
    bands = {f"{a}-{b} Å": [m for m in test if a <= m.diameter < b] for a, b in BANDS}
    return lambda rng: [[simulate_labelled((), rng) for _ in range(4)] for _ in range(2)], bands


def real(data: Path):
    """Give the training part of the real sets, and the held-out part of the well-labelled ones."""
    parts = [list(read_part(data, what).values()) for what in DATA_SETS]
    test = {
        w.name: list(read_part(data, w, held_out=True).values()) for w in DATA_SETS if w.complete
    }
    return lambda rng: parts, test


def main() -> None:
    """Print one line per scale."""
    torch.set_num_threads(1)
    micrographs, tests = real(Path(sys.argv[1])) if len(sys.argv) > 1 else simulated()
    for name, pixels_across in SCALES.items():
        net = train(pixels_across, micrographs, STEPS)
        cells = (f"{k}: {precision(net, pixels_across, test):.3f}" for k, test in tests.items())
        print(f"{name}: {', '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
