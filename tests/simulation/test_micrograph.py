import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import pdist, squareform

from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.density import PseudoAtoms, barrel, random_protein
from napari_so3.simulation.micrograph import (
    SimulationConfig,
    particle_discs,
    simulate_micrograph,
)
from napari_so3.simulation.views import Views
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.rotations import euler_to_matrix

CONFIG = SimulationConfig(shape=(400, 460), pixel_size=6.0, n_particles=50, snr=0.25)
EVERYTHING = dataclasses.replace(CONFIG, carbon=True, n_contaminants=3, n_hot_pixels=5)


def simulate(config=CONFIG, seed=0, atoms=None):
    return simulate_micrograph(atoms or barrel(), config, torch.Generator().manual_seed(seed))


def centres(micrograph):
    return torch.tensor(micrograph.truth[["y", "x"]].to_numpy())


def test_image_and_truth_have_the_shape_asked_for():
    micrograph = simulate(EVERYTHING)
    assert micrograph.image.shape == (400, 460)
    assert micrograph.image.dtype == np.float32
    assert np.isfinite(micrograph.image).all()
    assert list(micrograph.truth.columns) == ["y", "x", "rot", "tilt", "psi"]
    assert len(micrograph.truth) == 50
    assert micrograph.truth["y"].between(0, 399).all()
    assert micrograph.truth["x"].between(0, 459).all()


def test_the_same_seed_gives_the_same_micrograph():
    a, b, other = simulate(EVERYTHING), simulate(EVERYTHING), simulate(EVERYTHING, seed=1)
    assert np.array_equal(a.image, b.image)
    assert a.truth.equals(b.truth)
    assert not np.array_equal(a.image, other.image)


@pytest.mark.parametrize("snr", [0.12, 0.5])
def test_the_snr_is_the_one_asked_for(snr):
    micrograph = simulate(dataclasses.replace(CONFIG, snr=snr, ice_gradient=0.0))
    inside = particle_discs(centres(micrograph), barrel().diameter / 12.0, (400, 460)).numpy()
    noise = micrograph.image - micrograph.signal
    assert micrograph.signal[inside].var() / noise.var() == pytest.approx(snr, rel=1e-3)
    assert noise.std() == pytest.approx(1.0, rel=1e-3)

    assert micrograph.snr == pytest.approx(snr, rel=1e-3)


@pytest.mark.parametrize("dose", [None, 2.0])
@pytest.mark.parametrize("structure", [0.0, 0.3, 0.7])
def test_the_stated_share_of_the_noise_is_structural(structure, dose):
    noise = simulate(
        dataclasses.replace(CONFIG, n_particles=0, ice_gradient=0.0, structure=structure, dose=dose)
    ).image
    power = np.abs(np.fft.fft2(noise)) ** 2 / noise.size
    f = np.hypot(np.fft.fftfreq(400)[:, None], np.fft.fftfreq(460))
    low, high = power[(f > 0.005) & (f < 0.02)].mean(), power[f > 0.4].mean()
    assert noise.var() == pytest.approx(1.0, rel=0.05)
    assert high == pytest.approx(1 - 0.54 * structure, abs=0.05)  # half as much up there
    assert (low > 1.3 * high) == (structure > 0)


@pytest.mark.parametrize("dose", [0.5, 30.0])
def test_electrons_are_counted(dose):
    """With a dose the image takes discrete values, one apart in electrons, and SNR still holds."""
    config = dataclasses.replace(CONFIG, dose=dose, ice_gradient=0.0)
    micrograph = simulate(config)
    electrons = dose * 36.0
    counts = micrograph.image * np.sqrt(electrons / (1 - config.structure)) + electrons
    np.testing.assert_allclose(counts, counts.round(), atol=2e-3)
    assert counts.min() >= -1e-3
    assert micrograph.dose == pytest.approx(counts.mean() / 36.0, rel=1e-4)
    assert micrograph.dose == pytest.approx(dose, rel=0.03)
    assert micrograph.snr == pytest.approx(0.25, rel=0.03)
    assert simulate().dose is None


def test_particles_are_dark():
    micrograph = simulate(dataclasses.replace(CONFIG, ice_gradient=0.0))
    core = particle_discs(centres(micrograph), 6.0, (400, 460)).numpy()
    outside = ~particle_discs(centres(micrograph), barrel().diameter / 12.0, (400, 460)).numpy()
    standard_error = 1 / np.sqrt(core.sum())
    assert micrograph.image[core].mean() < micrograph.image[outside].mean() - 5 * standard_error


