import threading
import time

import numpy as np
import pytest
from napari.settings import get_plugin_settings
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog
from scipy.special import logit

from napari_so3.io.star import read_coordinates
from napari_so3.picking.pick import PickSettings, choose_device, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.picks import Picks
from napari_so3.picking.score import ScoreProgress, Scorer
from napari_so3.widgets.layers import micrograph_of

SHAPE = (150, 180)
DIAMETER = 100.0  # Å, of the preferences in conftest.py


def click(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def run(dock, qtbot):
    """Click the button and wait for the end of the run."""

    def click_and_wait():
        click(dock.bar.button, qtbot)
        assert dock.bar.button.text() == "Cancel" or dock.status.text()
        qtbot.waitUntil(lambda: dock.bar.button.text() == "Pick", timeout=20_000)

    return click_and_wait


@pytest.fixture
def opened(viewer, micrograph):
    (layer,) = viewer.open(str(micrograph), plugin="napari-so3")
    return layer


@pytest.fixture
def endless(monkeypatch):
    """Let scoring go on for ever; count its steps."""
    steps = []

    def score(self, image):
        while True:
            time.sleep(0.01)
            steps.append(1)
            yield ScoreProgress(len(steps), 10_000)

    monkeypatch.setattr(Scorer, "score", score)
    return steps


def is_quiet(steps):
    """Whether nobody scores any more."""
    before = len(steps)
    time.sleep(0.1)
    return len(steps) == before


def test_a_run_shows_what_the_picker_finds(viewer, dock, opened, run, model):
    run()
    assert dock.status.text() == ""
    _, layer = viewer.layers
    assert layer.name == "field_01 picks"

    picker = load_picker(model)
    scorer = Scorer(picker.net, choose_device("cpu"))
    *_, expected = pick(micrograph_of(opened), picker, PickSettings(DIAMETER), scorer)
    assert isinstance(expected, Picks)
    np.testing.assert_allclose(layer.data, expected.table[["y", "x"]], atol=1e-3)
    for name in ("probability", "rotation", "rot", "tilt", "psi"):
        np.testing.assert_allclose(layer.features[name], expected.table[name], atol=1e-5)
    above = layer.features["score"] >= logit(picker.threshold)  # what the model suggests
    np.testing.assert_array_equal(layer.shown, above)
    assert 0 < above.sum() < len(above)
    assert dock.count.text() == f"{above.sum()} of {len(above)} candidates shown"
    assert viewer.layers.selection.active == layer


def test_the_threshold_filters_without_the_network(viewer, dock, opened, run, monkeypatch, qtbot):
    run()
    monkeypatch.setattr(Scorer, "score", lambda *_: pytest.fail("the network ran again"))
    layer = viewer.layers[-1]
    score = layer.features["score"].to_numpy()
    data = layer.data.copy()
    for quantile in (0.2, 0.9, 0.5):
        wanted = float(np.quantile(score, quantile))
        dock.threshold.slider.setValue(wanted)
        np.testing.assert_array_equal(layer.shown, score >= wanted)
        shown = int((score >= wanted).sum())
        assert dock.count.text() == f"{shown} of {len(score)} candidates shown"
        assert dock.session.threshold == pytest.approx(wanted)
    dock.threshold.log_odds.selectAll()
    qtbot.keyClicks(dock.threshold.log_odds, dock.locale().toString(0.5, "f", 1))
    qtbot.keyClick(dock.threshold.log_odds, Qt.Key.Key_Return)
    np.testing.assert_array_equal(layer.shown, score >= 0.5)
    np.testing.assert_array_equal(layer.data, data)
    assert not dock.bar.running


def test_running_again_replaces_the_picks(viewer, dock, opened, run):
    run()
    before = viewer.layers[-1].data.copy()
    dock.form.diameter.setValue(2 * DIAMETER)
    run()
    assert len(viewer.layers) == 2
    layer = viewer.layers[-1]
    assert len(layer.data) != len(before)
    assert len(layer.features) == len(layer.shown) == len(layer.data)
    assert set(layer.size) <= {0.0, 2 * DIAMETER / 5.0}


def test_cancelling_is_at_once(viewer, dock, opened, endless, qtbot):
    click(dock.bar.button, qtbot)
    qtbot.waitUntil(lambda: "rotation" in dock.bar.progress.format())
    begin = time.monotonic()
    click(dock.bar.button, qtbot)
    assert dock.bar.button.text() == "Pick"
    assert dock.status.text() == "Cancelled."
    qtbot.waitUntil(lambda: is_quiet(endless), timeout=1000)
    assert time.monotonic() - begin < 1.0
    assert len(viewer.layers) == 1


def test_a_cancelled_run_is_not_heard_of_again(viewer, dock, opened, run, monkeypatch, qtbot):
    begun, go_on, score = threading.Event(), threading.Event(), Scorer.score

    def one_long_step(self, image):
        begun.set()
        go_on.wait(10)
        *_, maps = score(self, image)
        yield maps

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", one_long_step)
        click(dock.bar.button, qtbot)
        qtbot.waitUntil(begun.is_set)
        click(dock.bar.button, qtbot)
        go_on.set()
        qtbot.wait(300)
    assert len(viewer.layers) == 1
    assert dock.status.text() == "Cancelled."
    run()
    assert len(viewer.layers) == 2


def test_the_network_is_made_ready_once(dock, opened, run, monkeypatch):
    run()
    monkeypatch.setattr(Scorer, "__init__", lambda *_: pytest.fail("made ready again"))
    run()
    assert dock.status.text() == ""


def test_removing_the_micrograph_ends_the_run(viewer, dock, opened, endless, qtbot):
    click(dock.bar.button, qtbot)
    qtbot.waitUntil(lambda: len(endless) > 0)
    viewer.layers.remove(opened)
    assert not dock.bar.running
    assert dock.status.text() == "Cancelled: the micrograph was removed."
    qtbot.waitUntil(lambda: is_quiet(endless), timeout=1000)


def test_closing_the_dock_ends_the_run(viewer, dock, opened, endless, qtbot):
    click(dock.bar.button, qtbot)
    qtbot.waitUntil(lambda: len(endless) > 0)
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: is_quiet(endless), timeout=1000)
    viewer.add_image(np.zeros((8, 8)))  # the closed dock follows the layers no more
    assert dock.micrograph.image is None


