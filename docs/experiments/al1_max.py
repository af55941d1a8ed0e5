"""AL1 against max: ``python docs/experiments/al1_max.py DATA``.

The same network learns from the training micrographs of beta-galactosidase with the rotations
joined by AL1 or by max, first on 16 rotations and then, from there, on 16, 72 and 256. On the
validation micrographs: false positives per micrograph at equal recall.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from common import add_row, has_row

from napari_so3.picking.evaluate import precision_recall
from napari_so3.picking.picker import Picker
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.datasets import BETA_GALACTOSIDASE, read_part
from napari_so3.training.fit import FitConfig, fit
from napari_so3.training.settle import find_candidates
from napari_so3.training.sources import TileSource

if TYPE_CHECKING:
    from napari_so3.so3.aggregation import Aggregation
    from napari_so3.training.tiles import LabelledMicrograph

GRIDS = {16: RotationGrid(4, 4), 72: RotationGrid(9, 8), 256: RotationGrid(32, 8)}
RECALLS = (0.5, 0.6, 0.7, 0.8)
PIXELS_PER_DIAMETER = 20.0


def train(net: PickerNet, part: list[LabelledMicrograph], steps: int, rate: float) -> None:
    """Train a network in place on dense tiles; fewer pixels where there are many rotations."""
    source = TileSource(
        lambda _rng: [part],
        net.config,
        PIXELS_PER_DIAMETER,
        tile=48 if len(net.config.grid) == 16 else 32,
        tiles_per_set=4 if len(net.config.grid) < 256 else 2,
        magnification=1.1,
    )
    for progress in fit(net, source, FitConfig(steps // 20, 20, rate, "one-cycle")):
        if progress.step % 20 == 0:
            print(f"step {progress.step}, loss {progress.loss:.4f}", flush=True)


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder of the table")
    parser.add_argument("--steps", type=int, default=400, help="on 16 rotations")
    parser.add_argument("--more", type=int, default=60, help="on each grid")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = arguments.output / "al1_max.csv"
    part = list(read_part(arguments.data, BETA_GALACTOSIDASE).values())
    test = list(read_part(arguments.data, BETA_GALACTOSIDASE, held_out=True).values())
    labels = sum(len(one.labels.positives) for one in test)
    joined: Aggregation
    for joined in ("al1", "max"):
        todo = [n for n in GRIDS if not has_row(table, joined=joined, rotations=n)]
        if not todo:
            continue
        torch.manual_seed(0)
        first = PickerNet(replace(PickerConfig(), grid=GRIDS[16], aggregation=joined))
        train(first, part, arguments.steps, 3e-3)
        for n in todo:
            start = time.process_time()
            net = first.with_grid(GRIDS[n])
            train(net, part, arguments.more, 1e-3)
            picker = Picker(net.eval(), joined, PIXELS_PER_DIAMETER)
            found = find_candidates(picker, test, torch.device("cpu"))
            curve = precision_recall(found.logits, found.right, labels)
            row: dict[str, object] = {"AP": curve.average_precision}
            for recall in RECALLS:
                at = int(np.searchsorted(curve.recall, recall))
                enough = at < len(curve.recall)
                wrong = labels * curve.recall[at] * (1 / curve.precision[at] - 1) if enough else 0
                row[f"FP at {recall:g}"] = round(wrong / len(test), 1) if enough else "-"
            seconds = round(time.process_time() - start)
            add_row(table, joined=joined, rotations=n, **row, cpu_seconds=seconds)
    print(table.read_text())


if __name__ == "__main__":
    main()
