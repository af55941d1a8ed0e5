import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.density import barrel, project, random_protein
from napari_so3.simulation.micrograph import (
    SimulationConfig,
    particle_discs,
    simulate_micrograph,
)
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


def test_noise_is_white_with_a_coloured_part():
    noise = simulate(dataclasses.replace(CONFIG, n_particles=0, ice_gradient=0.0)).image
    power = np.abs(np.fft.fft2(noise)) ** 2 / noise.size
    f = np.hypot(np.fft.fftfreq(400)[:, None], np.fft.fftfreq(460))
    low, high = power[(f > 0.005) & (f < 0.02)].mean(), power[f > 0.4].mean()
    assert low > 3 * high
    assert 0.75 < high < 1.0


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
        box = project(protein, euler_to_matrix(rot, tilt, psi), (161, 161), 4.0, shift)
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
    "wrong", [{"snr": 0.0}, {"pixel_size": -1.0}, {"n_particles": -1}, {"shape": (0, 10)}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must not be negative|above 0"):
        dataclasses.replace(CONFIG, **wrong)
