import numpy as np
import pytest
from numpy.testing import assert_allclose

from napari_so3.insight.globe import angles_of, camera, drag, graticule, nearest, needle, psi_at
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix

X, Y, Z = np.eye(3)


@pytest.fixture(scope="module")
def grid():
    return RotationGrid(24, 4)


def test_angles_are_those_of_relion(grid):
    rot, tilt, _ = grid.euler_angles[:: grid.n_psi].T
    assert_allclose(angles_of(grid.directions.numpy()), np.stack([rot, tilt], axis=-1), atol=1e-9)
    assert_allclose(angles_of(euler_to_matrix(200.0, 75.0, 33.0)[2].numpy()), [200.0, 75.0])


def test_the_observer_stands_where_the_direction_points():
    for rot, tilt in np.random.default_rng(0).uniform((0, 0), (360, 180), (20, 2)):
        seen = camera(rot, tilt)
        assert_allclose(seen @ seen.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(seen) == pytest.approx(1)  # not a mirror image
        assert_allclose(seen @ euler_to_matrix(rot, tilt, 0.0)[2].numpy(), [0, 0, 1], atol=1e-12)
        assert (seen @ Z)[0] == pytest.approx(0) and (seen @ Z)[1] >= 0  # north is up


def test_seen_from_outside_rot_grows_to_the_right_and_tilt_downwards():
    assert_allclose(camera(0, 90) @ X, [0, 0, 1], atol=1e-12)
    assert_allclose(camera(0, 90) @ Y, [1, 0, 0], atol=1e-12)
    assert_allclose(camera(0, 90) @ Z, [0, 1, 0], atol=1e-12)
    east, south = (euler_to_matrix(rot, tilt, 0.0)[2].numpy() for rot, tilt in ((70, 60), (60, 70)))
    assert (camera(60, 60) @ east)[0] > 0.1
    assert (camera(60, 60) @ south)[1] < -0.1
    assert_allclose(camera(0, 0) @ X, [0, -1, 0], atol=1e-12)  # from above, rot 0 is at the front


def test_the_surface_follows_the_mouse():
    for rot, tilt in ((30.0, 80.0), (200.0, 100.0)):
        point = camera(rot, tilt)[2]
        right, up, _ = camera(*drag(rot, tilt, 0.1, 0.0)) @ point
        assert right == pytest.approx(0.1, rel=0.05) and abs(up) < 0.01
        right, up, _ = camera(*drag(rot, tilt, 0.0, 0.1)) @ point
        assert up == pytest.approx(0.1, rel=0.05) and abs(right) < 0.01
    assert drag(10.0, 5.0, 0.0, -1.0)[1] == 0.0  # north stays on top


def test_what_is_behind_cannot_be_clicked():
    on_screen = np.array([[0.0, 0.0, -1.0], [0.3, 0.1, 0.9], [0.1, 0.0, 0.99]])
    assert nearest(on_screen, 0.0, 0.0, 0.2) == 2
    assert nearest(on_screen, 0.28, 0.1, 0.2) == 1
    assert nearest(on_screen, -0.5, 0.0, 0.2) is None
    assert nearest(np.zeros((0, 3)), 0.0, 0.0, 0.2) is None


def test_lines_lie_on_the_sphere_and_the_first_is_the_equator():
    lines = graticule()
    for line in lines:
        assert_allclose(np.linalg.norm(line, axis=1), 1.0)
    assert_allclose(lines[0][:, 2], 0.0, atol=1e-12)


def test_the_needle_turns_as_the_particle_does_in_the_picture():
    # where the x axis of a particle comes to lie in the picture, whose y points down
    for psi in (0.0, 30.0, 90.0, 200.0):
        x, y, _ = (euler_to_matrix(0.0, 0.0, psi) @ euler_to_matrix(0.0, 0.0, 0.0)[0]).numpy()
        assert_allclose(needle(psi), [x, -y], atol=1e-12)
        assert psi_at(*needle(psi)) == pytest.approx(psi)
    picture = np.zeros((9, 9))
    picture[4, 7] = 1.0  # to the right of the middle, as the needle at psi 0
    for quarter in range(4):
        row, column = np.argwhere(np.rot90(picture, quarter))[0]
        assert_allclose(needle(90.0 * quarter) * 3, [column - 4, 4 - row], atol=1e-12)
