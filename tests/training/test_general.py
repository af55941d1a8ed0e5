from dataclasses import replace

import numpy as np
import pytest

from napari_so3.picking.picker import load_picker
from napari_so3.so3.networks import PickerConfig
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training import general
from napari_so3.training.general import Recipe, train_general
from napari_so3.training.scenes import simulate_labelled


def test_simulated_micrographs_are_reproducible_and_labelled():
    a, b = (simulate_labelled((), np.random.default_rng(5), edge=250) for _ in range(2))
    np.testing.assert_array_equal(a.micrograph.data, b.micrograph.data)
    np.testing.assert_array_equal(a.labels.positives, b.labels.positives)
    assert 80 <= a.diameter <= 400
    assert len(a.labels.positives) >= 5 and a.labels.complete
    other = simulate_labelled((), np.random.default_rng(6), edge=250)
    assert not np.array_equal(other.micrograph.data, a.micrograph.data)


def test_the_held_out_proteins_are_not_trained_on():
    assert len(general.MAPS) >= 12
    assert not set(general.MAPS) & set(general.HELD_OUT_MAPS) and len(general.HELD_OUT_MAPS) == 3


@pytest.fixture
def small_world(monkeypatch):
    monkeypatch.setattr(general, "DATA_SETS", ())
    monkeypatch.setattr(general, "MAPS", ())
    monkeypatch.setattr(general, "FAST_GRID", RotationGrid(1, 4))
    network = PickerConfig(channels=1, kernels=(9, 5, 5, 3), grid=RotationGrid(2, 4))
    monkeypatch.setattr(general, "NETWORK", network)
    full = simulate_labelled
    monkeypatch.setattr(general, "simulate_labelled", lambda maps, rng: full(maps, rng, 200))
    return network


RECIPE = Recipe(fast_steps=2, final_steps=1, simulated=1, micrographs=1)


def test_the_recipe_writes_a_calibrated_model(tmp_path, small_world):
    output = tmp_path / "models" / "new.safetensors"
    train_general(tmp_path, output, RECIPE)
    picker = load_picker(output)
    assert picker.net.config == small_world
    assert picker.name == "new" and picker.training["steps"] == 3
    assert picker.calibration != (1.0, 0.0) and picker.threshold == 0.5
    assert [p.name for p in output.parent.iterdir()] == ["new.safetensors"], "no checkpoint left"


def test_a_stopped_recipe_goes_on(tmp_path, small_world, monkeypatch):
    output = tmp_path / "new.safetensors"
    train_general(tmp_path, output, RECIPE)
    whole = load_picker(output).fingerprint
    output.unlink()
    said = []

    def stop(text):
        said.append(text)
        raise KeyboardInterrupt

    monkeypatch.setattr(general.Recipe, "REPORT", 2)
    monkeypatch.setattr(general.typer, "echo", stop)
    with pytest.raises(KeyboardInterrupt):
        train_general(tmp_path, output, RECIPE)
    assert not output.exists() and list(tmp_path.glob("*.phase1"))
    monkeypatch.setattr(general.typer, "echo", said.append)
    train_general(tmp_path, output, RECIPE)
    assert load_picker(output).fingerprint == whole


def test_recipes_are_cut_into_epochs():
    fast, final = replace(RECIPE, fast_steps=1500, final_steps=200).phases
    assert fast.config.steps == 1500 and final.config.steps == 200
    assert fast.grid == general.FAST_GRID and final.grid == general.NETWORK.grid
