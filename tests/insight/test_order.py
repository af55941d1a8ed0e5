from itertools import pairwise

import numpy as np
import pytest

from napari_so3.insight.order import order_rotations, sphere_order
from napari_so3.insight.rotation_maps import Rotations
from napari_so3.so3.rotations import RotationGrid

GRIDS = [
    RotationGrid.so2(8),
    RotationGrid(2, 1),
    RotationGrid(12, 8),
    RotationGrid(32, 8, antipodal=True),
    RotationGrid.reduced("D7", 256, 8),
]


def rotations_of(grid: RotationGrid) -> Rotations:
    return Rotations(grid.euler_angles, grid.directions.numpy(), grid.n_psi, grid.symmetry)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.n_directions}x{g.n_psi} {g.symmetry}")
def test_the_walk_meets_every_rotation_once_view_by_view(grid):
    order = sphere_order(rotations_of(grid))
    assert sorted(order) == list(range(len(grid)))
    for views in (order // grid.n_psi).reshape(-1, grid.n_psi):
        assert len(set(views)) == 1
    first = grid.directions[order[0] // grid.n_psi]
    assert float(first[2]) == float(grid.directions[:, 2].max())


@pytest.mark.parametrize("grid", GRIDS[2:4], ids=["12x8", "32x8"])
def test_neighbours_on_the_walk_look_alike(grid):
    order = sphere_order(rotations_of(grid))
    apart = np.degrees(grid.distances.numpy())
    to_next = np.array([apart[a, b] for a, b in pairwise(order)])
    in_plane = 360 / grid.n_psi
    within = order[:-1] // grid.n_psi == order[1:] // grid.n_psi
    np.testing.assert_allclose(to_next[within], in_plane, atol=1e-6)
    nearest = np.sort(apart + 999 * np.eye(len(grid)), axis=1)[:, 0]
    assert to_next[~within].mean() < 1.7 * nearest.mean()
    grid_order = np.diag(apart, 1)
    assert to_next.max() < 0.5 * grid_order.max()


def test_a_walk_has_no_crossings(rotations):
    made = rotations(60, 1)
    order = sphere_order(made)
    path = made.directions[order]
    apart = np.arccos(np.clip(path @ path.T, -1, 1))
    for i in range(len(path) - 3):
        for j in range(i + 2, len(path) - 1):
            crossed = apart[i, i + 1] + apart[j, j + 1]
            assert crossed <= apart[i, j] + apart[i + 1, j + 1] + 1e-6


@pytest.fixture
def maps(make_maps):
    logits = np.full((8, 5, 6), -5.0)
    for rotation, (row, column, value) in {
        6: (0, 0, 9.0),
        1: (4, 5, 8.0),
        3: (2, 3, 7.0),
        5: (2, 3, 6.0),
    }.items():
        logits[rotation, row, column] = value
    return make_maps(logits, 4)


def test_by_maximum_the_surest_anywhere_comes_first(maps):
    order = order_rotations(maps, "maximum")
    assert order[:4].tolist() == [6, 1, 3, 5]
    assert sorted(order) == list(range(8))


def test_by_place_the_surest_there_comes_first(maps):
    order = order_rotations(maps, "cursor", (8.0, 12.0))  # four micrograph pixels per map pixel
    assert order[:2].tolist() == [3, 5]
    assert sorted(order) == list(range(8))


def test_on_the_sphere_the_maps_do_not_matter(maps):
    order = order_rotations(maps, "sphere")
    np.testing.assert_array_equal(order, sphere_order(maps.rotations))


def test_what_cannot_be_ordered_is_an_error(maps):
    with pytest.raises(ValueError, match="needs a place"):
        order_rotations(maps, "cursor")
    with pytest.raises(ValueError, match="'colour'"):
        order_rotations(maps, "colour")
