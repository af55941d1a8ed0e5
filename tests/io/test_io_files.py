import os
import shutil
import stat

import pytest

from napari_so3.io.files import atomic_path, remove_leftovers, shown_path


def test_replaces_the_file_when_the_block_ends(tmp_path):
    path = tmp_path / "picks.star"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".") and temporary.suffix == ".star"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_leaves_the_old_file_alone_on_error(tmp_path, error):
    path = tmp_path / "picks.star"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_writes_through_a_symbolic_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with atomic_path(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="nowhere"),
        atomic_path(tmp_path / "nowhere" / "a.star"),
    ):
        pass


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "data.csv").write_text("x")
    (tmp_path / ".hidden.csv").write_text("x")
    with atomic_path(tmp_path / "data.csv") as temporary:
        temporary.write_text("half")
        shutil.copy(temporary, kept := temporary.with_suffix(".star"))
    remove_leftovers(tmp_path)
    assert not kept.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden.csv", "data.csv"]


def test_paths_are_shown_relative_to_the_project_inside_it_only(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert shown_path(tmp_path / "project/Micrographs/m.mrc") == os.path.join(
        "Micrographs", "m.mrc"
    )
    assert shown_path(tmp_path / "projects/m.mrc") == str(tmp_path / "projects/m.mrc")
