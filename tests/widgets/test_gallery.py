import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from labelling import LOGITS, PIXEL_SIZE, PLACES, THRESHOLD, open_session
from qtpy.QtCore import QModelIndex, QPoint, Qt

from napari_so3.session.pool import Candidates
from napari_so3.session.state import Session
from napari_so3.widgets.crops import SIZE, Crops, Place, cut
from napari_so3.widgets.gallery_model import CHUNK, GalleryModel, best
from napari_so3.widgets.mark_layers import COLOURS

ROOT = QModelIndex()
FINITE = st.floats(-100, 100, width=32)


@given(arrays(np.float32, st.integers(0, 40), elements=FINITE | st.just(np.inf)), st.integers(1, 9))
def test_a_list_that_is_continued_is_sorted(keys, n):
    order = np.zeros(0, dtype=np.int64)
    for _ in range(len(keys) // n + 1):
        before, order = order, best(keys, order, n)
        np.testing.assert_array_equal(order[: len(before)], before)
        assert len(order) - len(before) <= n
    assert sorted(order) == np.flatnonzero(np.isfinite(keys)).tolist()
    assert np.all(np.diff(keys[order]) >= 0)


def many(n, seed):
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0, 4000, (2, n)).astype(np.float32)
    logit = np.sort(rng.normal(0, 5, n).astype(np.float32))[::-1]
    return Candidates(y, x, logit, np.zeros(n, np.int32), np.full(n, 500, np.float32), 2.0)


@pytest.fixture
def full(tmp_path):
    """A session of three micrographs with 5000 candidates each; no file is there."""
    session = Session(diameter=100.0, threshold=1.0)
    session.add_micrographs([tmp_path / f"m{i}.mrc" for i in range(3)])
    session.pool.replace({f"m{i}": many(5000, i) for i in range(3)})
    return session


def listed(model):
    return [model.item(row) for row in range(model.rowCount())]


def test_of_many_candidates_the_first_are_listed_and_more_on_demand(full, qtbot):
    model = GalleryModel(full)
    model.show_candidates("", uncertain=False)
    assert model.rowCount() == CHUNK
    expected = np.sort(np.concatenate([full.pool.get(f"m{i}").logit for i in range(3)]))[::-1]
    np.testing.assert_allclose([item.logit for item in listed(model)], expected[:CHUNK])
    first = listed(model)
    assert model.canFetchMore(ROOT)
    with qtbot.waitSignal(model.rowsInserted) as told:
        model.fetchMore(ROOT)
    assert told.args[1:] == [CHUNK, 2 * CHUNK - 1]
    assert listed(model)[:CHUNK] == first
    while model.canFetchMore(ROOT):
        model.fetchMore(ROOT)
    np.testing.assert_allclose([item.logit for item in listed(model)], expected)


def test_uncertain_candidates_are_near_the_threshold_of_their_micrograph(full):
    full.override("m1", -3.0)
    model = GalleryModel(full)
    model.show_candidates("", uncertain=True)
    away = [abs(i.logit - (-3.0 if i.place.micrograph == "m1" else 1.0)) for i in listed(model)]
    assert np.all(np.diff(away) > -1e-5)
    assert away[-1] < 1.5
    model.show_candidates("m1", uncertain=True)
    assert {item.place.micrograph for item in listed(model)} == {"m1"}
    assert abs(listed(model)[0].logit + 3) < 0.01


def test_what_lies_in_an_excluded_area_is_not_listed_but_what_was_rejected_is(full):
    there = full.pool.get("m1")
    full.marks.set_areas("m1", [((-1, -1), (-1, 4001), (2000, 4001), (2000, -1))])
    last = int(np.flatnonzero(there.y > 2000)[0])
    full.marks.mark("m1", "negative", [[there.y[last], there.x[last]]], 1)
    model = GalleryModel(full)
    model.show_candidates("m1", uncertain=False)
    while model.canFetchMore(ROOT):
        model.fetchMore(ROOT)
    items = listed(model)
    assert len(items) == (there.y >= 2000).sum()
    assert min(item.place.y for item in items) >= 2000
    assert model.label_of(items[0].place) == "negative"
    full.margin = 600.0  # all candidates are nearer to the border
    model.show_candidates("m1", uncertain=False)
    assert model.rowCount() == 0


def test_a_crop_has_the_candidate_in_the_middle():
    y, x = np.mgrid[:300, :400]
    for centre in ((150, 200), (100, 301)):
        spot = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 50).astype(np.float32)
        for box in (48, 90, 130):
            picture = cut(spot, *centre, box).astype(float)
            assert picture.shape[0] == picture.shape[1] <= 1.5 * SIZE
            weight = np.clip(picture - np.median(picture), 0, None)
            middle = (np.array(picture.shape) - 1) / 2
            found = [(weight * axis).sum() / weight.sum() for axis in np.indices(picture.shape)]
            np.testing.assert_allclose(found, middle, atol=0.8)


def test_a_crop_beyond_the_border_is_grey_there():
    noise = np.random.default_rng(0).normal(1000, 5, (80, 90)).astype(np.float32)
    noise[3, 3] = np.nan
    picture = cut(noise, 0, 89, 40)
    assert picture.shape == (40, 40)
    np.testing.assert_allclose(picture[:18], 127, atol=2)
    np.testing.assert_allclose(picture[:, 25:], 127, atol=2)
    assert picture[20:, :20].std() > 20
    assert cut(noise, -500, 0, 40).std() == 0
    assert cut(np.full((80, 90), np.nan), 40, 40, 40).std() == 0


@pytest.fixture
def desk(viewer, tmp_path, write_mrc, qtbot):
    desk = open_session(viewer, tmp_path, write_mrc)
    qtbot.waitUntil(lambda: desk.name == "m0")
    return desk


