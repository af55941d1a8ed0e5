"""Threshold, histogram, counts and filters of a session, without a viewer."""

import numpy as np
import pytest
from pyqtgraph import Point
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_so3.session.pool import Candidates
from napari_so3.session.state import Session
from napari_so3.widgets.choice_box import ChoiceBox
from napari_so3.widgets.filters_box import FiltersBox
from napari_so3.widgets.histogram import _ticks

NAMES = ("a", "b", "c")


def make_candidates(seed, n=400):
    rng = np.random.default_rng(seed)
    return Candidates(
        *rng.uniform(0, 1000, (2, n)).astype(np.float32),
        np.sort(rng.normal(0, 2, n))[::-1].astype(np.float32),
        rng.integers(0, 32, n).astype(np.int32),
        rng.uniform(0, 400, n).astype(np.float32),
        2.0,
    )


@pytest.fixture
def session(tmp_path):
    session = Session(in_plane=8, suggested=0.0)
    session.add_micrographs([tmp_path / f"{name}.mrc" for name in NAMES])
    session.pool.replace({name: make_candidates(seed) for seed, name in enumerate("ab")})
    return session


@pytest.fixture
def box(session, qtbot):
    box = ChoiceBox(session)
    qtbot.addWidget(box)
    box.show_micrograph("a")
    return box


@pytest.fixture
def filters(session, box, qtbot):
    filters = FiltersBox(session, box)
    qtbot.addWidget(filters)
    qtbot.mouseClick(filters.title, Qt.MouseButton.LeftButton)
    return filters


