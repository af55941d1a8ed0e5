import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.io.coordinates import WRITERS, read_coordinate_file, read_coordinate_folder
from napari_so3.io.names import bare_name
from napari_so3.session.export import Exported, count_by_hand, export, picks_table, read_candidates
from napari_so3.session.journal import SessionError
from napari_so3.session.marks import make_area

DIGITS = {"box": 0, "topaz": 0}  # decimals that a format keeps, if not three


@pytest.fixture
def picked(session, write_run):
    """Three of five micrographs are picked, with all that decides what is a pick."""
    write_run(3)
    session.set_run("run")
    session.threshold = 0.5
    session.override("m1", 2.0)
    session.margin = 20.0
    assert not read_candidates(session)
    best = session.pool.get("m0")
    session.marks.mark("m0", "negative", [[best.y[0], best.x[0]]], near=3)
    session.marks.mark("m0", "positive", [[best.y[-1], best.x[-1]], [-7.5, 3.25]], near=3)
    session.marks.mark("m4", "positive", [[20, 30]], near=3)
    session.marks.set_areas("m2", [make_area([[0, 0], [0, 300], [400, 300], [400, 0]])])
    return session


def by_micrograph(path):
    """Read what was written: sorted points of each micrograph."""
    files = read_coordinate_folder(path) if path.is_dir() else [read_coordinate_file(path)]
    found = {}
    for file in files:
        names = file.table.get("micrograph", pd.Series([file.path.name] * len(file.table)))
        for name, part in file.table.groupby(names.map(bare_name)):
            found[name] = np.sort(part[["x", "y"]].to_numpy(), axis=0)
    return found


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("by_hand", [True, False])
def test_exactly_the_picks_are_written_in_every_format(picked, tmp_path, form, by_hand):
    *_, done = export(picked, tmp_path / f"out.{form}", form, by_hand=by_hand)
    assert isinstance(done, Exported)
    expected = {}
    for name in picked.names:
        table = picks_table(picked, name, by_hand)
        if table is not None and len(table):
            expected[name] = np.sort(table[["x", "y"]].to_numpy(), axis=0)
    found = by_micrograph(tmp_path / f"out.{form}")
    assert sorted(found) == sorted(expected) and len(found) == (4 if by_hand else 3)
    for name, points in expected.items():
        atol = 0.501 if form in ("box", "topaz") else 1e-3
        np.testing.assert_allclose(found[name], points, atol=atol)
    assert done.picks == sum(map(len, expected.values()))
    assert done.by_hand == (2 if by_hand else 0) and count_by_hand(picked) == 2


def test_the_table_holds_what_is_shown_and_what_was_marked(picked):
    candidates, shown = picked.picks_of("m0")
    assert not shown[0] and shown[-1]  # as the labels say
    table = picks_table(picked, "m0")
    assert len(table) == shown.sum() + 1
    np.testing.assert_allclose(table["y"][:-1], candidates.y[shown], atol=1e-3)
    assert table.iloc[-1][["y", "x"]].tolist() == [-7.5, 3.25] and np.isnan(table["score"].iloc[-1])
    assert picks_table(picked, "m3") is None


def test_nothing_to_export_is_said(session, tmp_path):
    with pytest.raises(SessionError, match="no picks to export"):
        list(export(session, tmp_path / "out", "star"))
    assert not (tmp_path / "out").exists()


def test_boxes_need_one_pixel_size_and_coordinates_none(picked, tmp_path):
    from dataclasses import replace

    picked.pool.put("m0", replace(picked.pool.get("m0"), pixel_size=3.0))
    with pytest.raises(SessionError, match="different pixel sizes"):
        list(export(picked, tmp_path / "out", "box"))
    *_, done = export(picked, tmp_path / "out", "star")
    assert done.micrographs == 4


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *args: CliRunner().invoke(app, [str(a) for a in args])


def test_the_command_writes_what_napari_shows(picked, tmp_path, run):
    result = run("export", picked.folder, "--to", "particles", "-o", tmp_path / "p.star")
    assert result.exit_code == 0, result.output
    total = sum(len(t) for n in picked.names if (t := picks_table(picked, n)) is not None)
    assert f"Wrote {total} picks, 2 of them marked by hand in 4 micrographs" in result.output
    assert len(read_coordinate_file(tmp_path / "p.star").table) == total


def test_the_command_lists_the_session_while_it_is_open(picked, run):
    picked.fail("m3", "m3.mrc: broken.")
    result = run("session", picked.folder.parent)
    assert result.exit_code == 0, result.output
    rows = {line.split()[1]: line for line in result.output.splitlines() if "│ m" in line}
    for name in picked.names:
        found = picked.picks_of(name)
        if found is not None:
            assert f" {found[1].sum()} " in rows[name] and "picked" in rows[name]
    assert "m3.mrc: broken." in rows["m3"] and "+2 -1" in rows["m0"]
    assert "5 micrographs, 3 picked" in result.output


def test_a_folder_without_a_session_is_refused(tmp_path, run):
    result = run("session", tmp_path)
    assert result.exit_code == 2 and "there is no session in it" in result.stderr
