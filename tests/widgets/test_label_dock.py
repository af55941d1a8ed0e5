import numpy as np
import pytest
from labelling import CTRL, PIXEL_SIZE, PLACES, RADIUS, SHIFT, SHOWN, Mouse, open_dock, open_session
from napari.settings import get_plugin_settings
from npe2 import PluginManifest
from qtpy.QtCore import Qt

from napari_so3.widgets.label_panel import DEFAULT_KEYS, label_keys

KEYS = {"positive": Qt.Key.Key_X, "negative": Qt.Key.Key_Z, "ignored": Qt.Key.Key_C}
TITLE = "Label and train"


@pytest.fixture
def desk(viewer, tmp_path, write_mrc, qtbot):
    desk = open_session(viewer, tmp_path, write_mrc)
    qtbot.waitUntil(lambda: desk.name == "m0")
    return desk


@pytest.fixture
def dock(viewer, desk, qtbot):
    return open_dock(viewer, qtbot)


@pytest.fixture
def mouse(viewer, dock):
    return Mouse(viewer)


@pytest.fixture
def labels(desk):
    """Give the labels of a micrograph, in the order of their places."""

    def labels(name="m0"):
        return sorted((round(m.y), round(m.x), m.kind) for m in desk.session.marks.of(name).marks)

    return labels


