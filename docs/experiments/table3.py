"""Table 3 of the paper: pose from projections, ``python docs/experiments/table3.py MAP -o FOLDER``.

Four networks of equal size are trained on 10,000 projections of one map, seen equally often, and
tested on 1,000 others: uniform orientations (unif/unif), orientations about one (pref/pref, a
Gaussian of 0.1 rad along each of three axes), and trained on these but tested on all (pref/unif).
The figure is the mean geodesic angle in radians. Beside them stands "map": no network, but the map
that the projections are of, reconstructed with its uncertainty and compared in 4608 rotations.

Rows are added to FOLDER/table3.csv as they come; a training that was stopped goes on from its
checkpoint when the command is given again. On a GPU, at the size of the paper's networks:
``--size paper --device cuda --epochs 30,20``.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import roma
import torch
from common import add_row

from napari_so3.poses.distribution import PoseDistribution
from napari_so3.poses.losses import PoseLoss
from napari_so3.poses.matching import MatcherConfig
from napari_so3.poses.reconstruction import ParticleMatcher, reconstruct
from napari_so3.simulation.volume import read_density
from napari_so3.so3.pose_networks import PoseNet, Variant, table3_config
from napari_so3.so3.rotations import RotationGrid, geodesic_distance, random_rotations
from napari_so3.training.fit import FitConfig, FitProgress
from napari_so3.training.phases import Phase, fit_phases
from napari_so3.training.tiles import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_so3.simulation.volume import DensityMap

TRAINING, TEST = 10_000, 1_000
NOISE = 0.5  # standard deviations of a projection
PREFERRED = 0.1  # radians along each axis
PIXELS_PER_DIAMETER = 20.0
BATCH = 64
RATE = 2e-3
COARSE = RotationGrid(6, 8, antipodal=True)
RANDOM = math.pi / 2 + 2 / math.pi  # mean angle between two random rotations


@dataclass(frozen=True)
class Projections:
    """Noisy projections (n, 1, box, box) and their rotations (n, 3, 3)."""

    images: Tensor
    rotations: Tensor


def draw_rotations(n: int, preferred: bool, seed: int) -> Tensor:
    """Draw orientations: all, or those about one."""
    generator = torch.Generator().manual_seed(seed)
    if not preferred:
        return random_rotations(n, generator)
    vectors = PREFERRED * torch.randn(n, 3, dtype=torch.float64, generator=generator)
    middle = random_rotations(1, torch.Generator().manual_seed(3))
    return middle @ roma.rotvec_to_rotmat(vectors)


def make_projections(density: DensityMap, box: int, rotations: Tensor, seed: int) -> Projections:
    """Project, add white noise, and standardise."""
    generator = torch.Generator().manual_seed(seed)
    pixel_size = density.diameter / PIXELS_PER_DIAMETER
    parts = [density.project(part, (box, box), pixel_size) for part in rotations.split(500)]
    images = torch.cat(parts)
    images = images / images.std(dim=(1, 2)).mean()
    images = images + NOISE * torch.randn(images.shape, generator=generator)
    images = images - images.mean(dim=(1, 2), keepdim=True)
    images = images / images.std(dim=(1, 2), keepdim=True)
    return Projections(images[:, None], rotations)


@torch.inference_mode()
def measure(net: PoseNet | ParticleMatcher, test: Projections) -> dict[str, float]:
    """Errors of the likeliest poses."""
    where = net.matrices.device
    outputs = [net.decode(net(part.to(where))) for part in test.images.split(100)]
    logits = torch.cat([o[0] for o in outputs]).float().cpu().numpy()
    poses = torch.cat([o[1] for o in outputs]).double().cpu().numpy()
    mode = PoseDistribution(logits, poses, np.eye(3)[None]).mode
    angles = geodesic_distance(torch.from_numpy(mode), test.rotations)
    return {
        "mean_rad": float(angles.mean()),
        "median_deg": math.degrees(float(angles.median())),
        "within_10_deg": float((angles < math.radians(10)).double().mean()),
    }


def train(
    variant: Variant, data: Projections, arguments: argparse.Namespace, name: str
) -> tuple[PoseNet, float]:
    """Train one network; the SO(3) ones first on few rotations."""
    config = table3_config(variant, arguments.size)
    coarse, fine = arguments.epochs
    steps = TRAINING // BATCH
    several = variant in ("so3", "so3-unimodal") and coarse > 0
    lengths = [(coarse, COARSE), (fine, config.grid)] if several else [(coarse + fine, config.grid)]
    phases = [
        Phase(
            FitConfig(
                epochs=n,
                steps_per_epoch=steps,
                learning_rate=RATE if i == 0 else RATE / 2,
                schedule="one-cycle",
                loss=PoseLoss(replace(config, grid=grid)),
            ),
            grid if several else None,
        )
        for i, (n, grid) in enumerate(lengths)
    ]

    def draw(step: int, _rng: np.random.Generator) -> Batch:
        epoch, place = divmod(step, steps)
        order = np.random.default_rng((7, epoch)).permutation(TRAINING)
        rows = torch.from_numpy(order[place * BATCH : (place + 1) * BATCH])
        return Batch(data.images[rows], data.rotations[rows])

    torch.manual_seed(0)
    net = PoseNet(config).to(arguments.device)
    start, used = time.monotonic(), 0.0
    checkpoint = arguments.output / f"{name}.checkpoint"
    for event in fit_phases(
        net, phases, lambda _: draw, checkpoint=checkpoint, origin=f"{name} {arguments.size}"
    ):
        if not isinstance(event, FitProgress):
            net = event
        elif event.step % steps == 0:
            used = time.monotonic() - start
            print(f"{name}: step {event.step}/{event.steps}, loss {event.loss:.3f}, {used:.0f} s",
                  flush=True)  # fmt: skip
    return net.eval(), used


def solve(data: Projections) -> tuple[ParticleMatcher, float]:
    """Reconstruct the map of the projections, to be compared with others."""
    start = time.monotonic()
    made = reconstruct(data.images[:, 0], data.rotations, torch.eye(3, dtype=torch.float64)[None])
    config = MatcherConfig(data.images.shape[-1], reach=0)
    return ParticleMatcher.of(made, config).eval(), time.monotonic() - start


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("map", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", choices=("paper", "cpu"), default="cpu")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--variants", nargs="+", default=[*get_args(Variant), "map"])
    parser.add_argument("--views", nargs="+", default=["unif", "pref"])
    parser.add_argument(
        "--epochs", default="8,2", type=lambda text: tuple(int(n) for n in text.split(",")),
        help="on 48 and on 256 rotations; the networks without SO(3) take the sum",
    )  # fmt: skip
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    density = read_density(arguments.map)
    box = table3_config("so3", arguments.size).box
    tests = {
        "unif": make_projections(density, box, draw_rotations(TEST, False, 11), 12),
        "pref": make_projections(density, box, draw_rotations(TEST, True, 13), 14),
    }
    for views in arguments.views:
        rotations = draw_rotations(TRAINING, views == "pref", 1)
        data = make_projections(density, box, rotations, 2)
        for variant in arguments.variants:
            if variant == "map":
                net, seconds = solve(data)
            else:
                net, seconds = train(variant, data, arguments, f"{variant}-{views}")
            for tested in ("unif", "pref") if views == "pref" else ("unif",):
                add_row(
                    arguments.output / "table3.csv",
                    network=variant,
                    parameters=sum(p.numel() for p in net.parameters()) or box**3,
                    views=f"{views}/{tested}",
                    **measure(net, tests[tested]),
                    random_rad=RANDOM,
                    seconds=round(seconds),
                    epochs="+".join(map(str, arguments.epochs)),
                    device=arguments.device,
                )


if __name__ == "__main__":
    main()
