import json
import time

import mrcfile
import numpy as np
import pytest
from napari.layers import Points
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_so3.picking.picks import CANDIDATES, Picks, make_table
from napari_so3.session.folders import begin_session
from napari_so3.session.pool import CACHE, Candidates
from napari_so3.session.state import Session
from napari_so3.widgets.micrograph_rows import (
    LABELS,
    NAME,
    PICKS,
    PIXEL_SIZE,
    SCORE,
    STATE,
    shared_ending,
)
from napari_so3.widgets.micrograph_table import MicrographTable
from napari_so3.widgets.micrographs_dock import EMPTY

NAMES = ["mic_01", "mic_02", "mic_03", "mic_10"]
SHAPES = [(60, 90), (80, 70), (60, 90), (64, 64)]
SIZES = [5.0, 2.5, 5.0, 4.0]


def click(button, qtbot):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def made_up(n, seed=0, pixel_size=5.0):
    """Candidates of a micrograph; their scores are around 0."""
    rng = np.random.default_rng(seed)
    y, x, logit = rng.uniform(0, 60, n), rng.uniform(0, 60, n), np.sort(rng.normal(size=n))[::-1]
    columns = [values.astype(np.float32) for values in (y, x, logit)]
    zeros = np.zeros(n, np.int32)
    return Candidates(*columns, zeros, np.full(n, 100, np.float32), pixel_size)


def cells(table, column):
    model = table.model
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def click_header(table, column, qtbot):
    header = table.view.horizontalHeader()
    x = header.sectionViewportPosition(column) + header.sectionSize(column) // 2
    where = header.viewport().rect().center()
    where.setX(x)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=where)


@pytest.fixture
def folder(tmp_path):
    """A folder of four micrographs of different sizes."""
    folder = tmp_path / "mics"
    folder.mkdir()
    for i, (name, shape, size) in enumerate(zip(NAMES, SHAPES, SIZES, strict=True)):
        with mrcfile.new(folder / f"{name}.mrc") as mrc:
            mrc.set_data(np.random.default_rng(i).normal(size=shape).astype(np.float32))
            mrc.voxel_size = size
    return folder


@pytest.fixture
def micrographs(viewer):
    """The dock."""
    return viewer.window.add_plugin_dock_widget("napari-so3", "Micrographs")[1]


@pytest.fixture
def choose(monkeypatch):
    """Answer the dialogs that ask for a folder, one after another."""
    answers = []
    monkeypatch.setattr(
        QFileDialog, "getExistingDirectory", lambda *_: str(answers.pop(0)) if answers else ""
    )
    return answers.append


@pytest.fixture
def open_folder(micrographs, choose, qtbot):
    """Open a folder with the button, and wait for its first micrograph."""

    def open_it(folder):
        choose(folder)
        click(micrographs.open_folder, qtbot)
        qtbot.waitUntil(lambda: micrographs.desk.image is not None)

    return open_it


@pytest.fixture
def table(qtbot):
    """The table of a session of four micrographs, whose files do not exist."""
    session = Session()
    session.add_micrographs([f"/nowhere/{name}.mrc" for name in NAMES])
    table = MicrographTable(session)
    table.session = session
    qtbot.addWidget(table)
    table.resize(330, 300)
    table.show()
    yield table
    table.disconnect_session()


def wait_for(dock, name, qtbot):
    qtbot.waitUntil(lambda: dock.desk.image is not None and dock.desk.name == name)


# ---------------------------------------------------------------------- opening


def test_a_folder_becomes_a_session_and_its_first_micrograph_is_shown(
    viewer, micrographs, open_folder, folder, qtbot
):
    micrographs.session.diameter = 77.0
    assert not micrographs.copy.isEnabled()
    open_folder(folder)
    assert (folder / "napari-so3" / "session.jsonl").is_file()
    assert micrographs.session.diameter == 77.0
    assert cells(micrographs.table, NAME) == NAMES
    assert micrographs.table.selected == "mic_01"
    assert micrographs.summary.text() == "0 of 4 picked · 0 picks"
    np.testing.assert_array_equal(viewer.layers["mic_01"].data, mrcfile.read(folder / "mic_01.mrc"))
    assert cells(micrographs.table, PIXEL_SIZE) == ["5", "", "", ""]  # of those that were read
    assert not micrographs.status.text()
    click(micrographs.copy, qtbot)
    command = QApplication.clipboard().text()
    assert command == f"napari-so3 session {folder / 'napari-so3'}"
    assert command in micrographs.status.text()


