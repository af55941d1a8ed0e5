"""Writing: what is written is read again, within what the format can hold."""

import json

import numpy as np
import pandas as pd
import pytest
import starfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_so3.io.coordinates import (
    BOXED,
    EACH,
    WRITERS,
    CoordinateError,
    read_coordinate_file,
    write_coordinates,
)
from napari_so3.io.names import bare_name

EXACT = {"json": 0.0, "cbox": 1e-9, "csv": 0.0, "star": 1e-6, "particles": 1e-6}
WHOLE = ("box", "topaz")  # pixels
ENDING = {"particles": ".star", "topaz": ".txt", "csv": ".csv"}

number = st.floats(-50, 20000, allow_nan=False)
score = st.one_of(st.floats(-50, 50), st.just(float("nan")))
tables = st.lists(st.tuples(number, number, score), max_size=6).map(
    lambda rows: pd.DataFrame(rows, columns=["x", "y", "score"], dtype=np.float64)
)
stems = st.text(alphabet="abAB01._-", min_size=1, max_size=8).filter(
    lambda text: bare_name(text) == text and text.strip(".") and not text.startswith(("_", "."))
)


def write(folder, form, tables, box=180, pixel_size=1.5):
    output = folder / (f"all{ENDING[form]}" if form in ENDING else "")
    return write_coordinates(output, form, tables, box=box, pixel_size=pixel_size)


def read(form, files):
    """Tables by the bare name of the micrograph."""
    found = {}
    for file in files:
        if file.name == "autopick.star":
            continue
        table = read_coordinate_file(file).table
        if form in EACH:
            found[file.name.removesuffix(EACH[form])] = table
        else:
            for name, part in table.groupby(table["micrograph"].map(bare_name)):
                found[name] = part
    return found


@pytest.mark.parametrize("form", WRITERS)
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(stems, tables, max_size=3), st.integers(1, 2000).map(lambda n: 2 * n))
def test_what_is_written_is_read_again(tmp_path_factory, form, written, box):
    folder = tmp_path_factory.mktemp("out")
    files = write(folder, form, {f"mics/{name}.mrc": t for name, t in written.items()}, box)
    assert all(file.is_file() for file in files)
    again = read(form, files)
    full = {name for name, table in written.items() if form in EACH or len(table)}
    assert again.keys() == full
    for name in full:
        table, other = written[name], again[name]
        tolerance = 0.5 if form in WHOLE else EXACT[form]
        np.testing.assert_allclose(
            other[["x", "y"]], table[["x", "y"]], rtol=1e-12, atol=tolerance + 1e-9
        )
        if form in WHOLE:
            assert (other[["x", "y"]] == other[["x", "y"]].round()).all(axis=None)
        if form in ("box", "cbox"):
            assert (other["box"] == box).all()
        if form != "box" and "score" in other:
            np.testing.assert_allclose(
                other["score"], table["score"], rtol=1e-12, atol=EXACT.get(form, 0.0)
            )
        elif form != "box":
            assert table["score"].isna().all()


def example():
    return {
        "Raw/a.mrc": pd.DataFrame({"x": [100.4, 7], "y": [200.6, 8], "score": [1.5, np.nan]}),
        "Raw/b.mrc": pd.DataFrame({"x": [50.5], "y": [60.5]}),
    }


def test_boxes_are_whole_corners_of_even_boxes(tmp_path):
    write(tmp_path, "box", example(), box=7)
    assert (tmp_path / "a.box").read_text() == "96\t197\t8\t8\n3\t4\t8\t8\n"
    assert (tmp_path / "b.box").read_text() == "47\t57\t8\t8\n"


def test_topaz_has_whole_pixels_and_names_without_ending(tmp_path):
    (path,) = write(tmp_path, "topaz", example())
    assert path.read_text() == (
        "image_name\tx_coord\ty_coord\tscore\na\t100\t201\t1.5\na\t7\t8\t\nb\t51\t61\t\n"
    )
    (path,) = write(tmp_path, "topaz", {"b.mrc": example()["Raw/b.mrc"]})
    assert path.read_text() == "image_name\tx_coord\ty_coord\nb\t51\t61\n"


def test_csv(tmp_path):
    (path,) = write(tmp_path, "csv", example())
    assert path.read_text().splitlines()[:2] == [
        "x,y,score,micrograph",
        "100.4,200.6,1.5,Raw/a.mrc",
    ]


def test_particles_are_of_relion_5(tmp_path):
    (path,) = write(tmp_path, "particles", example(), pixel_size=0.885)
    blocks = starfile.read(path, always_dict=True)
    assert list(blocks) == ["optics", "particles"]
    optics, particles = blocks["optics"].iloc[0], blocks["particles"]
    assert optics["rlnMicrographPixelSize"] == optics["rlnImagePixelSize"] == 0.885
    assert optics["rlnImageSize"] == 180 and optics["rlnOpticsGroup"] == 1
    assert particles["rlnMicrographName"].tolist() == ["Raw/a.mrc", "Raw/a.mrc", "Raw/b.mrc"]
    assert particles["rlnAutopickFigureOfMerit"].tolist() == [1.5, -999, -999]
    assert set(particles["rlnOpticsGroup"]) == {1}


