"""The tab of views: clicks choose picks, and what it says is about the picks that it was given."""

import numpy as np
import pytest
import torch
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QHelpEvent, QImage
from qtpy.QtWidgets import QApplication, QFileDialog, QToolTip

from napari_so3.poses.blur import Blur
from napari_so3.poses.coverage import picks_near, view_coverage
from napari_so3.poses.mollweide import draw
from napari_so3.simulation.views import Views
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.symmetry import symmetry_group
from napari_so3.widgets import coverage_panel
from napari_so3.widgets.coverage_panel import CoveragePanel
from napari_so3.widgets.mollweide import RADIUS, Mollweide

LEFT = Qt.MouseButton.LeftButton
SIDE = np.array([0.6, 0.8, 0.0])  # rot 53, tilt 90
HIGH = np.array([0.52, 0.693, 0.5])  # rot 53, tilt 60
C1, D7 = (symmetry_group(name).numpy() for name in ("C1", "D7"))


def poses(n, *preferred, width=8.0):
    return Views(preferred, width).draw(n, torch.Generator().manual_seed(1)).numpy()


@pytest.fixture
def ellipse(qtbot):
    ellipse = Mollweide()
    ellipse.setStyleSheet("background: black; color: white")
    ellipse.resize(300, 10)
    qtbot.addWidget(ellipse)
    ellipse.show()
    coverage = view_coverage(poses(100, (53.13, 60)), C1)
    ellipse.show_coverage(coverage, draw(coverage.density, 60))
    return ellipse


@pytest.fixture
def panel(qtbot):
    panel = CoveragePanel()
    panel.resize(340, 600)
    qtbot.addWidget(panel)
    panel.show()
    return panel


def counted(panel, qtbot, *args, **options):
    panel.set_poses(*args, **options)
    qtbot.waitUntil(lambda: not panel._runner.running, timeout=20_000)


def click(qtbot, ellipse, view):
    qtbot.mouseClick(ellipse, LEFT, pos=ellipse.place_of(view).toPoint())


def pixels(widget):
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    values = np.frombuffer(bits, np.uint8).reshape(image.height(), image.width(), 4)
    return values[..., 2::-1].astype(int)


def test_bright_is_where_the_picks_are(ellipse):
    light = pixels(ellipse).sum(axis=-1)

    def at(view):
        place = ellipse.place_of(view).toPoint()
        return light[place.y() - 2 : place.y() + 3, place.x() - 2 : place.x() + 3].mean()

    assert at(HIGH) > 3 * at((0.5, 0, -0.87)) and at(HIGH) > 3 * at(-HIGH)
    for mirrored in (HIGH * (1, -1, 1), HIGH * (1, 1, -1), HIGH * (-1, 1, 1)):
        assert at(HIGH) > 3 * at(mirrored)
    assert ellipse.place_of((0, 0, 1)).y() < ellipse.place_of(HIGH).y()
    assert ellipse.place_of(HIGH).x() > ellipse.width() / 2


def test_a_click_chooses_a_view_and_another_one_gives_it_up(ellipse, qtbot):
    before = pixels(ellipse)
    with qtbot.waitSignal(ellipse.chosen) as told:
        click(qtbot, ellipse, HIGH)
    assert np.linalg.norm(told.args[0] - HIGH) < 0.04
    assert (np.abs(pixels(ellipse) - before).sum(axis=-1) > 60).sum() > 60  # a circle
    with qtbot.waitSignal(ellipse.chosen) as told:
        click(qtbot, ellipse, HIGH)
    assert told.args == [None]
    assert np.abs(pixels(ellipse) - before).max() == 0
    for view in ((0.0, -0.5, 0.866), (0.6, -0.48, -0.64)):
        click(qtbot, ellipse, view)
        assert np.linalg.norm(ellipse.direction - view) < 0.04
    click(qtbot, ellipse, view)
    with qtbot.assertNotEmitted(ellipse.chosen):
        qtbot.mouseClick(ellipse, LEFT, pos=QPoint(1, 1))
    qtbot.mouseClick(ellipse, Qt.MouseButton.RightButton, pos=ellipse.place_of(HIGH).toPoint())
    assert ellipse.direction is None


def test_a_tooltip_tells_angles_and_density(ellipse):
    def hover(at):
        point = at.toPoint()
        event = QHelpEvent(QEvent.Type.ToolTip, point, ellipse.mapToGlobal(point))
        QApplication.sendEvent(ellipse, event)
        return QToolTip.text()

    said = hover(ellipse.place_of(HIGH))
    assert "rot 5" in said and "tilt 60°" in said
    density = float(said.split(": ")[1].split(" times")[0])
    assert density == pytest.approx(float(ellipse._coverage.at(HIGH)), rel=0.05) and density > 10
    assert "Click one" in hover(QPointF(1, 1))


