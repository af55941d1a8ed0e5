"""Make the pose models that come with the package, for the barrels of the sample micrograph.

``python -m napari_so3.poses.demo FOLDER`` writes ``barrel.safetensors``, which compares particles
with the projections of the barrel, and ``barrel-network.safetensors``, a network that has learnt
them. Half an hour on one core; a run that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path

from napari_so3.poses.estimator import PoseEstimator
from napari_so3.poses.train import PoseTraining, match_map, train_from_map
from napari_so3.simulation.density import barrel
from napari_so3.simulation.sample import SAMPLE_CONFIG
from napari_so3.simulation.volume import rasterise
from napari_so3.training.fit import FitProgress

VOXEL_SIZE = 3.0
SYMMETRY = "D7"


def make(folder: Path) -> None:
    """Write both models.

    Parameters
    ----------
    folder : Path
        Where; made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    density = rasterise(barrel(), VOXEL_SIZE, "barrel")
    settings = PoseTraining(SYMMETRY, pixel_size=SAMPLE_CONFIG.pixel_size)
    network = folder / "barrel-network.safetensors"
    learning = train_from_map(
        density, settings, name="barrel-network", checkpoint=network.with_suffix(".checkpoint")
    )
    for events, path in (
        (match_map(density, settings, name="barrel"), folder / "barrel.safetensors"),
        (learning, network),
    ):
        for event in events:
            if isinstance(event, PoseEstimator):
                event.save(path)
                print(f"{path.name}: {event.training['figures']}")
            elif isinstance(event, FitProgress) and event.validation is not None:
                print(f"step {event.step} of {event.steps}, loss {event.loss:.3f}", flush=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
