"""napari-so3 train and napari-so3 simulate, as a user types them."""

import json

import mrcfile
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.io.star import read_coordinates, write_picks_star
from napari_so3.picking.picker import load_picker
from napari_so3.training.labels import Labels, write_labels

PLACES = np.array([[i, j] for i in range(40, 190, 50) for j in range(40, 190, 50)], float)


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def said(result):
    return " ".join(result.output.split())


@pytest.fixture
def labelled(tmp_path, noise_mrc):
    for name in ("a", "b", "other"):
        noise_mrc(f"mics/{name}.mrc", shape=(220, 230), pixel_size=8.0)
    (tmp_path / "labels").mkdir()
    for name in ("a", "b", "lost"):
        path = tmp_path / f"labels/{name}_manualpick.star"
        write_picks_star(path, f"{name}.mrc", PLACES[:, 1], PLACES[:, 0], np.zeros(len(PLACES)))
    return tmp_path


def test_training_from_labels_writes_a_model(labelled, tiny_model):
    output = labelled / "new" / "mine.safetensors"
    arguments = (
        "train", labelled / "mics", "--labels", labelled / "labels", "-d", 160, "-o", output,
        "-m", tiny_model, "--steps", 2, "-n", 12, "--device", "cpu",
    )  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    text = said(result)
    assert "2 micrographs with labels" in text
    assert "1 micrograph without labels, left out: other.mrc" in text
    assert "labels of 1 micrograph not given, left out: lost" in text
    assert "18 particles in 2 micrographs" in text
    assert "napari-so3 pick MICROGRAPHS --diameter 160 --model" in text
    picker = load_picker(output)
    assert picker.name == "mine" and picker.training["start"].startswith("tiny ")
    assert picker.training["expected"] == 12
    assert [p.name for p in output.parent.iterdir()] == ["mine.safetensors"], "no checkpoint left"
    picked = run("pick", labelled / "mics/a.mrc", "-d", 160, "-m", output, "-o", labelled / "pk")
    assert picked.exit_code == 0, picked.output


def test_labels_files_carry_negatives_and_ignored_places(labelled, tiny_model):
    labels = {"a": Labels(PLACES, PLACES + 20, np.array([[5.0, 5.0, 4.0]]), complete=True)}
    write_labels(labelled / "labels.json", labels)
    output = labelled / "mine.safetensors"
    result = run(
        "train", labelled / "mics/a.mrc", "-l", labelled / "labels.json", "-d", 160, "-o", output,
        "-m", tiny_model, "--steps", 1, "--from-scratch",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert load_picker(output).training["start"] == "from scratch"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "needs MICROGRAPHS, --labels and --diameter"),
        (("--matcher",), "needs the map"),
        (("--loss", "luck"), "'luck' is no loss; choose one of"),
        (("--labels", "x", "--from-map", "y"), "not both"),
        (("mics/a.mrc", "--labels", "nowhere", "-d", "160"), "nowhere"),
        (("mics/other.mrc", "--labels", "labels", "-d", "160"), "has the name of one of"),
        (("mics/a.mrc", "--labels", "labels", "-d", "16"), "a particle of 16 Å is 2 pixels wide"),
        (("mics/a.mrc", "--labels", "labels", "-d", "160", "-p", "-1"), "pixel size"),
        (("--from-map", "nowhere.mrc"), "nowhere.mrc"),
        (("--from-map", "nowhere.mrc", "--symmetry", "X7"), "not 'X7'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(labelled, monkeypatch, arguments, expected):
    monkeypatch.chdir(labelled)
    result = run("train", *arguments)
    assert result.exit_code == 2
    assert expected in said(result) and "Traceback" not in result.output
    assert not (labelled / "trained.safetensors").exists()


def test_labels_of_another_sampling_are_noticed(labelled):
    far = labelled / "labels" / "a_manualpick.star"
    write_picks_star(far, "a.mrc", PLACES[:, 1] * 4, PLACES[:, 0] * 4, np.zeros(len(PLACES)))
    result = run("train", labelled / "mics", "-l", labelled / "labels", "-d", 160)
    assert result.exit_code == 2
    assert "outside the 220 x 230 pixels; labels must be in pixels of this very file" in said(
        result
    )


@pytest.fixture
def blob_map(tmp_path):
    z, y, x = np.mgrid[:32, :32, :32] - 16.0
    density = np.exp(-(x**2 + (y / 2) ** 2 + (z / 1.5) ** 2) / 18).astype(np.float32)
    path = tmp_path / "blob.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(density)
        mrc.voxel_size = 4.0
    return path


def test_a_map_without_the_symmetry_is_told_in_a_sentence(tmp_path, blob_map):
    z, y, x = np.mgrid[:32, :32, :32] - 16.0
    places = ((0, 0, 0), (9, 0, 0), (0, 9, 4))
    lumps = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 6) for a, b, c in places)
    with mrcfile.open(blob_map, mode="r+") as mrc:
        mrc.set_data(lumps.astype(np.float32))
        mrc.voxel_size = 4.0
    output = tmp_path / "m.safetensors"
    result = run("train", "--from-map", blob_map, "--symmetry", "C5", "--matcher", "-o", output)
    assert result.exit_code == 2 and "does not have the symmetry C5" in said(result)
    assert not output.exists()


def test_the_voxel_size_of_a_map_can_be_given(tmp_path, blob_map):
    with mrcfile.open(blob_map, mode="r+") as mrc:
        mrc.voxel_size = 0.0
    arguments = ("train", "--from-map", blob_map, "--matcher", "-o", tmp_path / "m.safetensors")
    without = run(*arguments)
    assert without.exit_code == 2 and "no voxel size" in said(without)
    given = run(*arguments, "--voxel-size", 4)
    assert given.exit_code == 0, given.output
    assert load_picker(tmp_path / "m.safetensors").training["diameter"] > 40


def test_simulated_micrographs_come_with_their_truth(tmp_path, blob_map):
    arguments = (
        "simulate", blob_map, "-o", tmp_path / "sim", "-n", 2, "-p", 4, "--shape", 200, 220,
        "--particles", 5, "--aggregates", 0, "--view", "0,90", "--device", "cpu",
    )  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "10 particles in 2 micrographs" in said(result)
    first = tmp_path / "sim" / "blob_0000.mrc"
    with mrcfile.open(first) as mrc:
        assert mrc.data.shape == (200, 220) and float(mrc.voxel_size.x) == pytest.approx(4.0)
    assert len(read_coordinates(first.with_suffix(".star"))) == 5
    record = json.loads(first.with_suffix(".json").read_text())
    assert f"SNR {record['measured']['snr']:.3f}" in said(result)
    before = first.stat().st_mtime_ns
    again = run(*arguments)
    assert "there already" in said(again) and first.stat().st_mtime_ns == before


def test_impossible_simulations_are_told_in_a_sentence(tmp_path, blob_map):
    crowd = run("simulate", blob_map, "-o", tmp_path / "s", "--shape", 100, 100, "--particles", 999)
    assert crowd.exit_code == 2 and "found room" in said(crowd)
    view = run("simulate", blob_map, "-o", tmp_path / "s", "--view", "up")
    assert view.exit_code == 2 and "ROT,TILT in degrees" in said(view)
    noise = run("simulate", blob_map, "-o", tmp_path / "s", "--snr", 0.4, 0.1)
    assert noise.exit_code == 2 and "from low to high" in said(noise)