def test_the_viewer_can_be_closed_during_a_run(dock, opened, endless, qtbot):
    click(dock.bar.button, qtbot)
    qtbot.waitUntil(lambda: len(endless) > 0)
    # the fixture of the viewer closes it and looks for what is left over


def test_what_cannot_be_picked_is_told_in_one_sentence(viewer, dock, run, write_mrc):
    for pixel_size, sentence in (
        (5.0, "flat.mrc: the image is constant; nothing can be picked."),
        (0.1, "flat.mrc: a particle of 100 Å does not fit a micrograph 15 Å wide"),
        (60.0, "flat.mrc: a particle of 100 Å is less than 4 pixels"),
    ):
        path = write_mrc("flat.mrc", np.zeros(SHAPE, np.float32), pixel_size)
        (layer,) = viewer.open(str(path), plugin="napari-so3")
        run()
        assert dock.status.text().startswith(sentence)
        viewer.layers.remove(layer)


def test_without_a_micrograph_there_is_nothing_to_pick(dock, run):
    run()
    assert dock.status.text().startswith("Open a micrograph")


def test_an_unknown_pixel_size_is_asked_for(viewer, dock, run, qtbot):
    noise = np.random.default_rng(0).normal(size=SHAPE)
    layer = viewer.add_image(noise, name="noise")
    assert dock.micrograph.pixel_size.text() == "unknown"
    run()
    assert dock.status.text() == "Enter the pixel size of noise in Å first."
    dock.micrograph.pixel_size.selectAll()
    qtbot.keyClicks(dock.micrograph.pixel_size, "5")
    qtbot.keyClick(dock.micrograph.pixel_size, Qt.Key.Key_Return)
    assert dock.status.text() == ""
    assert tuple(layer.scale) == (5.0, 5.0)
    run()
    assert len(viewer.layers[-1].data) > 0
    assert viewer.layers[-1].units == layer.units


