"""The tabs "Budget" and "Check" of the dock "See", with real clicks."""

import time

import pytest
from labelling import open_dock, open_session
from qtpy.QtCore import Qt

from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import Scorer
from napari_so3.widgets import check_engine

TITLE = "Rotations and score maps"
LEFT = Qt.MouseButton.LeftButton
LOW = -5.0  # log-odds: the random network finds nothing that is sure


@pytest.fixture
def desk(viewer, tmp_path, write_mrc, qtbot, model):
    desk = open_session(viewer, tmp_path, write_mrc)
    desk.session.update({"model": str(model), "threshold": LOW, "device": "cpu"})
    qtbot.waitUntil(lambda: desk.name == "m0")
    return desk


@pytest.fixture
def dock(viewer, desk, qtbot):
    return open_dock(viewer, qtbot, TITLE)


@pytest.fixture
def budget(dock):
    dock.tabs.setCurrentIndex(2)
    return dock.budget


@pytest.fixture
def check(dock):
    dock.tabs.setCurrentIndex(3)
    return dock.check


@pytest.fixture
def few(monkeypatch):
    """Compare small numbers of rotations only."""
    monkeypatch.setattr("napari_so3.insight.budget.GRIDS", ((1, 4), (6, 8)))


def run(panel, qtbot):
    qtbot.mouseClick(panel.bar.button, LEFT)
    assert panel.bar.button.text() == "Cancel"
    qtbot.waitUntil(lambda: not panel.bar.running, timeout=30_000)
    qtbot.wait(10)


def column(table, i):
    return [table.item(row, i).text() for row in range(table.rowCount())]


def test_numbers_of_rotations_are_compared_and_one_is_taken(desk, budget, few, qtbot):
    run(budget, qtbot)
    assert column(budget.table, 0) == ["4 (1 × 4)", "16 (4 × 4)", "48 (6 × 8)"]
    assert column(budget.table, 3)[-1] == "100.0 %"
    own = [budget.table.item(row, 0).font().bold() for row in range(3)]
    assert own == [False, True, False]
    assert budget.table.isVisible() and budget.plot.isVisible()
    assert "48" in budget.advice.text()

    session = desk.session
    place = budget.table.visualItemRect(budget.table.item(0, 0)).center()
    qtbot.mouseClick(budget.table.viewport(), LEFT, pos=place)
    assert budget.use.text() == "Use 4 rotations"
    qtbot.mouseClick(budget.use, LEFT)
    assert session.rotations == (1, 4)
    assert "Rotations in use: 4: 1 × 4" in budget.in_use.text()
    assert budget.table.rowCount() == 3  # what was found still holds
    place = budget.table.visualItemRect(budget.table.item(1, 0)).center()
    qtbot.mouseClick(budget.table.viewport(), LEFT, pos=place)
    qtbot.mouseClick(budget.use, LEFT)
    assert session.rotations is None
    assert "the model's own" in budget.in_use.text()


def test_as_many_micrographs_as_asked_from_the_one_that_is_shown(desk, budget, qtbot, monkeypatch):
    jobs = []

    def survey(job):
        jobs.append(job)
        yield check_engine.Note("nothing")

    monkeypatch.setattr("napari_so3.widgets.budget_panel.survey", survey)
    desk.show("m2")
    qtbot.waitUntil(lambda: desk.name == "m2")
    budget.number.setValue(2)
    run(budget, qtbot)
    budget.number.setValue(10)
    run(budget, qtbot)
    assert [[path.stem for path in job.paths] for job in jobs] == [
        ["m2", "m0"],
        ["m2", "m0", "m1"],
    ]
    assert (jobs[0].diameter, jobs[0].threshold) == (100.0, LOW)


def test_another_setting_forgets_what_was_found(desk, budget, few, qtbot):
    run(budget, qtbot)
    desk.session.diameter = 120.0
    assert budget.table.rowCount() == 0
    assert not budget.table.isVisible()
    assert not budget.use.isVisible()


def test_no_picks_are_a_sentence(desk, budget, few, qtbot):
    desk.session.threshold = 30.0
    run(budget, qtbot)
    assert "there are no picks above P" in budget.bar.status.text()
    assert not budget.table.isVisible()


def test_comparing_can_be_cancelled(budget, few, qtbot, monkeypatch):
    steps = []
    score = Scorer.score

    def slow(self, image, keep=None):
        for event in score(self, image, keep):
            steps.append(1)
            time.sleep(0.02)
            yield event

    monkeypatch.setattr(Scorer, "score", slow)
    qtbot.mouseClick(budget.bar.button, LEFT)
    qtbot.waitUntil(lambda: len(steps) > 3)
    qtbot.mouseClick(budget.bar.button, LEFT)
    assert budget.bar.button.text() == "Compare"
    assert budget.bar.status.text() == "Cancelled."
    qtbot.wait(200)
    before = len(steps)
    qtbot.wait(200)
    assert len(steps) == before


def test_the_check_says_how_picks_have_moved(desk, check, qtbot):
    run(check, qtbot)
    assert check.table.isVisible()
    assert [text.endswith("°") for text in column(check.table, 3)] == [True] * 3 + [False] * 2
    closed = ["—" not in text for text in column(check.table, 4)]
    assert closed == [True, True, True, False, False]  # the tiny model has no opposite views
    moved = [float(text.removesuffix(" %")) for text in column(check.table, 0)]
    assert min(moved[:3]) > 50
    assert "moved with the picture" in check.words.text()
    assert check.table.verticalHeaderItem(0).toolTip().startswith("turned by 90°")

    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert not check.table.isVisible()
    assert not check.words.isVisible()
    assert check.bar.button.isEnabled()


def test_the_check_works_with_the_rotations_of_the_session(desk, check, qtbot, monkeypatch):
    grids = []
    made = Scorer.__init__

    def init(self, net, *arguments):
        grids.append(len(net.config.grid))
        made(self, net, *arguments)

    monkeypatch.setattr(Scorer, "__init__", init)
    desk.session.rotations = (1, 8)
    run(check, qtbot)
    assert grids == [8]


def test_closing_the_dock_stops_all(viewer, desk, dock, budget, check, few, qtbot):
    qtbot.mouseClick(budget.bar.button, LEFT)
    qtbot.mouseClick(check.bar.button, LEFT)
    viewer.window.remove_dock_widget(dock)
    assert not budget.bar.running
    assert not check.bar.running
    desk.session.diameter = 90.0
    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert load_picker(desk.session.model).name == "tiny"
