"""Does one layer learn the map? ``python docs/experiments/one_layer.py DATA``.

The paper finds that the 3D filter of a network of one layer, trained to pick, is a rough model of
the particle. Here the same is tried where the truth is known: crops of simulated micrographs of a
map without symmetry, a filter that begins as noise, and AL1. Two ways of training:

- ``picker``: binary cross entropy, as all pickers are trained. Once particles are told from
  background there is nothing more to learn.
- ``pulled``: the same loss with a gain that makes the best rotations win clearly, and an offset so
  high that no particle is ever certain: each keeps pulling at the rotations that win it, as in a
  reconstruction.

The filter is then aligned with the map, in both hands. Since a round blob of the right size is like
the map already, the correlation of turned copies at random stands beside that of the best rotation,
and so does that of a filter as it begins. The band of the filter widens in three phases.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from common import add_row, has_row

from napari_so3.insight.likeness import compare_with_map
from napari_so3.io.micrographs import Micrograph
from napari_so3.io.volumes import write_volume
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.simulation.volume import read_density
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import TemplateConfig, TemplateNet
from napari_so3.training.fit import FitConfig, fit
from napari_so3.training.labels import Labels
from napari_so3.training.losses import Loss
from napari_so3.training.sources import CropSource
from napari_so3.training.tiles import LabelledMicrograph, prepare_target

if TYPE_CHECKING:
    from napari_so3.simulation.volume import DensityMap

MAPS = {
    "70S ribosome": "70S_EFTu_tRNA_sparx.mrc",
    "RNA polymerase III": "5fj8_RNApolIII_rebuilt.mrc",
}
BANDS = (0.1, 0.15, 0.25)  # cycles per pixel
STEPS_PER_EPOCH = 50
EDGE, PARTICLES, DEFOCUS = 480, 60, 15_000.0


@dataclass(frozen=True)
class Way:
    """How to train: first gain and offset of the logits, whether they learn, share of particles."""

    gain: float
    offset: float
    learns: bool
    particles: float


WAYS = {"picker": Way(1.0, 0.0, True, 0.5), "pulled": Way(15.0, 450.0, False, 0.95)}


def simulate(density: DensityMap, seed: int, snr: float) -> LabelledMicrograph:
    """Simulate a micrograph of all views, all particles labelled."""
    config = SimulationConfig(
        shape=(EDGE, EDGE),
        pixel_size=density.diameter / 24.0,
        n_particles=PARTICLES,
        snr=snr,
        ctf=CTF(defocus_u=DEFOCUS, defocus_v=DEFOCUS),
    )
    made = simulate_micrograph(density, config, torch.Generator().manual_seed(seed))
    micrograph = Micrograph(Path("simulated.mrc"), made.image, made.pixel_size, "given")
    labels = Labels(made.truth[["y", "x"]].to_numpy(), complete=True)
    return LabelledMicrograph(micrograph, labels, density.diameter)


def train(density: DensityMap, way: Way, arguments: argparse.Namespace, seed: int) -> TemplateNet:
    """Train a filter that begins as noise."""
    across, size = arguments.pixels_per_diameter, arguments.size
    maps = [
        prepare_target(simulate(density, 1000 * seed + i, arguments.snr), across, size, 1)
        for i in range(arguments.micrographs)
    ]
    torch.manual_seed(seed)
    net = None
    for phase, band in enumerate(BANDS):
        config = TemplateConfig(size, 1, band, RotationGrid(*arguments.rotations), prior=0.1)
        wider = TemplateNet(config)
        if net is None:
            with torch.no_grad():
                wider.gain.fill_(way.gain)
                wider.offset.fill_(way.offset)
        else:
            wider.load_state_dict(net.state_dict())
        net = wider
        net.gain.requires_grad_(way.learns)
        net.offset.requires_grad_(way.learns)
        how = FitConfig(
            arguments.steps // STEPS_PER_EPOCH,
            STEPS_PER_EPOCH,
            0.03,
            "one-cycle",
            loss=Loss(positive_weight=1.0),
            seed=seed + phase,
        )
        for progress in fit(net, CropSource(maps, config, 256, way.particles), how):
            if progress.step % STEPS_PER_EPOCH == 0:
                print(f"band {band}, step {progress.step}, loss {progress.loss:.4f}", flush=True)
    assert net is not None
    return net


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder of the results")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--maps", nargs="+", choices=MAPS, default=list(MAPS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300, help="in each of three phases")
    parser.add_argument("--size", type=int, default=25, help="edge of the filter; the paper's: 45")
    parser.add_argument("--pixels-per-diameter", type=float, default=16.0)
    parser.add_argument("--rotations", type=int, nargs=2, default=(32, 8), metavar=("S", "N"))
    parser.add_argument("--micrographs", type=int, default=40)
    parser.add_argument("--snr", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = arguments.output / "one_layer.csv"
    for seed in range(arguments.seeds):
        for name in arguments.maps:
            density = read_density(arguments.data / "maps" / "densities" / MAPS[name])
            voxel = density.diameter / arguments.pixels_per_diameter
            for way in ("noise", *arguments.ways):
                key = {"map": name, "way": way, "size": arguments.size, "seed": seed}
                if has_row(table, **key):
                    continue
                start = time.process_time()
                if way == "noise":
                    torch.manual_seed(seed)
                    net = TemplateNet(TemplateConfig(arguments.size, 1, BANDS[-1]))
                else:
                    net = train(density, WAYS[way], arguments, seed)
                seconds = time.process_time() - start
                volume = net.density().detach().numpy().astype(np.float32)
                found = compare_with_map(volume, voxel, density)
                stem = f"{name} {way} {seed}".replace(" ", "_")
                write_volume(arguments.output / f"{stem}.mrc", volume, voxel)
                add_row(
                    table,
                    **key,
                    correlation=found.correlation,
                    other_hand=found.correlation_mirrored,
                    at_random=found.correlation_blind,
                    hand=found.hand,
                    resolution=found.resolution(),
                    diameter=density.diameter,
                    cpu_seconds=round(seconds),
                )
    print(table.read_text())


if __name__ == "__main__":
    main()
