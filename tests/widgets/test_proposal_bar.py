import numpy as np
import pytest
from labelling import PIXEL_SIZE, PLACES, Mouse, open_dock, open_session
from qtpy.QtCore import Qt

KEYS = {"positive": Qt.Key.Key_X, "negative": Qt.Key.Key_Z, "ignored": Qt.Key.Key_C}


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


def test_proposals_are_answered_one_after_another(viewer, desk, dock, mouse, labels, qtbot):
    desk.session.marks.mark("m0", "positive", PLACES, 1)
    desk.session.marks.set_complete("m1", True)
    bar = dock.panel.proposals
    click(bar.button, qtbot)
    qtbot.waitUntil(lambda: desk.name == "m2")  # where there is something to ask
    assert "Proposal 1 of 9" in bar.text.text()
    asked = []
    for kind in ("positive", "negative", "ignored"):
        asked.append(dock.layers.look.data[0].copy())
        centre = viewer.scene.camera.center[-2:]
        np.testing.assert_allclose(centre, asked[-1] * PIXEL_SIZE)
        mouse.key(KEYS[kind])  # wherever the mouse is
    answers = {tuple(place.astype(int)): kind for place, kind in zip(asked, KEYS, strict=True)}
    assert {(y, x): kind for y, x, kind in labels("m2")} == answers
    assert len(answers) == 3
    assert "Proposal 4 of 9" in bar.text.text()
    assert dock.gallery.view.currentIndex().row() == 3
    mouse.key(Qt.Key.Key_Period)
    assert "Proposal 5 of 9" in bar.text.text()
    mouse.key(Qt.Key.Key_Comma)
    assert "Proposal 4 of 9" in bar.text.text()
    for _ in range(6):
        mouse.key(KEYS["negative"])
    assert len(labels("m2")) == 9
    assert not bar.active
    assert "all 9 proposals" in bar.text.text()
    assert len(dock.layers.look.data) == 0


def test_proposals_can_be_left_and_there_may_be_none(desk, dock, mouse, labels, qtbot):
    bar = dock.panel.proposals
    click(bar.button, qtbot)
    qtbot.waitUntil(lambda: bar.active)
    mouse.key(Qt.Key.Key_Escape)
    assert not bar.active
    mouse.move((60, 60))
    mouse.key(KEYS["positive"])
    assert labels(desk.name) == [(60, 60, "positive")]
    desk.session.pool.replace({})
    click(dock.panel.proposals.button, qtbot)
    qtbot.waitUntil(lambda: dock.panel.proposals.text.text().startswith("Nothing to propose"))
