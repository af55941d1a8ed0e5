import pytest
from labelling import DIAMETER
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_so3.widgets.look_bar import LookBar
from napari_so3.widgets.see_engine import SeeEngine


@pytest.fixture
def bar(desk, qtbot):
    bar = LookBar(desk, SeeEngine())
    bar.answers = []
    bar.seen.connect(bar.answers.append)
    qtbot.addWidget(bar)
    bar.show()
    return bar


@pytest.fixture
def look(bar, qtbot):
    """Press the button, and wait for the end."""

    def look():
        qtbot.mouseClick(bar.button, Qt.MouseButton.LeftButton)
        assert bar.button.text() == "Cancel"
        qtbot.waitUntil(lambda: not bar.running, timeout=20_000)
        assert bar.button.text() == "Look" and not bar.progress.isVisible()
        return bar.answers[-1]

    return look


@pytest.fixture
def show(desk, qtbot):
    def show(name):
        desk.show(name)
        qtbot.waitUntil(lambda: desk.name == name)

    return show


def test_the_maps_of_two_micrographs_are_kept(desk, bar, look, show):
    first = look()
    show("m1")
    assert bar.answers[-1] is None
    second = look()
    assert second.maps.source.endswith("m1.mrc") and first.maps.source.endswith("m0.mrc")
    show("m0")
    assert bar.answers[-1] is first
    show("m2")
    look()
    show("m0")
    assert bar.answers[-1] is first
    show("m1")
    assert bar.answers[-1] is None


def test_another_model_or_size_is_not_what_was_seen(desk, bar, look):
    first, session = look(), desk.session
    for name, value in (("diameter", 110.0), ("rotations", (2, 4)), ("model", "general")):
        before = getattr(session, name)
        setattr(session, name, value)
        assert bar.answers[-1] is None
        setattr(session, name, before)
        assert bar.answers[-1] is first
    session.rotations = (2, 4)
    assert look().maps.stack.shape[0] == len(bar.answers[-1].walk) == 8


def test_a_run_can_be_cancelled_and_a_problem_is_told(desk, bar, look):
    bar.button.click()
    bar.button.click()
    assert not bar.running and bar.status.text() == "Cancelled."
    QTest.qWait(300)
    assert bar.answers == []
    desk.session.diameter = 5000.0
    assert look() is None
    assert "does not fit" in bar.status.text()
    desk.session.diameter = DIAMETER
    assert bar.status.text() == ""


def test_a_run_ends_when_another_micrograph_is_shown_or_the_dock_is_closed(desk, bar, show):
    bar.button.click()
    show("m1")
    assert not bar.running
    bar.button.click()
    bar.close_down()
    QTest.qWait(300)
    assert not bar.running and bar.answers == [None]
