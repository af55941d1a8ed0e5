import gc
import json
import weakref
from pathlib import Path

import pytest

from napari_so3.session.journal import FILE, SessionError
from napari_so3.session.marks import Marks, make_area
from napari_so3.session.pool import Candidates
from napari_so3.session.state import Session, session_of


def session_folder(session):
    """Where the session of the fixture is kept, also when it is closed."""
    return session.paths["m0"].parent / "napari-so3"


class _Viewer:
    """Stands for a napari viewer, which can be weakly referenced and hashed."""


class _Proxy:
    """Stands for the proxy that napari hands to plugins."""

    def __init__(self, viewer):
        self.__wrapped__ = viewer


def test_all_docks_of_a_viewer_share_a_session():
    viewer = _Viewer()
    session = session_of(viewer, diameter=90.0)
    assert session.diameter == 90.0
    assert session_of(viewer, diameter=120.0) is session
    assert session_of(_Proxy(viewer)) is session
    assert session.diameter == 90.0


def test_a_session_made_through_a_proxy_outlives_it():
    viewer = _Viewer()
    proxy = _Proxy(viewer)
    session = session_of(proxy)
    del proxy
    gc.collect()
    assert session_of(viewer) is session


def test_viewers_do_not_share_a_session():
    first, second = _Viewer(), _Viewer()
    session_of(first).diameter = 80.0
    assert session_of(second).diameter == Session().diameter


def test_a_session_dies_with_its_viewer():
    viewer = _Viewer()
    session = weakref.ref(session_of(viewer))
    del viewer
    gc.collect()
    assert session() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "other"), ("diameter", 99.0), ("threshold", 1.5), ("device", "cpu")],
)
def test_every_change_is_told_once(name, value):
    session, heard = Session(), []
    getattr(session.events, name).connect(heard.append)
    setattr(session, name, value)
    setattr(session, name, value)
    assert heard == [value]


# ---------------------------------------------------------------------- the file


def everything(session):
    """All that a session holds, to be compared."""
    return (
        session.model_dump(),
        dict(session.paths),
        {name: marks for name, marks in session.marks.all.items() if marks != Marks()},
        dict(session.overrides),
        dict(session.failed),
    )


def reopen(session):
    folder = session.folder
    session.close()
    again = Session()
    again.open(folder)
    return again


def test_a_session_comes_back_as_it_was(session):
    session.model, session.threshold, session.hidden_views = "other", 1.25, (1, 2)
    session.rotations = (8, 12)
    session.pixel_size, session.current, session.run = 1.5, "m3", "general-123456-40A"
    session.marks.mark("m1", "positive", [[1, 2], [30, 40.123]], near=3)
    session.marks.mark("m1", "negative", [[5, 6]], near=3)
    session.marks.undo()
    session.marks.set_areas("m2", [make_area([[0, 0], [0, 9], [9, 9]])])
    session.marks.set_complete("m2", True)
    session.override("m0", 3.0)
    session.override("m4", 1.0)
    session.override("m4", None)
    session.fail("m2", "m2.mrc: broken.")
    before = everything(session)
    again = reopen(session)
    before[0]["folder"] = again.folder  # a session that is closed is not kept
    assert everything(again) == before
    twice = reopen(again)  # the file was written anew, and is shorter
    assert everything(twice) == before
    twice.close()


@pytest.mark.parametrize("missing", [("rotations",), ("pose_model", "pose_run")])
def test_a_session_from_before_a_setting_existed_has_its_default(session, missing):
    session.diameter = 55.0
    file, folder = session.folder / FILE, session.folder
    session.close()
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(name in str(records) for name in missing)
    for record in records:
        for name in missing:
            record.get("set", {}).pop(name, None)
    assert not any(name in str(records) for name in missing)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    again = Session()
    again.open(folder)
    assert again.diameter == 55.0
    assert all(getattr(again, name) == getattr(Session(), name) for name in missing)
    assert len(again.poses) == 0 and again.poses.folder is None
    again.pose_model, again.pose_run = "barrel", "barrel-123456-55A"
    twice = reopen(again)
    assert (twice.pose_model, twice.pose_run) == ("barrel", "barrel-123456-55A")
    twice.close()


@pytest.mark.parametrize("bad", [[0, 8], [8], "8x8", [8.5, 8]])
def test_rotations_that_make_no_sense_are_refused(session, bad):
    file, folder = session.folder / FILE, session.folder
    session.close()
    with file.open("a") as end:
        end.write(json.dumps({"set": {"rotations": bad}}) + "\n")
    with pytest.raises(SessionError, match="a setting cannot be used"):
        Session.look_at(folder)


