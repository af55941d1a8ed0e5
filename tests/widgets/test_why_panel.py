"""The tab "Why", with clicks in the micrograph and on its buttons."""

import matplotlib.image
import numpy as np
import pytest
from labelling import DIAMETER, PIXEL_SIZE, PLACES, SHOWN, Mouse, open_dock
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from napari_so3.widgets.layers import KEY
from napari_so3.widgets.why_engine import picks_of_session
from napari_so3.widgets.why_panel import EMPTY, NO_PICK_HERE, OTHER_MODEL

TITLE = "Rotations and score maps"
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(viewer, desk, qtbot):
    """The dock with the tab in front."""
    dock = open_dock(viewer, qtbot, TITLE)
    tabs = dock.tabs
    at = next(i for i in range(tabs.count()) if tabs.tabText(i) == "Why")
    qtbot.mouseClick(tabs.tabBar(), LEFT, pos=tabs.tabBar().tabRect(at).center())
    qtbot.waitUntil(dock.why.isVisible)
    return dock


@pytest.fixture
def why(dock):
    return dock.why


@pytest.fixture
def explained(why, qtbot):
    """Wait until a pick is explained, and give what is said of it."""

    def explained(place):
        def is_there():
            assert why._shown is not None and why._shown.job.place == tuple(place)
            assert not why._runner.running

        qtbot.waitUntil(is_there, timeout=20_000)
        return why._shown.explanation

    return explained


def click(button, qtbot):
    qtbot.mouseClick(button, LEFT)


def captions(why):
    return [picture.caption.text() for picture in why.pictures.pictures]


def test_a_click_on_a_pick_explains_it_and_looks_at_the_micrograph_first(
    viewer, dock, why, explained, qtbot
):
    assert why.empty.isVisible() and why.empty.text() == EMPTY
    assert not why.parts.isVisible()
    mouse = Mouse(viewer)
    assert dock.seeing.maps is None
    mouse.click(SHOWN[1] + 2)
    e = explained(SHOWN[1])
    maps = dock.seeing.maps
    assert why.parts.isVisible() and not why.empty.isVisible()
    assert why.sentence.text() == e.sentence()
    assert e.rotation == maps.best[maps.pixel(*SHOWN[1])] == dock.seeing.rotation
    assert why.bars.bars[0].rotation == e.rotation
    assert dock.seeing.place == tuple(SHOWN[1])
    assert why.stepper.number.text() == "2 of 4 picks"
    mouse.click((50, 52))  # beside the picks
    assert why.status.text() == NO_PICK_HERE
    assert why.sentence.text() == e.sentence()
    assert all(not picture.image.pixmap().isNull() for picture in why.pictures.pictures)


def test_arrows_go_through_the_picks_and_bring_them_in_sight(viewer, desk, why, explained, qtbot):
    camera = viewer.scene.camera
    assert why.stepper.number.text() == "4 picks"
    assert not why.stepper.before.isEnabled()
    camera.zoom *= 8
    for place in SHOWN[:3]:
        click(why.stepper.after, qtbot)
        explained(place)
        np.testing.assert_allclose(camera.center[-2:], place * PIXEL_SIZE)
    camera.zoom /= 8
    centre = camera.center
    assert why.stepper.number.text() == "3 of 4 picks"
    click(why.stepper.before, qtbot)
    explained(SHOWN[1])
    assert camera.center == centre
    desk.session.threshold = 3.5  # one pick is left
    assert why.stepper.number.text() == "1 pick"
    assert why.stepper.after.isEnabled()
    click(why.stepper.after, qtbot)
    explained(SHOWN[0])
    assert why.stepper.number.text() == "1 of 1 pick"
    assert not why.stepper.after.isEnabled() and not why.stepper.before.isEnabled()


