import pytest

from napari_so3.session import folders
from napari_so3.session.folders import (
    REMEMBERED,
    begin_session,
    find_session,
    recent_sessions,
    remember_session,
)
from napari_so3.session.journal import SessionError
from napari_so3.session.state import Session


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    folder = tmp_path / "state" / "napari-so3"
    monkeypatch.setattr(folders, "user_state_path", lambda *_, **__: folder)
    return folder


def begin(folder, *names, **fields):
    begin_session(folder / "napari-so3", [folder / name for name in names], fields)
    return folder / "napari-so3"


def test_a_session_is_found_from_its_micrographs_and_by_itself(tmp_path):
    assert find_session(tmp_path) is None
    folder = begin(tmp_path, "a.mrc")
    assert find_session(tmp_path) == find_session(folder) == folder


def test_a_new_session_can_be_opened(tmp_path):
    folder = begin(tmp_path, "a.mrc", "b.mrc", diameter=90.0)
    session = Session()
    session.open(folder)
    assert session.names == ("a", "b")
    assert session.diameter == 90.0
    session.close()


def test_micrographs_of_one_name_are_told(tmp_path):
    files = [tmp_path / "a.mrc", tmp_path / "a.tif"]
    assert begin_session(tmp_path / "session", files, {}) == files[1:]


def test_a_session_is_never_replaced_by_a_new_one(tmp_path):
    begin(tmp_path, "a.mrc")
    with pytest.raises(SessionError, match="exists"):
        begin(tmp_path, "b.mrc")


def test_sessions_are_remembered_latest_first_and_once(tmp_path):
    made = [begin(tmp_path / name, "a.mrc") for name in "abc"]
    for folder in (*made, made[1]):
        listed = remember_session(folder)
    assert listed == recent_sessions() == [made[1], made[2], made[0]]


def test_sessions_that_are_gone_are_forgotten(tmp_path):
    made = [begin(tmp_path / name, "a.mrc") for name in "ab"]
    for folder in made:
        remember_session(folder)
    (made[1] / "session.jsonl").unlink()
    assert recent_sessions() == [made[0]]


def test_only_so_many_are_remembered(tmp_path):
    for i in range(REMEMBERED + 2):
        remember_session(begin(tmp_path / str(i), "a.mrc"))
    assert len(recent_sessions()) == REMEMBERED


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", "no json"])
def test_a_damaged_list_is_an_empty_one(state, tmp_path, content):
    state.mkdir(parents=True)
    (state / "sessions.json").write_text(content)
    assert recent_sessions() == []
    folder = begin(tmp_path, "a.mrc")
    assert remember_session(folder) == recent_sessions() == [folder]


def test_a_list_that_cannot_be_kept_harms_nobody(state, tmp_path):
    state.parent.mkdir(parents=True)
    state.write_text("a file where the folder should be")
    folder = begin(tmp_path, "a.mrc")
    assert remember_session(folder) == [folder]
