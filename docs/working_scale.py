"""Measure the working scale: diameter / 20 against a fixed 8 Å per pixel.

``python docs/working_scale.py`` trains a network of 16 rotations twice on simulated micrographs of
random proteins of 80 to 400 Å, once at each scale, and prints the average precision on 24 others
(match radius a quarter of the diameter) by particle size. About ten minutes on one CPU core.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.evaluate import average_precision, match_picks
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picker import Picker
from napari_so3.picking.score import Scorer
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.bundled import simulate_labelled
from napari_so3.training.fit import FitConfig, fit
from napari_so3.training.tiles import prepare_target

if TYPE_CHECKING:
    from napari_so3.training.tiles import LabelledMicrograph

CONFIG = PickerConfig(grid=RotationGrid(4, 4))
TILE = 24
BANDS = ((80, 140), (140, 240), (240, 400))
SCALES = {
    "diameter / 20": lambda diameter: 20.0,
    "8 Å per pixel": lambda diameter: diameter / 8.0,
}


def train(pixels_across, steps: int) -> PickerNet:
    """Train on micrographs that are drawn anew every 50 steps."""
    torch.manual_seed(0)
    net = PickerNet(CONFIG)

    def sources(rng: np.random.Generator):
        maps = []
        for _ in range(8):
            m = simulate_labelled(rng)
            across = pixels_across(m.diameter)
            jitter = rng.uniform(0.9, 1.1)
            t = prepare_target(m, across, CONFIG.receptive_field, CONFIG.stride, jitter)
            if min(t.target.shape) >= TILE:
                maps.append(t)
        return [maps]

    config = FitConfig(steps=steps, tile=TILE, tiles_per_set=4)
    for progress in fit(net, sources, config, refresh=50):
        if progress.step % 50 == 0:
            print(f"  step {progress.step}, loss {progress.loss:.3f}", file=sys.stderr)
    return net


def band_precision(net: PickerNet, pixels_across, test: list[LabelledMicrograph], band) -> float:
    """Average precision over the micrographs whose particles are in a band of sizes."""
    scorer = Scorer(net, torch.device("cpu"))
    scores, hits, labels = [], [], 0
    for m in test:
        if band[0] <= m.diameter < band[1]:
            picker = Picker(net, "trial", pixels_across(m.diameter))
            micrograph = Micrograph(Path("simulated.mrc"), m.image, m.pixel_size, "given")
            *_, picks = pick(micrograph, picker, PickSettings(m.diameter, margin=0.0), scorer)
            scores.append(picks.table["logit"].to_numpy())
            hits.append(match_picks(picks, m.points, m.diameter / 4 / m.pixel_size))
            labels += len(m.points)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return average_precision(np.concatenate(hits)[order], labels)


def main(steps: int = 400) -> None:
    """Print one line per scale."""
    torch.set_num_threads(1)
    test = [simulate_labelled(np.random.default_rng(1000 + i)) for i in range(24)]
    for name, pixels_across in SCALES.items():
        net = train(pixels_across, steps)
        found = [band_precision(net, pixels_across, test, band) for band in BANDS]
        cells = ", ".join(f"{a}-{b} Å: {p:.3f}" for (a, b), p in zip(BANDS, found, strict=True))
        print(f"{name}: {cells}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
