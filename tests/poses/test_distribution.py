"""Distributions over poses: what is likely, what else, and how unsure."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_so3.poses.distribution import PoseDistribution
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.symmetry import symmetry_group

GRID = RotationGrid(32, 8)
NONE = np.eye(3)[None]


def distribution(logits, matrices=None, group=NONE, spread=0.1):
    logits = np.asarray(logits, dtype=np.float32)
    matrices = GRID.matrices.numpy() if matrices is None else matrices
    return PoseDistribution(
        logits, np.broadcast_to(matrices, (len(logits), *matrices.shape)), group, spread
    )


def angle(a, b):
    return np.degrees((Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude())


def test_knowing_nothing_and_knowing_all():
    sure = np.full((2, 256), -50.0)
    sure[0, 17] = 0.0
    sure[1] = 0.0
    both = distribution(sure)
    np.testing.assert_allclose(both.effective_number, [1, 256], rtol=1e-5)
    np.testing.assert_allclose(both.probabilities.sum(axis=1), 1)
    assert angle(both.mode[0], GRID.matrices[17].numpy()) < 1e-4


def test_alternatives_are_apart_and_fall_in_probability():
    rng = np.random.default_rng(1)
    poses, shares = distribution(3 * rng.normal(size=(20, 256))).top(5)
    assert (np.diff(shares, axis=1) <= 1e-12).all() and (shares.sum(axis=1) <= 1 + 1e-9).all()
    for i in range(20):
        for j in range(5):
            for k in range(j):
                assert angle(poses[i, j], poses[i, k]) > 15.0 / 2


def test_neighbours_that_agree_are_one_pose():
    truth = Rotation.random(rng=5)
    off = [truth * Rotation.from_rotvec(np.radians(v)) for v in ([5, 0, 0], [-5, 0, 0], [0, 90, 0])]
    matrices = np.stack([r.as_matrix() for r in off])
    poses, shares = distribution(np.log([[0.3, 0.3, 0.4]]), matrices).top(3)
    np.testing.assert_allclose(shares[0], [0.6, 0.4, 0.0], atol=1e-6)
    assert angle(poses[0, 0], truth.as_matrix()) < 0.1
    assert np.isnan(poses[0, 2]).all()


def test_copies_under_the_symmetry_are_one_pose():
    group = symmetry_group("D7").numpy()
    truth = Rotation.random(rng=6).as_matrix()
    matrices = truth @ group[[0, 3, 8]]
    poses, shares = distribution(np.zeros((1, 3)), matrices, group).top(2)
    np.testing.assert_allclose(shares[0], [1, 0], atol=1e-6)
    assert min(angle(poses[0, 0], truth @ g) for g in group) < 1e-3


@pytest.mark.parametrize("symmetry", ["C1", "D2"])
def test_a_density_is_one_on_average_and_highest_at_the_mode(symmetry):
    group = symmetry_group(symmetry).numpy()
    rng = np.random.default_rng(2)
    some = distribution(4 * rng.normal(size=(2, 256)), group=group, spread=0.4)
    everywhere = Rotation.random(30_000, rng=7).as_matrix()
    values = some.density(everywhere)
    np.testing.assert_allclose(values.mean(axis=1), 1.0, rtol=0.1)
    at_mode = some.density(some.mode @ group[-1])
    assert at_mode[0, 0] > np.percentile(values[0], 99)


def test_no_images_no_poses():
    none = distribution(np.zeros((0, 256)))
    assert none.mode.shape == (0, 3, 3) and none.entropy.shape == (0,)