def test_a_file_that_is_no_model_is_told_in_one_sentence(dock, opened, run, tmp_path, qtbot):
    (tmp_path / "other.safetensors").write_text("nothing")
    dock.session.model = str(tmp_path / "other.safetensors")
    qtbot.waitUntil(lambda: dock.status.text().startswith("other.safetensors: "))
    run()
    assert dock.status.text().startswith("other.safetensors: ")


def test_a_model_file_can_be_opened(dock, model, tmp_path, monkeypatch, qtbot):
    other = tmp_path / "other.safetensors"
    other.write_bytes(model.read_bytes())
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(other), ""))
    dock.threshold.slider.setValue(1.0)
    combo = dock.form.model
    combo.setCurrentIndex(combo.count() - 1)
    combo.activated.emit(combo.count() - 1)
    assert dock.session.model == str(other)
    assert combo.currentText() == "other.safetensors"
    assert dock.session.threshold is None  # what another model suggests


def test_of_two_micrographs_the_selected_one_is_picked(viewer, dock, opened, run, write_mrc):
    noise = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    (second,) = viewer.open(str(write_mrc("field_02.mrc", noise)), plugin="napari-so3")
    run()
    viewer.layers.selection.active = opened
    assert dock.count.text() == "No picks on this micrograph yet."
    run()
    names = [layer.name for layer in viewer.layers]
    assert names == ["field_01", "field_02", "field_02 picks", "field_01 picks"]
    viewer.layers.selection.active = viewer.layers["field_02 picks"]
    assert dock.micrograph.image == second
    dock.threshold.slider.setValue(0.2)
    for name in ("field_01 picks", "field_02 picks"):
        layer = viewer.layers[name]
        np.testing.assert_array_equal(layer.shown, layer.features["score"] >= 0.2)


def test_saving_writes_what_is_shown(viewer, dock, opened, run, monkeypatch, tmp_path, qtbot):
    run()
    layer = viewer.layers[-1]
    dock.threshold.slider.setValue(float(np.quantile(layer.features["score"], 0.7)))
    monkeypatch.chdir(tmp_path)
    asked = []

    def answer(parent, title, path, *_):
        asked.append(path)
        return path, ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    click(dock.save, qtbot)
    path = tmp_path / "field_01_autopick.star"
    assert asked == [str(path)]
    saved = read_coordinates(path)
    assert 0 < len(saved) == layer.shown.sum() < len(layer.data)
    np.testing.assert_allclose(saved[["y", "x"]], layer.data[layer.shown], atol=1e-5)
    np.testing.assert_allclose(saved["score"], layer.features["score"][layer.shown], atol=1e-5)
    assert set(saved["micrograph"]) == {"field_01.mrc"}
    assert dock.status.text() == f"Wrote {len(saved)} picks to {path}."


def test_saving_where_one_may_not_is_told(viewer, dock, opened, run, monkeypatch, tmp_path, qtbot):
    run()
    path = tmp_path / "missing" / "a.star"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    click(dock.save, qtbot)
    assert dock.status.text().startswith("The picks are not saved: ")


def test_the_dock_begins_with_the_preferences(viewer, qtbot):
    picking = get_plugin_settings("napari-so3").picking
    picking.diameter, picking.threshold = 250.0, 0.9
    _, dock = viewer.window.add_plugin_dock_widget("napari-so3", "Pick particles")
    assert dock.form.diameter.value() == 250.0
    assert dock.threshold.probability.text() == "0.900"
    qtbot.waitUntil(lambda: dock.form.device.currentText().startswith("CPU"))
    assert dock.threshold.probability.text() == "0.900"


def test_the_session_outlives_the_dock(viewer, dock):
    dock.form.diameter.setValue(77.0)
    viewer.window.remove_dock_widget(dock)
    _, again = viewer.window.add_plugin_dock_widget("napari-so3", "Pick particles")
    assert again is not dock
    assert again.form.diameter.value() == 77.0


def test_an_unforeseen_error_is_shown_and_the_next_run_works(dock, opened, run, monkeypatch, qtbot):
    def score(self, image):
        raise ZeroDivisionError("no luck")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", score)
        run()
    assert dock.status.text() == "ZeroDivisionError: no luck"
    run()
    assert dock.status.text() == ""