@pytest.mark.parametrize("min_distance", [0.9, 1.2])
def test_particles_keep_their_distance(min_distance):
    micrograph = simulate(dataclasses.replace(CONFIG, min_distance=min_distance))
    distances = pdist(micrograph.truth[["y", "x"]]) * 6.0
    assert distances.min() >= min_distance * barrel().diameter
    assert distances.min() < 1.15 * min_distance * barrel().diameter


@pytest.mark.parametrize("crowding", [0.0, 0.4, 1.0])
def test_the_stated_share_of_the_particles_is_crowded(crowding):
    micrograph = simulate(dataclasses.replace(CONFIG, crowding=crowding))
    distances = squareform(pdist(micrograph.truth[["y", "x"]]) * 6.0 / barrel().diameter)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(1)
    assert (nearest < 0.9).mean() == pytest.approx(crowding, abs=0.05)
    assert nearest.min() >= 0.6


def test_strangers_are_seen_and_not_in_the_truth():
    """Foreign proteins and heaps add to the image, apart from the particles."""
    config = dataclasses.replace(CONFIG, n_particles=20, ice_gradient=0.0, dose=1e6, structure=0.0)
    other = random_protein(torch.Generator().manual_seed(5), 120.0)
    strange = dataclasses.replace(config, n_foreign=6, n_aggregates=2)
    micrograph = simulate_micrograph(barrel(), strange, torch.Generator().manual_seed(0), (other,))
    rest = torch.from_numpy(micrograph.image - micrograph.signal)
    smooth = torch.nn.functional.avg_pool2d(rest[None, None], 7, 1, 3)[0, 0]

    assert len(micrograph.truth) == 20
    seen, pieces = ndimage.label(smooth.numpy() < -0.6)
    assert 6 <= pieces <= 20
    assert np.bincount(seen.ravel())[1:].max() > 100  # a heap
    near = particle_discs(centres(micrograph), barrel().diameter / 30.0, (400, 460)).numpy()
    assert (seen[near] > 0).mean() < 0.02


def test_strangers_are_as_dense_as_particles():
    """The same protein in another unit looks the same."""
    strange = dataclasses.replace(CONFIG, n_foreign=6)
    heavy = PseudoAtoms(barrel().positions, 1000 * barrel().amplitudes, barrel().sigma)
    a, b = (
        simulate_micrograph(barrel(), strange, torch.Generator().manual_seed(0), (other,)).image
        for other in (barrel(), heavy)
    )
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_a_micrograph_of_strangers_alone_has_the_contrast_of_one_with_particles():
    config = dataclasses.replace(CONFIG, n_particles=0, n_foreign=12, ice_gradient=0.0)
    empty = dataclasses.replace(config, n_foreign=0)
    power, ground = (
        simulate_micrograph(barrel(), c, torch.Generator().manual_seed(0), (barrel(),)).image.var()
        for c in (config, empty)
    )
    covered = 12 * np.pi / 4 * (barrel().diameter / 6) ** 2 / 400 / 460
    assert power - ground == pytest.approx(0.25 * covered, rel=0.5)
    with pytest.raises(ValueError, match="contaminant"):
        simulate(config)


def test_particles_show_the_views_they_prefer():
    views = Views(((0.0, 90.0),), 4.0)
    tilts = simulate(dataclasses.replace(CONFIG, views=views)).truth["tilt"]
    assert tilts.mean() == pytest.approx(90, abs=3)
    assert tilts.std() == pytest.approx(4, abs=1.5)


def test_a_density_map_can_be_put_into_a_micrograph_too():
    """The map of a protein gives the micrograph of the protein."""
    n, voxel = 48, 4.0
    atoms = random_protein(torch.Generator().manual_seed(3), 150.0)
    axis = (torch.arange(n, dtype=torch.float64) - n // 2) * voxel
    z, y, x = (
        torch.exp(-((axis - atoms.positions[:, i, None]) ** 2) / (2 * atoms.sigma**2))
        for i in (2, 1, 0)
    )
    values = torch.einsum("n,nz,ny,nx->zyx", atoms.amplitudes, z, y, x).float().numpy()
    density = DensityMap(values, voxel, "protein")
    made = simulate(atoms=density)
    config = dataclasses.replace(CONFIG, n_particles=1, shape=(80, 80))
    signals = [simulate(config, atoms=a).signal for a in (density, atoms)]

    assert made.snr == pytest.approx(0.25, rel=1e-3)
    peak = [np.unravel_index(s.argmin(), s.shape) for s in signals]
    assert np.abs(np.subtract(*peak)).max() <= 3


@pytest.mark.gpu
def test_a_gpu_gives_the_same_micrograph():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    both = [
        simulate_micrograph(barrel(), EVERYTHING, torch.Generator().manual_seed(0), device=d)
        for d in ("cpu", "cuda")
    ]
    assert both[0].truth.equals(both[1].truth)
    np.testing.assert_allclose(both[0].image, both[1].image, atol=1e-3)


def test_a_crowd_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"of 900 particles of 1\d\d Å found room"):
        simulate(dataclasses.replace(CONFIG, n_particles=900))


