import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_so3.so3.rotations import (
    RotationGrid,
    euler_to_matrix,
    geodesic_distance,
    matrix_to_euler,
    random_rotations,
)

angle = st.floats(-360, 360, allow_nan=False)


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """RELION's Euler_angles2matrix, as its documents print it."""
    (ca, cb, cg), (sa, sb, sg) = (f(np.radians([rot, tilt, psi])) for f in (np.cos, np.sin))
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


@given(angle, angle, angle)
def test_matrix_is_relions(rot, tilt, psi):
    r = euler_to_matrix(rot, tilt, psi).numpy()
    np.testing.assert_allclose(r, relion_matrix(rot, tilt, psi), atol=1e-14)
    view = (
        math.sin(math.radians(tilt)) * math.cos(math.radians(rot)),
        math.sin(math.radians(tilt)) * math.sin(math.radians(rot)),
        math.cos(math.radians(tilt)),
    )
    np.testing.assert_allclose(r[2], view, atol=1e-14)


@given(angle, st.one_of(angle, st.sampled_from([0.0, 180.0, -180.0])), angle)
def test_euler_round_trip_also_at_the_poles(rot, tilt, psi):
    r = euler_to_matrix(rot, tilt, psi)
    again = euler_to_matrix(*matrix_to_euler(r))
    assert float(geodesic_distance(r, again)) < 1e-6


def test_euler_functions_keep_leading_dimensions():
    r = random_rotations(6).reshape(2, 3, 3, 3)
    rot, tilt, psi = matrix_to_euler(r)
    assert rot.shape == (2, 3)
    torch.testing.assert_close(euler_to_matrix(rot, tilt, psi), r)


def test_geodesic_distance_agrees_with_scipy():
    a, b = random_rotations(500), random_rotations(500)
    expected = (Rotation.from_matrix(a.numpy()).inv() * Rotation.from_matrix(b.numpy())).magnitude()
    np.testing.assert_allclose(geodesic_distance(a, b).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("tiny", [1e-9, 1e-5, math.pi - 1e-9])
def test_geodesic_distance_keeps_its_digits_at_both_ends(tiny):
    turned = torch.from_numpy(Rotation.from_rotvec([0, tiny, 0]).as_matrix())
    assert float(geodesic_distance(torch.eye(3, dtype=torch.float64), turned)) == pytest.approx(
        tiny, rel=1e-6
    )


def test_random_rotations_are_uniform():
    r = random_rotations(20000, torch.Generator().manual_seed(1))
    mean = geodesic_distance(r, random_rotations(20000, torch.Generator().manual_seed(2))).mean()
    assert float(mean) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)
    assert float(torch.linalg.det(r).min()) == pytest.approx(1.0)


@pytest.mark.parametrize("grid", [RotationGrid(6, 8), RotationGrid(1, 5), RotationGrid(4, 3, True)])
def test_grid_representations_agree(grid):
    assert grid.matrices.shape == (len(grid), 3, 3)
    from_quaternions = Rotation.from_quat(grid.quaternions.numpy()).as_matrix()
    np.testing.assert_allclose(from_quaternions, grid.matrices.numpy(), atol=1e-14)
    assert bool((grid.quaternions[:, 3] >= 0).all())
    expected = Rotation.from_euler("ZYZ", grid.euler_angles, degrees=True).inv().as_matrix()
    np.testing.assert_allclose(grid.matrices.numpy(), expected, atol=1e-14)
    # the first in-plane angle of each direction looks along that direction
    torch.testing.assert_close(grid.directions, grid.matrices[:: grid.n_psi, 2])
    torch.testing.assert_close(
        grid.matrices[:, 2], grid.directions.repeat_interleave(grid.n_psi, 0)
    )


def test_so2_grid_turns_about_the_beam():
    grid = RotationGrid.so2(8)
    torch.testing.assert_close(
        grid.matrices[:, 2], torch.tensor([[0.0, 0.0, 1.0]]).double().expand(8, 3)
    )
    np.testing.assert_allclose(grid.euler_angles[:, 2], np.arange(8) * 45)


@pytest.mark.parametrize(
    ("shape", "mean", "covering"), [((32, 8), 18.7, 34.0), ((12, 6), 28.7, 52.0)]
)
def test_grid_covers_so3_as_well_as_the_literature(shape, mean, covering):
    probes = random_rotations(20000, torch.Generator().manual_seed(0))
    _, angle = RotationGrid(*shape).nearest(probes)
    degrees = np.degrees(angle.numpy())
    assert degrees.mean() < mean
    assert degrees.max() < covering


def test_nearest_finds_the_rotation_itself_and_its_surroundings():
    grid = RotationGrid(12, 8)
    index, angle = grid.nearest(grid.matrices)
    torch.testing.assert_close(index, torch.arange(96))
    assert float(angle.max()) < 1e-7
    probes = random_rotations(300)
    index, angle = grid.nearest(probes)
    everything = geodesic_distance(grid.matrices[:, None], probes[None])
    torch.testing.assert_close(angle, everything.min(dim=0).values)


def test_psi_shift_is_a_turn_about_the_beam():
    grid = RotationGrid(5, 8)
    # Rz(a) r(rot, tilt, psi) = r(rot, tilt, psi - a)
    turn = torch.from_numpy(Rotation.from_euler("z", -45, degrees=True).as_matrix())
    torch.testing.assert_close(turn @ grid.matrices, grid.matrices[grid.psi_shift(1)])


def test_mirror_exists_on_antipodal_grids_only():
    grid = RotationGrid(6, 8, antipodal=True)
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    torch.testing.assert_close(flip @ grid.matrices, grid.matrices[grid.mirror()])
    with pytest.raises(ValueError, match="antipodal"):
        RotationGrid(7, 8).mirror()


def test_neighbour_weights_commute_with_in_plane_turns():
    grid = RotationGrid(32, 8)
    weights = grid.neighbour_weights()
    shift = grid.psi_shift(3)
    torch.testing.assert_close(weights[shift][:, shift], weights)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(256, dtype=torch.float64))
    around = (weights > 0).sum(dim=1)
    assert 4 < float(around.double().mean()) < 20
    far = grid.distances > math.radians(60)
    assert float(weights[far].max()) == 0.0


@pytest.mark.parametrize("bad", [(0, 8), (4, 0), (-1, 3)])
def test_empty_grids_are_refused(bad):
    with pytest.raises(ValueError, match="at least one"):
        RotationGrid(*bad)


def test_odd_antipodal_grid_is_refused():
    with pytest.raises(ValueError, match="even"):
        RotationGrid(5, 4, antipodal=True)
