"""How many rotations? ``python docs/experiments/rotations.py DATA``.

The weights of the bundled model on other grids, without retraining: average precision on the
validation micrographs (all candidates up to the border) and CPU time of picking them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from napari_so3.picking.evaluate import precision_recall
from napari_so3.picking.picker import load_picker
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.datasets import (
    APOFERRITIN,
    BETA_GALACTOSIDASE,
    SINGLE_FRAMES,
    read_part,
)
from napari_so3.training.settle import find_candidates

GRIDS = (
    RotationGrid(2, 4, antipodal=True),
    RotationGrid(4, 4, antipodal=True),
    RotationGrid(4, 8, antipodal=True),
    RotationGrid(8, 8, antipodal=True),
    RotationGrid(12, 8, antipodal=True),
    RotationGrid(32, 8, antipodal=True),
)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("-m", "--model", default="general")
    arguments = parser.parse_args()
    picker = load_picker(arguments.model)
    sets = (APOFERRITIN, SINGLE_FRAMES, BETA_GALACTOSIDASE)
    print(f"| rotations | {' | '.join(what.name for what in sets)} | CPU s |")
    print("|--" * (len(sets) + 2) + "|")
    for grid in GRIDS:
        other, cells, start = picker.with_grid(grid), [], time.process_time()
        for what in sets:
            part = read_part(arguments.data, what, held_out=True)
            found = find_candidates(other, part.values(), torch.device("cpu"))
            labels = sum(len(one.labels.positives) for one in part.values())
            curve = precision_recall(found.logits, found.right, labels)
            cells.append(f"{curve.average_precision:.3f}")
        seconds = time.process_time() - start
        shape = f"{len(grid)} ({grid.n_directions} x {grid.n_psi})"
        print(f"| {shape} | {' | '.join(cells)} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