def test_a_session_goes_on_where_it_was_left(micrographs, open_folder, folder, qtbot):
    begin_session(folder / "napari-so3", [folder / f"{name}.mrc" for name in NAMES[:3]], {})
    earlier = Session()
    earlier.open(folder / "napari-so3")
    earlier.marks.mark("mic_02", "positive", [(1, 2), (30, 40)], 1.0)
    earlier.marks.mark("mic_02", "negative", [(50, 10)], 1.0)
    earlier.marks.set_complete("mic_03", True)
    earlier.fail("mic_01", "mic_01.mrc: is broken.")
    earlier.current = "mic_02"
    earlier.close()
    open_folder(folder)
    assert micrographs.desk.name == micrographs.table.selected == "mic_02"
    assert cells(micrographs.table, LABELS) == ["", "+2 −1", ""]
    assert cells(micrographs.table, STATE) == ["✗", "—", "★"]
    assert micrographs.summary.text().endswith("1 failed")
    reason = micrographs.table.model.index(0, STATE)
    tip = micrographs.table.model.data(reason, Qt.ItemDataRole.ToolTipRole)
    assert tip == "mic_01.mrc: is broken."


@pytest.fixture
def with_run(folder):
    """A session with a run of picks of the first two micrographs."""
    begin_session(
        folder / "napari-so3", [folder / f"{name}.mrc" for name in NAMES], {"run": "a-run"}
    )
    run = folder / "napari-so3" / "picks" / "a-run"
    (run / CANDIDATES).mkdir(parents=True)
    for i, name in enumerate(NAMES[:2]):
        logits = np.linspace(3, -3, 10 + 10 * i)
        positions = np.random.default_rng(i).uniform(0, 60, (len(logits), 2))
        rotations = np.zeros(len(logits), int)
        known = {"pixel_size": SIZES[i], "shape": list(SHAPES[i]), "diameter": 100.0}
        rows = make_table(positions, logits, rotations, np.zeros((1, 3)))
        Picks(rows, f"{name}.mrc", known).write_csv(run / CANDIDATES / f"{name}.csv")
    return run


def test_the_candidates_of_its_run_are_read(viewer, micrographs, with_run, open_folder, qtbot):
    open_folder(with_run.parents[2])
    qtbot.waitUntil(lambda: len(micrographs.session.pool) == 2)
    qtbot.waitUntil(lambda: micrographs.summary.text() == "2 of 4 picked · 15 picks")
    assert cells(micrographs.table, PICKS) == ["5", "10", "", ""]
    assert cells(micrographs.table, PIXEL_SIZE) == ["5", "2.5", "", ""]
    qtbot.waitUntil(lambda: any(isinstance(layer, Points) for layer in viewer.layers))
    qtbot.waitUntil((with_run / CANDIDATES / CACHE).is_file)  # for the next time
    assert not micrographs.status.text()


def test_candidates_that_cannot_be_read_are_told(micrographs, with_run, open_folder, qtbot):
    (with_run / CANDIDATES / "mic_02.csv").write_text("rubbish")
    open_folder(with_run.parents[2])
    qtbot.waitUntil(lambda: micrographs.status.text().startswith("mic_02.csv: cannot be used"))
    qtbot.waitUntil(lambda: cells(micrographs.table, STATE) == ["✓", "—", "—", "—"])


def test_where_no_session_can_be_kept_another_folder_is_asked_for(
    micrographs, open_folder, choose, folder, tmp_path
):
    (folder / "napari-so3").write_text("a file that is in the way")
    choose(folder)
    open_folder(tmp_path / "elsewhere")
    assert micrographs.session.folder == tmp_path / "elsewhere" / "napari-so3"
    assert micrographs.session.paths["mic_02"] == folder / "mic_02.mrc"
    assert cells(micrographs.table, NAME) == NAMES