def test_other_picks_are_averaged_only_if_the_same_model_made_them(
    viewer, desk, dock, why, explained, qtbot
):
    click(why.stepper.after, qtbot)
    e = explained(SHOWN[0])
    assert (e.same_rotation.n, e.same_view.n) == (0, 0)
    assert why.status.text() == OTHER_MODEL
    assert captions(why)[2].endswith("none")
    desk.picks.metadata[KEY]["fingerprint"] = dock.seeing.maps.fingerprint
    rotations = np.concatenate([on.rotation for on in picks_of_session(desk.session)])
    click(why.stepper.after, qtbot)
    e = explained(SHOWN[1])
    assert why.status.text() == ""
    assert e.same_rotation.n == (rotations == e.rotation).sum() - (e.rotation == 1)
    assert e.same_view.n == (rotations // 4 == e.rotation // 4).sum() - (e.rotation // 4 == 1 // 4)
    assert captions(why)[5] == f"same view:\nmean of {e.same_view.n}" or e.same_view.n == 0


def test_another_micrograph_and_other_rotations_are_new_beginnings(
    viewer, desk, dock, why, explained, qtbot
):
    click(why.stepper.after, qtbot)
    explained(SHOWN[0])
    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert why.empty.isVisible() and not why.parts.isVisible()
    click(why.stepper.after, qtbot)
    e = explained(SHOWN[0])
    assert e.micrograph.name == "m1.mrc"
    desk.session.rotations = (1, 4)
    assert not why.parts.isVisible()
    click(why.stepper.after, qtbot)

    def is_there():
        assert why._shown is not None
        assert len(why._shown.explanation.rotations) == 4

    qtbot.waitUntil(is_there, timeout=20_000)


def test_it_leaves_the_mouse_alone_behind_another_tab(viewer, dock, why, explained, qtbot):
    n = len(viewer.mouse_drag_callbacks)
    click(why.stepper.after, qtbot)
    explained(SHOWN[0])
    dock.tabs.setCurrentIndex(0)
    assert len(viewer.mouse_drag_callbacks) == n  # that of the tab in front
    QTest.qWait(100)  # the canvas may change its size
    Mouse(viewer).click(SHOWN[2])
    assert why._place.tolist() == SHOWN[0].tolist()
    dock.tabs.setCurrentIndex(1)
    assert len(viewer.mouse_drag_callbacks) == n
    assert dock.seeing.place == tuple(SHOWN[0])  # it is marked again


def test_the_figure_is_saved_or_it_is_told_why_not(why, explained, qtbot, monkeypatch, tmp_path):
    click(why.stepper.after, qtbot)
    explained(SHOWN[0])

    def save(typed, kind, word):
        answer = str(tmp_path / typed), kind
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: answer)
        click(why.save, qtbot)
        qtbot.waitUntil(lambda: word in why.status.text(), timeout=20_000)

    for typed, kind, name, start in (
        ("pick.png", "Picture (*.png)", "pick.png", b"\x89PNG"),
        ("pick", "PDF (*.pdf)", "pick.pdf", b"%PDF"),
        ("pick.svg", "Picture (*.png)", "pick.svg", b"<?xml"),
    ):
        save(typed, kind, f"Saved {name}.")
        assert (tmp_path / name).read_bytes().startswith(start)
    assert matplotlib.image.imread(tmp_path / "pick.png").std() > 0.05
    assert len(list(tmp_path.glob("*.p*"))) == 2  # nothing else is left
    save("nowhere/pick.png", "", "cannot be written")


def test_copied_python_makes_the_same_explanation(
    desk, why, explained, qtbot, monkeypatch, tmp_path
):
    click(why.stepper.after, qtbot)
    e = explained(SHOWN[0])
    click(why.copy, qtbot)
    lines = QGuiApplication.clipboard().text()
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(lines, names)
    again = names["explanation"]
    assert (tmp_path / "pick.png").stat().st_size > 0
    assert again.rotation == e.rotation and again.place == pytest.approx(e.place, abs=0.01)
    np.testing.assert_allclose(again.seen, e.seen, atol=1e-5)
    np.testing.assert_allclose(again.evidence.shares, e.evidence.shares)
    assert len(names["others"]) == 3 and names["settings"].diameter == DIAMETER
    assert [len(on) for on in names["others"]] == [len(SHOWN)] * 3
    assert len(PLACES) > len(SHOWN)
