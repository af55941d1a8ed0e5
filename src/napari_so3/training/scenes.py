"""What simulated micrographs of a training show: as widely different as micrographs are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.io.micrographs import Micrograph
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.density import random_protein
from napari_so3.simulation.layout import NoRoomError
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.training.labels import Labels
from napari_so3.training.tiles import LabelledMicrograph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_so3.simulation.density import Particle
    from napari_so3.simulation.micrograph import SimulatedMicrograph
    from napari_so3.simulation.volume import DensityMap

SIZES = (80.0, 400.0)  # Å


def simulate_labelled(
    maps: Sequence[DensityMap], rng: np.random.Generator, edge: int = 420
) -> LabelledMicrograph:
    """Simulate a micrograph of a known protein or, one time in three, of an invented one.

    Parameters
    ----------
    maps : sequence of DensityMap
        Known proteins; their sizes are changed, so that the network learns shapes of any size.
    rng : numpy.random.Generator
        Source of randomness.
    edge : int
        Edge of the micrograph, pixels of a 24th of the diameter.

    Returns
    -------
    LabelledMicrograph
        80 to 400 Å, of any defocus and signal to noise, with all particles labelled.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    diameter = float(np.exp(rng.uniform(*np.log(SIZES))))
    particle: Particle
    if len(maps) and rng.random() < 2 / 3:
        known = maps[int(rng.integers(len(maps)))]
        particle = replace(known, voxel_size=known.voxel_size * diameter / known.diameter)
    else:
        particle = random_protein(generator, diameter)
    # Dirt must not look like the particle: fragments are at most half as large.
    fragments = [random_protein(generator, diameter * f) for f in rng.uniform(0.25, 0.5, 3)]
    made = simulate_fitting(particle, draw_config(rng, diameter, edge), generator, fragments)
    micrograph = Micrograph(Path("simulated.mrc"), made.image, made.pixel_size, "given")
    return LabelledMicrograph(
        micrograph, Labels(made.truth[["y", "x"]].to_numpy(), complete=True), diameter
    )


def draw_config(rng: np.random.Generator, diameter: float, edge: int) -> SimulationConfig:
    """Draw what a micrograph shows, as widely as micrographs differ.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    diameter : float
        Of the particle, Å.
    edge : int
        Pixels of a 24th of the diameter.

    Returns
    -------
    SimulationConfig
        A tenth to all of the room filled, SNR 0.08 to 0.6, defocus 0.6 to 3 µm.
    """
    defocus = float(rng.uniform(6e3, 3e4))
    return SimulationConfig(
        shape=(edge, edge),
        pixel_size=diameter / 24.0,
        n_particles=int(rng.integers(15, 110)),
        snr=float(np.exp(rng.uniform(np.log(0.08), np.log(0.6)))),
        crowding=float(rng.choice([0.0, rng.uniform(0.0, 0.7)])),
        ctf=CTF(
            voltage_kv=float(rng.choice([200.0, 300.0])),
            amplitude_contrast=float(rng.uniform(0.07, 0.12)),
            defocus_u=defocus,
            defocus_v=defocus * float(rng.uniform(0.95, 1.0)),
            astigmatism_angle=float(rng.uniform(0.0, 180.0)),
            b_factor=float(rng.uniform(50.0, 300.0)),
        ),
        structure=float(rng.uniform(0.2, 0.7)),
        ice_gradient=float(rng.uniform(0.0, 0.5)),
        carbon=bool(rng.random() < 0.3),
        n_contaminants=int(rng.integers(0, 4)),
        n_foreign=int(rng.integers(0, 25)),
        n_aggregates=int(rng.integers(0, 3)),
        n_hot_pixels=3,
    )


def simulate_fitting(
    particle: Particle,
    config: SimulationConfig,
    generator: torch.Generator,
    contaminants: Sequence[Particle],
) -> SimulatedMicrograph:
    """Simulate, with less in the micrograph where there is no room for all.

    Parameters
    ----------
    particle : Particle
        The particle.
    config : SimulationConfig
        What to show.
    generator : torch.Generator
        Source of all randomness.
    contaminants : sequence of Particle
        What foreign proteins are drawn from.

    Returns
    -------
    SimulatedMicrograph
        With all that is wanted, or with fewer particles and contaminants.
    """
    while True:
        try:
            return simulate_micrograph(particle, config, generator, contaminants)
        except NoRoomError:
            config = replace(
                config,
                n_particles=2 * config.n_particles // 3,
                n_foreign=config.n_foreign // 2,
                n_aggregates=0,
            )
