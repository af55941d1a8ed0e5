import numpy as np
import pytest
from labelling import DIAMETER, PIXEL_SIZE, PLACES, RADIUS, Mouse, open_dock, open_session
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_so3.picking.display import DisplaySettings
from napari_so3.widgets.mark_layers import COLOURS

SQUARE = ((10.0, 10.0), (10.0, 50.0), (50.0, 50.0), (50.0, 10.0))


@pytest.fixture
def desk(viewer, tmp_path, write_mrc, qtbot):
    desk = open_session(viewer, tmp_path, write_mrc)
    qtbot.waitUntil(lambda: desk.name == "m0")
    return desk


@pytest.fixture
def dock(viewer, desk):
    return viewer.window.add_plugin_dock_widget("napari-so3", "Label and train")[1]


@pytest.fixture
def marks(desk):
    return desk.session.marks


def settle():
    """Let the layers be drawn anew, as they are when a tool of napari is done."""
    QApplication.processEvents()


def drawn(dock):
    """Labels in the layer, in the order of the session's."""
    layer = dock.layers.labels
    return [(kind, *at) for kind, at in zip(layer.features["label"], layer.data, strict=True)]


def test_the_layers_carry_what_the_documentation_says(viewer, desk, dock, marks, qtbot):
    for kind, place in zip(COLOURS, PLACES, strict=False):
        marks.mark("m0", kind, [place], 1)
    marks.set_areas("m0", [SQUARE])
    image, areas, picks, labels = viewer.layers
    assert (areas.name, labels.name) == ("excluded areas", "labels")
    assert (image, picks) == (desk.image, desk.picks)
    for layer, kind in ((areas, "excluded areas"), (labels, "labels")):
        assert tuple(layer.scale) == (PIXEL_SIZE, PIXEL_SIZE)
        assert layer.units == image.units
        assert layer.axis_labels == ("y", "x")
        note = layer.metadata["napari-so3"]
        assert note == {
            "kind": kind,
            "session": True,
            "micrograph": picks.metadata["napari-so3"]["micrograph"],
        }
    np.testing.assert_allclose(labels.data, PLACES[:3])
    assert list(labels.features["label"]) == ["positive", "negative", "ignored"]
    assert list(labels.features["label"].cat.categories) == ["positive", "negative", "ignored"]
    assert labels.size[2] == 2 * RADIUS  # as large as what is left alone
    assert len({tuple(colour) for colour in labels.face_color}) == 3
    assert len(set(map(str, labels.symbol))) == 3
    np.testing.assert_allclose(areas.data, [SQUARE])
    desk.session.diameter = 2 * DIAMETER
    assert labels.size[2] == 4 * RADIUS
    desk.set_display(DisplaySettings(bin=2))
    qtbot.waitUntil(lambda: image.scale[0] > PIXEL_SIZE)
    assert tuple(labels.scale) == tuple(areas.scale) == (PIXEL_SIZE, PIXEL_SIZE)


def test_the_selection_and_the_order_stay(viewer, desk, dock, marks, qtbot):
    names = ["m0", "excluded areas", "picks", "labels"]
    assert [layer.name for layer in viewer.layers] == names
    viewer.layers.selection.active = viewer.layers["excluded areas"]
    marks.mark("m0", "positive", PLACES, 1)
    dock.layers.go_to("m2", PLACES[4])
    qtbot.waitUntil(lambda: desk.name == "m2")
    assert viewer.layers.selection.active.name == "excluded areas"
    kinds = ["micrograph", "excluded areas", "picks", "labels", "looked at"]
    assert [layer.metadata["napari-so3"]["kind"] for layer in viewer.layers] == kinds
    viewer.layers.move(3, 0)
    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert [layer.metadata["napari-so3"]["kind"] for layer in viewer.layers] == kinds


def test_each_micrograph_shows_its_own(viewer, desk, dock, marks, qtbot):
    marks.mark("m0", "positive", PLACES[:2], 1)
    marks.mark("m1", "negative", PLACES[5:6], 1)
    marks.set_areas("m1", [SQUARE])
    assert drawn(dock) == [("positive", *place) for place in PLACES[:2]]
    assert len(dock.layers.areas.data) == 0
    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert drawn(dock) == [("negative", *PLACES[5])]
    assert len(dock.layers.areas.data) == 1
    viewer.layers.remove(dock.layers.labels)
    marks.mark("m1", "ignored", PLACES[7:8], 1)
    desk.show("m0")
    qtbot.waitUntil(lambda: desk.name == "m0")
    assert drawn(dock) == [("positive", *place) for place in PLACES[:2]]
    assert len(marks.of("m1").marks) == 2


