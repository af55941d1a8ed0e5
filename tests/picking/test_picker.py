import numpy as np
import pytest
import torch

from napari_so3.io.models import ModelFileError, read_model_file, write_model_file
from napari_so3.picking.picker import Picker, bundled_models, load_picker
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import TemplateConfig, TemplateNet


def test_a_saved_picker_scores_the_same(tiny_model, tmp_path):
    picker = load_picker(tiny_model)
    picker.save(tmp_path / "again.safetensors")
    again = load_picker(tmp_path / "again.safetensors")
    assert again.fingerprint == picker.fingerprint
    assert again.net.config == picker.net.config
    x = torch.randn(1, 1, 50, 50)
    with torch.no_grad():
        torch.testing.assert_close(again.net(x), picker.net(x))


def test_fingerprint_tells_weights_and_settings_apart(tiny_model, tmp_path):
    header, tensors = read_model_file(tiny_model)
    before = load_picker(tiny_model).fingerprint
    write_model_file(tmp_path / "a.safetensors", {**header, "sign": 1}, tensors)
    changed = {k: v.clone() for k, v in tensors.items()}
    changed["head.bias"] += 1e-3
    write_model_file(tmp_path / "b.safetensors", header, changed)
    prints = {before, *(load_picker(tmp_path / f"{n}.safetensors").fingerprint for n in "ab")}
    assert len(prints) == 3
    for grid in (RotationGrid(8, 4), RotationGrid(8, 4, antipodal=True)):
        prints.add(load_picker(tiny_model).with_grid(grid).fingerprint)
    assert len(prints) == 5


def test_other_rotations_are_of_the_kind_that_the_model_has(tiny_model):
    picker = load_picker(tiny_model)  # 4 x 4, Fibonacci
    assert picker.with_rotations(4, 4) is picker
    assert load_picker(tiny_model, (4, 4)).fingerprint == picker.fingerprint
    assert load_picker(tiny_model, (6, 8)).net.config.grid == RotationGrid(6, 8)

    pairs = picker.with_grid(RotationGrid(4, 4, antipodal=True))
    assert pairs.with_rotations(6, 8).net.config.grid == RotationGrid(6, 8, antipodal=True)
    assert pairs.with_rotations(5, 8).net.config.grid == RotationGrid(5, 8)
    symmetric = picker.with_grid(RotationGrid(3, 8, symmetry="D7"))
    assert symmetric.with_rotations(6, 8).net.config.grid == RotationGrid(6, 8, symmetry="D7")
    for one in (pairs, symmetric):
        assert one.with_rotations(1, 8).net.config.grid == RotationGrid.so2(8)
    torch.testing.assert_close(pairs.with_rotations(6, 8).net.state_dict(), picker.net.state_dict())
    with pytest.raises(ValueError, match="at least one direction"):
        picker.with_rotations(0, 8)


def test_a_model_that_changes_on_disk_is_read_again(tiny_model, tmp_path):
    header, tensors = read_model_file(tiny_model)
    path = tmp_path / "m.safetensors"
    write_model_file(path, header, tensors)
    assert load_picker(path).name == "tiny"
    write_model_file(path, {**header, "name": "another one"}, tensors)
    assert load_picker(path).name == "another one"


def without(key):
    return lambda header, tensors: ({k: v for k, v in header.items() if k != key}, tensors)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda h, t: ({**h, "kind": "pose"}, t),
        lambda h, t: ({**h, "normalisation": "of the future"}, t),
        lambda h, t: ({**h, "network": {**h["network"], "channels": 5}}, t),
        lambda h, t: ({**h, "network": {**h["network"], "surprise": 5}}, t),
        lambda h, t: ({**h, "network": {**h["network"], "grid": {"n_directions": 0}}}, t),
        lambda h, t: ({**h, "pixels_per_diameter": -1}, t),
        lambda h, t: ({**h, "sign": "dark"}, t),
        lambda h, t: (h, {k: v for k, v in t.items() if k != "head.weight"}),
        without("network"),
        without("training"),
    ],
)
def test_models_that_do_not_fit_are_refused_in_a_sentence(tiny_model, tmp_path, spoil):
    header, tensors = spoil(*read_model_file(tiny_model))
    path = tmp_path / "bad.safetensors"
    write_model_file(path, header, tensors)
    with pytest.raises(ModelFileError, match=r"^bad\.safetensors: [^\n]*\.$"):
        load_picker(path)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ModelFileError, match="general"):
        load_picker("no-such-model")


def test_bundled_models_load_and_are_small():
    assert "general" in bundled_models()
    for name, path in bundled_models().items():
        picker = load_picker(name)
        assert picker.training["data"]
        assert path.stat().st_size < 2**20
        assert np.isfinite(picker.threshold)


@pytest.fixture
def template_model(tmp_path):
    path = tmp_path / "template.safetensors"
    config = TemplateConfig(7, grid=RotationGrid(2, 4))
    Picker(TemplateNet(config).eval(), "map", 8.0, training={"data": ["none"]}).save(path)
    return path


def test_a_template_is_a_picker_too(template_model):
    picker = load_picker(template_model)
    assert isinstance(picker.net, TemplateNet)
    assert picker.net.config.size == 7


@pytest.mark.parametrize(
    "spoil",
    [
        lambda h, t: ({**h, "architecture": "layers"}, t),
        lambda h, t: ({**h, "architecture": "of the future"}, t),
        lambda h, t: ({**h, "network": {**h["network"], "size": 8}}, t),
        lambda h, t: ({**h, "network": {**h["network"], "size": 9}}, t),
        lambda h, t: ({**h, "network": {**h["network"], "grid": {"symmetry": "Q"}}}, t),
        lambda h, t: (h, {k: v for k, v in t.items() if k != "gain"}),
    ],
)
def test_templates_that_do_not_fit_are_refused_in_a_sentence(template_model, tmp_path, spoil):
    header, tensors = spoil(*read_model_file(template_model))
    path = tmp_path / "bad.safetensors"
    write_model_file(path, header, tensors)
    with pytest.raises(ModelFileError, match=r"^bad\.safetensors: [^\n]*\.$"):
        load_picker(path)