def test_what_cannot_be_opened_is_said_in_a_sentence(micrographs, choose, tmp_path, qtbot):
    homes = {}
    for trouble in ("holds no micrograph", "cannot be written", "another napari", "update napari"):
        folder = tmp_path / trouble
        folder.mkdir()
        homes[trouble] = folder / "napari-so3"
        (folder / "mic.mrc").touch()
    (tmp_path / "holds no micrograph" / "mic.mrc").unlink()
    homes["cannot be written"].write_text("a file that is in the way")
    for trouble in ("another napari", "update napari"):
        begin_session(homes[trouble], [tmp_path / trouble / "mic.mrc"], {})
    head = json.dumps({"format": "napari-so3 session", "version": 99})
    (homes["update napari"] / "session.jsonl").write_text(head + "\n")
    other = Session()
    other.open(homes["another napari"])
    for trouble in homes:
        choose(tmp_path / trouble)
        click(micrographs.open_folder, qtbot)
        qtbot.waitUntil(lambda words=trouble: words in micrographs.status.text()[-90:])
        assert micrographs.status.isVisibleTo(micrographs)
        assert micrographs.session.folder is None
        assert micrographs.summary.text() == EMPTY
    other.close()


def test_files_are_added_to_the_session(
    micrographs, open_folder, folder, write_mrc, monkeypatch, qtbot
):
    open_folder(folder)
    noise = np.zeros((20, 30), np.float32)
    files = [write_mrc("new_01.mrc", noise), write_mrc("mic_01.mrc", noise)]
    names = [str(file) for file in files]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (names, ""))
    click(micrographs.add_files, qtbot)
    qtbot.waitUntil(lambda: "mic_01.mrc" in micrographs.status.text())  # another one has its name
    assert cells(micrographs.table, NAME) == [*NAMES, "new_01"]
    assert micrographs.session.paths["mic_01"] == folder / "mic_01.mrc"
    assert micrographs.desk.name == "mic_01"


def test_files_without_a_session_begin_one(micrographs, folder, monkeypatch, qtbot):
    names = [str(folder / "mic_02.mrc")]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (names, ""))
    click(micrographs.add_files, qtbot)
    wait_for(micrographs, "mic_02", qtbot)
    assert micrographs.session.folder == folder / "napari-so3"
    assert cells(micrographs.table, NAME) == ["mic_02"]


def test_a_session_of_lately_is_one_click_away(micrographs, open_folder, folder, tmp_path, qtbot):
    begin_session(tmp_path / "other" / "napari-so3", [folder / "mic_10.mrc"], {})
    open_folder(tmp_path / "other")
    open_folder(folder)
    wait_for(micrographs, "mic_01", qtbot)
    qtbot.waitUntil(lambda: len(micrographs.recent.actions()) == 2)
    assert [a.text() for a in micrographs.recent.actions()] == [
        str(folder),
        str(tmp_path / "other"),
    ]
    micrographs.recent.actions()[1].trigger()
    wait_for(micrographs, "mic_10", qtbot)


def test_the_file_of_a_session_can_be_dropped_on_the_viewer(viewer, folder, qtbot):
    begin_session(folder / "napari-so3", [folder / "mic_03.mrc"], {})
    viewer.open(str(folder / "napari-so3" / "session.jsonl"), plugin="napari-so3")
    qtbot.waitUntil(lambda: "mic_03" in viewer.layers)


# ---------------------------------------------------------------------- going through


def canvas():
    (found,) = (
        w for w in QApplication.allWidgets() if type(w).__name__.startswith("CanvasBackend")
    )
    return found


def test_keys_and_buttons_go_to_the_next_and_the_previous(
    viewer, micrographs, open_folder, folder, qtbot
):
    open_folder(folder)
    viewer.show()
    steps = [
        (lambda: qtbot.keyClick(canvas(), Qt.Key.Key_N), "mic_02"),
        (lambda: click(micrographs.next, qtbot), "mic_03"),
        (lambda: qtbot.keyClick(micrographs.table.view, Qt.Key.Key_Down), "mic_10"),
        (lambda: click(micrographs.next, qtbot), "mic_10"),  # the last one
        (lambda: click(micrographs.previous, qtbot), "mic_03"),
        (
            lambda: qtbot.keyClick(canvas(), Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier),
            "mic_02",
        ),
    ]
    for act, name in steps:
        act()
        wait_for(micrographs, name, qtbot)
        assert micrographs.table.selected == micrographs.session.current == name
        layer, _ = viewer.layers  # always the same ones: the image and its picks
        index = NAMES.index(name)
        assert layer.data.shape == SHAPES[index]
        assert tuple(layer.scale) == (SIZES[index],) * 2
    micrographs.desk.show("mic_10")  # by other docks
    wait_for(micrographs, "mic_10", qtbot)
    assert micrographs.table.selected == "mic_10"


