"""A picker from a map alone: it finds the particle in the frame of the map, and little in noise."""

import mrcfile
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.peaks import local_maxima
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.picks import Picks
from napari_so3.picking.preprocess import preprocess
from napari_so3.picking.score import Scorer
from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.density import PseudoAtoms
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix, geodesic_distance
from napari_so3.so3.symmetry import symmetry_group
from napari_so3.training.alignment import align_to_symmetry
from napari_so3.training.matcher import choose_grid, make_matcher

VOXEL, EDGE = 6.0, 33
PIXEL = 8.0
WIDTH, WEIGHTS = 9.0, [1.0, 1.6, 1.3, 0.7, 0.9]
CORE = np.array([[0, 0, 0], [42, 0, 10], [0, 30, -32], [-25, 12, 40], [-8, -45, 0]], float)


def blobs(centres, weights=None) -> DensityMap:
    axis = (np.arange(EDGE) - EDGE // 2) * VOXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    away = np.stack((x, y, z), axis=-1)[..., None, :] - np.asarray(centres)
    values = np.average(np.exp(-(away**2).sum(-1) / (2 * WIDTH**2)), axis=-1, weights=weights)
    return DensityMap(values.astype(np.float32), VOXEL, "blobs")


@pytest.fixture(scope="module")
def density():
    return blobs(CORE, WEIGHTS)


@pytest.fixture(scope="module")
def matcher(density):
    return make_matcher(density, 140.0)


def simulate(density, n=12, snr=0.6, seed=3):
    config = SimulationConfig((256, 256), PIXEL, n, snr, structure=0.6)
    return simulate_micrograph(density, config, torch.Generator().manual_seed(seed))


def picks_of(picker, image, path):
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(image)
        mrc.voxel_size = PIXEL
    settings = PickSettings(140.0)
    scorer = Scorer(picker.net, torch.device("cpu"), 2)
    *_, picks = pick(read_micrograph(path), picker, settings, scorer)
    assert isinstance(picks, Picks)
    return picks.table


def test_it_finds_the_particles(matcher, density, tmp_path):
    seen = simulate(density)
    margin = PickSettings(140.0).margin_angstrom / PIXEL
    truth = seen.truth[((seen.truth[["y", "x"]] - 127.5).abs() < 127.5 - margin).all(axis=1)]
    table = picks_of(matcher, seen.image, tmp_path / "seen.mrc").iloc[: len(truth) + 3]
    distance, index = cKDTree(table[["y", "x"]]).query(truth[["y", "x"]])
    found = distance < 140.0 / PIXEL / 4
    assert found.mean() >= 0.9
    assert (table.probability.to_numpy()[index[found]] > 0.9).all()


def test_rotations_are_those_of_the_map_seen_through_the_microscope(matcher):
    """Pseudo-atoms project and are imaged by other code than the template."""
    grid, size = matcher.net.config.grid, matcher.net.config.size
    pixel_size = matcher.working_pixel_size(140.0)
    particle = PseudoAtoms(torch.from_numpy(CORE), torch.tensor(WEIGHTS).double(), WIDTH)
    chosen = torch.arange(0, len(grid), 7)
    margin = 2 * size
    around = (size + 2 * margin,) * 2
    seen = apply_ctf(particle.project(grid.matrices[chosen], around, pixel_size), CTF(), pixel_size)
    bright = -seen[:, margin:-margin, margin:-margin]
    with torch.no_grad():
        responses = matcher.net.responses(bright[:, None] / bright.std())[..., 0, 0]
    torch.testing.assert_close(responses.argmax(dim=1), chosen)
    assert float(responses.amax(dim=1).min()) > 0.9


def test_one_in_a_hundred_peaks_of_noise_passes_for_a_particle(matcher, density):
    white = np.random.default_rng(5).standard_normal((256, 256), dtype=np.float32)
    for image in (white, simulate(density, n=0, seed=9).image):
        working = preprocess(image, PIXEL, 140.0, matcher.working_pixel_size(140.0))
        *_, maps = Scorer(matcher.net, torch.device("cpu"), 2).score(working)
        peaks = maps.logits[tuple(local_maxima(maps.logits, -np.inf).T)]
        assert (peaks > 0).mean() < 0.03


def test_the_scale_of_the_map_does_not_depend_on_the_diameter_given(density):
    for diameter in (100.0, 140.0):
        picker = make_matcher(density, diameter, defocus=20_000.0)
        pixel_size = picker.working_pixel_size(diameter)
        extent = picker.net.config.size * pixel_size
        assert extent == pytest.approx(1.15 * density.diameter, abs=2 * pixel_size)
        assert picker.training["diameter"] == diameter


def test_a_saved_matcher_is_the_same_picker(matcher, tmp_path):
    path = tmp_path / "matcher.safetensors"
    matcher.save(path)
    again = load_picker(path)
    assert again.net.config == matcher.net.config
    x = torch.randn(1, 1, 30, 30)
    with torch.no_grad():
        torch.testing.assert_close(again.net(x), matcher.net(x))
    assert again.fingerprint
    other = again.with_grid(RotationGrid.reduced("C3", 12, 4))
    assert other.fingerprint != again.with_grid(RotationGrid(4, 4)).fingerprint


def test_a_map_is_turned_to_the_axes_of_its_symmetry():
    group = symmetry_group("D3").numpy()
    standard = (group @ np.array([[38.0, 10.0, 22.0], [12.0, 20.0, 45.0]]).T).transpose(0, 2, 1)
    turn = euler_to_matrix(40.0, 70.0, 25.0)
    tilted = blobs(standard.reshape(-1, 3) @ turn.numpy().T)
    turned, rotation = align_to_symmetry(tilted, "D3")
    # what led away from RELION's axes is undone, up to the symmetry of the axes themselves
    normaliser = symmetry_group("D6")
    error = geodesic_distance(rotation @ turn, normaliser).amin()
    assert np.degrees(float(error)) < 4.0
    again, nothing = align_to_symmetry(turned, "D3")
    assert again is turned
    torch.testing.assert_close(nothing, torch.eye(3, dtype=torch.float64))


def test_a_map_without_the_symmetry_is_refused(density):
    with pytest.raises(ValueError, match="blobs: the map does not have the symmetry D2"):
        make_matcher(density, symmetry="D2")


@pytest.mark.parametrize("bad", [{"symmetry": "Q3"}, {"diameter": 0.0}, {"defocus": -1.0}])
def test_impossible_settings_are_refused(density, bad):
    with pytest.raises(ValueError, match=r"symmetry|diameter"):
        make_matcher(density, **bad)


@pytest.mark.parametrize("symmetry", ["C1", "C2", "C4", "D2", "D7", "O", "I"])
def test_grids_are_fine_and_affordable(symmetry):
    grid = choose_grid(symmetry)
    assert 48 <= len(grid) <= 700
    assert grid.n_psi % 4 == 0
    assert grid.symmetry == symmetry
