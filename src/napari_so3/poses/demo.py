"""Make the pose model that comes with the package, for the barrels of the sample micrograph.

``python -m napari_so3.poses.demo FILE`` writes it; a minute or two.
"""

from __future__ import annotations

import sys
from pathlib import Path

from napari_so3.poses.estimator import PoseEstimator
from napari_so3.poses.train import PoseTraining, match_map
from napari_so3.simulation.density import barrel
from napari_so3.simulation.sample import SAMPLE_CONFIG
from napari_so3.simulation.volume import rasterise

VOXEL_SIZE = 3.0  # Å
SETTINGS = PoseTraining("D7", pixel_size=SAMPLE_CONFIG.pixel_size)


def make(path: Path) -> None:
    """Write the model, and say how good it is.

    Parameters
    ----------
    path : Path
        File to write.
    """
    density = rasterise(barrel(), VOXEL_SIZE, "barrel")
    for event in match_map(density, SETTINGS, name=path.stem):
        if isinstance(event, PoseEstimator):
            event.save(path)
            print(f"{path.name}: {event.training['figures']}")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
