import json

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_so3.io.coordinates import read_coordinate_file
from napari_so3.widgets.coordinate_reader import get_reader, read

STAR = "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n10 20\n30 40.5\n"
BOXES = "10 20 30 30 0.5\n30 40.5 30 30 0.25\n"
PARTICLES = (
    "data_particles\n\nloop_\n_rlnMicrographName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
    "x/other.mrc 1 2\nx/field_01.mrc 10 20\nx/other.mrc 3 4\nx/third.mrc 3 4\nx/other.mrc 5 6\n"
)


@pytest.fixture
def messages():
    """Severity and text of what napari tells the user."""
    before = len(notification_manager.records)
    return lambda: [
        (str(note.severity), note.message) for note in notification_manager.records[before:]
    ]


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_coordinates_lie_on_their_open_micrograph(viewer, micrograph, write, messages):
    (image,) = viewer.open(str(micrograph), plugin="napari-so3")
    viewer.open(write("field_01_autopick.star", STAR), plugin="napari-so3")
    layer = viewer.layers[-1]
    np.testing.assert_array_equal(layer.data, [[20, 10], [40.5, 30]])
    assert layer.name == "field_01 coordinates"
    assert tuple(layer.scale) == (5.0, 5.0) and layer.units == image.units
    np.testing.assert_array_equal(layer.size, 20)  # the preferences say 100 Å
    note = layer.metadata["napari-so3"]
    assert note["kind"] == "coordinates" and note["micrograph"] == str(micrograph)
    assert note["format"] == "RELION STAR" and note["path"].endswith("field_01_autopick.star")
    assert messages() == []


def test_boxes_give_the_size_and_the_scores(viewer, micrograph, write, messages):
    viewer.open(str(micrograph), plugin="napari-so3")
    viewer.open(write("field_01.box", BOXES), plugin="napari-so3")
    layer = viewer.layers[-1]
    np.testing.assert_array_equal(layer.data, [[35, 25], [55.5, 45]])
    np.testing.assert_array_equal(layer.size, 20)
    assert layer.features["score"].tolist() == [0.5, 0.25]
    assert json.loads(json.dumps(layer.metadata["napari-so3"]))["box"] == 30
    assert messages() == [("info", "field_01.box: corners of boxes of 30 pixels became centres.")]


def test_without_its_micrograph_it_lies_in_pixels(viewer, write):
    viewer.open(write("z.box", BOXES), plugin="napari-so3")
    (layer,) = viewer.layers
    assert tuple(layer.scale) == (1, 1) and layer.name == "z coordinates"
    assert layer.metadata["napari-so3"]["micrograph"] == "z"


def test_of_many_micrographs_the_open_one_is_shown(viewer, micrograph, write, messages):
    path = write("particles.star", PARTICLES)
    viewer.open(path, plugin="napari-so3")
    (layer,) = viewer.layers
    assert layer.name == "other coordinates" and len(layer.data) == 3
    ((severity, text),) = messages()
    assert severity == "warning" and "of 3 micrographs, other with most" in text
    viewer.layers.clear()
    viewer.open(str(micrograph), plugin="napari-so3")
    viewer.open(path, plugin="napari-so3")
    assert len(viewer.layers) == 2
    np.testing.assert_array_equal(viewer.layers[-1].data, [[20, 10]])
    assert messages()[1:] == [
        ("info", "particles.star: coordinates of 2 other micrographs are not shown.")
    ]


def test_coordinates_of_another_micrograph_are_not_laid_on_this_one(
    viewer, micrograph, write, messages
):
    viewer.open(str(micrograph), plugin="napari-so3")
    viewer.open(write("field_02.star", STAR), plugin="napari-so3")
    assert tuple(viewer.layers[-1].scale) == (1, 1)
    assert messages()[0] == (
        "warning",
        "field_02.star: no open micrograph is called field_02, so the coordinates lie in pixels.",
    )


def test_every_open_micrograph_gets_its_own(viewer, write_mrc, write):
    for name in ("field_01.mrc", "other_DW.mrc"):
        path = write_mrc(name, np.zeros((50, 60), np.float32), 2.0)
        viewer.open(str(path), plugin="napari-so3")
    viewer.open(write("particles.star", PARTICLES), plugin="napari-so3")
    assert {layer.name: len(layer.data) for layer in viewer.layers[2:]} == {
        "field_01 coordinates": 1,
        "other_DW coordinates": 3,
    }


