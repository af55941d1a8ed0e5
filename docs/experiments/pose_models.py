"""Pose models of one map compared: ``python docs/experiments/pose_models.py MAP MODEL ...``.

Micrographs of the particle are simulated at several SNR, the picks lie half a pixel (standard
deviation, along y and x) beside the particles, and each model estimates their poses, as they are
and refined. Rows are added to pose_models.csv.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from common import add_row

from napari_so3.io.micrographs import Micrograph
from napari_so3.poses.errors import pose_errors
from napari_so3.poses.estimate import PoseSettings, estimate_poses
from napari_so3.poses.estimator import load_estimator
from napari_so3.simulation.volume import read_density
from napari_so3.so3.rotations import euler_to_matrix
from napari_so3.training.alignment import align_to_symmetry
from napari_so3.training.from_map import MapSettings, look

if TYPE_CHECKING:
    from napari_so3.poses.estimator import PoseEstimator
    from napari_so3.simulation.micrograph import SimulatedMicrograph

SNR = (0.2, 0.5, 1.0)
MICROGRAPHS = 2
BESIDE = 0.5  # pixels
BORDER = 10  # pixels without picks
SEED = 77


def measure(
    estimator: PoseEstimator, scenes: list[SimulatedMicrograph], refine: bool
) -> dict[str, float]:
    """Estimate the poses of all particles, and compare them with the truth."""
    poses, truth, confidence = [], [], []
    start = time.monotonic()
    for made in scenes:
        points = made.truth[["y", "x"]].to_numpy()
        limits = np.array(made.image.shape) - BORDER
        inside = ((points > BORDER) & (points < limits)).all(axis=1)
        points = points[inside]
        points = points + BESIDE * np.random.default_rng(1).normal(size=points.shape)
        micrograph = Micrograph(Path("made.mrc"), made.image, made.pixel_size, "given")
        *_, found = estimate_poses(micrograph, points, estimator, PoseSettings(refine=refine))
        poses.append(found.matrices)
        confidence.append(found.table["confidence"].to_numpy())
        angles = made.truth[["rot", "tilt", "psi"]].to_numpy()[inside]
        truth.append(euler_to_matrix(*angles.T).numpy())
    seconds = time.monotonic() - start
    errors = pose_errors(np.concatenate(poses), np.concatenate(truth), estimator.symmetry)
    return {
        "picks": len(errors.angles),
        "median_deg": errors.median_deg,
        "mean_deg": errors.mean_deg,
        "within_15_deg": errors.hits[15],
        "confidence": float(np.concatenate(confidence).mean()),
        "seconds_per_1000": 1000 * seconds / len(errors.angles),
    }


def main() -> None:
    """Measure all models at all SNR."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("map", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pixel-size", type=float, default=7.894, help="Å")
    parser.add_argument("-o", "--output", type=Path, default=Path("pose_models.csv"))
    asked = parser.parse_args()
    estimators = {name: load_estimator(name) for name in asked.models}
    symmetry = next(iter(estimators.values())).symmetry
    density, _ = align_to_symmetry(read_density(asked.map), symmetry)
    scene, _ = look(density, MapSettings(pixel_size=asked.pixel_size), ())
    for snr in SNR:
        rng = np.random.default_rng(SEED)
        noisy = replace(scene, snr=(snr, 1.01 * snr))
        scenes = [noisy.make(rng) for _ in range(MICROGRAPHS)]
        for name, estimator in estimators.items():
            for refine in (False, True):
                figures = measure(estimator, scenes, refine)
                add_row(
                    asked.output, model=Path(name).stem, snr=snr, refined=str(refine), **figures
                )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
