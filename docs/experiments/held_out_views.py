"""Are views found that nobody labelled? ``python docs/experiments/held_out_views.py DATA``.

Simulated micrographs of the 20S proteasome and of the 70S ribosome show all views. In training,
the particles of a band of views about the equator (|cos tilt| below a half: half of all views) have
no labels and are left out of the loss. SO(3)-AL1, SO(2)-AL1 and a plain CNN (trained on turned and
mirrored tiles as the others are) of equal size learn from the rest. Then all particles of new
micrographs are sought: among as many picks as there are particles, how many of each view are found?
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from common import add_row, has_row

from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.evaluate import match_points
from napari_so3.picking.peaks import local_maxima, refine, suppress
from napari_so3.picking.preprocess import preprocess
from napari_so3.picking.score import pad_reflect
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.micrograph import (
    SimulationConfig,
    simulate_micrograph,
)
from napari_so3.simulation.volume import read_density
from napari_so3.so3.baselines import ConvNet
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.fit import FitConfig, fit
from napari_so3.training.labels import Labels
from napari_so3.training.sources import TileSource
from napari_so3.training.tiles import LabelledMicrograph

if TYPE_CHECKING:
    from torch import nn

    from napari_so3.simulation.micrograph import (
        SimulatedMicrograph,
    )
    from napari_so3.simulation.volume import DensityMap

MAPS = {
    "20S proteasome": "densities/1pma_T20S_proteasome_28chains.mrc",
    "70S ribosome": "densities/70S_EFTu_tRNA_sparx.mrc",
}
BAND = 0.5  # of |cos tilt|
EDGE, PARTICLES, SNR = 480, 60, 0.15
PIXELS_PER_DIAMETER = 20.0
TRAINING, TESTING = 8, 6  # micrographs
NETWORKS = {
    "SO(3)-AL1, 32 rotations": PickerConfig(basis="voxel", grid=RotationGrid(4, 8, antipodal=True)),
    "SO(2)-AL1, 8 rotations": PickerConfig(basis="voxel", grid=RotationGrid.so2(8)),
    "CNN": None,
}


def simulate(density: DensityMap, seed: int) -> SimulatedMicrograph:
    """Simulate a micrograph of all views, 24 pixels across a particle."""
    rng = np.random.default_rng(seed)
    defocus = float(rng.uniform(1e4, 2.5e4))
    config = SimulationConfig(
        shape=(EDGE, EDGE),
        pixel_size=density.diameter / 24.0,
        n_particles=PARTICLES,
        snr=SNR,
        ctf=CTF(defocus_u=defocus, defocus_v=defocus),
    )
    return simulate_micrograph(density, config, torch.Generator().manual_seed(seed))


def held_out(made: SimulatedMicrograph) -> np.ndarray:
    """Mark the particles seen from near the equator: (n,) bool."""
    return np.abs(np.cos(np.radians(made.truth["tilt"].to_numpy()))) < BAND


def labelled(made: SimulatedMicrograph, diameter: float, everything: bool) -> LabelledMicrograph:
    """Label all particles, or those outside the band, with discs over the others."""
    points, hidden = made.truth[["y", "x"]].to_numpy(), held_out(made)
    if everything:
        hidden[:] = False
    radius = np.full((int(hidden.sum()), 1), 0.6 * diameter / made.pixel_size)
    labels = Labels(
        points[~hidden],
        ignored_discs=np.hstack((points[hidden], radius)),
        complete=True,
    )
    micrograph = Micrograph(Path("simulated.mrc"), made.image, made.pixel_size, "given")
    return LabelledMicrograph(micrograph, labels, diameter)


def train(
    config: PickerConfig | None, micrographs: list[LabelledMicrograph], steps: int, seed: int
) -> nn.Module:
    """Train a network on dense tiles."""
    torch.manual_seed(seed)
    net: nn.Module = ConvNet() if config is None else PickerNet(config)
    source = TileSource(
        lambda _rng: [micrographs],
        net.config,
        PIXELS_PER_DIAMETER,
        tile=48,
        tiles_per_set=4,
        magnification=1.05,
        seed=seed,
    )
    how = FitConfig(steps // 50, 50, 3e-3, "one-cycle", seed=seed)
    for progress in fit(net, source, how):
        if progress.step % 50 == 0:
            print(f"step {progress.step}, loss {progress.loss:.4f}", flush=True)
    return net


def recalls(net: nn.Module, density: DensityMap, seeds: range) -> tuple[float, float]:
    """Recall of the labelled views and of the band, among as many picks as particles."""
    found: dict[bool, list[bool]] = {False: [], True: []}
    for seed in seeds:
        made = simulate(density, seed)
        image = preprocess(
            made.image,
            made.pixel_size,
            density.diameter,
            density.diameter / PIXELS_PER_DIAMETER,
        )
        with torch.no_grad():
            padded = pad_reflect(image.pixels, net.config.receptive_field // 2)
            logits = net(padded[None, None])[0].numpy()
        where, value = refine(logits, local_maxima(logits, -30.0))
        angstrom = where * net.config.stride * np.array(image.pixel_size)
        best = suppress(angstrom, value, density.diameter / 2)[: len(made.truth)]
        points = made.truth[["y", "x"]].to_numpy() * made.pixel_size
        # Which particles were found: particles look for picks here.
        hit = match_points(points, angstrom[best], density.diameter / 4)
        for hidden, right in zip(held_out(made), hit, strict=True):
            found[bool(hidden)].append(bool(right))
    return float(np.mean(found[False])), float(np.mean(found[True]))


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder of the table")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = arguments.output / "held_out_views.csv"
    for seed in range(arguments.seeds):
        for protein, path in MAPS.items():
            density = read_density(arguments.data / "maps" / path)
            made = [simulate(density, 1000 * seed + i) for i in range(TRAINING)]
            for everything in (False, True):
                parts = [labelled(one, density.diameter, everything) for one in made]
                for name, config in NETWORKS.items():
                    key = {
                        "protein": protein,
                        "network": name,
                        "seed": seed,
                        "labels": "all views" if everything else "without the band",
                    }
                    if has_row(table, **key):
                        continue
                    start = time.process_time()
                    net = train(config, parts, arguments.steps, seed)
                    seconds = time.process_time() - start
                    test = range(500_000, 500_000 + TESTING)
                    outside, band = recalls(net.eval(), density, test)
                    add_row(
                        table,
                        **key,
                        parameters=sum(p.numel() for p in net.parameters()),
                        recall_outside=round(outside, 4),
                        recall_band=round(band, 4),
                        cpu_seconds=round(seconds),
                    )
    print(table.read_text())


if __name__ == "__main__":
    main()
