import mrcfile
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.io.coordinates import WRITERS, read_coordinate_file, read_coordinate_folder
from napari_so3.io.names import bare_name
from napari_so3.io.particle_images import read_particle_images
from napari_so3.io.particles import read_particles
from napari_so3.poses.poses import COLUMNS, Poses
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
def posed(picked):
    """Poses of all picks of m0 but the last, and of none of the others."""
    picked.pose_run = "demo-150A"
    points = picks_table(picked, "m0")[["y", "x"]].to_numpy()[:-1]
    n = len(points)
    table = pd.DataFrame(0.0, index=range(n), columns=list(COLUMNS))
    table[["y", "x"]] = points
    table["rot"], table["tilt"], table["psi"] = np.arange(n), 60.0, np.arange(n) - 90.0
    table["confidence"] = np.linspace(1.0, 0.5, n)
    table["dy"], table["dx"] = 3.0, -5.0
    picked.poses.write("m0", Poses(table, np.zeros((n, 0, 3, 3)), np.zeros((n, 0)), "D7"))
    return picked


def test_poses_are_written_only_when_asked(posed, tmp_path):
    list(export(posed, tmp_path / "plain.star", "particles"))
    assert read_particles(tmp_path / "plain.star").matrices is None
    *_, done = export(posed, tmp_path / "posed.star", "particles", poses=True)
    total = sum(len(t) for n in posed.names if (t := picks_table(posed, n)) is not None)
    expected = posed.poses.get("m0")
    assert (done.picks, done.without_pose) == (len(expected), total - len(expected))
    found = read_particles(tmp_path / "posed.star")
    np.testing.assert_allclose(found.matrices, expected.matrices, atol=1e-5)
    np.testing.assert_allclose(found.origins, [[-3.0, 5.0]] * len(expected))  # RELION's sign
    np.testing.assert_allclose(found.table[["y", "x"]], expected.table[["y", "x"]], atol=1e-3)
    text = (tmp_path / "posed.star").read_text()
    assert "_rlnParticleFigureOfMerit" in text and "_rlnAutopickFigureOfMerit" in text


def test_boxes_are_cut_when_asked_and_shifts_lead_from_their_middle(posed, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("m0", "m1", "m2", "m4"):
        image = rng.normal(size=(400, 600)).astype(np.float32)
        with mrcfile.new(posed.paths[name], overwrite=True) as mrc:
            mrc.set_data(image)
            mrc.voxel_size = 2.0
    *_, done = export(posed, tmp_path / "p.star", "particles", box=16, images=True)
    found = read_particles(tmp_path / "p.star")
    assert len(found.table) == done.picks and done.without_pose == 0
    images = read_particle_images(found)
    assert images.shape == (done.picks, 16, 16)
    points = found.table[["y", "x"]].to_numpy()
    np.testing.assert_array_equal(points, np.trunc(points))
    centres = points - found.origins / 2.0
    expected = np.concatenate(
        [t[["y", "x"]] for n in posed.names if (t := picks_table(posed, n)) is not None]
    )
    np.testing.assert_allclose(centres, expected, atol=2e-3)
    row = int(np.argmax(((points > 20) & (points < 300)).all(axis=1)))
    with mrcfile.open(posed.paths[bare_name(found.table["micrograph"][row])]) as mrc:
        y, x = points[row].astype(int)
        cut = mrc.data[y - 8 : y + 8, x - 8 : x + 8]
    assert np.corrcoef(images[row].ravel(), cut.ravel())[0, 1] < -0.9  # particles turn bright
    *_, done = export(posed, tmp_path / "q.star", "particles", box=16, poses=True, images=True)
    both = read_particles(tmp_path / "q.star")
    shown = both.table[["y", "x"]].to_numpy() - both.origins / 2.0
    wanted = posed.poses.get("m0").table
    np.testing.assert_allclose(shown[:, 0], wanted["y"] + 3.0 / 2.0, atol=2e-3)
    np.testing.assert_allclose(shown[:, 1], wanted["x"] - 5.0 / 2.0, atol=2e-3)


def test_poses_that_cannot_be_written_are_refused(picked, posed, tmp_path):
    with pytest.raises(SessionError, match="particles holds poses"):
        list(export(posed, tmp_path / "out", "star", poses=True))
    posed.pose_run = "other"
    with pytest.raises(SessionError, match="None of the picks has a pose"):
        list(export(posed, tmp_path / "p.star", "particles", poses=True))
    assert not (tmp_path / "p.star").exists()


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


def test_the_command_writes_poses_and_says_what_has_none(posed, tmp_path, run):
    result = run(
        *("export", posed.folder, "--to", "particles", "--poses", "-o", tmp_path / "p.star")
    )
    assert result.exit_code == 0, result.output
    n = len(posed.poses.get("m0"))
    assert f"Wrote {n} picks" in result.output and "without a pose, left out" in result.output
    assert len(read_particles(tmp_path / "p.star").matrices) == n


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
