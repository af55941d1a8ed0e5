"""Do the labels lie on the particles? ``python docs/experiments/label_offset.py DATA``.

Averages the crops of all training labels of a data set and finds the point about which the average
looks the same after half a turn: with particles in all in-plane orientations that is their centre.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_so3.training.datasets import APOFERRITIN, BETA_GALACTOSIDASE, read_part

if TYPE_CHECKING:
    from napari_so3.training.datasets import DataSet

CROP = 0.9  # half edge of a crop, diameters
LARGEST, STEP = 0.06, 0.005  # offsets that are tried, diameters


def average_crop(data: Path, what: DataSet) -> tuple[np.ndarray, int]:
    """Mean of the crops around all labels, and how many they are."""
    half = round(CROP * what.diameter / what.pixel_size)
    total, n = np.zeros((2 * half + 1, 2 * half + 1)), 0
    for one in read_part(data, what).values():
        image = one.micrograph.to_float32()
        image = (image - image.mean()) / image.std()
        for y, x in one.labels.positives:
            i, j = round(y), round(x)
            crop = image[max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1]
            if crop.shape == total.shape:
                total += ndimage.shift(crop, (i - y, j - x), order=1)
                n += 1
    return total / n, n


def centre_of_symmetry(image: np.ndarray, diameter: float) -> tuple[float, float, float]:
    """Offset (y, x) in pixels about which the image is most like its half turn, and how much."""
    half = image.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    window = np.exp(-(x**2 + y**2) / (2 * (0.4 * diameter) ** 2))
    image = image - np.median(image[[0, -1]])
    steps = np.arange(-LARGEST, LARGEST + STEP / 2, STEP) * diameter
    best = (-1.0, 0.0, 0.0)
    for dy, dx in itertools.product(steps, steps):
        moved = ndimage.shift(image, (-dy, -dx), order=1) * window
        alike = float(np.corrcoef(moved.ravel(), moved[::-1, ::-1].ravel())[0, 1])
        best = max(best, (alike, float(dy), float(dx)))
    return best[1], best[2], best[0]


def main() -> None:
    """Print the offset of every data set whose labels are complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data folder")
    data = parser.parse_args().data
    for what in (APOFERRITIN, BETA_GALACTOSIDASE):
        image, n = average_crop(data, what)
        y, x, alike = centre_of_symmetry(image, what.diameter / what.pixel_size)
        print(f"{what.name}: {n} labels, particles at y {y:+.2f}, x {x:+.2f} px ({alike:.4f})")


if __name__ == "__main__":
    main()
