from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_so3.io.star import write_picks_star
from napari_so3.picking.picker import load_picker
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training import bundled
from napari_so3.training.bundled import DataSet, read_part, simulate_labelled
from napari_so3.training.fit import FitConfig, fit, tile_loss
from napari_so3.training.tiles import LabelledMicrograph, prepare_target

SMALL = PickerConfig(channels=2, kernels=(9, 5, 5, 3), grid=RotationGrid(2, 4))


def test_loss_is_the_weighted_mean_over_known_pixels():
    logits = torch.tensor([[[0.0, 2.0, -1.0, 5.0]]])
    target = torch.tensor([[[1, 0, 0, -1]]], dtype=torch.int8)
    got = tile_loss(logits, target, torch.tensor([True]), 3.0)
    plus = torch.nn.functional.softplus
    expected = (
        3 * plus(torch.tensor(0.0)) + plus(torch.tensor(2.0)) + plus(torch.tensor(-1.0))
    ) / 5
    torch.testing.assert_close(got, expected)


def test_the_highest_unlabelled_scores_of_an_incomplete_tile_are_left_out():
    logits = torch.linspace(-3, 3, 100).reshape(1, 10, 10).requires_grad_()
    target = torch.zeros(1, 10, 10, dtype=torch.int8)
    target[0, 0, 0] = 1
    tile_loss(logits, target, torch.tensor([False]), 1.0).backward()
    silent = (logits.grad == 0).flatten()
    assert silent[-9:].all() and not silent[:-12].any()
    logits.grad = None
    tile_loss(logits, target, torch.tensor([True]), 1.0).backward()
    assert not (logits.grad == 0).any()


def blobs(rng):
    image = rng.standard_normal((120, 130)).astype(np.float32)
    points = np.array([[i, j] for i in range(20, 110, 30) for j in range(20, 120, 30)], float)
    y, x = np.mgrid[:120, :130]
    for p in points:
        image -= 4 * np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / 50).astype(np.float32)
    return LabelledMicrograph(image, 8.0, points, 160.0)


def sources(rng):
    field = SMALL.receptive_field
    return [[prepare_target(blobs(rng), 20.0, field, SMALL.stride)]]


def test_training_lowers_the_loss_and_can_be_left():
    net = PickerNet(SMALL)
    config = FitConfig(steps=40, tile=12, tiles_per_set=3, learning_rate=1e-2)
    losses = [p.loss for p in fit(net, sources, config)]
    assert np.mean(losses[-5:]) < 0.4 * np.mean(losses[:5])
    assert not net.training
    steps = fit(net, sources, config)
    assert next(steps).step == 1
    steps.close()


def test_training_is_reproducible():
    def run():
        torch.manual_seed(0)
        return [p.loss for p in fit(PickerNet(SMALL), sources, FitConfig(steps=3, tile=8))]

    assert run() == pytest.approx(run(), rel=1e-5)


def test_simulated_micrographs_are_reproducible_and_labelled():
    a, b = (simulate_labelled(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.points, b.points)
    assert 80 <= a.diameter <= 400
    assert len(a.points) >= 20


@pytest.fixture
def tiny_data(tmp_path, noise_mrc):
    for name in ("keep", "held"):
        noise_mrc(f"set/{name}1.mrc", shape=(400, 420))
        write_picks_star(tmp_path / f"set/{name}1.star", name, [50.0, 210], [60.0, 90], [0, 0])
    return DataSet("test", "set", "set", 4.0, 80.0, ("held",))


def test_held_out_micrographs_are_not_read(tmp_path, tiny_data):
    (labelled,) = read_part(tmp_path, tiny_data)
    np.testing.assert_allclose(labelled.points, [[60, 50], [90, 210]])


def test_held_out_part_of_the_real_data(data_dir):
    counts = [
        [len(read_part(data_dir, what, held_out)) for what in bundled.DATA_SETS]
        for held_out in (False, True)
    ]
    assert counts == [[10, 13, 3], [3, 2, 1]]


def test_the_recipe_writes_a_model(tmp_path, tiny_data, monkeypatch):
    monkeypatch.setattr(bundled, "DATA_SETS", (tiny_data,))
    monkeypatch.setattr(bundled, "SIMULATED", (1,))
    monkeypatch.setattr(bundled, "FAST_GRID", RotationGrid(1, 4))
    monkeypatch.setattr(bundled, "FINAL_GRID", RotationGrid(2, 4))
    output = tmp_path / "model.safetensors"
    bundled.train(tmp_path, output, fast_steps=2, final_steps=1)
    picker = load_picker(output)
    assert picker.net.config == replace(PickerConfig(), grid=RotationGrid(2, 4))
    assert picker.training["steps"] == 3
    assert "test: 1 micrographs" in picker.training["data"]
