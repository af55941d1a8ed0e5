import json

import mrcfile
import numpy as np
import pytest
import starfile
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.io.coordinates import WRITERS, read_coordinate_file

UID = "012345678901234567890"


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["convert", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def boxes(tmp_path):
    """EMAN boxes of two micrographs, as crYOLO writes them."""
    folder = tmp_path / "EMAN"
    folder.mkdir()
    (folder / "a.box").write_text("10\t20\t8\t8\t0.5\n30\t40\t8\t8\t0.25\n")
    (folder / "b.box").write_text("50.5\t60\t8\t8\t0.75\n")
    return folder


@pytest.fixture
def scene(tmp_path):
    """Folder with micrograph a, named as cryoSPARC does, and the places of its particles."""
    rng, size, points = np.random.default_rng(0), np.array([300, 340]), np.zeros((0, 2))
    while len(points) < 25:
        place = rng.uniform(20, size - 20)
        if len(points) == 0 or np.hypot(*(points - place).T).min() > 30:
            points = np.vstack([points, place])
    y, x = np.mgrid[: size[0], : size[1]]
    image = rng.normal(size=size)
    for row, column in points:
        image -= np.hypot(y - row, x - column) < 12
    folder = tmp_path / "Micrographs"
    folder.mkdir()
    with mrcfile.new(folder / f"{UID}_a_patch_aligned_doseweighted.mrc") as mrc:
        mrc.set_data(image.astype(np.float32))
        mrc.voxel_size = 1.25
    with mrcfile.new(folder / "c.mrc") as mrc:
        mrc.set_data(np.zeros((9, 9), np.float32))
    return folder, points


def star(path, points):
    rows = "".join(f"{x} {y}\n" for y, x in points)
    path.write_text("data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n" + rows)
    return path


@pytest.mark.parametrize("form", WRITERS)
def test_from_anything_to_anything(tmp_path, boxes, form):
    ending = {"particles": ".star", "topaz": ".txt", "csv": ".csv"}.get(form, "")
    output = tmp_path / f"out{ending}"
    text = run(boxes, "-o", output, "--to", form, "-p", 1.5)
    assert "2 files read as EMAN boxes: 3 coordinates" in text
    assert "corners of boxes of 8 pixels became centres (2 files)" in text
    assert f"3 coordinates of 2 micrographs written to {output}" in text
    back = tmp_path / "back.csv"
    run(output, "-o", back, "--to", "csv")
    table = read_coordinate_file(back).table
    atol = 0.5 if form in ("box", "topaz") else 1e-6
    np.testing.assert_allclose(table["x"], [14, 34, 54.5], atol=atol)
    np.testing.assert_allclose(table["y"], [24, 44, 64], atol=atol)
    assert form == "box" or table["score"].tolist() == [0.5, 0.25, 0.75]


def test_micrographs_are_paired_and_the_coordinates_checked(tmp_path, scene):
    folder, points = scene
    star(tmp_path / "a_autopick.star", points)
    star(tmp_path / "x.star", points)
    files = [tmp_path / "a_autopick.star", tmp_path / "x.star"]
    output = tmp_path / "out.star"
    text = run(*files, "-o", output, "--to", "particles", "--micrographs", folder, "--box", 36)
    assert (
        "1 of 2 micrographs matched; 1 without picks (c.mrc); 1 name of picks matches nothing (x)."
    ) in text
    assert "The coordinates fit the micrograph as they are." in text
    blocks = starfile.read(output)
    assert blocks["optics"]["rlnMicrographPixelSize"].tolist() == [1.25]
    assert blocks["optics"]["rlnImageSize"].tolist() == [36]
    (name,) = set(blocks["particles"]["rlnMicrographName"])
    assert name.endswith(f"{UID}_a_patch_aligned_doseweighted.mrc")
    assert len(blocks["particles"]) == 25


def test_turned_coordinates_are_warned_of_and_not_turned(tmp_path, scene):
    folder, points = scene
    turned = star(tmp_path / "a.star", np.c_[299 - points[:, 0], points[:, 1]])
    output = tmp_path / "o.csv"
    text = run(turned, "-o", output, "--to", "csv", "--micrographs", folder, "--box", 36)
    assert "Warning: " in text and "Read with y counted from the opposite edge" in text
    table = read_coordinate_file(output).table
    np.testing.assert_allclose(table["y"], 299 - points[:, 0], atol=1e-6)
    text = run(turned, "-o", output, "--to", "csv", "--micrographs", folder)
    assert "not checked: give --box" in text and "Warning" not in text


def test_invented_names_are_said(tmp_path, boxes):
    text = run(boxes / "a.box", "-o", tmp_path / "o.csv", "--to", "csv")
    assert "do not tell the endings of micrographs: a.mrc and so on" in text
    given = tmp_path / "o.csv"
    text = run(given, "-o", tmp_path / "out", "--to", "json")
    assert "endings" not in text
    content = json.loads((tmp_path / "out" / "a_info.json").read_text())
    assert content["boxes"][0] == [14.0, 24.0, "manual", 0.5]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{boxes}", "-o", "{tmp}/o", "--to", "relion"], "must be one of star, particles, box"),
        (["{tmp}/none.star", "-o", "{tmp}/o", "--to", "csv"], "none.star: it cannot be opened"),
        (["{tmp}/empty", "-o", "{tmp}/o", "--to", "csv"], "no files with coordinates"),
        (["{boxes}", "{boxes}/a.box", "-o", "{tmp}/o", "--to", "csv"], "both of the micrograph a"),
        (["{boxes}", "-o", "{tmp}/o.star", "--to", "particles"], "--pixel-size"),
        (["{tmp}/a.star", "-o", "{tmp}/o", "--to", "box"], "with --box"),
        (["{boxes}", "-o", "{tmp}/a.star", "--to", "star"], "one micrograph, not 2"),
        (["{boxes}", "-o", "{tmp}", "--to", "csv"], "is a folder"),
        (["{boxes}", "-o", "{tmp}/o", "--to", "box", "--micrographs", "{tmp}/empty"], "holds no"),
        (["{boxes}/b.box", "-o", "{tmp}/o", "--to", "box", "--micrographs", "{mics}"], "as b."),
    ],
)
def test_mistakes_get_one_sentence_and_write_nothing(tmp_path, boxes, scene, arguments, says):
    (tmp_path / "empty").mkdir()
    star(tmp_path / "a.star", [(1.0, 2.0)])
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    places = {"tmp": tmp_path, "boxes": boxes, "mics": scene[0]}
    text = run(*(a.format(**places) for a in arguments), code=2)
    assert says in text and "Traceback" not in text
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