def test_crops_are_cut_in_threads_the_last_wanted_first(desk, qtbot, monkeypatch):
    crops = Crops(desk.session)
    reads = []
    read = desk.session.read
    monkeypatch.setattr(Session, "read", lambda _self, name: reads.append(name) or read(name))
    places = [Place(f"m{i % 3}", *PLACES[i // 3]) for i in range(27)]
    wanted = []
    crops.ready.connect(lambda: wanted.append(1))
    assert all(crops.get(place) is None for place in places)
    qtbot.waitUntil(lambda: len(wanted) == 27)
    pictures = [crops.get(place) for place in places]
    assert all(picture.width() == 30 for picture in pictures)  # 1.5 diameters
    assert len(reads) <= 6  # not one for each
    assert len({bytes(picture.constBits().asarray(900)) for picture in pictures}) == 27
    desk.session.diameter = 2 * desk.session.diameter
    assert crops.get(places[0]) is None
    qtbot.waitUntil(lambda: crops.get(places[0]) is not None)
    assert crops.get(places[0]).width() == 60
    assert crops.get(Place("m9", 3, 3)) is None  # no such micrograph
    crops.close()


@pytest.fixture
def gallery(viewer, desk, qtbot):
    viewer.show()
    _, dock = viewer.window.add_plugin_dock_widget("napari-so3", "Label and train")
    dock.tabs.setCurrentWidget(dock.gallery)
    qtbot.waitUntil(dock.gallery.isVisible)
    qtbot.waitUntil(lambda: dock.gallery.view.visualRect(dock.gallery.model.index(3)).width() > 9)
    return dock.gallery


@pytest.fixture
def click(gallery, qtbot):
    def click(row, double=False):
        view = gallery.view
        view.scrollTo(gallery.model.index(row))
        place = view.visualRect(gallery.model.index(row)).center()
        qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
        if double:
            qtbot.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)

    return click


def test_a_click_goes_there(viewer, desk, gallery, click, qtbot):
    assert gallery.model.rowCount() == len(PLACES)
    zoom = viewer.scene.camera.zoom
    click(5)
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], PLACES[5] * PIXEL_SIZE)
    assert viewer.scene.camera.zoom == zoom
    np.testing.assert_allclose(viewer.layers["looked at"].data, [PLACES[5]])
    gallery.source.setCurrentIndex(1)
    assert gallery.model.rowCount() == 3 * len(PLACES)
    row = next(r for r in range(27) if gallery.model.item(r).place.micrograph == "m2")
    click(row)
    qtbot.waitUntil(lambda: desk.name == "m2")
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], PLACES[0] * PIXEL_SIZE)
    gallery.source.setCurrentIndex(0)
    gallery.order.setCurrentIndex(1)
    first = gallery.model.item(0)
    assert first.place.micrograph == "m2"
    assert first.logit == LOGITS[np.abs(LOGITS - THRESHOLD).argmin()]


def test_keys_and_double_clicks_label(desk, gallery, click, qtbot):
    marks = desk.session.marks
    click(2)
    qtbot.keyClick(gallery.view, Qt.Key.Key_Z)
    assert marks.of("m0").marks == (("negative", *PLACES[2]),)
    qtbot.keyClick(gallery.view, Qt.Key.Key_Right)
    qtbot.keyClick(gallery.view, Qt.Key.Key_X)
    assert marks.of("m0").marks[1:] == (("positive", *PLACES[3]),)
    qtbot.keyClick(gallery.view, Qt.Key.Key_C)
    assert marks.of("m0").marks[1:] == (("ignored", *PLACES[3]),)
    qtbot.keyClick(gallery.view, Qt.Key.Key_Delete)
    assert len(marks.of("m0").marks) == 1
    qtbot.keyClick(gallery.view, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert len(marks.of("m0").marks) == 2  # undo is that of the canvas
    click(4, double=True)
    assert ("positive", *PLACES[4]) in marks.of("m0").marks
    click(4, double=True)
    assert len(marks.of("m0").marks) == 2


def test_labels_are_frames_of_their_colour(desk, gallery, qtbot):
    desk.session.marks.mark("m0", "positive", PLACES[:1], 1)
    desk.session.marks.mark("m0", "negative", PLACES[1:2], 1)
    picture = gallery.view.viewport().grab().toImage()

    def colour(row):
        corner = gallery.view.visualRect(gallery.model.index(row)).topLeft()
        return picture.pixelColor(corner + QPoint(3, 20)).name()

    assert [colour(0), colour(1)] == [COLOURS["positive"], COLOURS["negative"]]
    assert colour(2) not in COLOURS.values()
    qtbot.waitUntil(lambda: gallery.crops.get(gallery.model.item(8).place) is not None)


def test_the_list_follows_the_micrograph_and_its_picks(desk, gallery, click, qtbot):
    desk.show("m1")
    qtbot.waitUntil(lambda: gallery.model.item(0).place.micrograph == "m1")
    desk.session.pool.put("m1", many(7, 0))
    assert gallery.model.rowCount() == 7
    gallery.source.setCurrentIndex(1)
    desk.session.pool.put("m2", many(3, 0))
    assert gallery.model.rowCount() == 25  # nothing moves under the mouse
    assert "new picks" in gallery.note.text()
    gallery.refresh.click()
    assert gallery.model.rowCount() == 19
    desk.session.pool.replace({})
    assert gallery.note.text() == "No micrograph is picked yet."
    gallery.source.setCurrentIndex(0)
    assert gallery.note.text() == "This micrograph is not picked yet."
    gallery.source.setCurrentIndex(2)
    assert gallery.note.text().startswith("Nothing is proposed")
