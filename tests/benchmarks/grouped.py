"""The rival: the same network written the obvious way, all rotations in one grouped convolution.

Run as a script: ``python grouped.py MODEL DIAMETER PIXEL_SIZE OUTPUT MICROGRAPH ...``. All but the
scoring is the code of ``napari-so3 pick``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.pick import PickSettings, find_picks, prepare
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import ScoreMaps, pad_reflect
from napari_so3.so3.aggregation import aggregate

if TYPE_CHECKING:
    from napari_so3.picking.preprocess import WorkingImage
    from napari_so3.so3.networks import PickerNet


def score(net: PickerNet, image: WorkingImage) -> ScoreMaps:
    """Score a working image as a user of a deep learning library would write it."""
    config = net.config
    padded = pad_reflect(image.pixels, config.receptive_field // 2)[None, None]
    with torch.inference_mode():
        logits = net.rotation_logits(padded)
        joined = aggregate(logits, 1, config.aggregation, config.prior)
    best = logits[0].argmax(dim=0).numpy().astype(np.int16)
    return ScoreMaps(joined[0].numpy(), best, config.stride, config.grid)


def _main(model: str, diameter: str, pixel_size: str, output: str, *micrographs: str) -> None:
    picker, settings = load_picker(model), PickSettings(float(diameter))
    for path in map(Path, micrographs):
        micrograph = read_micrograph(path, float(pixel_size))
        image = prepare(micrograph, picker, settings)
        picks = find_picks(score(picker.net, image), image, micrograph, picker, settings)
        picks.write_csv(Path(output) / f"{path.stem}.csv")
        picks.above(picker.threshold).write_star(Path(output) / f"{path.stem}.star")


if __name__ == "__main__":
    _main(*sys.argv[1:])