def count(session, *names):
    """Picks as one would count them by hand."""
    total = 0
    for name in names:
        c = session.pool.get(name)
        chosen = (c.logit >= np.float32(session.limit(name))) & (c.edge >= session.margin)
        total += int((chosen & ~np.isin(c.rotation // 8, session.hidden_views)).sum())
    return total


def text(session, name="a"):
    return (
        f"{count(session, name)} of 400 candidates shown; "
        f"{count(session, 'a', 'b'):,} picks in 2 micrographs"
    )


def tick(box, qtbot):
    qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))


def test_counts_follow_the_threshold(session, box):
    for limit in (1.0, -1.5, 3.0):
        box.threshold.slider.setValue(limit)
        assert session.threshold == pytest.approx(limit)
        assert box.count.text() == text(session)
        assert box.histogram.line.value() == pytest.approx(limit)


def test_what_others_change_is_counted_too(session, box, qtbot):
    session.threshold = 0.5
    assert box.threshold.value == 0.5
    assert box.count.text() == text(session)
    session.pool.put("b", make_candidates(7))
    session.margin = 100.0
    qtbot.waitUntil(lambda: box.count.text() == text(session))
    session.pool.put("c", make_candidates(8))
    qtbot.waitUntil(lambda: box.count.text().endswith("in 3 micrographs"))


def test_one_micrograph_can_have_a_threshold_of_its_own(session, box, qtbot):
    session.threshold = -1.0
    tick(box.only_here, qtbot)
    assert session.overrides == {"a": -1.0}
    box.threshold.slider.setValue(1.0)
    assert session.overrides == {"a": pytest.approx(1.0)}
    assert session.threshold == -1.0
    assert box.count.text() == text(session)
    box.show_micrograph("b")
    assert not box.only_here.isChecked()
    assert box.threshold.value == -1.0
    assert box.count.text() == text(session, "b")
    box.threshold.slider.setValue(-2.0)
    assert session.threshold == -2.0
    box.show_micrograph("a")
    assert box.only_here.isChecked()
    assert box.threshold.value == pytest.approx(1.0)
    tick(box.only_here, qtbot)
    assert session.overrides == {}
    assert box.threshold.value == -2.0


def test_a_micrograph_without_picks_says_so(session, box):
    box.show_micrograph("c")
    every = count(session, "a", "b")
    assert box.count.text() == (
        f"No picks on this micrograph yet; {every:,} picks in 2 micrographs"
    )
    session.pool.replace({})
    box.refresh()
    assert box.count.text() == "No picks on this micrograph yet."
    assert not box.histogram.isVisibleTo(box)


# ---------------------------------------------------------------------------- histogram


def heights(item):
    """Numbers of candidates in the bars."""
    _, y = item.getData()
    return np.round(10.0**y - 1).astype(int)


def test_the_bars_are_those_of_this_micrograph_or_of_all(session, box, qtbot):
    assert heights(box.histogram._below).sum() == 400
    qtbot.mouseClick(box.all, Qt.MouseButton.LeftButton)
    assert heights(box.histogram._below).sum() == 800
    session.hidden_views = (0,)
    left = sum((session.pool.get(name).rotation // 8 != 0).sum() for name in "ab")
    qtbot.waitUntil(lambda: heights(box.histogram._below).sum() == left)


def test_bars_are_green_from_the_threshold_on(session, box):
    edges, _ = box.histogram._below.getData()
    session.threshold = float(0.7 * edges[60] + 0.3 * edges[61])
    begin, *_ = box.histogram._above.getData()[0]
    assert begin == pytest.approx(session.threshold)
    session.threshold = float(edges[60])
    assert heights(box.histogram._above).sum() == pytest.approx(count(session, "a"), abs=1)


def test_dragging_the_line_moves_the_threshold(session, box, qtbot):
    box.resize(330, 400)
    box.show()
    qtbot.waitExposed(box)
    session.threshold = 0.0
    told = []
    session.events.threshold.connect(told.append)
    plot, view = box.histogram, box.histogram.getViewBox()
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    here, there = (view.mapViewToScene(Point(value, 0.5)) for value in (0.0, 3.0))

    def mouse(kind, at, button, held):
        place = QPointF(plot.viewport().mapToGlobal(at.toPoint()))
        event = QMouseEvent(kind, at, place, button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(plot.viewport(), event)
        qtbot.wait(10)

    mouse(QEvent.Type.MouseMove, here, none, none)
    mouse(QEvent.Type.MouseButtonPress, here, left, left)
    for share in np.linspace(0, 1, 15):
        mouse(QEvent.Type.MouseMove, QPointF(here + (there - here) * share), none, left)
    mouse(QEvent.Type.MouseButtonRelease, there, left, none)
    assert session.threshold == pytest.approx(3.0, abs=0.2)
    assert len(told) >= 3  # while one drags, not at the end only
    assert (np.diff(told) > -1e-6).all()
    assert box.threshold.value == session.threshold
    assert box.count.text() == text(session)


def test_the_wheel_does_not_zoom(session, box):
    before = box.histogram.getViewBox().viewRange()
    box.histogram.getViewBox().scaleBy((0.5, 0.5))  # what the wheel would do
    assert box.histogram.getViewBox().viewRange() != before
    assert box.histogram.getViewBox().state["mouseEnabled"] == [False, False]


@pytest.mark.parametrize("highest", [6.0, 20.0, 90.0])
def test_ticks_are_probabilities_that_do_not_touch(highest):
    ticks = sorted(_ticks(-6.0, highest))
    assert (0.0, "0.5") in ticks
    assert len(ticks) >= 3
    assert np.diff([value for value, _ in ticks]).min() >= 0.1 * (highest + 6.0)


# ---------------------------------------------------------------------------- filters


def views_of(filters):
    items = [filters.views.list.item(row) for row in range(filters.views.list.count())]
    return [int(item.text().split(": ")[1].replace(",", "")) for item in items]


def test_views_are_counted_and_can_be_hidden(session, box, filters, qtbot):
    def won(*names):
        picks = [c.rotation[c.logit >= 0] // 8 for c in map(session.pool.get, names)]
        return np.bincount(np.concatenate(picks), minlength=4).tolist()

    assert views_of(filters) == won("a")
    filters.views.list.item(2).setCheckState(Qt.CheckState.Unchecked)
    assert session.hidden_views == (2,)
    qtbot.waitUntil(lambda: box.count.text() == text(session))
    qtbot.mouseClick(box.all, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: views_of(filters) == won("a", "b"))  # also what it would win
    states = [filters.views.list.item(row).checkState() for row in range(4)]
    assert [state == Qt.CheckState.Checked for state in states] == [True, True, False, True]
    filters.views.list.item(2).setCheckState(Qt.CheckState.Checked)
    assert session.hidden_views == ()


def test_the_views_follow_the_threshold(session, box, filters, qtbot):
    before = sum(views_of(filters))
    box.threshold.slider.setValue(2.0)
    qtbot.waitUntil(lambda: sum(views_of(filters)) == count(session, "a") < before)


def test_the_margin_can_be_typed(session, box, filters, qtbot):
    assert filters.margin.text() == "as the model"
    filters.margin.selectAll()
    qtbot.keyClicks(filters.margin, "120")
    qtbot.keyClick(filters.margin, Qt.Key.Key_Return)
    assert session.margin == 120.0
    qtbot.waitUntil(lambda: box.count.text() == text(session))
    session.margin = 0.0
    assert filters.margin.text() == "as the model"
