import numpy as np
import pytest
from labelling import (
    CTRL,
    PIXEL_SIZE,
    PLACES,
    SHIFT,
    SHOWN,
    Mouse,
    open_dock,
)
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_so3.insight.evidence import evidence_at
from napari_so3.widgets.layers import KEY, find_layer

TITLE = "Rotations and score maps"
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(viewer, desk, qtbot):
    return open_dock(viewer, qtbot, TITLE)


@pytest.fixture
def look(dock, qtbot):
    """Press "Look", and wait until there are maps."""

    def look():
        qtbot.mouseClick(dock.maps.look.button, LEFT)
        qtbot.waitUntil(lambda: dock.seeing.maps is not None, timeout=20_000)
        QTest.qWait(100)  # the slider takes room from the canvas
        return dock.seeing.maps

    return look


@pytest.fixture
def show(desk, qtbot):
    """Show a micrograph."""

    def show(name):
        desk.show(name)
        qtbot.waitUntil(lambda: desk.name == name)

    return show


def stack_of(viewer):
    return find_layer(viewer, "rotations")


def draw(dock, picture):
    dock.maps.picture.setCurrentIndex(dock.maps.picture.findData(picture))
    QTest.qWait(100)


def sort(dock, order):
    dock.maps.order.setCurrentIndex(dock.maps.order.findData(order))


def all_show(dock, viewer, rotation):
    """Whether everything shows a rotation."""
    layer, (view, psi) = stack_of(viewer), divmod(rotation, 4)
    step = viewer.dims.current_step[0]
    name = dock.seeing.maps.rotations.name(rotation)
    assert np.array_equal(layer.data[step], dock.seeing.maps.stack[rotation])
    assert [int(a[:-1]) for a in layer.axis_labels[0].split(",")] == [
        round(float(a)) for a in dock.seeing.maps.rotations.angles[rotation]
    ]
    assert viewer.dims.axis_labels[0] == layer.axis_labels[0]
    return (
        (dock.maps.globe.view, dock.maps.dial.index, dock.seeing.rotation) == (view, psi, rotation)
        and name in dock.maps.name.text()
        and dock.maps.layers.layer is layer
    )


def test_look_puts_the_maps_of_all_rotations_over_the_micrograph(viewer, desk, dock, look):
    before = list(viewer.layers)
    viewer.layers.selection.active = desk.picks
    centre = viewer.scene.camera.center
    maps = look()
    layer = stack_of(viewer)
    assert [*viewer.layers] == [before[0], layer, *before[1:]]
    assert viewer.layers.selection == {desk.picks}
    assert viewer.dims.ndim == 3 and layer.data.shape[0] == 16
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre[-2:], atol=2 * PIXEL_SIZE)
    np.testing.assert_allclose(layer.scale[1:], np.multiply(maps.scale, PIXEL_SIZE))
    assert layer.units[1:] == desk.image.units and not np.any(layer.translate)
    strongest = np.asarray(maps.stack[:]).max(axis=(1, 2)).argmax()
    assert all_show(dock, viewer, int(strongest))


def test_slider_globe_dial_and_bars_go_together(viewer, desk, dock, look, qtbot):
    maps = look()
    order = stack_of(viewer).data.order
    for step in (3, 11):
        viewer.dims.set_current_step(0, step)
        assert all_show(dock, viewer, int(order[step]))
    dock.maps.globe.show_direction(maps.rotations.directions[2])
    qtbot.mouseClick(dock.maps.globe, LEFT, pos=dock.maps.globe.place_of(2).toPoint())
    assert all_show(dock, viewer, 2 * 4 + int(order[11]) % 4)
    psi = (dock.maps.dial.index + 1) % 4
    qtbot.mouseClick(dock.maps.dial, LEFT, pos=dock.maps.dial.place_of(psi).toPoint())
    assert all_show(dock, viewer, 2 * 4 + psi)
    dock.maps.pointer.hold(PLACES[4])
    bars = dock.maps.evidence.bars
    place = bars.rect().topLeft()
    place.setY(2 * 18 + 9)
    place.setX(40)
    qtbot.mouseClick(bars, LEFT, pos=place)
    assert all_show(dock, viewer, bars.bars[2].rotation)


