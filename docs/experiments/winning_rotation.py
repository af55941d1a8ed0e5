"""Does the winning rotation tell the pose? ``python docs/experiments/winning_rotation.py DATA``.

Maps without symmetry as filters, without training, see clean and centred particles of themselves
at known poses, with CTF: the share for which the winning rotation is within the covering radius of
the grid from the truth, for several numbers of rotations, and the same with the mirrored map as
filter. Prints a table.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.volume import DensityMap, read_density
from napari_so3.so3.rotations import geodesic_distance, random_rotations
from napari_so3.training.matcher import make_matcher

if TYPE_CHECKING:
    from napari_so3.picking.picker import Picker
    from napari_so3.so3.rotations import RotationGrid

MAPS = {
    "70S ribosome": "70S_EFTu_tRNA_sparx.mrc",
    "30S ribosome": "1xnr_30S_ribosome.mrc",
    "RNA polymerase III": "5fj8_RNApolIII_rebuilt.mrc",
    "GPCR with its G protein": "3sn6_GPCR_Gs.mrc",
}
GRIDS = ((32, 8), None, (72, 16))  # None: the matcher's own
PARTICLES, PROBES = 200, 20_000
DEFOCUS = 15_000.0  # Å


def covering_radius(grid: RotationGrid) -> float:
    """Largest angle from any rotation to the grid, radians."""
    probes = random_rotations(PROBES, torch.Generator().manual_seed(0))
    return float(grid.nearest(probes)[1].max())


def share_right(matcher: Picker, density: DensityMap, radius: float) -> float:
    """Share of clean particles whose winning rotation is that close to the truth."""
    net, pixel_size = matcher.net, matcher.working_pixel_size(density.diameter)
    true = random_rotations(PARTICLES, torch.Generator().manual_seed(1))
    size, grid = net.config.size, net.config.grid
    seen = density.project(true, (5 * size,) * 2, pixel_size).float()
    ctf = CTF(defocus_u=DEFOCUS, defocus_v=DEFOCUS)
    bright = -apply_ctf(seen, ctf, pixel_size)[:, 2 * size : -2 * size, 2 * size : -2 * size]
    with torch.no_grad():
        logits = net.rotation_logits(bright[:, None] / bright.std())
    best = logits[..., 0, 0].argmax(dim=1)
    return float((geodesic_distance(true, grid.matrices[best]) <= radius).double().mean())


def mirrored(density: DensityMap) -> DensityMap:
    """Give the map of the other hand: x turned round about the origin."""
    n = density.values.shape[2]
    x = (2 * (n // 2) - np.arange(n)) % n
    return DensityMap(density.values[:, :, x], density.voxel_size, f"mirrored {density.name}")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| map | rotations | covering radius | right | right with the mirrored map |")
    print("|--" * 5 + "|")
    for name, file in MAPS.items():
        density = read_density(arguments.data / "maps" / "densities" / file)
        matchers = make_matcher(density), make_matcher(mirrored(density))
        for size in GRIDS:
            same, other = (m if size is None else m.with_rotations(*size) for m in matchers)
            radius = covering_radius(same.net.config.grid)
            shares = (share_right(m, density, radius) for m in (same, other))
            figures = " | ".join(f"{share:.2f}" for share in shares)
            n = len(same.net.config.grid)
            print(f"| {name} | {n} | {np.degrees(radius):.0f}° | {figures} |", flush=True)


if __name__ == "__main__":
    main()