def click(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_click_labels_the_pick_there(dock, mouse, labels):
    mouse.click((30, 30))
    assert labels() == []  # before one asks for it
    dock.panel.clicks.click()
    mouse.click(SHOWN[0] + (0.3 * RADIUS, 0.3 * RADIUS))
    mouse.click(SHOWN[1] + (0.7 * RADIUS, 0))  # too far from the pick
    mouse.click(PLACES[8])  # a candidate that is not shown attracts nothing
    mouse.click(PLACES[8] + (3.0, 0))
    assert labels() == [(30, 30, "positive"), (37, 75, "positive")]
    dock.panel.clicks.click()
    mouse.click((60, 60))
    assert len(labels()) == 2


def test_a_second_click_takes_the_label_away_and_another_kind_replaces_it(
    dock, mouse, labels, qtbot
):
    dock.panel.clicks.click()
    mouse.click((60, 60))
    click(dock.panel.buttons["negative"], qtbot)
    mouse.click((62, 61))
    assert labels() == [(60, 60, "negative")]
    mouse.click((59, 60))
    assert labels() == []
    mouse.click((100, 100))
    click(dock.panel.buttons["erase"], qtbot)
    mouse.click((40, 40))
    mouse.click((101, 101))
    assert labels() == []


def test_the_mouse_still_moves_the_picture_but_two_quick_clicks_do_not_zoom(
    viewer, dock, mouse, labels, qtbot
):
    dock.panel.clicks.click()
    zoom, centre = viewer.scene.camera.zoom, viewer.scene.camera.center
    qtbot.mouseDClick(mouse.canvas, Qt.MouseButton.LeftButton, pos=mouse.at((60, 60)))
    assert viewer.scene.camera.zoom == zoom
    mouse.drag([(100, 100), (101, 100)])  # a hand is not still
    assert viewer.scene.camera.center == centre
    assert (100, 100, "positive") in labels()
    before = labels()
    mouse.drag([(60, 60), (65, 65), (80, 80)])
    assert np.abs(np.subtract(viewer.scene.camera.center, centre)).max() > 5 * PIXEL_SIZE
    assert labels() == before
    dock.panel.clicks.click()
    qtbot.mouseDClick(mouse.canvas, Qt.MouseButton.LeftButton, pos=mouse.at((60, 60)))
    assert viewer.scene.camera.zoom == 2 * zoom


def test_there_are_no_labels_outside_of_the_micrograph(viewer, dock, mouse, labels):
    dock.panel.clicks.click()
    viewer.scene.camera.zoom /= 2
    mouse.click((-5, 60))
    mouse.click((60, 185))
    assert labels() == []
    mouse.click((1, 1))
    assert labels() == [(1, 1, "positive")]


def test_keys_label_what_is_under_the_mouse_whatever_layer_is_selected(
    viewer, desk, dock, mouse, labels
):
    layers = [*viewer.layers, None]
    assert len(layers) == 5
    for layer in layers:
        viewer.layers.selection.active = layer
        mode = layer and layer.mode
        for kind, place in zip(KEYS, SHOWN, strict=False):
            mouse.move(place + 2)
            mouse.key(KEYS[kind])
        assert sorted(kind for *_, kind in labels()) == sorted(KEYS)
        mouse.move(SHOWN[1])
        mouse.key(KEYS["positive"])
        mouse.key(KEYS["positive"])  # says it again
        assert (30, 75, "positive") in labels()
        mouse.key(Qt.Key.Key_Delete)
        mouse.key(Qt.Key.Key_Backspace)  # nothing is left there
        assert labels() == [(30, 30, "positive"), (30, 120, "ignored")]
        assert layer is None or layer.mode == mode
        assert viewer.layers.selection.active == layer
        desk.session.marks.erase("m0", PLACES, 1)


def test_elsewhere_keys_choose_the_kind_and_text_fields_keep_theirs(
    viewer, dock, mouse, labels, qtbot
):
    viewer.mouse_over_canvas = False
    qtbot.keyClick(dock.panel.buttons["positive"], KEYS["ignored"])
    assert dock.panel.buttons["ignored"].isChecked()
    assert not dock.panel.buttons["positive"].isChecked()
    mouse.move((60, 60))
    dock.tabs.setCurrentIndex(2)
    dock.train.name.clear()
    qtbot.keyClicks(dock.train.name, "xzc")
    assert dock.train.name.text() == "xzc"
    qtbot.keyClick(dock.train.name, Qt.Key.Key_Backspace)
    assert dock.train.name.text() == "xz"
    assert labels() == []


def test_undo_and_redo_go_to_the_micrograph(viewer, desk, dock, mouse, labels, qtbot):
    mouse.move((60, 60))
    mouse.key(KEYS["positive"])
    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    mouse.move((60, 60))
    mouse.key(KEYS["negative"])
    assert labels("m1") == [(60, 60, "negative")]
    mouse.key(Qt.Key.Key_Z, CTRL)
    assert (labels("m0"), labels("m1")) == ([(60, 60, "positive")], [])
    assert desk.name == "m1"
    mouse.key(Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(lambda: desk.name == "m0")
    assert labels("m0") == []
    assert not dock.panel.undo.isEnabled()
    mouse.key(Qt.Key.Key_Z, CTRL | SHIFT)
    assert labels("m0") == [(60, 60, "positive")]
    mouse.key(Qt.Key.Key_Y, CTRL)
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert labels("m1") == [(60, 60, "negative")]
    assert viewer.dims.ndisplay == 2  # Ctrl+Y is napari's for 3D
    click(dock.panel.undo, qtbot)
    assert labels("m1") == []


AROUND = [(15, 15), (15, 90), (50, 90), (95, 45), (95, 15), (20, 12)]  # picks 0, 1 and 3


def test_the_lasso_labels_the_shown_picks_inside(viewer, desk, dock, mouse, labels, qtbot):
    dock.panel.clicks.click()
    before = viewer.scene.camera.center
    selected, n = viewer.layers.selection.active, len(viewer.layers)
    mouse.drag(AROUND, SHIFT)
    inside = [(30, 30, "positive"), (30, 75, "positive"), (75, 30, "positive")]
    assert labels() == inside
    assert viewer.scene.camera.center == before
    assert viewer.layers.selection.active == selected
    assert len(viewer.layers) == n
    click(dock.panel.buttons["negative"], qtbot)
    mouse.drag([(55, 10), (55, 170), (140, 170), (140, 10)], SHIFT)  # of many, one is shown
    assert labels()[2:] == [(75, 30, "negative")]
    desk.session.marks.undo()
    assert labels() == inside
    desk.session.marks.mark("m0", "ignored", [(40, 60)], 1)  # where no pick is
    mouse.drag(AROUND[:4], SHIFT | CTRL)
    assert labels() == [(75, 30, "positive")]
    click(dock.panel.buttons["erase"], qtbot)
    mouse.drag(AROUND, SHIFT)
    assert labels() == []
    mouse.drag([(140, 140), (140, 150), (145, 150)], SHIFT)
    assert dock.panel.status.text() == "There is no label inside the line."


def test_all_shown_picks_are_accepted_but_for_those_with_a_label(desk, dock, labels, qtbot):
    panel = dock.panel
    assert panel.accept.text() == "Accept 4 shown picks as positive"
    desk.session.marks.mark("m0", "positive", [SHOWN[1] + 1], 5)
    assert panel.reject.text() == "Reject 3 shown picks as negative"
    click(panel.reject, qtbot)
    kinds = [kind for *_, kind in labels()]
    assert sorted(kinds) == ["negative", "negative", "negative", "positive"]
    assert not panel.accept.isEnabled()
    click(panel.undo, qtbot)
    assert len(labels()) == 1
    desk.session.threshold = -2.5
    qtbot.waitUntil(lambda: panel.accept.text() == "Accept 6 shown picks as positive")
    click(panel.accept, qtbot)
    assert len(labels()) == 7


def test_numbers_and_completeness_are_of_this_micrograph(desk, dock, mouse, qtbot):
    def numbers(kind):
        return tuple(label.text() for label in dock.panel.counts[kind])

    desk.session.marks.mark("m1", "positive", PLACES, 1)
    desk.session.marks.mark("m1", "ignored", PLACES[:2], 1)
    mouse.move((60, 60))
    mouse.key(KEYS["positive"])
    assert numbers("positive") == ("1", "8")
    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert numbers("positive") == ("7", "8")
    assert numbers("ignored") == ("2", "2")
    assert numbers("negative") == ("0", "0")
    click(dock.panel.complete, qtbot)
    assert desk.session.marks.of("m1").complete
    desk.show("m0")
    qtbot.waitUntil(lambda: desk.name == "m0")
    assert not dock.panel.complete.isChecked()
    assert not desk.session.marks.of("m0").complete


def test_the_keys_are_those_of_the_preferences(viewer, desk, labels, qtbot):
    page = get_plugin_settings("napari-so3").labelling
    page.key_positive, page.key_negative = "1", "Q"
    dock = open_dock(viewer, qtbot)
    mouse = Mouse(viewer)
    assert dock.panel.buttons["negative"].text().split() == ["Negative", "q"]
    mouse.move((60, 60))
    mouse.key(KEYS["positive"])
    assert labels() == []
    mouse.key(Qt.Key.Key_1)
    mouse.move((100, 100))
    mouse.key(Qt.Key.Key_Q)
    assert labels() == [(60, 60, "positive"), (100, 100, "negative")]


@pytest.mark.parametrize("keys", [("x", "x"), ("x", "Enter"), ("", "z"), ("x", "ä")])
def test_keys_that_cannot_be_used_are_told(plugin_settings, npe2pm, keys):
    npe2pm.register(PluginManifest.from_distribution("napari-so3"))
    page = get_plugin_settings("napari-so3").labelling
    assert label_keys() == (DEFAULT_KEYS, "")
    page.key_positive, page.key_negative = keys
    found, problem = label_keys()
    assert found == DEFAULT_KEYS
    assert "three different letters" in problem


def test_a_closed_dock_leaves_napari_as_it_was(viewer, desk, dock, mouse, labels, qtbot):
    dock.panel.clicks.click()
    mouse.click((60, 60))
    click(dock.panel.proposals.button, qtbot)
    qtbot.waitUntil(lambda: dock.panel.proposals.active)
    assert viewer.keymap
    viewer.window.remove_dock_widget(dock)
    assert not any(owner.keymap for owner in (viewer, *viewer.layers))
    mouse.click((90, 90))
    assert list(viewer.layers) == [desk.image, desk.picks]
    before = labels()
    picks = viewer.layers.selection.active = desk.picks
    picks.mode = "select"
    mouse.click((100, 100))
    mouse.key(Qt.Key.Key_X)
    mouse.key(Qt.Key.Key_Z)  # napari's: pan and zoom
    assert picks.mode == "pan_zoom"
    mouse.key(Qt.Key.Key_Z, CTRL)
    assert labels() == before == [(60, 60, "positive")]
    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert len(viewer.layers) == 2
    desk.session.marks.mark("m1", "positive", PLACES, 1)
    _, again = viewer.window.add_plugin_dock_widget("napari-so3", TITLE)
    assert again is not dock
    assert len(again.layers.labels.data) == 9


def test_without_a_session_there_is_nothing_to_label(viewer, qtbot):
    viewer.add_image(np.zeros((50, 60)))
    dock = open_dock(viewer, qtbot)
    dock.panel.clicks.click()
    mouse = Mouse(viewer)
    mouse.click((5, 5))
    mouse.key(Qt.Key.Key_X)
    mouse.key(Qt.Key.Key_Delete)
    mouse.key(Qt.Key.Key_Z, CTRL)
    assert dock.panel.status.text() == "There is nothing to undo."
    assert not dock.panel.accept.isEnabled()
    assert len(viewer.layers) == 1
