"""Tables of poses in different frames: the rotation between the maps, and their hand."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_so3.poses.errors import group_matrices, pose_errors
from napari_so3.poses.frames import (
    AS_THEY_ARE,
    BOTH,
    LEAST_PAIRS,
    MIRRORED,
    OTHER_HAND,
    READINGS,
    FrameError,
    align_frames,
)
from napari_so3.simulation.density import PseudoAtoms, random_protein
from napari_so3.so3.rotations import euler_to_matrix, matrix_to_euler, random_rotations


def _turns(n, seed):
    return Rotation.from_quat(np.random.default_rng(seed).normal(size=(n, 4))).as_matrix()


@pytest.mark.parametrize("symmetry", ["C1", "D7", "O"])
@pytest.mark.parametrize("reading", READINGS)
def test_the_frame_is_found_in_spite_of_wrong_poses(symmetry, reading):
    rng = np.random.default_rng(1)
    n, q, group = 120, _turns(1, 2)[0], group_matrices(symmetry)
    a = _turns(n, 3)
    copies = a @ group[rng.integers(len(group), size=n)]
    b = np.array(READINGS[reading])[:, None] * (copies @ q.T)
    b = Rotation.from_rotvec(rng.normal(0, np.radians(3), (n, 3))).as_matrix() @ b
    b[:30] = _turns(30, 4)  # a quarter is wrong
    fit = align_frames(a, b, symmetry)
    assert fit.reading == reading
    assert pose_errors(fit.rotation[None], q[None], symmetry).median_deg < 2
    assert fit.errors.median_deg < 8
    np.testing.assert_allclose(
        pose_errors(a, fit.apply(b), symmetry).angles, fit.errors.angles, atol=1e-7
    )
    assert ("other hand" in fit.sentence()) == (reading in (OTHER_HAND, BOTH))


def test_images_tell_what_the_readings_mean():
    """A map V(-x) shows the same images at other-hand poses; mirrored images are MIRRORED."""
    atoms = random_protein(torch.Generator().manual_seed(3), 100.0)
    inverted = PseudoAtoms(-atoms.positions, atoms.amplitudes, atoms.sigma)
    poses = random_rotations(4, torch.Generator().manual_seed(1))

    def signs(reading):
        return torch.tensor(READINGS[reading], dtype=torch.float64)[:, None]

    images = atoms.project(poses, (33, 33), 4.0)
    scale = float(images.max())
    other = inverted.project(signs(OTHER_HAND) * poses, (33, 33), 4.0)
    torch.testing.assert_close(other, images, atol=1e-4 * scale, rtol=0)
    mirrored = atoms.project(signs(MIRRORED) * poses, (33, 33), 4.0)
    torch.testing.assert_close(mirrored, images.flip(-2), atol=1e-4 * scale, rtol=0)
    both = inverted.project(signs(BOTH) * poses, (33, 33), 4.0)
    torch.testing.assert_close(both, images.flip(-2), atol=1e-4 * scale, rtol=0)


def test_mirrored_poses_are_those_of_relion():
    poses = random_rotations(20, torch.Generator().manual_seed(2))
    rot, tilt, psi = matrix_to_euler(poses)
    expected = euler_to_matrix(180 + rot, 180 - tilt, -psi).numpy()
    found = np.array(READINGS[MIRRORED])[:, None] * poses.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("symmetry", ["C1", "D7"])
def test_poses_that_have_nothing_in_common_stay_as_they_are(symmetry):
    fit = align_frames(_turns(200, 5), _turns(200, 6), symmetry)
    assert fit.reading == AS_THEY_ARE
    assert fit.errors.hits[15] < 0.1


def test_top_views_do_not_tell_the_hand():
    psi = np.linspace(0, 300, 40)
    a = euler_to_matrix(0.0, 0.0, psi).numpy()
    assert align_frames(a, np.array(READINGS[OTHER_HAND])[:, None] * a).reading == AS_THEY_ARE


def test_few_pairs_are_refused():
    with pytest.raises(FrameError, match="too few"):
        align_frames(_turns(LEAST_PAIRS - 1, 0), _turns(LEAST_PAIRS - 1, 0))