def test_going_through_follows_the_table(micrographs, open_folder, folder, qtbot):
    open_folder(folder)
    click_header(micrographs.table, NAME, qtbot)
    click_header(micrographs.table, NAME, qtbot)  # falling
    qtbot.keyClicks(micrographs.table.search, "MIC_0")
    assert cells(micrographs.table, NAME) == ["mic_03", "mic_02", "mic_01"]
    assert micrographs.table.selected == "mic_01"
    click(micrographs.previous, qtbot)
    wait_for(micrographs, "mic_02", qtbot)
    micrographs.desk.step(-1)  # of other docks
    wait_for(micrographs, "mic_03", qtbot)


def test_a_held_key_does_not_read_every_micrograph(table, qtbot):
    table.session.add_micrographs([f"/nowhere/other_{i}.mrc" for i in range(50)])
    wanted = []
    table.wanted.connect(wanted.append)
    for _ in range(40):
        qtbot.keyClick(table.view, Qt.Key.Key_Down)
        qtbot.wait(10)
    qtbot.waitUntil(lambda: wanted[-1] == table.selected)
    assert len(wanted) == 2
    assert table.model.row_of(table.selected) == 39


def test_a_damaged_micrograph_is_told_until_one_goes_on(micrographs, open_folder, folder, qtbot):
    (folder / "mic_02.mrc").write_bytes(b"torn")
    open_folder(folder)
    click(micrographs.next, qtbot)
    qtbot.waitUntil(lambda: micrographs.status.text().startswith("mic_02.mrc"))
    click(micrographs.next, qtbot)
    wait_for(micrographs, "mic_03", qtbot)
    assert not micrographs.status.text()


# ---------------------------------------------------------------------- the table


def test_numbers_follow_the_session(table, qtbot):
    session = table.session
    session.diameter = 4.0  # so that a label is about one candidate
    for i, n in enumerate((40, 5, 100)):
        session.pool.put(NAMES[i], made_up(n, i))

    def expect():
        expected = []
        for name in NAMES[:3]:
            candidates, chosen = session.picks_of(name)
            mean = f"{candidates.logit[chosen].mean():.2f}" if chosen.any() else ""
            expected.append((str(chosen.sum()), mean))
        shown = list(zip(cells(table, PICKS), cells(table, SCORE), strict=True))
        return shown == [*expected, ("", "")]

    qtbot.waitUntil(expect)
    before = cells(table, PICKS)
    session.threshold = 0.5
    qtbot.waitUntil(expect)
    assert cells(table, PICKS) != before
    drawn = []
    table.model.dataChanged.connect(lambda first, last: drawn.append((first.row(), last.row())))
    session.override(NAMES[2], -1.0)
    qtbot.waitUntil(expect)
    assert drawn == [(2, 2)]  # nothing else is drawn anew
    candidates = session.pool.get(NAMES[0])
    session.marks.mark(NAMES[0], "positive", [(candidates.y[-1], candidates.x[-1])], 1.0)
    qtbot.waitUntil(expect)
    assert cells(table, LABELS) == ["+1", "", "", ""]
    session.threshold = 0.0  # what was counted of one row is not lost when all are
    qtbot.waitUntil(expect)
    session.margin = 200.0
    qtbot.waitUntil(expect)
    assert cells(table, PICKS) == ["1", "0", "0", ""]  # the label has the last word


def test_columns_sort_as_numbers_and_words(table, qtbot):
    for i, n in enumerate((9, 100, 10)):
        table.session.pool.put(NAMES[i], made_up(n, i))
    table.session.threshold = -100.0
    qtbot.waitUntil(lambda: cells(table, PICKS) == ["9", "100", "10", ""])
    table.select("mic_02")
    click_header(table, PICKS, qtbot)
    assert cells(table, PICKS) == ["9", "10", "100", ""]
    click_header(table, PICKS, qtbot)
    assert cells(table, PICKS) == ["100", "10", "9", ""]  # none stays last
    assert table.selected == "mic_02"
    assert table.view.currentIndex().row() == 0
    click_header(table, PICKS, qtbot)  # the order of the session
    assert cells(table, NAME) == NAMES