def test_particles_without_any_score_have_no_figure_of_merit(tmp_path):
    (path,) = write(tmp_path, "particles", {"b.mrc": example()["Raw/b.mrc"]})
    assert "FigureOfMerit" not in path.read_text()


def test_star_files_come_with_a_list_for_relion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = write_coordinates(tmp_path / "Pick" / "job1", "star", example(), box=2, pixel_size=None)
    assert [f.name for f in files] == ["a_autopick.star", "b_autopick.star", "autopick.star"]
    listed = starfile.read(files[-1])
    assert listed["rlnMicrographName"].tolist() == ["Raw/a.mrc", "Raw/b.mrc"]
    assert listed["rlnMicrographCoordinates"][0] == "Pick/job1/a_autopick.star"
    table = read_coordinate_file(files[-1]).table
    assert table["x"].tolist() == [100.4, 7, 50.5]


def test_info_files_of_eman_keep_what_else_they_hold(tmp_path):
    path = tmp_path / "a_info.json"
    path.write_text('{"ctf": [1, 2], "boxes": [[0, 0, "manual"]], "quality": 5}')
    write(tmp_path, "json", example())
    content = json.loads(path.read_text())
    assert content["ctf"] == [1, 2] and content["quality"] == 5
    assert content["boxes"] == [[100.4, 200.6, "manual", 1.5], [7.0, 8.0, "manual"]]
    path.write_text("[1]")
    with pytest.raises(CoordinateError, match=r"^a_info\.json: .*no info file"):
        write(tmp_path, "json", example())
    assert path.read_text() == "[1]"


@pytest.mark.parametrize("form", EACH)
def test_the_file_of_a_single_micrograph(tmp_path, form):
    one = {"a.mrc": example()["Raw/a.mrc"]}
    path = tmp_path / f"mine{EACH[form]}"
    assert write_coordinates(path, form, one, box=4, pixel_size=None) == [path]
    assert path.is_file() and len(read_coordinate_file(path).table) == 2
    with pytest.raises(CoordinateError, match="one micrograph, not 2; give a folder"):
        write_coordinates(path, form, example(), box=4, pixel_size=None)


def test_only_boxed_formats_depend_on_the_box(tmp_path):
    for form in WRITERS:
        texts = []
        for box in (20, 40):
            folder = tmp_path / form / str(box)
            folder.mkdir(parents=True)
            files = [f for f in write(folder, form, example(), box) if f.name != "autopick.star"]
            texts.append(["\n".join(f.read_text().splitlines()[1:]) for f in files])
        assert (texts[0] != texts[1]) is (form in BOXED)


@pytest.mark.parametrize(
    ("form", "change", "words"),
    [
        ("mrc", {}, "none of the formats: star, particles"),
        ("box", {"box": 0}, "box of 0 pixels"),
        ("particles", {"pixel_size": None}, "needs the pixel size"),
        ("particles", {"pixel_size": 0.0}, "needs the pixel size"),
        ("csv", {"tables": {"a.mrc": pd.DataFrame({"x": [np.nan], "y": [1]})}}, "not finite"),
        ("box", {"tables": dict.fromkeys(("x/a.mrc", "y/a.tif"), pd.DataFrame())}, "same name"),
        ("star", {"tables": {'a"b.mrc': pd.DataFrame({"x": [1], "y": [1]})}}, "cannot hold"),
        ("topaz", {"tables": {"a\tb.mrc": pd.DataFrame({"x": [1], "y": [1]})}}, "cannot hold"),
        ("csv", {"output": "."}, "this is a folder"),
        ("csv", {"output": "missing/a.csv"}, "cannot be written"),
        ("box", {"output": "file.txt"}, "cannot be written"),
    ],
)
def test_what_cannot_be_written(tmp_path, form, change, words):
    (tmp_path / "file.txt").write_text("mine")
    change = {"tables": example(), "box": 180, "pixel_size": 1.5, "output": "out"} | change
    tables = {
        name: table if len(table) else pd.DataFrame({"x": [1.0], "y": [1.0]})
        for name, table in change["tables"].items()
    }
    output = tmp_path / change["output"]
    with pytest.raises(CoordinateError, match=words):
        write_coordinates(output, form, tables, box=change["box"], pixel_size=change["pixel_size"])
    assert (tmp_path / "file.txt").read_text() == "mine"
    assert not [f for f in tmp_path.rglob(".*") if f.is_file()]
