"""The loss of poses knows symmetry, both signs of a quaternion, and where the truth is."""

import math

import pytest
import torch

from napari_so3.poses.losses import PoseLoss, arc, cell_radius
from napari_so3.so3.pose_networks import PoseConfig
from napari_so3.so3.rotations import RotationGrid, geodesic_distance, random_rotations


def perfect(config, targets, sharp=30.0):
    """Output that puts all weight on the nearest rotation, with its very offset."""
    grid = config.grid.matrices
    copies = targets[:, None] @ config.grid.group  # (B, G, 3, 3)
    trace = copies.flatten(2) @ grid.flatten(1).T  # (B, G, R)
    best, which = trace.max(dim=1)
    out = torch.zeros(len(targets), len(grid), 4, dtype=torch.float64)
    out[..., 0] = sharp * best
    nearest = copies[torch.arange(len(targets))[:, None], which]  # (B, R, 3, 3)
    import roma

    out[..., 1:] = roma.rotmat_to_rotvec(grid.mT @ nearest)
    return out.float()


@pytest.mark.parametrize("symmetry", ["C1", "C4", "D7"])
def test_the_truth_costs_less_than_anything_else(symmetry):
    config = PoseConfig(grid=RotationGrid(6, 8, symmetry=symmetry))
    loss, targets = PoseLoss(config), random_rotations(20)
    right = float(loss(perfect(config, targets), targets))
    for degrees in (20.0, 60.0, 180.0):
        turned = perfect(config, targets)
        turned[..., 3] += math.radians(degrees)
        assert right + 0.1 < float(loss(turned, targets))
    assert right + 1.0 < float(loss(perfect(config, random_rotations(20)), targets))


def test_poses_that_look_the_same_cost_the_same():
    config = PoseConfig(grid=RotationGrid(3, 12, symmetry="D7"))
    loss, targets = PoseLoss(config), random_rotations(10)
    output = torch.randn(10, len(config.grid), 4)
    for g in config.grid.group[:9]:
        torch.testing.assert_close(
            loss(output, targets @ g), loss(output, targets), atol=1e-4, rtol=1e-4
        )
    assert abs(float(loss(output, random_rotations(10)) - loss(output, targets))) > 1e-3


@pytest.mark.parametrize("variant", ["conv2d", "so3-unimodal"])
def test_one_pose_costs_its_angle(variant):
    import roma

    config = PoseConfig(variant, grid=RotationGrid(2, 4))
    targets, poses = random_rotations(50), random_rotations(50)
    quaternions = -2.5 * roma.rotmat_to_unitquat(poses).float()[:, None]
    expected = float(geodesic_distance(poses, targets).mean())
    assert float(PoseLoss(config)(quaternions, targets)) == pytest.approx(expected, abs=1e-3)


def test_gradients_are_finite_at_the_truth_and_opposite_to_it():
    a = torch.eye(3).repeat(2, 1, 1).requires_grad_()
    b = torch.stack((torch.eye(3), torch.diag(torch.tensor([1.0, -1.0, -1.0]))))
    angles = arc(a, b)
    angles.sum().backward()
    assert torch.isfinite(a.grad).all()
    torch.testing.assert_close(angles.detach(), torch.tensor([0.0, math.pi]), atol=2e-4, rtol=0)


def test_cells_are_balls_of_equal_volume():
    assert cell_radius(1) == pytest.approx(math.pi, abs=1e-6)
    assert math.degrees(cell_radius(256)) == pytest.approx(24.1, abs=0.1)
    assert math.degrees(cell_radius(576)) == pytest.approx(18.4, abs=0.1)


def test_the_mean_angle_between_random_rotations_is_known():
    angles = geodesic_distance(random_rotations(40_000), random_rotations(40_000))
    assert float(angles.mean()) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.02)
