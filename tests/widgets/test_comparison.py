"""Before and after a training: the layer, and the buttons below the panel."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from scipy.special import logit
from teaching import DIAMETER, PIXEL_SIZE, make_session, plain

from napari_so3.picking.card import card_text
from napari_so3.picking.evaluate import match_points
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import Scorer
from napari_so3.session.pool import Candidates
from napari_so3.so3.networks import PickerNet
from napari_so3.widgets.boxes import StatusLine
from napari_so3.widgets.comparison import COLOURS, NAME, compare
from napari_so3.widgets.desk import Desk
from napari_so3.widgets.layers import KEY
from napari_so3.widgets.made_box import MadeBox
from napari_so3.widgets.teach_engine import Made

CPU = torch.device("cpu")


@pytest.fixture
def session(tmp_path, model):
    session = make_session(tmp_path, model, 2)
    yield session
    session.close()


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def desk(viewer, session, qtbot):
    desk = Desk(viewer, session)
    with qtbot.waitSignal(desk.shown):
        desk.show("m0")
    return desk


def candidates(path, session):
    picker = load_picker(path)
    *_, picks = pick(session.read("m0"), picker, PickSettings(DIAMETER), Scorer(picker.net, CPU))
    return picks


def picked(path, session):
    table = candidates(path, session).table
    above = table["logit"] >= logit(load_picker(path).threshold)
    return table.loc[above, ["y", "x"]].to_numpy()


@pytest.fixture
def after(tmp_path, model, session):
    """Another model; half of the candidates of both are picks."""
    torch.manual_seed(0)
    other = tmp_path / "other.safetensors"
    net = PickerNet(load_picker(model).net.config).eval()
    replace(load_picker(model), net=net, name="other").save(other)
    for path in (model, other):
        middle = float(candidates(path, session).table["logit"].median())
        replace(load_picker(path), calibration=(1.0, -middle)).save(path)
    return other


@pytest.fixture
def box(desk, after, model, qtbot):
    box = MadeBox(desk)  # not added to qtbot, which would delete it before the end of this fixture
    box.status = StatusLine()
    box.said.connect(box.status.say)
    box.failed.connect(box.status.complain)
    box.show()
    assert not box.compare.isEnabled()
    box.show_made(str(model), Made(after, card_text(load_picker(after)), {}))
    yield box
    box.cancel()
    qtbot.waitUntil(lambda: box.compare.text() == "Compare", timeout=20_000)
    for widget in (box, box.status):
        widget.close()
        widget.deleteLater()


def click(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_each_pick_is_kept_new_or_gone():
    before = np.array([[10, 10], [50, 50], [90, 90]], float)
    after = np.array([[50, 54.9], [10, 15.1], [120, 10]], float)
    found = compare(before, after, 40.0, 2.0)  # near is 5 pixels
    assert found.sentence() == "before 3, after 3: 1 kept, 2 new, 2 gone"
    assert found.change == ["kept", "new", "new", "gone", "gone"]
    np.testing.assert_array_equal(found.points, [*after, before[0], before[2]])
    nothing = compare(np.zeros((0, 2)), np.zeros((0, 2)), 40.0, 2.0)
    assert nothing.sentence() == "before 0, after 0: 0 kept, 0 new, 0 gone"


def test_before_and_after(viewer, desk, box, session, model, after, qtbot):
    active = viewer.layers.selection.active
    click(box.compare, qtbot)
    qtbot.waitUntil(lambda: NAME in viewer.layers, timeout=20_000)
    layer = viewer.layers[NAME]
    old, new = picked(model, session), picked(after, session)
    change = np.asarray(layer.features["change"])
    counts = {kind: int((change == kind).sum()) for kind in COLOURS}
    assert counts["kept"] + counts["gone"] == len(old) > 0
    assert counts["kept"] + counts["new"] == len(new) > 0
    is_kept = match_points(new, old, DIAMETER / PIXEL_SIZE / 4)
    assert counts["kept"] == is_kept.sum()
    np.testing.assert_allclose(layer.data[change == "new"], new[~is_kept])
    for kind, colour in COLOURS.items():
        wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert np.allclose(layer.border_color[change == kind][:, :3], wanted, atol=0.01)
    assert plain(box.status) == (
        f"m0: before {len(old)}, after {len(new)}: ● {counts['kept']} kept, "
        f"● {counts['new']} new, ● {counts['gone']} gone"
    )
    assert tuple(layer.scale) == (PIXEL_SIZE, PIXEL_SIZE)
    note = layer.metadata[KEY]
    assert (note["kind"], note["before"], note["after"]) == ("comparison", "tiny", "other")
    assert note["micrograph"] == str(session.paths["m0"])
    assert viewer.layers.selection.active is active

    click(box.compare, qtbot)  # again: there is one layer
    qtbot.waitUntil(lambda: box.compare.text() == "Compare", timeout=20_000)
    kinds = [each.metadata.get(KEY, {}).get("kind") for each in viewer.layers]
    assert kinds.count("comparison") == 1
    with qtbot.waitSignal(desk.shown):
        desk.show("m1")
    assert NAME not in viewer.layers


def test_what_the_session_has_picked_is_not_picked_again(
    viewer, box, session, model, after, qtbot, monkeypatch
):
    picker, picks = load_picker(model), candidates(model, session)
    session.set_run(f"tiny-{picker.fingerprint[:6]}-{DIAMETER:g}A")
    session.pool.put("m0", Candidates.of(picks))
    used, score = [], Scorer.score

    def noted(self, *arguments):
        used.append(1)
        return score(self, *arguments)

    monkeypatch.setattr(Scorer, "score", noted)
    click(box.compare, qtbot)
    qtbot.waitUntil(lambda: NAME in viewer.layers, timeout=20_000)
    assert len(used) == 1, "only the new model"
    monkeypatch.undo()
    assert f"before {len(picked(model, session))}, after" in plain(box.status)


def test_a_micrograph_that_vanished_cannot_be_compared(box, session, qtbot):
    session.paths["m0"].unlink()
    click(box.compare, qtbot)
    qtbot.waitUntil(lambda: "m0.mrc" in box.status.text(), timeout=20_000)
    assert box.status.styleSheet() == box.status.ERROR


def test_comparing_can_be_cancelled(viewer, box, qtbot, monkeypatch):
    score = Scorer.score

    def slowly(self, image):
        for event in score(self, image):
            time.sleep(0.02)
            yield event

    monkeypatch.setattr(Scorer, "score", slowly)
    click(box.compare, qtbot)
    assert box.compare.text() == "Cancel"
    qtbot.waitUntil(lambda: "%" in box.status.text())
    click(box.compare, qtbot)
    qtbot.waitUntil(lambda: box.compare.text() == "Compare", timeout=5000)
    assert box.status.text() == "Cancelled." and NAME not in viewer.layers


def test_a_comparison_is_not_put_on_another_micrograph(viewer, desk, box, qtbot):
    click(box.compare, qtbot)
    with qtbot.waitSignal(desk.shown):
        desk.show("m1")
    qtbot.waitUntil(lambda: "m0: before" in plain(box.status), timeout=20_000)
    assert NAME not in viewer.layers