def test_what_napari_tools_do_to_labels_is_kept_and_can_be_undone(dock, marks, qtbot):
    layer = dock.layers.labels
    dock.panel.buttons["negative"].click()
    layer.add([20.004, 30.0])
    settle()
    assert marks.of("m0").marks == (("negative", 20.0, 30.0),)
    dock.panel.buttons["positive"].click()
    layer.add([60, 70])
    layer.add([90, 10])
    settle()
    assert drawn(dock) == list(marks.of("m0").marks)
    assert [mark.kind for mark in marks.of("m0").marks] == ["negative", "positive", "positive"]
    layer.selected_data = {0, 2}
    layer.remove_selected()
    settle()
    assert marks.of("m0").marks == (("positive", 60.0, 70.0),)
    moved = layer.data.copy()
    moved[0] += 5
    layer.data = moved
    settle()
    assert marks.of("m0").marks == (("positive", 65.0, 75.0),)
    layer.features = {"label": ["ignored"]}
    settle()
    assert marks.of("m0").marks == (("ignored", 65.0, 75.0),)
    for left in (1, 1, 3, 2, 1, 0):
        marks.undo()
        assert len(marks.of("m0").marks) == left
        assert drawn(dock) == list(marks.of("m0").marks)
    assert not marks.can_undo


def test_what_is_no_label_is_not_taken(dock, marks):
    layer = dock.layers.labels
    marks.mark("m0", "positive", PLACES[:2], 1)
    layer.features = {"label": ["positive", "particle"]}
    settle()
    assert drawn(dock) == [("positive", *PLACES[0])]
    marks.undo()
    assert drawn(dock) == [("positive", *place) for place in PLACES[:2]]


def test_what_napari_tools_do_to_areas_is_kept_and_can_be_undone(desk, dock, marks, qtbot):
    layer = dock.layers.areas
    layer.add(np.array([(10, 10), (50, 50)]), shape_type="rectangle")
    layer.add(np.array([(80, 90), (20, 30)]), shape_type="ellipse")
    layer.add(np.array([(60, 60), (90, 90)]), shape_type="line")  # has no inside
    settle()
    square, ellipse = marks.of("m0").areas
    assert set(square) == set(SQUARE)
    away = (np.array(ellipse) - (80, 90)) / (20, 30)
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 1, atol=0.01)
    assert layer.shape_type == ["polygon", "polygon"]
    _, chosen = desk.session.picks_of("m0")
    assert chosen.tolist() == [False, True, True, True] + 5 * [False]
    layer.selected_data = {0}
    layer.remove_selected()
    settle()
    assert marks.of("m0").areas == (ellipse,)
    moved = [layer.data[0] + 3]
    layer.data = moved
    settle()
    assert marks.of("m0").areas != (ellipse,)
    for areas in ((ellipse,), (square, ellipse), (square,), ()):
        marks.undo()
        assert set(marks.of("m0").areas) == set(areas)
        assert len(layer.data) == len(areas)


def test_a_polygon_is_drawn_with_the_mouse_while_keys_label(viewer, desk, qtbot, marks):
    dock = open_dock(viewer, qtbot)
    mouse = Mouse(viewer)
    dock.panel.clicks.click()
    viewer.layers.selection.active = dock.layers.areas
    dock.layers.areas.mode = "add_polygon"
    for corner in SQUARE[:2]:
        mouse.click(corner)
    mouse.move((100, 100))
    mouse.key(Qt.Key.Key_X)  # in napari, the tool that takes corners away
    for corner in SQUARE[2:]:
        mouse.click(corner)
    mouse.key(Qt.Key.Key_Escape)
    settle()
    ((*corners,),) = marks.of("m0").areas
    np.testing.assert_allclose(corners, SQUARE, atol=1.0)
    (mark,) = marks.of("m0").marks
    np.testing.assert_allclose(mark[1:], (100, 100), atol=1.0)
    assert dock.layers.areas.mode == "add_polygon"
    for here, there in (("m0", "m1"), ("m1", "m2")):
        before = marks.of(here)
        for corner in ((90, 20), (90, 60), (120, 60)):
            mouse.click(corner)
        desk.show(there)  # a polygon that is half drawn belongs to no micrograph
        qtbot.waitUntil(lambda there=there: desk.name == there)
        settle()
        assert marks.of(here) == before
        assert marks.of(there).areas == ()
        assert len(dock.layers.areas.data) == 0
    for corner in SQUARE[:3]:
        mouse.click(corner)
    mouse.key(Qt.Key.Key_Escape)
    settle()
    ((*corners,),) = marks.of("m2").areas
    np.testing.assert_allclose(corners, SQUARE[:3], atol=1.0)
    viewer.layers.selection.active = dock.layers.labels
    dock.layers.labels.mode = "add"
    mouse.click((60, 60))
    assert len(marks.of("m2").marks) == 1  # by napari's tool alone
    dock.layers.labels.mode = "select"
    mouse.click(marks.of("m2").marks[0][1:])
    mouse.move((20, 20))
    mouse.key(Qt.Key.Key_Delete)
    assert marks.of("m2").marks == ()


def test_the_diameter_says_which_pick_a_label_is_about(desk, marks, qtbot):
    marks.mark("m0", "negative", [PLACES[0] + (0.6 * RADIUS, 0)], near=1)
    marks.mark("m0", "negative", [PLACES[1]], near=1)
    qtbot.waitUntil(lambda: not desk.picks.shown[1])
    assert desk.picks.shown[0]  # more than a quarter of a diameter away
    desk.session.diameter = 1.5 * DIAMETER
    qtbot.waitUntil(lambda: not desk.picks.shown[0])