def test_rows_are_chosen_by_their_state(table, qtbot):
    session = table.session
    session.pool.put("mic_01", made_up(5))
    session.marks.mark("mic_02", "negative", [(1, 1)], 1.0)
    session.fail("mic_10", "mic_10.mrc: is broken.")
    qtbot.waitUntil(lambda: cells(table, STATE) == ["✓", "—", "—", "✗"])
    expected = {
        "Not picked": NAMES[1:],
        "Picked": ["mic_01"],
        "Labelled": ["mic_02"],
        "Failed": ["mic_10"],
    }
    for choice, names in expected.items():
        qtbot.keyClick(table.choice, Qt.Key.Key_Down)
        assert table.choice.currentText() == choice
        assert cells(table, NAME) == names
    qtbot.keyClick(table.choice, Qt.Key.Key_Home)
    assert cells(table, NAME) == NAMES
    qtbot.keyClick(table.choice, Qt.Key.Key_Down)
    session.pool.put("mic_03", made_up(5))  # picked while one looks
    qtbot.waitUntil(lambda: cells(table, NAME) == ["mic_02", "mic_10"])


def test_the_pixel_size_of_the_session_is_that_of_all(table, qtbot):
    table.model.learn("mic_02", 1.25)
    assert cells(table, PIXEL_SIZE) == ["", "1.25", "", ""]
    with qtbot.waitSignal(table.model.dataChanged):
        table.session.pixel_size = 3.0
    assert cells(table, PIXEL_SIZE) == ["3"] * 4


def test_thousands_of_rows_are_shown_without_their_files(qtbot):
    session = Session()
    session.add_micrographs([f"/nowhere/M{i:05d}.mrc" for i in range(5000)])
    begin = time.perf_counter()
    table = MicrographTable(session)
    qtbot.addWidget(table)
    table.show()
    qtbot.keyClicks(table.search, "m00")
    qtbot.keyClicks(table.search, "77")
    assert cells(table, NAME) == [f"M0077{i}" for i in range(10)]
    click_header(table, NAME, qtbot)
    assert time.perf_counter() - begin < 1.5  # 0.2 s where nothing else runs
    table.disconnect_session()


@pytest.mark.parametrize(
    ("names", "ending"),
    [
        (["a_1_frames_DW", "a_2_frames_DW"], "_frames_DW"),
        (["a_11_DW", "a_21_DW"], "_DW"),
        (["only_one"], ""),
        (["mic_01", "mic_11"], ""),
        (["x", "a.x"], ""),
    ],
)
def test_names_leave_out_what_they_end_with_in_common(names, ending):
    assert shared_ending(names) == ending


# ---------------------------------------------------------------------- display, command, closing


def test_the_display_is_filtered_and_the_file_is_not(micrographs, open_folder, folder, qtbot):
    open_folder(folder)
    image = micrographs.desk.image
    extent, raw = image.extent.world.copy(), image.data.std()
    box = micrographs.display
    box.lowpass.selectAll()
    qtbot.keyClicks(box.lowpass, "50")
    qtbot.keyClick(box.lowpass, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: image.data.std() < 0.5 * raw)
    qtbot.keyClicks(box.bin, "bin 2")
    qtbot.waitUntil(lambda: image.data.shape == (30, 45))
    np.testing.assert_allclose(image.scale, 10.0)
    assert np.abs(image.extent.world - extent).max() <= 5.0  # half a pixel at the borders
    qtbot.keyClick(box.contrast, Qt.Key.Key_Up)
    middle, reach = np.mean(image.contrast_limits), np.ptp(image.contrast_limits) / 2
    qtbot.waitUntil(lambda: np.ptp(image.contrast_limits) / 2 > 1.1 * reach)
    assert np.mean(image.contrast_limits) == pytest.approx(middle)
    np.testing.assert_array_equal(
        micrographs.desk.micrograph.data, mrcfile.read(folder / "mic_01.mrc")
    )


def test_a_closed_dock_leaves_nothing_behind(viewer, micrographs, open_folder, folder, qtbot):
    open_folder(folder)
    viewer.show()
    viewer.window.remove_dock_widget(micrographs)
    qtbot.keyClick(canvas(), Qt.Key.Key_N)
    qtbot.wait(150)
    assert micrographs.session.current == "mic_01"
    micrographs.desk.step(1)
    wait_for(micrographs, "mic_02", qtbot)
    _, again = viewer.window.add_plugin_dock_widget("napari-so3", "Micrographs")
    assert again.table.selected == "mic_02"
    assert again.summary.text() == "0 of 4 picked · 0 picks"
