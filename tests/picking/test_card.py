"""The card that the command line and the dock show."""

from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.picking.card import card, card_text
from napari_so3.picking.picker import Picker, load_picker
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid


def picker(**fields):
    config = PickerConfig(channels=2, kernels=(9, 5, 5, 3), grid=RotationGrid(4, 3))
    return Picker(PickerNet(config).eval(), "mine", 10.0, **fields)


def test_a_card_tells_the_network_and_the_training():
    rows = card(picker(threshold=0.25, training={"data": ["a", "b"], "seed": 3}))
    assert rows["name"] == "mine" and rows["threshold"] == "0.25" and rows["particles"] == "dark"
    assert rows["rotations"].startswith("12 (4 directions x 3 in plane)")
    assert rows["data"] == "a\nb" and rows["seed"] == "3"
    assert list(rows)[-2:] == ["data", "seed"]
    assert card(picker(sign=1))["particles"] == "bright"


def test_as_text_each_thing_has_a_line_of_its_own():
    lines = card_text(picker(training={"data": ["a", "b"], "seed": 3})).split("\n")
    assert lines[0] == "name: mine" and lines[-3:] == ["data: a", "    b", "seed: 3"]


def test_the_command_line_shows_the_whole_card(tmp_path):
    path = tmp_path / "mine.safetensors"
    picker(training={"note": "[bold]as it is[/]"}).save(path)
    result = CliRunner().invoke(app, ["model", "info", str(path)])
    assert result.exit_code == 0
    shown = " ".join(result.output.split())
    for key, value in card(load_picker(path)).items():
        assert f"{key} {value}" in shown


def test_the_card_of_a_matcher(tmp_path):
    from napari_so3.so3.template import TemplateConfig, TemplateNet

    net = TemplateNet(TemplateConfig(size=9, grid=RotationGrid(4, 3)))
    assert card(Picker(net, "map", 10.0))["filters"] == "one map of 9 pixels"
