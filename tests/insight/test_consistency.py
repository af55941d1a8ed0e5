"""How consistent matched rotations are: made-up matches whose consistency is known."""

import numpy as np
import pytest
import torch

from napari_so3.insight.consistency import HALF_TURN, measure_consistency
from napari_so3.so3.rotations import (
    RotationGrid,
    euler_to_matrix,
    geodesic_distance,
    random_rotations,
)
from napari_so3.so3.symmetry import symmetry_group

GRID = RotationGrid(32, 8)
N = 200


@pytest.fixture
def true():
    return random_rotations(N, torch.Generator().manual_seed(1))


@pytest.fixture
def frame():
    return euler_to_matrix(50.0, 110.0, 200.0)


def measure(true, rotations, symmetry="C1", grid=GRID):
    return measure_consistency(true.numpy(), grid.nearest(rotations)[0].numpy(), grid, symmetry)


@pytest.mark.parametrize("other_hand", [False, True])
def test_rotations_in_another_frame_are_consistent(true, frame, other_hand):
    half_turn = torch.from_numpy(HALF_TURN) if other_hand else torch.eye(3, dtype=torch.float64)
    result = measure(true, half_turn @ true @ frame)
    assert result.frame.other_hand is other_hand
    left = geodesic_distance(torch.from_numpy(result.frame.rotation), frame)
    assert np.degrees(float(left)) < 5.0
    within = result.frame.within[30.0]
    assert within.found > 0.95
    assert within.possible > 0.95
    assert within.chance < 0.1
    for share in (result.in_plane, *result.same_rotation.values()):
        assert share.found == pytest.approx(share.possible, abs=0.05)
        assert share.found > 10 * share.chance


def test_rotations_dealt_out_at_random_are_as_consistent_as_chance(true):
    result = measure(true, random_rotations(N, torch.Generator().manual_seed(2)))
    for share in (result.frame.within[30.0], result.same_rotation[30.0]):
        assert share.found == pytest.approx(share.chance, abs=0.03)
        assert share.possible > 0.5
    assert abs(result.in_plane.found) < 0.2


def test_each_view_a_frame_of_its_own_is_no_frame_but_follows_in_plane(true):
    """What turns with the picture must be consistent in plane, whatever its views are."""
    views = RotationGrid(24, 1)
    turn = random_rotations(24, torch.Generator().manual_seed(3))
    cosines = true[:, 2] @ views.directions.T
    cell = cosines.argmax(dim=1)
    between = views.matrices[cell] @ true.mT  # Rz(t) leads from the view to the particle
    t = torch.atan2(between[:, 1, 0] - between[:, 0, 1], between[:, 0, 0] + between[:, 1, 1])
    psi = np.degrees(t.numpy())
    result = measure(true, euler_to_matrix(0.0, 0.0, psi) @ turn[cell])
    assert result.in_plane.found > 0.8
    assert result.frame.within[30.0].found < 0.3
    assert 0.1 < result.same_rotation[30.0].found < 0.7


def test_symmetric_particles_may_match_any_of_their_copies(true, frame):
    group = symmetry_group("D3")
    copy = torch.randint(len(group), (N,), generator=torch.Generator().manual_seed(4))
    matched = true @ group[copy] @ frame
    symmetric, plain = (measure(true, matched, symmetry) for symmetry in ("D3", "C1"))
    assert symmetric.frame.within[30.0].found > 0.95
    assert plain.frame.within[30.0].found < 0.5


def test_the_copies_of_symmetric_rotations_are_one(true):
    grid = RotationGrid.reduced("D3", 48, 12)
    result = measure(true, true, "D3", grid)
    assert result.frame.within[30.0].found > 0.95
    assert result.frame.within[30.0].possible == 1.0
    assert result.same_rotation[30.0].found > 0.5


def test_a_single_particle_is_refused(true):
    for matched in (np.zeros(1, int), np.zeros(3, int)):
        with pytest.raises(ValueError, match="two or more particles"):
            measure_consistency(true[:1].numpy(), matched, GRID)
