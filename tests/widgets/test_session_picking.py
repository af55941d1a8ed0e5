"""The dock "Pick particles" on a session of several micrographs."""

import shlex
import threading
import time

import numpy as np
import pytest
import starfile
from napari.layers import Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.picking.display import DisplaySettings
from napari_so3.picking.picks import Picks
from napari_so3.picking.score import ScoreProgress, Scorer
from napari_so3.widgets.layers import KEY

NAMES = ["field_01", "field_02", "field_03"]


def click(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def session(viewer, dock, write_mrc, tmp_path, qtbot):
    """A session of three micrographs of noise, whose first one is shown; nothing is picked."""
    rng = np.random.default_rng(3)
    for name in NAMES:
        write_mrc(f"{name}.mrc", rng.normal(size=(150, 180)).astype(np.float32))
    session = dock.session
    session.save_in(tmp_path / "napari-so3")
    session.add_micrographs([tmp_path / f"{name}.mrc" for name in NAMES])
    look_at(dock, NAMES[0], qtbot)
    return session


def look_at(dock, name, qtbot):
    with qtbot.waitSignal(dock.desk.shown, check_params_cb=lambda shown: shown == name):
        dock.desk.show(name)


def choose(dock, text):
    """Choose what begins with a text in the menu of the button."""
    dock.bar.menu.aboutToShow.emit()
    (action,) = (a for a in dock.bar.menu.actions() if a.text().startswith(text))
    action.trigger()


@pytest.fixture
def finish(dock, qtbot):
    """Wait for the end of a run, and until the desk shows what came of it."""

    def wait():
        qtbot.waitUntil(lambda: not dock.bar.running, timeout=20_000)
        picks = len(dock.session.pool.get(dock.session.current) or ())
        qtbot.waitUntil(
            lambda: picks == 0 or (dock.desk.picks is not None and len(dock.desk.picks.data) > 0)
        )
        qtbot.wait(50)  # the desk follows the threshold with a delay

    return wait


@pytest.fixture
def pick_all(dock, session, finish):
    def pick():
        choose(dock, "All that are not picked")
        finish()

    return pick


@pytest.fixture
def slow(monkeypatch):
    """Let every micrograph wait for a permit before it is scored, in many small steps."""
    permits, score, steps = threading.Semaphore(0), Scorer.score, []

    def wait_and_score(self, image):
        while not permits.acquire(timeout=0.01):
            steps.append(1)
            yield ScoreProgress(1, 100)
        yield from score(self, image)

    monkeypatch.setattr(Scorer, "score", wait_and_score)
    permits.steps = steps
    return permits


def tables(session):
    return sorted(path.stem for path in (session.run_folder / "candidates").glob("*.csv"))


# ---------------------------------------------------------------------------- runs


def test_ctrl_return_picks_the_micrograph_that_is_shown(viewer, dock, session, finish, qtbot):
    viewer.show()
    dock.window().activateWindow()
    qtbot.waitUntil(dock.window().isActiveWindow)
    qtbot.keyClick(dock.bar.button, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert dock.bar.running
    finish()
    assert tables(session) == ["field_01"]
    assert session.run.startswith("tiny-")
    assert session.run.endswith("-100A")
    assert session.in_plane == 4
    candidates = session.pool.get("field_01")
    table = Picks.read_csv(session.run_folder / "candidates" / "field_01.csv").table
    np.testing.assert_allclose(candidates.logit, table["logit"], rtol=1e-6)
    assert [layer.name for layer in viewer.layers][:2] == ["field_01", "picks"]
    np.testing.assert_allclose(dock.desk.picks.data, table[["y", "x"]])
    np.testing.assert_array_equal(dock.desk.picks.shown, table["logit"] >= session.limit())


def test_all_that_are_not_picked_are_picked_and_the_others_left_alone(dock, session, finish, qtbot):
    click(dock.bar.button, qtbot)
    finish()
    file = session.run_folder / "candidates" / "field_01.csv"
    before = file.stat().st_mtime_ns
    choose(dock, "All that are not picked yet (2 ")
    finish()
    assert tables(session) == NAMES
    assert set(NAMES) <= {name for name in NAMES if name in session.pool}
    assert file.stat().st_mtime_ns == before
    assert dock.status.text() == "Picked 2 micrographs."
    listed = starfile.read(session.run_folder / "autopick.star")
    assert [name.split("/")[-1] for name in listed["rlnMicrographName"]] == [
        f"{name}.mrc" for name in NAMES
    ]
    choose(dock, "All that are not picked yet (0 ")
    finish()
    assert dock.status.text() == "All micrographs are picked already with these settings."


def test_another_run_takes_the_place_of_the_one_that_is_shown(dock, session, finish, qtbot):
    click(dock.bar.button, qtbot)
    finish()
    first = session.run
    session.hidden_views = (1,)
    dock.form.diameter.setValue(140.0)
    look_at(dock, "field_02", qtbot)
    click(dock.bar.button, qtbot)
    finish()
    assert session.run != first
    assert session.hidden_views == ()
    assert [name for name in NAMES if name in session.pool] == ["field_02"]
    look_at(dock, "field_01", qtbot)
    assert len(dock.desk.picks.data) == 0


def test_a_micrograph_that_cannot_be_read_is_named_and_the_others_are_picked(
    dock, session, pick_all, tmp_path
):
    (tmp_path / "field_02.mrc").write_bytes(b"nonsense")
    pick_all()
    assert tables(session) == ["field_01", "field_03"]
    assert session.failed["field_02"].startswith("field_02.mrc: ")
    assert dock.status.text().startswith(
        "Picked 2 micrographs; 1 could not be picked, such as field_02.mrc: "
    )


def test_what_is_done_stays_after_cancelling(dock, session, slow, qtbot):
    choose(dock, "All that are not picked")
    slow.release()
    qtbot.waitUntil(lambda: "field_01" in session.pool)
    qtbot.waitUntil(lambda: dock.bar.overall.format().startswith("1 of 3 micrographs"))
    click(dock.bar.button, qtbot)
    assert dock.status.text() == "Cancelled."
    assert not dock.bar.overall.isVisibleTo(dock)
    qtbot.waitUntil(lambda: is_quiet(slow))
    assert tables(session) == ["field_01"]
    assert "field_02" not in session.pool


def is_quiet(slow):
    before = len(slow.steps)
    time.sleep(0.15)
    return len(slow.steps) == before


def test_a_run_can_be_paused(dock, session, slow, finish, qtbot):
    choose(dock, "All that are not picked")
    qtbot.waitUntil(lambda: len(slow.steps) > 2)
    click(dock.bar.pause, qtbot)
    assert dock.bar.pause.text() == "Resume"
    qtbot.waitUntil(lambda: is_quiet(slow))
    assert dock.bar.running
    click(dock.bar.pause, qtbot)
    assert dock.bar.pause.text() == "Pause"
    qtbot.waitUntil(lambda: not is_quiet(slow))
    click(dock.bar.pause, qtbot)
    click(dock.bar.button, qtbot)
    assert dock.bar.button.text() == "Pick"
    assert not dock.bar.pause.isChecked()
    qtbot.waitUntil(lambda: is_quiet(slow))
    slow.release(3)
    choose(dock, "All that are not picked")
    finish()
    assert tables(session) == NAMES


def test_opening_another_session_ends_the_run(dock, session, slow, tmp_path, qtbot):
    from napari_so3.session.state import Session

    other = Session()
    other.save_in(tmp_path / "other")
    other.close()
    choose(dock, "All that are not picked")
    qtbot.waitUntil(lambda: len(slow.steps) > 2)
    session.open(tmp_path / "other")
    assert not dock.bar.running
    qtbot.waitUntil(lambda: is_quiet(slow))


# ---------------------------------------------------------------------------- ahead


def test_the_next_micrograph_is_picked_ahead(dock, session, finish, qtbot):
    dock.ahead.setChecked(True)
    click(dock.bar.button, qtbot)
    finish()
    qtbot.waitUntil(lambda: "field_02" in session.pool, timeout=5000)
    qtbot.wait(200)
    assert "field_03" not in session.pool
    look_at(dock, "field_02", qtbot)
    assert len(dock.desk.picks.data) == len(session.pool.get("field_02"))
    qtbot.waitUntil(lambda: "field_03" in session.pool, timeout=5000)


def test_picking_ahead_is_said_and_stops_when_unticked(dock, session, finish, slow, qtbot):
    slow.release()
    click(dock.bar.button, qtbot)
    finish()
    dock.ahead.setChecked(True)
    assert dock._ahead_note.text() == "picking ahead: field_02"
    qtbot.waitUntil(lambda: len(slow.steps) > 2)
    dock.ahead.setChecked(False)
    assert dock._ahead_note.text() == ""
    qtbot.waitUntil(lambda: is_quiet(slow))
    slow.release()
    qtbot.wait(100)
    assert "field_02" not in session.pool


def test_nothing_is_picked_ahead_during_a_run_or_without_picks(dock, session, slow, qtbot):
    started = []
    dock.picking.looked_ahead.connect(lambda name: name and started.append(name))
    dock.ahead.setChecked(True)
    look_at(dock, "field_01", qtbot)
    assert started == []
    choose(dock, "All that are not picked")
    slow.release()
    qtbot.waitUntil(lambda: "field_01" in session.pool)
    with qtbot.waitSignal(dock.desk.shown):
        dock.desk.show("field_01")
    assert started == []


def test_a_run_takes_over_from_picking_ahead(dock, session, finish, slow, qtbot):
    slow.release()
    click(dock.bar.button, qtbot)
    finish()
    dock.ahead.setChecked(True)
    qtbot.waitUntil(lambda: len(slow.steps) > 2)
    choose(dock, "All that are not picked")
    assert dock._ahead_note.text() == ""
    slow.release(3)
    finish()
    assert tables(session) == NAMES


def test_picking_ahead_never_begins_another_run(dock, session, finish, qtbot):
    click(dock.bar.button, qtbot)
    finish()
    run = session.run
    dock.form.diameter.setValue(140.0)
    dock.ahead.setChecked(True)
    qtbot.waitUntil(lambda: dock._ahead_note.text() == "", timeout=5000)
    assert session.run == run
    assert [path.name for path in session.run_folder.parent.iterdir()] == [run]


# ---------------------------------------------------------------------------- the rest


def test_the_threshold_moves_what_the_desk_shows(dock, session, pick_all, qtbot):
    pick_all()
    scores = [session.pool.get(name).logit for name in NAMES]
    limit = float(np.median(scores[0]))
    dock.threshold.slider.setValue(limit)
    here, *others = ((score >= np.float32(limit)).sum() for score in scores)
    words = f"{here} of {len(scores[0])} candidates shown; {here + sum(others)} picks in 3 micr"
    qtbot.waitUntil(lambda: dock.count.text().startswith(words))
    qtbot.waitUntil(lambda: dock.desk.picks.shown.sum() == here)
    session.override("field_01", limit)
    qtbot.wait(100)
    session.threshold = -6.0
    qtbot.wait(100)
    assert dock.desk.picks.shown.sum() == here
    session.threshold = limit
    look_at(dock, "field_02", qtbot)
    assert dock.count.text().startswith(f"{others[0]} of {len(scores[1])} candidates shown; ")


def test_an_area_can_be_drawn(viewer, dock, session, qtbot):
    note = {"kind": "excluded areas", "session": True}
    layer = viewer.add_layer(Shapes(ndim=2, metadata={KEY: note}))
    viewer.layers.selection.active = dock.desk.image
    click(dock.filters.title, qtbot)
    click(dock.filters.area, qtbot)
    assert viewer.layers.selection.active == layer
    assert layer.mode == "add_polygon"


def test_an_image_beside_the_session_is_picked_alone(viewer, dock, session, write_mrc, qtbot):
    noise = np.random.default_rng(9).normal(size=(120, 120)).astype(np.float32)
    (loose,) = viewer.open(str(write_mrc("alone.mrc", noise)), plugin="napari-so3")
    assert dock.micrograph.image == loose
    assert not dock.bar.more.isVisibleTo(dock)
    assert not dock.filters.isVisibleTo(dock)
    click(dock.bar.button, qtbot)
    qtbot.waitUntil(lambda: not dock.bar.running, timeout=20_000)
    assert "alone picks" in [layer.name for layer in viewer.layers]
    assert session.run == ""
    assert "candidates shown" in dock.count.text()
    viewer.layers.selection.active = dock.desk.image
    assert dock.bar.more.isVisibleTo(dock)
    assert dock.count.text() == "No picks on this micrograph yet."


def test_the_micrograph_is_described_as_it_is_and_not_as_it_is_displayed(dock, session, qtbot):
    with qtbot.waitSignal(dock.desk.shown):
        dock.desk.set_display(DisplaySettings(bin=4))
    assert dock.desk.image.data.shape < (100, 100)
    assert dock.micrograph.micrograph().data.shape == (150, 180)
    assert dock.micrograph.pixel_size.value() == 5.0


def test_a_pixel_size_that_is_typed_is_that_of_the_session(dock, session, finish, qtbot):
    dock.micrograph.pixel_size.selectAll()
    qtbot.keyClicks(dock.micrograph.pixel_size, "4")
    with qtbot.waitSignal(dock.desk.shown):
        qtbot.keyClick(dock.micrograph.pixel_size, Qt.Key.Key_Return)
    assert session.pixel_size == 4.0
    assert tuple(dock.desk.image.scale) == (4.0, 4.0)
    click(dock.bar.button, qtbot)
    finish()
    assert session.run.endswith("-100A-4Apx")
    assert session.pool.get("field_01").pixel_size == 4.0
    assert tuple(dock.desk.picks.scale) == (4.0, 4.0)


def test_the_command_line_is_copied(dock, session, pick_all, qtbot):
    pick_all()
    click(dock.copy, qtbot)
    words = shlex.split(QApplication.clipboard().text())
    assert words[:2] == ["napari-so3", "pick"]
    assert words[words.index("-o") + 1] == str(session.run_folder)
    assert dock.status.text().startswith("Copied ")


def test_the_copied_command_does_what_the_dock_would(dock, session, pick_all, finish, qtbot):
    pick_all()
    dock.form.diameter.setValue(120.0)  # other settings: another run
    click(dock.copy, qtbot)
    words = shlex.split(QApplication.clipboard().text())
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    click(dock.bar.button, qtbot)
    finish()
    assert "was picked before with these settings" in dock.status.text()
    assert str(session.run_folder) == words[words.index("-o") + 1]


def test_other_rotations_are_told_picked_and_copied(dock, session, pick_all, finish, qtbot):
    pick_all()
    own = session.run
    assert "16 rotations: 4 views × 4 in plane." in dock.form.rotations.text()
    session.rotations = (6, 8)
    qtbot.waitUntil(lambda: "48 rotations: 6 views × 8 in plane" in dock.form.rotations.text())
    assert "the model's own: 16" in dock.form.rotations.text()
    click(dock.copy, qtbot)
    words = shlex.split(QApplication.clipboard().text())
    assert words[words.index("--rotations") + 1] == "6x8"
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    click(dock.bar.button, qtbot)
    finish()
    assert "was picked before with these settings" in dock.status.text()
    assert session.run != own
    assert str(session.run_folder) == words[words.index("-o") + 1]
    assert session.in_plane == 8
    session.rotations = None
    qtbot.waitUntil(lambda: "16 rotations" in dock.form.rotations.text())
    click(dock.bar.button, qtbot)
    finish()
    assert session.run == own


def test_closing_the_dock_leaves_the_session_alone(viewer, dock, session, finish, qtbot):
    click(dock.bar.button, qtbot)
    finish()
    desk = dock.desk
    viewer.window.remove_dock_widget(dock)
    session.threshold, session.margin = 0.7, 30.0
    with qtbot.waitSignal(desk.shown):
        desk.show("field_02")
    qtbot.wait(300)