def test_a_reading_that_fits_better_is_said(viewer, write_mrc, write, messages, qtbot):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :240]
    points = np.stack(np.meshgrid([20, 45, 85, 130], [25, 70, 130, 190, 215]), -1).reshape(-1, 2)
    image = rng.normal(size=(200, 240))
    for row, column in points:
        image -= 2 * (np.hypot(y - row, x - column) < 10)
    path = write_mrc("m.mrc", image.astype(np.float32), 5.0)
    viewer.open(str(path), plugin="napari-so3")
    rows = "".join(f"{c},{199 - r}\n" for r, c in points)
    viewer.open(write("m.csv", "x,y\n" + rows), plugin="napari-so3")
    qtbot.waitUntil(lambda: bool(messages()))  # the picture appears at once
    ((severity, text),) = messages()
    assert severity == "warning"
    assert text.startswith("m.csv: Read with y counted from the opposite edge")
    np.testing.assert_array_equal(viewer.layers[-1].data[:, 0], 199 - points[:, 0])


def test_what_cannot_be_read_is_told_in_one_sentence(viewer, write, messages):
    for name, text in (("bad.box", "1 2 3 x\n"), ("job.star", "data_job\n\n_rlnA b\n")):
        assert viewer.open(write(name, text), plugin="napari-so3") == []
        severity, message = messages()[-1]
        assert severity == "error" and message.startswith(f"{name}: ")


def test_an_empty_file_is_an_empty_layer(viewer, micrograph, write):
    viewer.open(write("a.box", ""), plugin="napari-so3")
    empty = STAR.replace("_rlnCoordinateX #1", "_rlnMicrographName\n_rlnCoordinateX")
    viewer.open(write("b.star", empty.partition("10 20")[0]), plugin="napari-so3")
    viewer.layers.clear()
    viewer.open(str(micrograph), plugin="napari-so3")
    viewer.open(write("field_01.box", ""), plugin="napari-so3")
    assert viewer.layers[-1].data.shape == (0, 2)


@pytest.mark.parametrize(
    ("name", "text", "ours"),
    [
        ("a.star", "", True),
        ("a.cs", "", True),
        ("a.cbox", "", True),
        ("a.csv", "x,y\n1,2\n", True),
        ("a.csv", "x,y\n1,b\n", True),  # the reader says what is wrong
        ("a.csv", "index,axis-0,axis-1\n0,1,2\n", False),  # napari's own
        ("a.csv", "name,price\na,1\n", False),
        ("a.json", '{"boxes": [[1, 2, "manual"]]}', True),
        ("a.json", '{"format": "napari-so3 labels 1"}', False),
        ("a.TXT", "image_name\tx_coord\ty_coord\na\t1\t2\n", True),
        ("notes.txt", "remember the milk\n", False),
        ("a.mrc", "", False),
    ],
)
def test_files_are_told_by_ending_and_content(write, name, text, ours):
    path = write(name, text)
    assert (get_reader(path) is not None) is ours
    assert get_reader([path, path]) is None


@pytest.mark.parametrize("ending", [".star", ".box", ".cbox", ".json", ".txt", ".tab", ".csv"])
def test_what_napari_saves_is_read_again(viewer, tmp_path, ending):
    layer = viewer.add_points(
        [[20.25, 10.5], [30, 40], [5, 6]], name="m", size=20, shown=[True, True, False]
    )
    layer.features = {"score": [1.5, -2.0, 0.0]}
    path = tmp_path / f"m{ending}"
    assert layer.save(str(path), plugin="napari-so3") == [str(path)]
    file = read_coordinate_file(path)
    whole = ending in (".box", ".txt", ".tab")
    np.testing.assert_allclose(
        file.table[["y", "x"]], [[20.25, 10.5], [30, 40]], atol=0.5 if whole else 1e-6
    )
    assert ending == ".box" or file.table["score"].tolist() == [1.5, -2.0]
    if ending in (".box", ".cbox"):
        assert file.table["box"].tolist() == [30, 30]
    ((data, attributes, kind),) = read(str(path))
    assert kind == "points" and len(data) == 2 and attributes["name"] == "m coordinates"


def test_a_layer_is_saved_with_the_box_that_it_came_with(viewer, write, tmp_path):
    viewer.open(write("z.box", BOXES), plugin="napari-so3")
    path = tmp_path / "again.box"
    assert viewer.layers[0].save(str(path), plugin="napari-so3") == [str(path)]
    assert path.read_text().split() == ["10", "20", "30", "30", "30", "41", "30", "30"]
