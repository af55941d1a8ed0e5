import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_so3.io.coordinates import read_coordinate_file, write_coordinates
from napari_so3.io.particles import read_particles
from napari_so3.picking.picks import CANDIDATES, Picks, make_table
from napari_so3.poses.poses import COLUMNS, Poses
from napari_so3.session.export import picks_table
from napari_so3.session.state import session_of

SHAPE, PIXEL_SIZE = (150, 180), 5.0


@pytest.fixture
def session(viewer, write_mrc, tmp_path):
    """A session of two micrographs, of which the first is picked."""
    session = session_of(viewer, diameter=100.0)
    rng = np.random.default_rng(0)
    paths = [write_mrc(f"m{i}.mrc", rng.normal(size=SHAPE).astype(np.float32)) for i in (0, 1)]
    session.save_in(tmp_path / "napari-so3")
    session.add_micrographs(paths)
    session.set_run("run")
    logits = np.linspace(3, -3, 20).astype(np.float32)
    positions = rng.uniform(0, SHAPE, (20, 2)).round(2)
    table = make_table(positions, logits, np.arange(20) % 16, np.zeros((16, 3)))
    known = {"pixel_size": PIXEL_SIZE, "shape": list(SHAPE), "diameter": 100.0}
    folder = session.run_folder / CANDIDATES
    folder.mkdir(parents=True)
    Picks(table, str(paths[0]), known).write_csv(folder / "m0.csv")
    from napari_so3.session.export import read_candidates

    read_candidates(session)
    return session


@pytest.fixture
def dock(viewer, session, qtbot):
    _, dock = viewer.window.add_plugin_dock_widget("napari-so3", "Import and export")
    viewer.show()
    return dock


def click(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_what_is_exported_is_what_is_counted(dock, session, qtbot, tmp_path, monkeypatch):
    session.threshold = 1.0
    qtbot.waitUntil(lambda: dock.count.text().startswith("7 picks in 1 micrographs"))
    dock.form.setCurrentIndex(dock.form.findData("csv"))
    target = tmp_path / "out.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    click(dock.export, qtbot)
    qtbot.waitUntil(lambda: dock.status.text().startswith("Wrote"))
    assert dock.status.text() == f"Wrote 7 picks of 1 micrographs to {target}."
    written = read_coordinate_file(target).table
    np.testing.assert_allclose(
        written[["x", "y"]], picks_table(session, "m0")[["x", "y"]], atol=1e-3
    )
    qtbot.waitUntil(lambda: not dock.progress.isVisible())


def test_importing_says_what_there_is_and_then_marks_it(
    dock, session, qtbot, tmp_path, monkeypatch
):
    source = tmp_path / "picks.csv"
    points = pd.DataFrame({"x": [10.0, 50.0], "y": [20.0, 60.0]})
    write_coordinates(source, "csv", {"m1.mrc": points, "x.mrc": points}, box=40, pixel_size=None)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(source), ""))
    assert not dock.as_labels.isVisible()
    click(dock.open_file, qtbot)
    qtbot.waitUntil(lambda: dock.as_labels.isVisible())
    assert "1 of 2 micrographs matched" in dock.report.text()
    assert "1 name of picks matches nothing (x.mrc)" in dock.report.text()
    assert "2 coordinates belong to micrographs of this session" in dock.report.text()
    assert not session.marks.of("m1").marks  # not yet
    click(dock.as_labels, qtbot)
    assert session.marks.of("m1").points("positive").tolist() == [[20, 10], [60, 50]]
    assert not dock.as_labels.isVisible()


def test_importing_as_picks_shows_them_as_a_run(dock, session, qtbot, tmp_path):
    source = tmp_path / "picks.csv"
    points = pd.DataFrame({"x": [10.0, 50.0], "y": [20.0, 60.0], "score": [2.0, -5.0]})
    write_coordinates(source, "csv", {"m1.mrc": points}, box=40, pixel_size=None)
    dock.read(source)
    qtbot.waitUntil(lambda: dock.as_picks.isVisible())
    click(dock.as_picks, qtbot)
    assert session.run == "imported-picks"
    qtbot.waitUntil(lambda: dock.count.text().startswith("2 picks in 1 micrographs"))


@pytest.mark.parametrize("content", ["no coordinates", "x,y\n1,two\n"])
def test_a_file_that_cannot_be_used_is_a_sentence(dock, session, qtbot, tmp_path, content):
    source = tmp_path / "bad.csv"
    source.write_text(content)
    dock.read(source)
    qtbot.waitUntil(lambda: "bad.csv" in dock.status.text() and "Reading" not in dock.status.text())
    qtbot.waitUntil(lambda: not dock.progress.isVisible())
    assert not dock.as_labels.isVisible()


def test_without_a_session_one_is_told_what_to_do(viewer, qtbot, tmp_path):
    _, dock = viewer.window.add_plugin_dock_widget("napari-so3", "Import and export")
    dock.read(tmp_path / "picks.star")
    assert "Open the micrographs first" in dock.status.text()
    click(dock.copy, qtbot)
    assert "open the micrographs first" in dock.status.text()


def test_the_command_is_the_one_that_does_the_same(dock, session, qtbot):
    dock.form.setCurrentIndex(dock.form.findData("box"))
    dock.box.setValue(64)
    dock.by_hand.setChecked(False)
    click(dock.copy, qtbot)
    assert QApplication.clipboard().text() == (
        f"napari-so3 export {session.folder} --to box -o picks --box 64 --without-marks"
    )


def test_poses_and_boxes_are_written_when_they_are_ticked(
    dock, session, qtbot, tmp_path, monkeypatch
):
    session.threshold = 1.0
    session.pose_run = "demo"
    points = picks_table(session, "m0")[["y", "x"]].to_numpy()[:5]
    table = pd.DataFrame(0.0, index=range(5), columns=list(COLUMNS))
    table[["y", "x"]], table["tilt"] = points, 45.0
    session.poses.write("m0", Poses(table, np.zeros((5, 0, 3, 3)), np.zeros((5, 0))))
    assert not dock.poses.isVisible() and not dock.images.isVisible()
    dock.form.setCurrentIndex(dock.form.findData("particles"))
    assert dock.poses.isVisible() and dock.images.isVisible()
    assert not dock.poses.isChecked() and not dock.images.isChecked()
    target = tmp_path / "out.star"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    for box in (dock.poses, dock.images):
        qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    click(dock.copy, qtbot)
    assert QApplication.clipboard().text().endswith("-o picks.star --poses --images")
    click(dock.export, qtbot)
    qtbot.waitUntil(lambda: dock.status.text().startswith("Wrote"))
    assert dock.status.text() == (
        f"Wrote 5 picks of 1 micrographs to {target}. 2 without a pose are left out."
    )
    found = read_particles(target)
    assert len(found.matrices) == 5 and (tmp_path / "out_boxes" / "m0.mrcs").is_file()
    dock.form.setCurrentIndex(dock.form.findData("csv"))
    click(dock.copy, qtbot)
    assert "--poses" not in QApplication.clipboard().text()
