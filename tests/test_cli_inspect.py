"""``napari-so3 inspect``: figures and arrays of what a model sees."""

import mrcfile
import numpy as np
import pytest
import starfile
from PIL import Image

from napari_so3.insight.rotation_maps import see_rotations
from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.pick import PickSettings, choose_device
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import Scorer
from test_cli import run

LOW = 0.003  # a random network is never sure


@pytest.fixture
def options(tiny_model):
    return ["-d", 60, "-m", tiny_model, "--device", "cpu"]


def is_picture(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize("verb", ["budget", "check", "maps", "explain", "filters"])
def test_help_teaches(verb):
    text = run("inspect", verb, "--help")
    assert "Example" in text
    assert "Usage" in text


def test_budget_is_a_table_and_a_figure(tmp_path, noise_mrc, options, monkeypatch):
    monkeypatch.setattr("napari_so3.insight.budget.GRIDS", ((1, 4), (6, 8)))
    for i in range(3):
        noise_mrc(f"mics/{i}.mrc", seed=i)
    figure = tmp_path / "budget.png"
    text = run("inspect", "budget", tmp_path / "mics", *options, "-n", 2, "-t", LOW, "-o", figure)
    assert "16 (4 x 4, the model's own)" in text
    assert "48 (6 x 8)" in text
    assert "on 2 micrographs" in text
    assert "--rotations " in text
    assert is_picture(figure)


def test_check_says_how_picks_moved(tmp_path, noise_mrc, options):
    figure = tmp_path / "check.png"
    mic = noise_mrc("a.mrc")
    text = run("inspect", "check", mic, *options, "-t", LOW, "--rotations", "2x8", "-o", figure)
    assert "moved with the picture" in text
    assert is_picture(figure)


def test_maps_are_those_of_every_rotation(tmp_path, noise_mrc, options, tiny_model):
    mic, folder = noise_mrc("a.mrc"), tmp_path / "out"
    text = run("inspect", "maps", mic, *options, "-t", LOW, "-o", folder, "--rotations", "2x4")
    assert "8 rotations" in text
    picker = load_picker(tiny_model, (2, 4))
    scorer = Scorer(picker.net, choose_device("cpu"))
    *_, maps = see_rotations(read_micrograph(mic), picker, PickSettings(60.0), scorer)
    with np.load(folder / "a_maps.npz") as saved:
        np.testing.assert_array_equal(saved["stack"], maps.stack[0:8])
        np.testing.assert_array_equal(saved["log_odds"], maps.log_odds)
        np.testing.assert_array_equal(saved["best"], maps.best)
        np.testing.assert_array_equal(saved["angles"], maps.rotations.angles)
        assert tuple(saved["scale"]) == maps.scale
        assert saved["pixel_size"] == 4.0
    for name in ("rotations", "in_plane", "views"):
        assert is_picture(folder / f"a_{name}.png")


def test_a_place_is_explained(tmp_path, noise_mrc, options):
    mic, figure = noise_mrc("a.mrc"), tmp_path / "why.png"
    text = run("inspect", "explain", mic, *options, "-t", LOW, "--at", 60, 40, "-o", figure)
    assert "% of the evidence" in text
    assert is_picture(figure)


def test_crops_are_averaged_over_a_folder_of_picks(tmp_path, noise_mrc, options):
    for i in range(2):
        noise_mrc(f"mics/{i}.mrc", seed=i)
    picked, figure = tmp_path / "picked", tmp_path / "why.pdf"
    run("pick", tmp_path / "mics", *options, "-o", picked)
    explain = ["inspect", "explain", tmp_path / "mics" / "0.mrc", *options, "-o", figure]
    text = run(*explain, "-t", 0, "--picks", picked)
    assert "other pick" in text
    assert figure.read_bytes().startswith(b"%PDF")
    assert "other rotations" in run(*explain, "--picks", picked, "--rotations", "2x4", code=2)


def test_filters_are_written_as_volume_and_projections(tmp_path, tiny_model):
    folder = tmp_path / "out"
    text = run("inspect", "filters", "-d", 60, "-m", tiny_model, "--out", 2, "-o", folder)
    assert "1: " in text
    with mrcfile.open(folder / "layer1_out2_in1.mrc") as volume:
        assert volume.is_volume()
        assert len(set(volume.data.shape)) == 1
    with mrcfile.open(folder / "layer1_out2_in1.mrcs") as stack:
        assert stack.data.shape[0] == 16
    particles = starfile.read(folder / "layer1_out2_in1.star")
    assert len(particles["particles"] if isinstance(particles, dict) else particles) == 16
    assert is_picture(folder / "layer1_out2_in1.png")
    assert is_picture(folder / "spectra.png")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "{mic}", "-o", "check.docx"], "a figure is written as"),
        (["check", "{mic}", "-t", "0.99999"], "there are no picks"),
        (["check", "{mic}", "--rotations", "four"], "such as 8x8"),
        (["check", "nowhere.mrc"], "nowhere.mrc"),
        (["explain", "{mic}", "--picks", "{tmp}"], "holds no picks"),
        (["filters", "--layer", "9"], "there is no layer 9"),
        (["filters", "--out", "99"], "output and 1 input channels"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, noise_mrc, tiny_model, arguments, says):
    mic = noise_mrc("m.mrc")
    filled = [a.format(mic=mic, tmp=tmp_path) for a in arguments]
    assert says in run("inspect", *filled, "-d", 60, "-m", tiny_model, code=2)