def test_orders_move_the_slider_and_not_what_is_shown(viewer, dock, look, qtbot):
    maps = look()
    dock.seeing.turn_to(6)
    values = np.asarray(maps.stack[:], dtype=np.float32)
    sort(dock, "maximum")
    assert all_show(dock, viewer, 6)
    assert np.all(np.diff(values.max(axis=(1, 2))[stack_of(viewer).data.order]) <= 0)
    sort(dock, "cursor")
    for place in PLACES[[1, 5]]:
        dock.maps.pointer.hold(place)
        assert all_show(dock, viewer, 6)
        assert np.all(np.diff(maps.at(*place)[stack_of(viewer).data.order]) <= 0)
    sort(dock, "sphere")
    order = stack_of(viewer).data.order
    assert all(len(set(order[i : i + 4] // 4)) == 1 for i in range(0, 16, 4))


def test_a_bright_pixel_is_drawn_where_it_lies_in_the_micrograph(viewer, desk, dock, picture, look):
    maps = look()
    row, column = 9, 33
    hot = np.full(maps.stack.shape, -9.0, np.float16)
    hot[:, row, column] = 9.0
    stack = stack_of(viewer)
    stack.data = hot
    stack.contrast_limits = (0, 9)
    desk.picks.visible = False
    colours = picture().astype(int)
    warm = colours[..., 0] - colours[..., 2] > 60  # the micrograph is grey
    rows, columns = np.nonzero(warm)
    mouse = Mouse(viewer)
    at = mouse.at(np.multiply((row, column), maps.scale))
    assert np.hypot(rows.mean() - at.y(), columns.mean() - at.x()) < 2


def test_labelling_goes_on_while_the_stack_is_there(viewer, desk, dock, look, qtbot):
    label = open_dock(viewer, qtbot)
    look()
    assert viewer.dims.ndim == 3
    mouse, marks = Mouse(viewer), desk.session.marks
    label.panel.clicks.click()
    mouse.click(SHOWN[0] + 2)
    mouse.click((60, 60))
    mouse.move(SHOWN[1])
    mouse.key(Qt.Key.Key_Z)
    mouse.drag([(20, 110), (20, 130), (42, 130), (42, 110)], SHIFT)
    assert sorted((round(m.y), round(m.x), m.kind) for m in marks.of("m0").marks) == [
        (30, 30, "positive"), (30, 75, "negative"), (30, 120, "positive"), (60, 60, "positive"),
    ]  # fmt: skip
    assert len(label.layers.labels.data) == 4
    assert list(desk.picks.shown[:4]) == [True, False, True, True]
    viewer.dims.set_current_step(0, 2)
    mouse.key(Qt.Key.Key_Z, CTRL)
    assert len(marks.of("m0").marks) == 3
    viewer.layers.selection.active = areas = label.layers.areas
    areas.mode = "add_rectangle"
    mouse.drag([(70, 60), (80, 80), (85, 90)])
    assert len(marks.of("m0").areas) == 1
    np.testing.assert_allclose(np.ptp(marks.of("m0").areas[0], axis=0), (15, 30), atol=2)
    desk.session.threshold = -10.0
    QTest.qWait(100)
    hidden = ([30.0, 75.0], [75.0, 75.0])  # labelled negative, excluded
    assert list(desk.picks.shown) == [place.tolist() not in hidden for place in PLACES]


def test_going_through_micrographs_takes_the_stack_away_and_brings_it_back(
    viewer, desk, dock, look, qtbot
):
    open_dock(viewer, qtbot, "Micrographs")
    mouse = Mouse(viewer)
    maps = look()
    dock.seeing.turn_to(5)
    mouse.move((60, 60))
    mouse.key(Qt.Key.Key_N)
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert dock.seeing.maps is None
    assert viewer.dims.ndim == 2 and stack_of(viewer) is None
    assert len(desk.picks.data) == 9 and int(desk.picks.shown.sum()) == 4
    mouse.key(Qt.Key.Key_N, SHIFT)
    qtbot.waitUntil(lambda: desk.name == "m0")
    assert dock.seeing.maps is maps
    assert all_show(dock, viewer, 5)


def test_removing_the_stack_leaves_a_flat_viewer(viewer, desk, dock, look, qtbot):
    look()
    viewer.reset_view()
    viewer.layers.remove(stack_of(viewer))
    assert viewer.dims.ndim == 2
    assert dock.maps.picture.currentData() == ""
    dock.seeing.turn_to(3)
    assert dock.maps.globe.view == 0
    Mouse(viewer).move((70, 80))
    assert len(viewer.cursor.position) == 2
    draw(dock, "rotation")
    assert all_show(dock, viewer, 3)


def test_the_home_button_and_micrographs_of_other_sizes(
    viewer, desk, dock, look, show, write_mrc, qtbot
):
    small = np.random.default_rng(3).normal(size=(60, 80)).astype(np.float32)
    desk.session.add_micrographs([write_mrc("small.mrc", small, PIXEL_SIZE)])
    look()
    viewer.reset_view()
    centre, size = np.multiply(desk.image.data.shape, PIXEL_SIZE) / 2, viewer.canvas.size
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], centre, atol=2 * PIXEL_SIZE)
    show("small")
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (150, 200), atol=2 * PIXEL_SIZE)
    assert viewer.scene.camera.zoom == pytest.approx(min(size) / 400, rel=0.4)
    desk.viewer.add_image(np.zeros((3, 20, 20)))  # a stack of somebody else
    show("m0")
    assert stack_of(viewer) is not None


