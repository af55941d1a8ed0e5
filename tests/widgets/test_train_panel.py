"""Training in napari: real clicks on the panel, on a session of tiny micrographs."""

import time

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QApplication
from teaching import PLACES, label, make_session, plain, shorten, slow_down

from napari_so3.picking.picker import load_picker
from napari_so3.widgets.desk import Desk
from napari_so3.widgets.train_panel import TrainPanel


@pytest.fixture
def session(tmp_path, model, monkeypatch):
    shorten(monkeypatch)
    session = make_session(tmp_path, model)
    yield session
    session.close()


@pytest.fixture
def viewer():
    """A viewer without a window."""
    return ViewerModel()


@pytest.fixture
def desk(viewer, session):
    return Desk(viewer, session)


@pytest.fixture
def panel(desk, qtbot):
    """The panel, while the first micrograph is shown."""
    panel = TrainPanel(desk)  # not added to qtbot, which would delete it before the end
    panel.show()
    with qtbot.waitSignal(desk.shown):
        desk.show("m0")
    yield panel
    panel.shut_down()
    ended(panel, qtbot)
    panel.close()
    panel.deleteLater()


@pytest.fixture
def slow(monkeypatch, session):
    """Long trainings; grows with every step."""
    return slow_down(monkeypatch)


def click(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def begin(panel, qtbot, step=0):
    """Click on Train, and wait until so many steps are shown."""
    qtbot.waitUntil(panel.train.isEnabled)
    click(panel.train, qtbot)
    assert panel.running and not panel.train.isEnabled()
    qtbot.waitUntil(lambda: len(panel.plot.curves.step) >= step, timeout=20_000)


def ended(panel, qtbot):
    qtbot.waitUntil(lambda: not panel.running, timeout=20_000)


def made(session):
    return sorted(p.name for p in (session.folder / "models").glob("*.safetensors"))


def test_advice_follows_the_labels(panel, session, qtbot):
    def said():
        return plain(panel.advice.text)

    assert not panel.train.isEnabled() and not panel.copy.isEnabled()
    assert "0 labelled particles are too few" in said()
    label(session, ["m0"], PLACES[:4])
    qtbot.waitUntil(lambda: "4 labelled particles are too few" in said())
    assert not panel.train.isEnabled()
    label(session)
    qtbot.waitUntil(lambda: "27 particles in 3 micrographs" in said())
    assert "1 micrograph held out" in said() and panel.train.isEnabled()
    session.marks.mark("m0", "positive", PLACES[:1] + 4.0, 0.0)  # 28 Å away
    session.marks.mark("m0", "positive", PLACES[1:2] + 3.0, 0.0)  # 21 Å away
    qtbot.waitUntil(lambda: "1 pair of labels is nearer" in said())
    while session.marks.can_undo:
        session.marks.undo()
    qtbot.waitUntil(lambda: not panel.train.isEnabled())


def test_a_click_makes_a_model_that_is_chosen(panel, session, qtbot):
    label(session)
    begin(panel, qtbot)
    ended(panel, qtbot)
    assert made(session) == ["trained.safetensors"]
    path = session.folder / "models" / "trained.safetensors"
    assert session.model == str(path) and panel.start.itemText(0) == "trained"
    picker = load_picker(path)
    assert picker.name == "trained" and picker.training["start"].startswith("tiny ")

    curves = panel.plot.curves
    assert curves.step == [1, 2, 3, 4, 5, 6] and curves.epoch_step == [2, 4, 6]
    np.testing.assert_array_equal(panel.plot._raw.getData()[1], curves.loss)
    np.testing.assert_array_equal(panel.plot._validation.getData()[1], curves.validation)
    assert panel.progress.text().startswith("step 6 of 6, 0 s left, best AUPRC")
    assert "Made trained, validation AUPRC" in panel.status.text()

    assert not panel.made.card.isVisible()
    click(panel.made.show_card, qtbot)
    assert panel.made.card.isVisible()
    card = panel.made.card.toPlainText()
    assert "name: trained" in card and f"fingerprint: {picker.fingerprint}" in card
    assert panel.made.compare.isEnabled() and panel.train.isEnabled()


def test_from_scratch(panel, session, qtbot):
    label(session)
    panel.start.setCurrentIndex(1)
    begin(panel, qtbot)
    ended(panel, qtbot)
    assert load_picker(session.model).training["start"] == "from scratch"
    assert panel.plot.curves.step == list(range(1, 11))


def test_stop_and_keep_the_best(panel, session, model, slow, qtbot):
    label(session)
    begin(panel, qtbot, 3)
    click(panel.stop, qtbot)
    assert not panel.stop.isEnabled() and panel.cancel.isEnabled()
    ended(panel, qtbot)
    n = len(slow)
    assert 3 <= n < 60
    picker = load_picker(session.model)
    assert picker.training["stopped"] == f"by the user at step {n} of 60"
    assert f"stopped by the user at step {n} of 60" in panel.status.text()
    before = load_picker(model).net.state_dict()
    assert any(not torch.equal(v, before[k]) for k, v in picker.net.state_dict().items())


def test_cancelling_makes_no_model_and_the_same_button_goes_on(panel, session, model, slow, qtbot):
    label(session)
    begin(panel, qtbot, 5)
    click(panel.cancel, qtbot)
    ended(panel, qtbot)
    assert "Cancelled" in panel.status.text() and session.model == str(model)
    assert made(session) == []
    n = len(slow)
    time.sleep(0.1)
    assert len(slow) == n, "nobody trains any more"
    begin(panel, qtbot, 1)
    first = panel.plot.curves.step[0]
    assert first == n // 2 * 2 + 1 > 1, "the epoch after the last checkpoint"
    assert panel.status.text() == f"Going on from step {first - 1}."


def test_a_second_click_does_not_matter(panel, session, slow, qtbot):
    label(session)
    qtbot.waitUntil(panel.train.isEnabled)
    qtbot.mouseDClick(panel.train, Qt.MouseButton.LeftButton)
    click(panel.train, qtbot)
    panel._train()
    qtbot.waitUntil(lambda: len(panel.plot.curves.step) >= 3, timeout=20_000)
    assert panel.plot.curves.step[:3] == [1, 2, 3]


def test_the_key_trains(panel, session, qtbot, slow):
    label(session)
    qtbot.waitUntil(panel.train.isEnabled)
    QApplication.setActiveWindow(panel)  # there is no window manager
    qtbot.keyClick(panel.train, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: panel.running)


def test_closing_the_dock_ends_the_training(make_napari_viewer_proxy, session, slow, qtbot):
    viewer = make_napari_viewer_proxy()
    panel = TrainPanel(Desk(viewer.__wrapped__, session))
    viewer.window.add_dock_widget(panel, name="Train")
    viewer.show()
    qtbot.waitExposed(panel)
    label(session)
    begin(panel, qtbot, 2)
    viewer.window.remove_dock_widget(panel)
    ended(panel, qtbot)
    n = len(slow)
    qtbot.wait(200)
    assert len(slow) == n < 60 and made(session) == []
    label(session, ["m4"])  # nobody listens any more


def test_a_deleted_panel_is_told_nothing(desk, session, qtbot):
    panel = TrainPanel(desk)
    panel.show()
    with qtbot.waitSignal(panel.destroyed):
        panel.deleteLater()
    label(session)
    session.model = "general"
    session.diameter = 80.0
    session.close()


def test_problems_are_shown_and_the_button_comes_back(panel, session, model, qtbot):
    label(session, ["m0"])
    session.paths["m0"].write_bytes(b"no micrograph")
    begin(panel, qtbot)
    ended(panel, qtbot)
    assert "m0.mrc" in panel.status.text() and panel.status.styleSheet() == panel.status.ERROR
    assert made(session) == [] and session.model == str(model)
    assert panel.train.isEnabled() and panel.train.text() == "Train"


def test_a_name_is_needed(panel, session, qtbot):
    label(session)
    qtbot.waitUntil(panel.train.isEnabled)
    panel.name.clear()
    assert not panel.train.isEnabled()
    qtbot.keyClicks(panel.name, "../b c")
    assert panel.name.text() == "bc" and panel.train.isEnabled()


def test_the_command_is_copied(panel, session, qtbot):
    label(session)
    panel.name.setText("mine")
    qtbot.waitUntil(panel.copy.isEnabled)
    click(panel.copy, qtbot)
    qtbot.waitUntil(lambda: "Copied" in panel.status.text())
    command = QGuiApplication.clipboard().text()
    assert command.startswith("napari-so3 train ") and command.endswith("mine.safetensors")
    assert (session.folder / "labels.json").exists()


def test_a_session_that_was_opened_meanwhile_keeps_its_model(panel, session, slow, qtbot, tmp_path):
    label(session)
    begin(panel, qtbot, 2)
    session.save_in(tmp_path / "another")
    session.model = "general"
    click(panel.stop, qtbot)
    ended(panel, qtbot)
    assert session.model == "general" and "Made trained" in panel.status.text()
    assert (tmp_path / "mics" / "napari-so3" / "models" / "trained.safetensors").exists()
