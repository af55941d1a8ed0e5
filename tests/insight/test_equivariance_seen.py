"""With a map as the filter the matched rotations are the poses of the particles, hand included."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from napari_so3.insight.rotation_maps import Rotations
from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.score import Scorer
from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.density import random_protein
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.simulation.volume import DensityMap, read_density
from napari_so3.so3.rotations import euler_to_matrix, geodesic_distance, random_rotations
from napari_so3.training.matcher import make_matcher

VOXEL, EDGE, WIDE = 6.0, 41, 200.0
GRID = (72, 16)  # 10 degrees on the average to the nearest
PIXELS, ROOM = 20, 420  # across a particle, and along a micrograph


@pytest.fixture(scope="module")
def protein():
    """Touching domains that no rotation and no mirror takes into each other."""
    return random_protein(torch.Generator().manual_seed(0), WIDE)


@pytest.fixture(scope="module")
def density(protein):
    axis = (torch.arange(EDGE) - EDGE // 2) * VOXEL
    x, y, z = ((axis - p[:, None]) ** 2 for p in protein.positions.T)  # (atoms, voxels) each
    x, y, z = (torch.exp(-v / (2 * protein.sigma**2)) for v in (x, y, z))
    values = torch.einsum("n,nz,ny,nx->zyx", protein.amplitudes, z, y, x)
    return DensityMap(values.float().numpy(), VOXEL, "protein")


def mirrored(density):
    """The map of the other hand: x turned round about the origin."""
    n = density.values.shape[2]
    x = (2 * (n // 2) - np.arange(n)) % n
    return DensityMap(density.values[:, :, x], density.voxel_size, "mirrored")


def clean_matches(matcher, particle, diameter, n=100):
    """Show the network clean particles: their true rotations, and indices of the matched ones."""
    net, pixel_size = matcher.net, matcher.working_pixel_size(diameter)
    true = random_rotations(n, torch.Generator().manual_seed(1))
    size = net.config.size
    ctf = CTF(defocus_u=15_000.0, defocus_v=15_000.0)
    seen = particle.project(true, (5 * size,) * 2, pixel_size).float()
    bright = -apply_ctf(seen, ctf, pixel_size)[:, 2 * size : -2 * size, 2 * size : -2 * size]
    with torch.no_grad():
        logits = net.rotation_logits(bright[:, None] / bright.std())
    return true, logits[..., 0, 0].argmax(dim=1).numpy()


def picked_matches(matcher, particle, diameter, n=25, snr=3.0):
    """Pick a micrograph with little noise: true rotations, and indices of the matched ones."""
    config = SimulationConfig(
        (ROOM, ROOM),
        diameter / PIXELS,
        n,
        snr,
        min_distance=1.3,
        structure=0.0,
        ice_gradient=0.0,
        ctf=CTF(defocus_u=15_000.0, defocus_v=15_000.0),
    )
    seen = simulate_micrograph(particle, config, torch.Generator().manual_seed(5))
    micrograph = Micrograph(Path("clean.mrc"), seen.image, seen.pixel_size, "given")
    scorer = Scorer(matcher.net, torch.device("cpu"), 2)
    *_, picks = pick(micrograph, matcher, PickSettings(diameter), scorer)
    away, nearest = cKDTree(picks.table[["y", "x"]]).query(seen.truth[["y", "x"]])
    found = away < PIXELS / 4
    assert found.mean() > 0.8
    true = euler_to_matrix(*seen.truth[["rot", "tilt", "psi"]].to_numpy()[found].T)
    return true, picks.table["rotation"].to_numpy()[nearest[found]]


def covering_radius(grid):
    """Largest angle from any rotation to the grid, radians."""
    probes = random_rotations(20_000, torch.Generator().manual_seed(0))
    return float(grid.nearest(probes)[1].max())


def share_within(true, matched, matcher):
    """Share of the matches that are within the covering radius of the truth."""
    grid = matcher.net.config.grid
    left = geodesic_distance(true[:, None] @ grid.group, grid.matrices[matched, None]).amin(dim=1)
    return float((left <= covering_radius(grid)).double().mean())


@pytest.fixture(scope="module")
def matcher(density):
    return make_matcher(density).with_rotations(*GRID)


@pytest.fixture(scope="module")
def other_hand(density):
    return make_matcher(mirrored(density)).with_rotations(*GRID)


def test_the_matched_rotation_is_the_pose(matcher, protein, density):
    """The pseudo-atoms are projected by other code than the map."""
    true, matched = clean_matches(matcher, protein, density.diameter)
    assert share_within(true, matched, matcher) >= 0.9
    # and the sphere points there: the view of the match is close to that of the particle
    rotations = Rotations.of(matcher)
    assert rotations.is_map
    cosines = (true[:, 2].numpy() * rotations.directions[matched // rotations.n_psi]).sum(axis=1)
    assert np.quantile(np.degrees(np.arccos(cosines)), 0.9) < 20.0


def test_the_map_of_the_other_hand_does_not_match_the_pose(other_hand, protein, density):
    true, matched = clean_matches(other_hand, protein, density.diameter)
    assert share_within(true, matched, other_hand) < 0.2


def test_picks_carry_the_pose(matcher, other_hand, protein, density):
    """Less surely than above: the peak of the joined scores is not just the centre."""
    right, wrong = (
        share_within(*picked_matches(one, protein, density.diameter), one)
        for one in (matcher, other_hand)
    )
    assert right > 0.6
    assert wrong < 0.2


@pytest.mark.parametrize("file", ["70S_EFTu_tRNA_sparx.mrc", "5fj8_RNApolIII_rebuilt.mrc"])
def test_real_maps_match_their_poses(data_dir, file):
    density = read_density(data_dir / "maps" / "densities" / file)
    matcher = make_matcher(density).with_rotations(*GRID)
    assert share_within(*clean_matches(matcher, density, density.diameter), matcher) >= 0.9
