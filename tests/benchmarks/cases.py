"""What is picked, and the commands that pick it: ours and the two rivals."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import grouped
from measure import Cost, run

from napari_so3.so3.rotations import RotationGrid

EDGE = int(os.environ.get("NAPARI_SO3_BENCH_EDGE", "4096"))  # pixels; small to try things out
PIXEL_SIZE = 1.0  # Å
DIAMETER = 160.0  # Å; the network works at 8 Å per pixel
SCALE = 8  # Topaz is to work at the same pixel size
GRIDS = {72: RotationGrid(9, 8), 256: RotationGrid(32, 8)}

Pick = Callable[[Path, list[Path], Path], Cost]  # tool or model, micrographs, folder of picks


def pick_ours(model: Path, paths: list[Path], output: Path) -> Cost:
    """Run ``napari-so3 pick``."""
    return run(
        *(sys.executable, "-m", "napari_so3.cli", "pick", *paths),
        *("--diameter", DIAMETER, "--pixel-size", PIXEL_SIZE, "--model", model),
        *("--device", "cpu", "--output", output),
    )


def pick_grouped(model: Path, paths: list[Path], output: Path) -> Cost:
    """Run the same network as one grouped convolution."""
    output.mkdir()
    return run(sys.executable, grouped.__file__, model, DIAMETER, PIXEL_SIZE, output, *paths)


def pick_topaz(topaz: Path, paths: list[Path], output: Path) -> Cost:
    """Run Topaz's two steps, with the radius of our suppression distance."""
    small = [output / path.name for path in paths]
    radius = int(DIAMETER / 2 / PIXEL_SIZE / SCALE)
    return run(topaz, "preprocess", "-s", SCALE, "-o", output, *paths) + run(
        *(topaz, "extract", "-d", -1, "-m", "resnet16_u64", "-r", radius),
        *("-o", output / "picks.txt", *small),
    )
