"""Crops turned by their true poses show the particle; turned wrongly, they do not."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_so3.insight.averages import sample
from napari_so3.poses.averages import (
    SIDE,
    TOP,
    View,
    angular_power,
    average_view,
    ring_contrast,
    turns_to_view,
)
from napari_so3.simulation.density import barrel, random_protein
from napari_so3.so3.symmetry import symmetry_group

STEP, BIG, SIZE = 5.0, 61, 41  # Å per pixel; edges of crops and averages
PERIOD, WIDTH = 38.0 / STEP, 80.0 / STEP
RING = 20.0 / STEP, 45.0 / STEP
C1, D7, D28 = (symmetry_group(name).numpy() for name in ("C1", "D7", "D28"))


def in_plane(degrees):
    """Turns of the image as RELION's psi makes them, but of the other sign."""
    return Rotation.from_euler("z", np.reshape(degrees, (-1, 1)), degrees=True).as_matrix()


def project(particle, matrices, shifts=None):
    centre_shift = None if shifts is None else torch.from_numpy(shifts)
    images = particle.project(torch.from_numpy(matrices), (BIG, BIG), STEP, centre_shift)
    return (images / images.std()).numpy()


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_crops_turned_by_their_poses_are_the_projection_of_the_view():
    particle = random_protein(torch.Generator().manual_seed(4), 150.0)
    view = View("some", 40.0, 70.0, radius=1.0)
    angles = np.array([35.0, 80.0, 140.0, -100.0])
    shifts = np.array([[0.0, 0.0], [2.5, -1.0], [-3.0, 4.25], [1.0, 1.0]])
    crops = project(particle, in_plane(angles) @ view.matrix, shifts)
    expected = sample(project(particle, view.matrix[None])[0], (30.0, 30.0), (1.0, 1.0), SIZE)
    found = average_view(crops, in_plane(angles) @ view.matrix, C1, view, SIZE, shifts)
    assert list(found.rows) == [0, 1, 2, 3]
    assert correlation(found.turned, expected) > 0.999
    assert correlation(found.plain, expected) < 0.9
    opposite = in_plane(-angles) @ view.matrix
    assert correlation(average_view(crops, opposite, C1, view, SIZE, shifts).turned, expected) < 0.9
    unmoved = average_view(crops, in_plane(angles) @ view.matrix, C1, view, SIZE)
    assert correlation(unmoved.turned, expected) < 0.99


def test_what_is_left_after_the_turn_is_the_angle_between_the_views():
    pose = Rotation.from_euler("ZYZ", [[20, 65, 111]], degrees=True).inv().as_matrix()
    turn, away = turns_to_view(pose, View("side", 20.0, 90.0).matrix, C1)
    np.testing.assert_allclose([turn, away], [[-111.0], [25.0]], atol=1e-5)
    _, mirrored = turns_to_view(pose, View("side", 20.0, 90.0).matrix.T, C1)
    assert mirrored[0] > 30


@pytest.mark.parametrize("view", [TOP, SIDE])
def test_copies_of_a_symmetric_particle_are_the_same(view):
    rng = np.random.default_rng(1)
    poses = Rotation.random(20, rng).as_matrix()
    _, away = turns_to_view(poses, view.matrix, D7)
    for copy in (D7[3], D7[9]):
        np.testing.assert_allclose(turns_to_view(poses @ copy, view.matrix, D7)[1], away, atol=1e-5)
    tilt = np.degrees(np.arccos(np.abs(poses[:, 2, 2])))
    if view is TOP:
        np.testing.assert_allclose(away, tilt, atol=1e-5)
    else:
        _, round_away = turns_to_view(poses, view.matrix, D28)
        assert (round_away >= 90 - tilt - 1e-5).all() and (away >= round_away - 1e-5).all()
        assert (round_away <= 90 - tilt + 180 / 28).all()


def noisy_barrels(view, n, noise=3.0, spread=6.0):
    """Crops of barrels around a view in noise, their true poses and shifts."""
    rng = np.random.default_rng(7)
    away = Rotation.from_rotvec(rng.normal(0, np.radians(spread), (n, 3))).as_matrix()
    poses = in_plane(rng.uniform(0, 360, n)) @ view.matrix @ away @ D7[rng.integers(14, size=n)]
    shifts = rng.uniform(-2, 2, (n, 2))
    crops = project(barrel(), poses, shifts)
    return crops + rng.normal(0, noise, crops.shape).astype(np.float32), poses, shifts


def test_side_views_average_to_four_rings():
    crops, poses, shifts = noisy_barrels(SIDE, 150)
    found = average_view(crops, poses, D28, SIDE, SIZE, shifts)
    assert len(found.rows) > 100
    turned, plain = (ring_contrast(i, PERIOD, WIDTH) for i in (found.turned, found.plain))
    assert turned > 20 * plain
    truth = sample(project(barrel(), SIDE.matrix[None])[0], (30.0, 30.0), (1.0, 1.0), SIZE)
    assert correlation(found.turned, truth) > 0.95
    assert turned > 2 * ring_contrast(np.rot90(found.turned), PERIOD, WIDTH)  # upright, not lying
    wrong = average_view(crops, poses.transpose(0, 2, 1), D28, SIDE, SIZE, shifts)
    assert len(wrong.rows) > 10
    assert ring_contrast(wrong.turned, PERIOD, WIDTH) < turned / 10


def test_top_views_average_to_seven_subunits():
    crops, poses, shifts = noisy_barrels(TOP, 200, noise=2.0)
    found = average_view(crops, poses, D7, TOP, SIZE, shifts)
    seven, others = angular_power(found.turned, 7, *RING)
    assert seven > 20 * others
    plain, plain_others = angular_power(found.plain, 7, *RING)
    assert plain < 5 * plain_others and plain < seven / 10


def test_noise_without_particles_has_neither():
    rng = np.random.default_rng(0)
    crops = rng.normal(size=(150, BIG, BIG)).astype(np.float32)
    poses = in_plane(rng.uniform(0, 360, 150))
    top = average_view(crops, poses, D7, TOP, SIZE)
    seven, others = angular_power(top.turned, 7, *RING)
    assert seven < 4 * others
    assert ring_contrast(top.turned, PERIOD, WIDTH) < 0.05


def test_the_figures_are_those_of_known_patterns():
    y, x = np.meshgrid(*[np.arange(SIZE) - SIZE // 2] * 2, indexing="ij")
    rings = (0.3 * np.cos(2 * np.pi * y / PERIOD) + np.exp(-(y**2) / 600)).astype(np.float32)
    assert 0.2 < ring_contrast(rings, PERIOD, WIDTH) < 0.3
    assert ring_contrast(rings.T, PERIOD, WIDTH) < 0.06
    star = (0.4 * np.cos(7 * np.arctan2(y, x) + 1.0)).astype(np.float32)
    seven, others = angular_power(star, 7, 6.0, 15.0)
    assert seven == pytest.approx(0.4**2 / 2, rel=0.1) and others < 0.02 * seven


def test_poses_that_are_not_known_are_left_out():
    crops, poses, shifts = noisy_barrels(TOP, 10, spread=1.0)
    poses[3] = np.nan
    found = average_view(crops, poses, D7, TOP, SIZE, shifts)
    assert list(found.rows) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    nothing = average_view(crops, np.full((10, 3, 3), np.nan), D7, TOP, SIZE)
    assert len(nothing.rows) == 0 and not nothing.turned.any()