def test_the_truth_is_what_the_image_shows():
    """Each particle looks like the projection at its true pose, and not at a turned one."""
    config = dataclasses.replace(
        CONFIG, pixel_size=4.0, n_particles=12, ctf=CTF(b_factor=0.0), shape=(500, 450)
    )
    protein = random_protein(torch.Generator().manual_seed(12), 160.0)
    micrograph = simulate(config, atoms=protein)
    truth = micrograph.truth
    y, x = truth["y"].round().astype(int), truth["x"].round().astype(int)
    shift = torch.tensor(np.stack((truth["y"] - y, truth["x"] - x), 1))
    half = 18

    def correlations(rot, tilt, psi):
        box = protein.project(euler_to_matrix(rot, tilt, psi), (161, 161), 4.0, shift)
        box = apply_ctf(box, config.ctf, 4.0)[:, 80 - half : 81 + half, 80 - half : 81 + half]
        return [
            np.corrcoef(
                micrograph.signal[cy - half : cy + half + 1, cx - half : cx + half + 1].ravel(),
                expected.numpy().ravel(),
            )[0, 1]
            for cy, cx, expected in zip(y, x, box, strict=True)
            if half <= cy < 500 - half and half <= cx < 450 - half
        ]

    angles = [truth[name].to_numpy() for name in ("rot", "tilt", "psi")]
    right = correlations(*angles)
    assert len(right) >= 6
    assert min(right) > 0.98
    assert np.mean(correlations(angles[0], angles[1], angles[2] + 90)) < 0.8
    assert np.mean(correlations(angles[0], angles[1], -angles[2])) < 0.8
    assert np.mean(correlations(-angles[0], angles[1], angles[2])) < 0.9


def test_orientations_are_uniform():
    tilts = np.cos(np.radians(np.concatenate([simulate(seed=s).truth["tilt"] for s in range(6)])))
    assert np.mean(tilts) == pytest.approx(0.0, abs=0.12)
    assert np.var(tilts) == pytest.approx(1 / 3, abs=0.06)


def test_no_particle_touches_a_contaminant():
    """Contaminants are dark and large, and the truth has no particle in them."""
    ground = simulate(dataclasses.replace(EVERYTHING, carbon=False, ice_gradient=0.0))
    rest = torch.from_numpy(ground.image - ground.signal)
    smooth = torch.nn.functional.avg_pool2d(rest[None, None], 9, 1, 4)[0, 0]
    crystal = smooth < -1.8
    assert int(crystal.sum()) > 300
    near = particle_discs(centres(ground), barrel().diameter / 24.0, (400, 460))
    assert not (crystal & near).any()


def test_hot_pixels_stand_out():
    assert (simulate(dataclasses.replace(CONFIG, n_hot_pixels=5)).image > 7).sum() == 5
    assert (simulate().image > 7).sum() == 0


def test_carbon_darkens_a_side():
    plain, carbon = (
        simulate(dataclasses.replace(CONFIG, carbon=c, ice_gradient=0.0)).image for c in (0, 1)
    )
    darker = plain - carbon > 0.3
    assert 0.03 < darker.mean() < 0.2


def test_an_empty_micrograph_has_no_signal():
    micrograph = simulate(dataclasses.replace(CONFIG, n_particles=0))
    assert len(micrograph.truth) == 0
    assert not micrograph.signal.any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"snr": 0.0},
        {"pixel_size": -1.0},
        {"n_particles": -1},
        {"shape": (0, 10)},
        {"dose": 0.0},
        {"crowding": 1.5},
        {"structure": 1.0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must not be negative|above 0|from 0 to 1"):
        dataclasses.replace(CONFIG, **wrong)