def test_what_is_seen_of_the_micrograph_stays(viewer, desk, dock, look, show):
    camera = viewer.scene.camera
    camera.zoom *= 3
    camera.center = (*camera.center[:-2], 300.0, 400.0)
    zoom = camera.zoom

    def stays():
        QTest.qWait(100)
        same = camera.zoom == pytest.approx(zoom, rel=0.1)  # the slider takes some room
        return same and camera.center[-2:] == pytest.approx((300.0, 400.0), abs=PIXEL_SIZE)

    look()
    assert stays()
    draw(dock, "al1")
    assert stays()
    draw(dock, "rotation")
    assert stays()
    show("m1")
    assert stays()
    show("m0")
    assert stays()
    viewer.layers.remove(stack_of(viewer))
    assert stays()


def test_flat_pictures_replace_the_stack(viewer, desk, dock, look):
    maps = look()
    p = 1 / (1 + np.exp(-maps.log_odds.astype(np.float64)))
    shape = maps.shape
    for picture, kind in (
        ("al1", "probability"),
        ("best", "probability"),
        ("in-plane", "orientation map"),
        ("view", "orientation map"),
    ):
        draw(dock, picture)
        layer = dock.maps.layers.layer
        assert layer.metadata[KEY]["kind"] == kind
        assert viewer.dims.ndim == 2 and stack_of(viewer) is None
        assert layer.data.shape[:2] == shape and layer.rgb == (kind == "orientation map")
        np.testing.assert_allclose(layer.scale, np.multiply(maps.scale, PIXEL_SIZE))
        if picture == "al1":
            np.testing.assert_allclose(layer.data, p, atol=1e-6)
        if picture == "best":
            assert np.all(layer.data <= p + 1e-3)  # one alone is never surer
    dock.maps.opacity.setValue(40)
    assert layer.opacity == pytest.approx(0.4)
    draw(dock, "")
    assert dock.maps.layers.layer is None and len(viewer.layers) == 2


def test_the_evidence_follows_the_mouse_until_a_click_holds_it(viewer, desk, dock, look):
    maps, mouse, panel = look(), Mouse(viewer), dock.maps.evidence
    for place in ((60.0, 61.0), (90.0, 120.0)):
        mouse.move(place)
        QTest.qWait(100)
        assert "mouse" in panel.where.text()
        np.testing.assert_allclose(dock.seeing.place, place, atol=1)
        expected = evidence_at(maps, *dock.seeing.place)
        assert panel.captions[1].text().endswith(f"P = {float(expected.probability):.2f}")
        assert f"{float(expected.effective_number):.1f} of 16" in panel.number.text()
        assert [bar.rotation for bar in panel.bars.bars] == list(expected.top(8))
        assert sum(bar.share for bar in panel.bars.bars) <= 1 + 1e-9
    mouse.click(SHOWN[2] + 3)  # near a pick: it is the pick that is held
    assert dock.seeing.place == tuple(SHOWN[2]) and "pick" in panel.where.text()
    mouse.move((75, 40))
    QTest.qWait(100)
    assert dock.seeing.place == tuple(SHOWN[2])
    mouse.click(SHOWN[2] + 1)
    mouse.move((76, 41))
    QTest.qWait(100)
    np.testing.assert_allclose(dock.seeing.place, (76, 41), atol=1)
    assert len(viewer.layers) == 3  # no ring any more


def test_a_selected_pick_is_held(viewer, desk, dock, look):
    look()
    desk.picks.selected_data = {1}
    assert dock.seeing.place == tuple(PLACES[1]) and dock.maps.pointer.pick == 1
    assert viewer.layers[-1].metadata[KEY]["kind"] == "place"
    np.testing.assert_allclose(viewer.layers[-1].data, PLACES[[1]])


def test_a_closed_dock_leaves_napari_as_it_was(viewer, desk, dock, look):
    mouse = Mouse(viewer)
    callbacks = list(viewer.mouse_drag_callbacks)
    look()
    mouse.click((60, 60))
    viewer.window.remove_dock_widget(dock)
    assert viewer.dims.ndim == 2
    assert list(viewer.layers) == [desk.image, desk.picks]
    assert list(viewer.mouse_drag_callbacks) == callbacks
    mouse.click((80, 80))
    desk.show("m1")
    desk.session.diameter = 120.0


def test_without_a_session_there_is_nothing_to_look_at(viewer, qtbot):
    viewer.add_image(np.zeros((50, 60)))
    dock = open_dock(viewer, qtbot, TITLE)
    assert not dock.maps.look.button.isEnabled()
    assert not dock.maps.parts.isVisible() and "Open a folder" in dock.maps.empty.text()
