"""The sample micrograph: made in code, so that everyone has data with a truth to try things on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_so3.io.volumes import write_image
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.density import barrel
from napari_so3.simulation.files import write_truth
from napari_so3.simulation.micrograph import (
    SimulationConfig,
    simulate_micrograph,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_so3.simulation.micrograph import (
        SimulatedMicrograph,
    )

SAMPLE_CONFIG = SimulationConfig(
    shape=(1024, 1200),
    pixel_size=3.0,
    n_particles=120,
    snr=0.3,
    ctf=CTF(defocus_u=20_200.0, defocus_v=19_800.0, astigmatism_angle=30.0),
    structure=0.2,
    ice_gradient=0.3,
    carbon=True,
    n_contaminants=4,
    n_hot_pixels=3,
)


def sample_micrograph(seed: int = 0) -> SimulatedMicrograph:
    """Simulate barrels in ice, with a corner of carbon film and a few ice crystals.

    Parameters
    ----------
    seed : int
        The same seed gives the same micrograph.

    Returns
    -------
    SimulatedMicrograph
        1024 x 1200 pixels of 3 Å with 120 particles.
    """
    return simulate_micrograph(barrel(), SAMPLE_CONFIG, torch.Generator().manual_seed(seed))


def write_sample(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write the sample micrograph and its truth; existing ones are replaced.

    Parameters
    ----------
    folder : Path
        Where to write; made if missing.
    seed : int
        Seed of `sample_micrograph`.

    Returns
    -------
    micrograph, truth : Path
        ``sample.mrc`` (float32, pixel size in the header) and ``sample_truth.star`` (RELION
        optics and particles with coordinates and angles).
    """
    folder.mkdir(parents=True, exist_ok=True)
    sample = sample_micrograph(seed)
    micrograph, truth = folder / "sample.mrc", folder / "sample_truth.star"
    write_image(micrograph, sample.image, sample.pixel_size)
    write_truth(truth, sample, micrograph.name)
    return micrograph, truth
