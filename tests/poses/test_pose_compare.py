"""Poses of two files: which particles are the same, and how far their poses are apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.io.particle_star import write_particles_star
from napari_so3.io.particles import ParticleTable
from napari_so3.poses.compare import CompareError, compare_poses, read_poses
from napari_so3.poses.pairs import PairError, match_particles
from napari_so3.poses.poses import COLUMNS, Poses, matrices_to_angles

N = 30


def _turns(n, seed):
    return Rotation.from_quat(np.random.default_rng(seed).normal(size=(n, 4))).as_matrix()


def _table(frame, matrices=None, name="a.star"):
    return ParticleTable(
        Path(name), "test", pd.DataFrame(frame), matrices, np.zeros((len(frame["x"]), 2))
    )


def _picks(seed=0, micrograph="MotionCorr/m.mrc", n=N):
    xy = np.random.default_rng(seed).permutation(400)[:n]
    return {"x": 50.0 * (xy % 20), "y": 50.0 * (xy // 20), "micrograph": [micrograph] * n}


def test_particles_are_paired_by_micrograph_and_place():
    frame = pd.DataFrame(_picks())
    order = np.random.default_rng(1).permutation(N)
    other = frame.iloc[order].reset_index(drop=True)
    other[["x", "y"]] += 2.0
    other["micrograph"] = "J1/123456789012345678901_m_patch_aligned_doseweighted.mrc"
    pairs = match_particles(_table(frame), _table(other), 5.0)
    assert pairs.by == "positions" and len(pairs) == N
    np.testing.assert_array_equal(order[pairs.second], pairs.first)
    assert len(match_particles(_table(frame), _table(other), 1.0)) == 0
    other["micrograph"] = "another.mrc"
    assert len(match_particles(_table(frame), _table(other), 5.0)) == 0


def test_every_particle_is_paired_once():
    """Two picks near one: the nearer is the same."""
    one = _table({"x": [100.0], "y": [100.0]})
    two = _table({"x": [98.0, 101.0], "y": [100.0, 100.0]})
    for pairs in (match_particles(one, two, 5.0), match_particles(two, one, 5.0)):
        assert len(pairs) == 1
        assert (pairs.first.tolist(), pairs.second.tolist()) in (([0], [1]), ([1], [0]))


def test_particles_without_places_are_paired_by_their_images():
    def images(stack, index):
        empty = np.zeros((len(index), 2))
        return ParticleTable(
            Path("a.star"), "t", pd.DataFrame({"stack": stack, "index": index}), None, empty
        )

    pairs = match_particles(
        images("J/a.mrcs", [0, 1, 2, 5]), images(["K/a.mrcs"] * 2 + ["K/b.mrcs"], [2, 0, 1])
    )
    assert pairs.by == "images"
    assert pairs.first.tolist() == [0, 2] and pairs.second.tolist() == [1, 0]
    with pytest.raises(PairError, match="nothing tells"):
        match_particles(images("a.mrcs", [0]), _table({"x": [1.0], "y": [1.0]}))


def test_errors_are_those_of_the_same_particles():
    matrices, order = _turns(N, 0), np.random.default_rng(1).permutation(N)
    turned = Rotation.from_rotvec([0, 0.1, 0]).as_matrix() @ matrices
    turned[3] = np.nan
    frame = pd.DataFrame(_picks())
    second = _table(frame.iloc[order].reset_index(drop=True), turned[order])
    found = compare_poses(_table(frame, matrices), second)
    np.testing.assert_allclose(found.errors.angles, 0.1, atol=1e-7)
    assert len(found.errors) == N - 1 and found.without == 1 and 3 not in found.pairs.first
    assert list(found.table()) == ["first", "second", "error", "view", "in_plane"]


def test_other_frames_are_aligned_where_asked_for():
    matrices, frame = _turns(N, 0), pd.DataFrame(_picks())
    second = _table(frame, matrices @ _turns(1, 9)[0])
    first = _table(frame, matrices)
    assert compare_poses(first, second, "D7").errors.mean_deg > 20
    aligned = compare_poses(first, second, "D7", align=True)
    assert aligned.errors.mean_deg < 1e-3
    assert any("turned against each other" in sentence for sentence in aligned.sentences())


def test_what_cannot_be_compared_is_said():
    frame = pd.DataFrame(_picks())
    with pytest.raises(CompareError, match=r"a\.star: it holds no poses"):
        compare_poses(_table(frame), _table(frame, _turns(N, 0)))
    far = frame.assign(x=frame["x"] + 20)
    with pytest.raises(CompareError, match="none of their 30 and 30 particles"):
        compare_poses(_table(frame, _turns(N, 0)), _table(far, _turns(N, 0)))


def _write_both(folder):
    """Poses as STAR, and 4 degrees off, of a D7 particle, as a table of napari-so3."""
    matrices, frame = _turns(N, 0), pd.DataFrame(_picks()).assign(score=1.0)
    frame[["rot", "tilt", "psi"]] = matrices_to_angles(matrices)
    write_particles_star(folder / "a.star", {"MotionCorr/m.mrc": frame}, 1.5, 64)
    half_turn = Rotation.from_rotvec([np.pi, 0, 0]).as_matrix()
    off = Rotation.from_rotvec([0, np.radians(4), 0]).as_matrix() @ matrices @ half_turn
    table = pd.DataFrame(0.0, index=range(N), columns=list(COLUMNS))
    table[["x", "y"]] = frame[["x", "y"]]
    table[["rot", "tilt", "psi"]] = matrices_to_angles(off)
    empty = np.zeros((N, 0, 3, 3))
    Poses(table, empty, empty[..., 0, 0], "D7", "elsewhere/m.mrc").write_csv(folder / "m.csv")


def test_the_verb_compares_files(tmp_path):
    _write_both(tmp_path)
    arguments = ["pose", "compare", str(tmp_path / "a.star"), str(tmp_path / "m.csv")]
    ran = CliRunner().invoke(app, [*arguments, "-s", "D7", "-o", str(tmp_path / "errors.csv")])
    assert ran.exit_code == 0, ran.output
    assert "30 particles are in both" in ran.output and "median error 4.0°" in ran.output
    assert "100% within 5°" in ran.output and "random poses" in ran.output
    errors = pd.read_csv(tmp_path / "errors.csv")
    np.testing.assert_allclose(errors["error"], 4.0, atol=0.01)
    ran = CliRunner().invoke(app, arguments)  # without the symmetry, half a turn is wrong
    assert "0% within 5°" in ran.output


def test_the_verb_says_what_is_wrong(tmp_path):
    _write_both(tmp_path)
    files = [str(tmp_path / "a.star"), str(tmp_path / "m.csv")]
    for arguments, says in (
        ([files[0], str(tmp_path / "none.star")], "cannot be opened"),
        ([*files, "-s", "X"], "a symmetry is"),
        ([*files, "-o", str(tmp_path / "no/where.csv")], "cannot be written"),
    ):
        ran = CliRunner().invoke(app, ["pose", "compare", *arguments])
        assert ran.exit_code == 2 and says in ran.output, ran.output


def test_a_folder_of_poses_is_one_table(tmp_path):
    _write_both(tmp_path)
    (tmp_path / "n.csv").write_bytes((tmp_path / "m.csv").read_bytes().replace(b"m.mrc", b"n.mrc"))
    table = pd.read_csv(tmp_path / "m.csv", skiprows=1).assign(dx=6.0, dy=-3.0)
    head = (tmp_path / "m.csv").read_text().splitlines()[0]
    (tmp_path / "m.csv").write_text(f"{head}\n{table.to_csv(index=False)}")
    found = read_poses(tmp_path)
    assert len(found) == 2 * N and found.table["micrograph"].nunique() == 2
    np.testing.assert_array_equal(found.origins[0], [3.0, -6.0])  # RELION's sign; y, x
    assert not found.origins[N:].any()
    (tmp_path / "empty").mkdir()
    with pytest.raises(CompareError, match="no poses"):
        read_poses(tmp_path / "empty")
