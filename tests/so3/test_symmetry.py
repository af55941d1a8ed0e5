"""Point groups with RELION's axes, and the grids that they make smaller."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_so3.so3.networks import PickerConfig
from napari_so3.so3.rotations import RotationGrid, geodesic_distance, random_rotations
from napari_so3.so3.symmetry import symmetry_group

ORDERS = {"C1": 1, "C4": 4, "D2": 4, "d7": 14, "T": 12, "O": 24, "I": 60, "I1": 60}


def holds(group, axis, fold):
    """Whether the group turns by one `fold`th about an axis."""
    axis = np.asarray(axis) / np.linalg.norm(axis)
    turn = torch.from_numpy(Rotation.from_rotvec(axis * 2 * np.pi / fold).as_matrix())
    return float((group - turn).abs().amax(dim=(1, 2)).min()) < 1e-6


@pytest.mark.parametrize("name", ORDERS)
def test_groups_are_groups(name):
    group = symmetry_group(name)
    assert len(group) == ORDERS[name]
    torch.testing.assert_close(group[0], torch.eye(3, dtype=torch.float64))
    products = (group[:, None] @ group).reshape(-1, 3, 3)
    nearest = (products[:, None] - group).abs().amax(dim=(2, 3)).min(dim=1)
    assert float(nearest.values.max()) < 1e-9
    assert torch.bincount(nearest.indices).tolist() == [len(group)] * len(group)


@pytest.mark.parametrize(
    ("name", "axis", "fold"),
    # The axes of RELION's SymList, by its documentation
    [
        ("C7", (0, 0, 1), 7),
        ("D7", (0, 0, 1), 7),
        ("D7", (1, 0, 0), 2),
        ("T", (0, 0, 1), 3),
        ("T", (0, 0.816496, 0.577350), 2),
        ("O", (0, 0, 1), 4),
        ("O", (1, 1, 1), 3),
        ("I", (1, 0, 0), 2),
        ("I", (0.85065080702670, 0, -0.5257311142635), 5),
        ("I", (0.9341723640, 0.3568220765, 0), 3),
    ],
)
def test_axes_are_relions(name, axis, fold):
    assert holds(symmetry_group(name), axis, fold)


@pytest.mark.parametrize("bad", ["", "C0", "D1", "D", "C", "I2", "X", "C-3", "C2.5", "CC4"])
def test_unknown_symmetries_are_refused(bad):
    with pytest.raises(ValueError, match="a symmetry is"):
        symmetry_group(bad)


@pytest.mark.parametrize(
    ("symmetry", "directions", "n_psi"),
    [("C4", 32, 8), ("D2", 32, 8), ("D7", 42, 8), ("D7", 168, 16), ("O", 96, 8), ("T", 96, 8),
     ("I", 240, 12)],
)  # fmt: skip
def test_a_reduced_grid_covers_as_well_as_the_full_one(symmetry, directions, n_psi):
    probes = random_rotations(4000, torch.Generator().manual_seed(0))
    full = RotationGrid(directions, n_psi)
    grid = RotationGrid.reduced(symmetry, directions, n_psi)
    assert len(grid) == pytest.approx(len(full) / len(grid.group), rel=0.1)
    expected, angle = (g.nearest(probes)[1] for g in (full, grid))
    assert float(angle.mean()) < 1.1 * float(expected.mean())
    assert float(angle.max()) < 1.15 * float(expected.max())


def test_without_symmetry_the_grid_is_the_full_one():
    assert RotationGrid.reduced("C1", 32, 8) == RotationGrid(32, 8)


def test_equivalent_rotations_have_one_nearest():
    grid = RotationGrid.reduced("D7", 84, 12)
    r = random_rotations(50, torch.Generator().manual_seed(1))
    index, angle = grid.nearest(r)
    for g in grid.group:
        again, same = grid.nearest(r @ g)
        torch.testing.assert_close(same, angle)
        torch.testing.assert_close(again, index)
    brute = torch.stack(
        [geodesic_distance(grid.matrices[:, None], r @ g).amin(dim=0) for g in grid.group]
    )
    torch.testing.assert_close(angle, brute.amin(dim=0))
    assert float(grid.distances.diagonal().max()) < 1e-6
    assert float(grid.distances.max()) < np.radians(100)  # no two are farther apart under D7


def test_a_reduced_grid_survives_a_model_header():
    grid = RotationGrid.reduced("D7", 84, 12)
    config = PickerConfig(grid=grid)
    again = PickerConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again.grid) == hash(grid)
    torch.testing.assert_close(again.grid.matrices, grid.matrices, rtol=0, atol=0)


def test_a_grid_is_antipodal_or_symmetric():
    with pytest.raises(ValueError, match="D7"):
        RotationGrid(6, 8, antipodal=True, symmetry="D7")
    with pytest.raises(ValueError, match="a symmetry is"):
        RotationGrid(6, 8, symmetry="Q")
