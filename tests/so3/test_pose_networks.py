"""Pose networks turn with the image, and their outputs are rotations."""

import numpy as np
import pytest
import torch

from napari_so3.so3.pose_networks import (
    PoseConfig,
    PoseNet,
    decode_poses,
    table3_config,
)
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix, geodesic_distance

VARIANTS = ("so3", "so3-unimodal", "so2", "conv2d")
SMALL = (5, 3, 3)


def small(variant="so3", grid=None, sharing="direction"):
    torch.manual_seed(3)
    grid = grid or RotationGrid(4, 8)
    net = PoseNet(PoseConfig(variant, 3, SMALL, grid=grid, hidden=8, sharing=sharing)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    with torch.no_grad():
        if hasattr(net.head, "weight2"):
            net.head.weight2.normal_()  # offsets of any size
    return net


def likeliest(net, images):
    with torch.no_grad():
        logits, poses = net.decode(net(images))
    return poses[torch.arange(len(images)), logits.argmax(dim=1)].double()


@pytest.mark.parametrize(
    ("variant", "grid", "sharing"),
    [
        ("so3", RotationGrid(4, 8), "direction"),
        ("so3", RotationGrid(4, 8), "all"),
        ("so3", RotationGrid(2, 8, symmetry="D7"), "direction"),
        ("so2", RotationGrid.so2(8), "direction"),
    ],
)
def test_turning_the_image_turns_the_pose(variant, grid, sharing):
    net = small(variant, grid, sharing)
    images = torch.randn(20, 1, net.config.box, net.config.box)
    quarter = euler_to_matrix(0, 0, -90)  # Rz(+90)
    before, after = likeliest(net, images), likeliest(net, torch.rot90(images, -1, (2, 3)))
    assert float(geodesic_distance(after, quarter @ before).max()) < 1e-3
    assert float(geodesic_distance(after, before @ quarter).median()) > 0.3


def test_mirroring_the_image_mirrors_the_pose():
    net = small(grid=RotationGrid(6, 4, antipodal=True), sharing="all")
    images = torch.randn(20, 1, net.config.box, net.config.box)
    mirror = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    before, after = likeliest(net, images), likeliest(net, images.flip(2))
    assert float(geodesic_distance(after, mirror @ before).max()) < 2e-3


def test_a_plain_network_does_not_turn_with_the_image():
    net = small("conv2d")
    images = torch.randn(20, 1, net.config.box, net.config.box)
    quarter = euler_to_matrix(0, 0, -90)
    before, after = likeliest(net, images), likeliest(net, torch.rot90(images, -1, (2, 3)))
    assert float(geodesic_distance(after, quarter @ before).median()) > 0.3


@pytest.mark.parametrize("variant", VARIANTS)
def test_poses_are_rotations(variant):
    grid = RotationGrid.so2(9) if variant == "so2" else None
    net = small(variant, grid)
    logits, poses = net.decode(net(torch.randn(3, 1, net.config.box, net.config.box)))
    n = {"so3": 32, "so2": 9}.get(variant, 1)
    assert logits.shape == (3, n) and poses.shape == (3, n, 3, 3)
    identity = torch.eye(3).expand_as(poses)
    torch.testing.assert_close(poses @ poses.mT, identity, atol=1e-5, rtol=0)
    assert torch.all(torch.linalg.det(poses) > 0)


def test_a_quaternion_and_its_negative_are_one_pose():
    q = torch.randn(4, 1, 4)
    torch.testing.assert_close(decode_poses(q, None)[1], decode_poses(-3 * q, None)[1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_networks_of_table_3_are_of_equal_size(variant):
    counts = [
        sum(p.numel() for p in PoseNet(table3_config(variant, size)).parameters())
        for size in ("paper", "cpu")
    ]
    assert counts[0] == pytest.approx(2_740_000, rel=0.02)
    assert counts[1] == pytest.approx(85_000, rel=0.08)
    assert len(table3_config(variant).grid) == (9 if variant == "so2" else 256)


@pytest.mark.parametrize("variant", ["so3", "so3-unimodal"])
@pytest.mark.parametrize("sharing", ["direction", "all"])
def test_a_network_keeps_what_it_knows_on_its_own_grid(variant, sharing):
    net = small(variant, sharing=sharing)
    images = torch.randn(5, 1, net.config.box, net.config.box)
    with torch.no_grad():
        torch.testing.assert_close(net.with_grid(net.config.grid)(images), net(images))


def test_new_directions_take_the_head_of_the_nearest_old_one():
    net = small()
    finer = RotationGrid(9, 8)
    other = net.with_grid(finer)
    for new, direction in enumerate(finer.directions.numpy()):
        nearest = int(np.argmax(net.config.grid.directions.numpy() @ direction))
        torch.testing.assert_close(other.head.weight1[new], net.head.weight1[nearest])
        torch.testing.assert_close(other.head.bias2[new], net.head.bias2[nearest])


def test_a_config_survives_json():
    for variant in VARIANTS:
        config = table3_config(variant)
        assert PoseConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"variant": "so4"}, "so4"),
        ({"sharing": "none"}, "none"),
        ({"kernels": (3, 3)}, "three filter sizes"),
    ],
)
def test_bad_shapes_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        PoseConfig(**wrong)
