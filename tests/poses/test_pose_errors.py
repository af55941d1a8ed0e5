"""Angles between poses: the same for all symmetric copies, as METHOD.md defines them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_so3.poses.errors import group_matrices, pose_errors, random_errors
from napari_so3.so3.rotations import euler_to_matrix
from napari_so3.so3.symmetry import SymmetryError

GROUPS = ("C1", "C4", "D7", "T", "O", "I")


def _random(n, seed=0):
    return Rotation.from_quat(np.random.default_rng(seed).normal(size=(n, 4))).as_matrix()


def _about(axis, degrees):
    return Rotation.from_rotvec(np.array(axis, dtype=float) * degrees, degrees=True).as_matrix()


# mean angle of random poses, radians; C1 is pi/2 + 2/pi
@pytest.mark.parametrize(
    ("symmetry", "mean"),
    [
        ("C1", np.pi / 2 + 2 / np.pi),
        ("C2", 1.784),
        ("C4", 1.633),
        ("D2", 1.312),
        ("D7", 1.035),
        ("T", 0.899),
        ("O", 0.711),
        ("I", 0.515),
    ],
)
def test_random_poses_have_the_mean_error_of_the_group(symmetry, mean):
    assert random_errors(symmetry).mean_rad == pytest.approx(mean, abs=0.003)
    a, b = _random(4000, 1), _random(4000, 2)
    assert pose_errors(a, b, symmetry).mean_rad == pytest.approx(mean, abs=0.03)


@pytest.mark.parametrize("symmetry", GROUPS)
def test_symmetric_copies_are_one_pose(symmetry):
    """r and r g show the same image; g r does not."""
    a, group = _random(40), group_matrices(symmetry)
    for g in group[:: max(1, len(group) // 7)]:
        assert pose_errors(a, a @ g, symmetry).angles.max() < 1e-7
    if len(group) > 1:
        assert pose_errors(a, group[1] @ a, symmetry).mean_deg > 10


@pytest.mark.parametrize("symmetry", GROUPS)
def test_angles_are_a_distance(symmetry):
    a, b = _random(200, 3), _random(200, 4)
    there, back = pose_errors(a, b, symmetry), pose_errors(b, a, symmetry)
    np.testing.assert_allclose(there.angles, back.angles, atol=1e-12)
    turn = _random(1, 5)[0]
    np.testing.assert_allclose(  # the image frame does not matter
        pose_errors(turn @ a, turn @ b, symmetry).angles, there.angles, atol=1e-7
    )
    group = group_matrices(symmetry)
    every = Rotation.from_matrix((a.transpose(0, 2, 1) @ b)[:, None] @ group).magnitude()
    np.testing.assert_allclose(there.angles, every.min(axis=1), atol=1e-7)


def test_view_and_in_plane_errors_are_those_of_relions_angles():
    """Turning psi changes the image in plane only; turning tilt the view only."""
    base = euler_to_matrix(40, 70, 20).numpy()[None]
    in_plane = pose_errors(base, euler_to_matrix(40, 70, 51).numpy()[None])
    assert in_plane.median_in_plane_deg == pytest.approx(31)
    assert in_plane.median_view_deg == pytest.approx(0, abs=1e-5)
    view = pose_errors(base, euler_to_matrix(40, 82, 20).numpy()[None])
    assert view.median_view_deg == pytest.approx(12)
    assert view.median_in_plane_deg == pytest.approx(0, abs=1e-5)


def test_view_and_in_plane_errors_make_the_whole():
    a, b = _random(300, 6), _random(300, 7)
    errors = pose_errors(a, b)
    parts = np.cos(errors.views / 2) * np.cos(errors.in_plane / 2)
    np.testing.assert_allclose(parts, np.cos(errors.angles / 2), atol=1e-12)
    np.testing.assert_allclose(np.cos(errors.views), (a[:, 2] * b[:, 2]).sum(1), atol=1e-12)


def test_figures():
    turns = np.stack([_about((0, 1, 0), angle) for angle in (1.0, 7.0, 12.0, 40.0)])
    errors = pose_errors(turns, np.broadcast_to(np.eye(3), turns.shape))
    assert errors.median_deg == pytest.approx(9.5)
    assert errors.mean_deg == pytest.approx(15)
    assert errors.hits == {5: 0.25, 10: 0.5, 15: 0.75, 30: 0.75}
    said = errors.sentence()
    assert "median error 9.5°" in said and "75% within 15°" in said
    assert "Random poses would have a median of 132°" in said


def test_small_angles_keep_their_digits():
    turns = _about((1, 0, 0), 1e-5)[None]
    assert pose_errors(turns, np.eye(3)[None]).angles[0] == pytest.approx(
        np.radians(1e-5), rel=1e-5
    )


def test_no_poses_have_no_figures():
    errors = pose_errors(np.zeros((0, 3, 3)), np.zeros((0, 3, 3)), "D7")
    assert len(errors) == 0 and np.isnan(errors.median_deg) and "no poses" in errors.sentence()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="in pairs"):
        pose_errors(_random(3), _random(2))
    with pytest.raises(SymmetryError):
        pose_errors(_random(2), _random(2), "D")
