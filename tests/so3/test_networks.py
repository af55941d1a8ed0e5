"""Equivariance, parameter counts and the dense use of the network."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_so3.so3.aggregation import RotationStream
from napari_so3.so3.dense import DenseScorer
from napari_so3.so3.layers import SO3BatchNorm2d, SO3Conv2d, SO3Lift2d, row_split
from napari_so3.so3.networks import PRESETS, PickerConfig, PickerNet
from napari_so3.so3.projection import RotateProject
from napari_so3.so3.rotations import RotationGrid

CPU = torch.device("cpu")
SMALL = PickerConfig(channels=2, kernels=(9, 5, 5, 3), grid=RotationGrid(6, 8))


def make_net(config: PickerConfig) -> PickerNet:
    """A network in evaluation mode whose norms have seen something."""
    net = PickerNet(config).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0.0, 0.3)
    return net


def assert_maps_permute(net, x, image_turn, permutation):
    """Turning the image turns every map and permutes the rotations; the joined logit only turns."""
    with torch.no_grad():
        expected = image_turn(net.rotation_logits(x))
        got = net.rotation_logits(image_turn(x))
        scale = float(got.abs().max())
        # entry i of the permutation is the rotation that now sees what i saw
        torch.testing.assert_close(got[:, permutation], expected, atol=3e-5 * scale, rtol=0)
        assert float((got - expected).abs().max()) > 0.1 * scale, "the permutation must matter"
        torch.testing.assert_close(
            net(image_turn(x)), image_turn(net(x)), atol=3e-5 * scale, rtol=0
        )


@pytest.mark.parametrize("basis", ["blob", "voxel"])
def test_quarter_turns_of_the_image_roll_the_rotations(basis):
    net = make_net(replace(SMALL, basis=basis))
    x = torch.randn(2, 1, 57, 65)
    assert_maps_permute(net, x, lambda t: torch.rot90(t, 1, (-2, -1)), net.config.grid.psi_shift(2))


@pytest.mark.parametrize("basis", ["blob", "voxel"])
def test_mirrors_of_the_image_permute_the_rotations(basis):
    grid = RotationGrid(6, 8, antipodal=True)
    net = make_net(replace(SMALL, basis=basis, grid=grid))
    assert_maps_permute(net, torch.randn(2, 1, 57, 65), lambda t: t.flip(-2), grid.mirror())


def test_the_papers_network_has_63369_parameters_and_sees_45_pixels():
    net = PickerNet(PRESETS["paper"])
    assert sum(p.numel() for p in net.parameters()) == 63369
    assert net.config.receptive_field == 45
    assert net(torch.zeros(2, 1, 45, 45)).shape == (2, 1, 1)
    assert net(torch.zeros(1, 1, 47, 64)).shape == (1, 2, 10)
    assert sum(p.numel() for p in PickerNet(PRESETS["default"]).parameters()) == 22761


def test_dense_scores_equal_those_of_crops():
    net = make_net(SMALL)
    field, step = net.config.receptive_field, net.config.stride
    x = torch.randn(1, 1, field + 9, field + 6)
    with torch.no_grad():
        full = net(x)[0]
        for i, j in [(0, 0), (1, 3), (4, 2)]:
            patch = x[..., i * step : i * step + field, j * step : j * step + field]
            torch.testing.assert_close(net(patch)[0, 0, 0], full[i, j], atol=1e-4, rtol=0)
        shifted = net(x[..., step:, :])[0]
        torch.testing.assert_close(shifted, full[1:], atol=1e-4, rtol=0)


def test_initial_filters_have_the_variance_asked_for():
    for basis in ("blob", "voxel"):
        conv = SO3Conv2d(RotateProject(RotationGrid(8, 4), 7, basis), 16, 32)
        assert float(conv.filters().detach().var()) * 16 * 49 == pytest.approx(2.0, rel=0.2)


def test_norm_has_one_statistic_per_channel_for_all_rotations():
    norm = SO3BatchNorm2d(3)
    x = torch.randn(4, 6, 3, 5, 5) * torch.tensor([1.0, 5.0, 0.1])[:, None, None] + 2.0
    out = norm(x)
    assert norm.weight.shape == (3,)
    torch.testing.assert_close(out.mean(dim=(0, 1, 3, 4)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=(0, 1, 3, 4)), torch.ones(3), atol=1e-2, rtol=0)
    shuffled = torch.randperm(6)
    torch.testing.assert_close(SO3BatchNorm2d(3)(x[:, shuffled]), out[:, shuffled])


def test_rotations_do_not_mix():
    conv = SO3Conv2d(RotateProject(RotationGrid(3, 4), 5), 2, 3)
    x = torch.randn(1, 12, 2, 9, 9)
    out = conv(x)
    x[:, 5] += 1.0
    changed = (conv(x) != out).flatten(2).any(dim=2)[0]
    assert changed.tolist() == [r == 5 for r in range(12)]


def test_evaluation_caches_filters_and_drops_them_when_weights_change():
    lift = SO3Lift2d(RotateProject(RotationGrid(3, 4), 5), 1, 2).eval()
    with torch.no_grad():
        first = lift.filters()
        assert lift.filters() is first
        lift.weight.mul_(2.0)
        torch.testing.assert_close(lift.filters(), 2 * first)
        lift.load_state_dict({k: v * 3 for k, v in lift.state_dict().items()})
        torch.testing.assert_close(lift.filters(), 6 * first)
        assert lift.double().filters().dtype == torch.float64
    lift = lift.float().train()
    torch.optim.SGD(lift.parameters(), lr=1.0)
    lift(torch.randn(1, 1, 9, 9)).square().mean().backward()
    assert float(lift.weight.grad.abs().sum()) > 0
    lift.eval()
    with torch.enable_grad():
        assert lift.filters().requires_grad, "a cached, detached filter would lose the gradient"


def test_the_state_holds_weights_only():
    keys = set(PickerNet(SMALL).state_dict())
    assert not any("project" in k or "cache" in k for k in keys)


def test_config_survives_json():
    for config in (*PRESETS.values(), replace(SMALL, grid=RotationGrid(6, 8, True))):
        assert PickerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(TypeError):
        PickerConfig.from_dict({**PickerConfig().to_dict(), "surprise": 1})


def test_another_grid_keeps_the_weights():
    net = make_net(SMALL)
    other = net.with_grid(RotationGrid(12, 8))
    assert len(other.config.grid) == 96
    assert not other.training
    back = other.with_grid(SMALL.grid)
    x = torch.randn(1, 1, 50, 50)
    with torch.no_grad():
        torch.testing.assert_close(back(x), net(x))


def run(scorer: DenseScorer, x: torch.Tensor, keep: Callable | None = None) -> RotationStream:
    *progress, stream = scorer.stream(x, 16, keep)
    assert progress == sorted(progress)
    assert progress[-1] == scorer.n_rotations
    return stream


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("how", ["al1", "max"])
def test_fast_path_equals_the_network(workers, how):
    net = make_net(replace(SMALL, aggregation=how))
    x = torch.randn(1, 1, 64, 51)
    with torch.no_grad():
        expected = net.rotation_logits(x)[0]
        joined = net(x)[0]
    kept = np.zeros(expected.shape, np.float16)
    stream = run(DenseScorer(net, CPU, workers), x, kept.__setitem__)
    torch.testing.assert_close(stream.finish(), joined, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(kept, expected.numpy(), atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(stream.best, expected.max(dim=0).values, atol=1e-4, rtol=1e-4)


def test_row_split_equals_the_convolution():
    x, weight = torch.randn(1, 16, 31, 24), torch.randn(1, 16, 7, 7)
    torch.testing.assert_close(
        row_split(x, weight), nn.functional.conv2d(x, weight), atol=1e-3, rtol=1e-4
    )


def test_scoring_can_be_cancelled_and_leaves_no_threads():
    scorer = DenseScorer(make_net(replace(SMALL, grid=RotationGrid(48, 12))), CPU, 2)
    stream = scorer.stream(torch.randn(1, 1, 64, 64), 16)
    assert next(stream) < scorer.n_rotations
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("so3-score")]


def test_an_error_in_a_worker_reaches_the_caller():
    scorer = DenseScorer(make_net(SMALL), CPU, 2)
    with pytest.raises(RuntimeError):
        list(scorer.stream(torch.randn(1, 3, 64, 64), 16))


def assert_same_order(a: torch.Tensor, b: torch.Tensor) -> None:
    ranks = torch.stack([t.flatten().argsort().argsort() for t in (a, b)]).double()
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.999


def test_the_path_of_the_gpu_keeps_the_order_of_scores_in_half_precision():
    net = make_net(SMALL)
    x = torch.randn(1, 1, 96, 96)
    scorer = DenseScorer(net, CPU)
    with torch.inference_mode():
        half = torch.cat([scorer._grouped(x, chunk) for chunk in scorer.chunks(20)])
        full = net.rotation_logits(x)[0]
    assert half.shape == full.shape
    assert_same_order(half, full)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_scores_keep_the_order_of_the_cpu():
    net = make_net(replace(SMALL, grid=RotationGrid(12, 8)))
    x = torch.randn(1, 1, 128, 128)
    gpu = run(DenseScorer(net, torch.device("cuda")), x).finish().cpu()
    assert_same_order(run(DenseScorer(net, CPU), x).finish(), gpu)


@pytest.mark.parametrize("out_channels", [1, 3])
def test_a_layer_is_one_grouped_convolution(out_channels):
    """Rotation by rotation and row by row, as on the CPU: the same values and gradients."""
    grid = RotationGrid(2, 4)
    layer = SO3Conv2d(RotateProject(grid, 5), 2, out_channels)
    x = torch.randn(3, len(grid), 2, 11, 12, requires_grad=True)
    got = layer(x)
    flat = layer.filters().flatten(0, 1)
    expected = torch.nn.functional.conv2d(
        x.flatten(1, 2), flat, layer.bias.repeat(len(grid)), groups=len(grid)
    ).reshape(got.shape)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(got)
    for parameter in (x, layer.weight, layer.bias):
        ours, theirs = (
            torch.autograd.grad((y * weights).sum(), parameter, retain_graph=True)[0]
            for y in (got, expected)
        )
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