def test_the_file_says_in_plain_words_what_was_done(session):
    session.marks.mark("m1", "positive", [[100.5, 200.25]], near=3)
    last = (session.folder / FILE).read_text().splitlines()[-1]
    assert json.loads(last) == {"edit": "m1", "add": [["positive", 100.5, 200.25]]}


def test_data_and_session_can_be_moved_together(session, tmp_path):
    session.marks.mark("m1", "positive", [[1, 2]], near=3)
    session.close()
    (tmp_path / "mics").rename(tmp_path / "elsewhere")
    moved = Session()
    moved.open(tmp_path / "elsewhere" / "napari-so3")
    assert moved.paths["m1"] == tmp_path / "elsewhere" / "m1.mrc"
    moved.close()


def test_two_cannot_have_it_open(session):
    with pytest.raises(SessionError, match="open in another napari"):
        Session().open(session.folder)
    seen = Session.look_at(session.folder)  # but one may look
    assert seen.names == session.names
    seen.diameter = 77.0
    assert Session.look_at(session.folder).diameter == session.diameter


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_left_out(session, cut):
    session.marks.mark("m1", "positive", [[1, 2]], near=3)
    before = everything(session)
    session.marks.mark("m1", "negative", [[100, 100]], near=3)
    file, folder = session.folder / FILE, session.folder
    session.close()
    whole = file.read_bytes()
    last = len(whole) - whole[:-1].rfind(b"\n") - 1
    file.write_bytes(whole[: -min(cut, last)])
    again = Session()
    again.open(folder)
    assert everything(again)[1:] == before[1:]
    again.marks.mark("m2", "positive", [[7, 8]], near=3)  # and one can go on
    third = reopen(again)
    assert third.marks.of("m2").count("positive") == 1
    third.close()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"format": "napari-so3 session", "version": 99}', "later napari-so3"),
        ('{"format": "something else"}', "not a session"),
        ("no json", "line 1 is damaged"),
        ("", "line 1 is damaged"),
    ],
)
def test_what_is_no_session_is_refused_in_one_sentence(session, line, says):
    session.close()
    folder = session_folder(session)
    text = (folder / FILE).read_text().split("\n", 1)[1]
    (folder / FILE).write_text(line + "\n" + text)
    other = Session()
    with pytest.raises(SessionError, match=says) as error:
        other.open(folder)
    assert FILE in str(error.value) and "\n" not in str(error.value)
    assert other.names == () and (folder / FILE).read_text().startswith(line)


@pytest.mark.parametrize(
    "line",
    ['{"edit": "m1", "add": [["maybe", 1, 2]]}', '{"edit": "m1", "add": 3}', '{"micrographs": 1}'],
)
def test_a_line_that_makes_no_sense_is_named(session, line):
    session.close()
    file = session_folder(session) / FILE
    before = file.read_text()
    file.write_text(before + line + "\n")
    with pytest.raises(
        SessionError, match=f"line {before.count(chr(10)) + 1} cannot be understood"
    ):
        Session().open(file.parent)


def test_a_setting_of_the_wrong_kind_is_named(session):
    session.close()
    file = session_folder(session) / FILE
    file.write_text(file.read_text() + '{"set": {"diameter": "wide"}}\n')
    with pytest.raises(SessionError, match="diameter"):
        Session().open(file.parent)


def test_lines_that_a_later_version_added_are_left_alone(session):
    session.close()
    file = session_folder(session) / FILE
    file.write_text(file.read_text() + '{"pose": "m1"}\n{"set": {"colour": "red"}}\n')
    again = Session()
    again.open(file.parent)
    assert len(again.names) == 5
    again.close()


def test_micrographs_of_one_name_are_not_mixed_up(session, tmp_path):
    other = tmp_path / "other" / "m1.mrc"
    assert session.add_micrographs([other, tmp_path / "mics" / "m1.mrc"]) == [other]
    assert len(session.names) == 5


def test_a_folder_that_holds_a_session_is_not_written_over(session):
    with pytest.raises(SessionError, match="exists"):
        Session().save_in(session.folder)


def test_a_file_that_cannot_be_written_is_told(session, monkeypatch):
    told = []
    session.signals.problem.connect(told.append)
    session.close()
    session.open(session_folder(session))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    session.marks.mark("m1", "positive", [[1, 2]], near=3)
    assert len(told) == 1 and "No space left" in told[0]
    assert session.marks.of("m1").count("positive") == 1


def test_a_new_run_has_no_old_candidates(session, write_run, make_picks):
    session.set_run("one")
    session.pool.put("m1", Candidates.of(make_picks()))
    session.fail("m2", "broken")
    session.override("m1", 2.0)
    session.set_run("one")
    assert "m1" in session.pool and session.overrides
    session.set_run("two")
    assert "m1" not in session.pool and not session.failed and not session.overrides
