"""Do matched rotations mean anything in 3D? ``python docs/experiments/matched_rotations.py DATA``.

Simulated micrographs of known poses are picked with the bundled model, as it comes and on a finer
grid, and with the matcher of the map, whose rotations are poses. Among as many candidates as there
are particles, those within a quarter of the diameter of one are kept, and their matched rotations
are compared with the true poses (``napari_so3.insight.consistency``). A cell says what was found,
in brackets what chance gives, and what is possible with that grid.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree

from napari_so3.insight.consistency import measure_consistency
from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import Scorer
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.simulation.volume import read_density
from napari_so3.so3.rotations import euler_to_matrix
from napari_so3.training.alignment import align_to_symmetry
from napari_so3.training.matcher import make_matcher

if TYPE_CHECKING:
    from napari_so3.insight.consistency import Share
    from napari_so3.picking.picker import Picker
    from napari_so3.simulation.micrograph import SimulatedMicrograph
    from napari_so3.simulation.volume import DensityMap

MAPS = {
    "70S ribosome": ("70S_EFTu_tRNA_sparx.mrc", "C1"),
    "30S ribosome": ("1xnr_30S_ribosome.mrc", "C1"),
    "RNA polymerase III": ("5fj8_RNApolIII_rebuilt.mrc", "C1"),
    "20S proteasome": ("1pma_T20S_proteasome_28chains.mrc", "D7"),
}
FINE = (32, 8)  # views and in-plane angles
EDGE, PARTICLES, MICROGRAPHS = 480, 60, 4
SNRS = (0.15, 3.0)  # as in micrographs, and nearly clean


def simulate(density: DensityMap, snr: float, seed: int) -> SimulatedMicrograph:
    """Simulate a micrograph of all views, 24 pixels across a particle."""
    defocus = float(np.random.default_rng(seed).uniform(1e4, 2.5e4))
    config = SimulationConfig(
        shape=(EDGE, EDGE),
        pixel_size=density.diameter / 24.0,
        n_particles=PARTICLES,
        snr=snr,
        ctf=CTF(defocus_u=defocus, defocus_v=defocus),
    )
    return simulate_micrograph(density, config, torch.Generator().manual_seed(seed))


def match(
    picker: Picker, made: list[SimulatedMicrograph], diameter: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pick, and give the true poses (n, 3, 3) and the matched rotations (n,) of what is found."""
    scorer, settings = Scorer(picker.net, torch.device("cpu")), PickSettings(diameter)
    true, matched = [], []
    for one in made:
        micrograph = Micrograph(Path("simulated.mrc"), one.image, one.pixel_size, "given")
        *_, picks = pick(micrograph, picker, settings, scorer)
        best = picks.table.iloc[: len(one.truth)]
        away, nearest = cKDTree(best[["y", "x"]]).query(one.truth[["y", "x"]])
        found = away * one.pixel_size <= diameter / 4
        angles = one.truth.loc[found, ["rot", "tilt", "psi"]].to_numpy()
        true.append(euler_to_matrix(*angles.T).numpy())
        matched.append(best["rotation"].to_numpy()[nearest[found]])
    return np.concatenate(true), np.concatenate(matched)


def cell(share: Share) -> str:
    """Write what was found, by chance, and possible."""
    return f"{share.found:.2f} ({share.chance:.2f}, {share.possible:.2f})"


def describe(
    picker: Picker, made: list[SimulatedMicrograph], diameter: float, symmetry: str
) -> str:
    """Measure a model and write the cells."""
    grid = picker.net.config.grid
    true, matched = match(picker, made, diameter)
    result = measure_consistency(true, matched, grid, symmetry)
    within = result.frame.within
    cells = (
        picker.name,
        str(len(grid)),
        str(result.particles),
        cell(result.same_rotation[30.0]),
        cell(within[15.0]),
        cell(within[30.0]) + (" (other hand)" if result.frame.other_hand else ""),
        cell(result.in_plane),
    )
    return " | ".join(cells)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("-m", "--model", default="general")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        "| particle | SNR | model | rotations | particles | same view, same rotation within 30° "
        "| one frame: within 15° | within 30° | in plane | CPU s |\n|--|--|--|--|--|--|--|--|--|--|"
    )
    for name, (path, symmetry) in MAPS.items():
        density = read_density(arguments.data / "maps" / "densities" / path)
        density, _ = align_to_symmetry(density, symmetry)
        pickers = (
            load_picker(arguments.model),
            load_picker(arguments.model, FINE),
            make_matcher(density, symmetry=symmetry),
        )
        for snr in SNRS:
            made = [simulate(density, snr, seed) for seed in range(MICROGRAPHS)]
            for picker in pickers:
                start = time.process_time()
                row = describe(picker, made, density.diameter, symmetry)
                seconds = time.process_time() - start
                print(f"| {name} | {snr} | {row} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