def test_the_panel_says_what_there_is(panel, qtbot):
    assert panel.empty.isVisible() and not panel.parts.isVisible()
    counted(panel, qtbot, poses(240, (53, 90)), D7)
    assert panel.sentence.text().startswith("Views are uneven")
    assert "side views" in panel.sentence.text()
    assert panel.parts.isVisible() and not panel.empty.isVisible()
    counted(panel, qtbot, poses(600), D7, np.full(600, 0.9))
    assert panel.sentence.text() == "No sign of preferred views among 600 picks."
    counted(panel, qtbot, poses(600), D7, np.r_[np.full(300, 0.1), np.full(300, np.nan)])
    assert "too unsure" in panel.sentence.text()
    counted(panel, qtbot, poses(600), D7, np.full(600, 0.1), Blur(0.9))  # which was measured
    assert "No sign" in panel.sentence.text()
    grid = RotationGrid.reduced("D7", 32, 8)
    of_grid = grid.matrices[grid.nearest(torch.from_numpy(poses(600)))[0]].numpy()
    counted(panel, qtbot, of_grid, D7, np.full(600, 0.9))
    assert panel.sentence.text().startswith("Views are")
    counted(panel, qtbot, of_grid, D7, np.full(600, 0.9), grid=grid.matrices.numpy())
    assert panel.sentence.text().startswith("No sign")
    panel.set_poses(poses(0), D7)
    assert panel.empty.isVisible() and not panel.parts.isVisible()


@pytest.mark.parametrize("where", ["ellipse", "globe"])
def test_a_region_tells_its_picks(panel, qtbot, where):
    matrices = poses(200)
    counted(panel, qtbot, matrices, D7)
    with qtbot.waitSignal(panel.region_chosen) as told:
        if where == "ellipse":
            click(qtbot, panel.ellipse, SIDE)
        else:
            panel.globe.show_direction(SIDE)
            front = int((panel.globe.views @ SIDE).argmax())
            qtbot.mouseClick(panel.globe, LEFT, pos=panel.globe.place_of(front).toPoint())
    direction = panel.ellipse.direction
    assert direction @ SIDE > np.cos(np.radians(12))
    np.testing.assert_array_equal(told.args[0], picks_near(matrices, direction, RADIUS, D7))
    assert 10 < len(told.args[0]) < 200
    assert f"{len(told.args[0])} of 200 picks" in panel.region.text()
    with qtbot.waitSignal(panel.region_chosen) as told:
        panel.clear_region()
    assert len(told.args[0]) == 0 and panel.region.text() == ""


def test_a_region_is_kept_for_other_picks_and_told_anew(panel, qtbot):
    counted(panel, qtbot, poses(100), C1)
    click(qtbot, panel.ellipse, SIDE)
    other = poses(150, (53, 90))
    with qtbot.waitSignal(panel.region_chosen, timeout=20_000) as told:
        panel.set_poses(other, C1)
    assert len(told.args[0]) > 100
    with qtbot.waitSignal(panel.region_chosen) as told:
        panel.set_poses(poses(0), C1)
    assert len(told.args[0]) == 0


def test_of_poses_that_come_fast_the_last_are_shown_and_others_left_out(panel, qtbot, monkeypatch):
    counts = []

    def count_views(matrices, *others):
        counts.append(len(matrices))
        return real(matrices, *others)

    real = coverage_panel.count_views
    monkeypatch.setattr(coverage_panel, "count_views", count_views)
    for n in range(20, 30):
        panel.set_poses(poses(n), D7)
    qtbot.waitUntil(lambda: not panel._runner.running, timeout=20_000)
    assert panel._covered.coverage.n == 29
    assert counts == [20, 29]


def test_whose_picks_are_counted_is_told(panel, qtbot):
    assert not panel.of_all
    with qtbot.waitSignal(panel.scope_changed) as told:
        panel.scope.setCurrentIndex(1)
    assert told.args == [True] and panel.of_all


def test_the_figure_is_written(panel, qtbot, tmp_path, monkeypatch):
    counted(panel, qtbot, poses(50), C1, name="m0")
    names = []

    def chosen(_parent, _title, name, _kinds):
        names.append(name)
        return str(tmp_path / "views"), "PDF (*.pdf)"

    monkeypatch.setattr(QFileDialog, "getSaveFileName", chosen)
    qtbot.mouseClick(panel.save, LEFT)
    qtbot.waitUntil(lambda: "Written" in panel.status.text(), timeout=30_000)
    assert names == ["m0_views.png"]
    assert (tmp_path / "views.pdf").read_bytes().startswith(b"%PDF")
    folder = tmp_path / "none" / "views.png"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(folder), ""))
    qtbot.mouseClick(panel.save, LEFT)
    qtbot.waitUntil(lambda: "cannot be written" in panel.status.text(), timeout=30_000)
