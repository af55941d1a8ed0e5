"""Which loss for few labels? ``python docs/experiments/losses.py DATA``.

Every loss trains on the same draws of 50 labels in three micrographs (``common.draw_labels``), from
the starting model and from scratch. Average precision on the validation micrographs, all candidates
up to the border.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import get_args

import torch
from common import CASES, add_row, draw_labels, has_row
from few_labels import validate

from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.picker import load_picker
from napari_so3.training.labels import Labels
from napari_so3.training.losses import LossName
from napari_so3.training.teach import TeachSettings, teach
from napari_so3.training.tiles import LabelledMicrograph

LABELS = 50


def main() -> None:
    """Train with every loss and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder of the table")
    parser.add_argument("-m", "--model", default="general", help="starting model")
    parser.add_argument("--cases", nargs="+", default=["apoferritin", "beta_gal"])
    parser.add_argument("--draws", nargs="+", type=int, default=[0])
    parser.add_argument("--start", nargs="+", default=["tuned", "scratch"])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = arguments.output / "losses.csv"
    start = load_picker(arguments.model)
    for case in (CASES[name] for name in arguments.cases):
        for draw in arguments.draws:
            for how in arguments.start:
                for loss in get_args(LossName):
                    key = {"data": case.key, "draw": draw, "start": how, "loss": loss}
                    if has_row(table, **key):
                        continue
                    micrographs = {
                        stem: LabelledMicrograph(
                            read_micrograph(case.micrograph(arguments.data, stem), case.pixel_size),
                            Labels(points),
                            case.diameter,
                        )
                        for stem, points in draw_labels(arguments.data, case, LABELS, draw).items()
                    }
                    settings = TeachSettings(
                        how == "scratch",
                        loss=loss,
                        expected=case.mean_labels(arguments.data),
                        seed=draw,
                    )
                    begun = time.process_time()
                    *_, made = teach(micrographs, start, settings)
                    seconds = time.process_time() - begun
                    quality = validate(arguments.data, case, made)
                    add_row(table, **key, AP=quality.ap, F1=quality.f1, cpu_seconds=seconds)
    print(table.read_text())


if __name__ == "__main__":
    main()
