"""napari-so3 pose, as a user types it."""

import mrcfile
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.io.micrographs import read_micrograph
from napari_so3.io.particle_images import read_particle_images
from napari_so3.io.particle_star import write_particles_star
from napari_so3.io.particles import read_particles
from napari_so3.io.star import write_picks_star
from napari_so3.poses.estimate import PoseSettings, estimate_poses
from napari_so3.poses.estimator import PoseEstimator, load_estimator
from napari_so3.poses.poses import Poses, matrices_to_angles
from napari_so3.so3.pose_networks import PoseConfig, PoseNet
from napari_so3.so3.rotations import RotationGrid

PLACES = np.array([[30.25, 40.5], [50.0, 90.75], [70.5, 30.0]])
SCORES = np.array([3.0, 2.0, 1.0])


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small pose network with random weights."""
    torch.manual_seed(3)
    config = PoseConfig("so3", 2, (5, 3, 3), grid=RotationGrid(4, 4), hidden=4)
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    PoseEstimator(PoseNet(config).eval(), "tiny", 10.0, 100.0).save(path)
    return path


@pytest.fixture
def picked(tmp_path, noise_mrc, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a", "b", "empty")):
        noise_mrc(f"mics/{name}.mrc", seed=seed)
    (tmp_path / "picks").mkdir()
    for name in ("a", "b", "lost"):
        path = tmp_path / f"picks/{name}_autopick.star"
        write_picks_star(path, f"mics/{name}.mrc", PLACES[:, 1], PLACES[:, 0], SCORES)
    return tmp_path


def estimate(picked, model, *more, code=0):
    return run(
        *("pose", "estimate", picked / "mics", "--picks", picked / "picks", "--model", model),
        *("-o", picked / "out" / "p.star", "--device", "cpu", *more),
        code=code,
    )


def test_estimated_poses_are_written_for_the_picks_of_the_micrographs(picked, model):
    text = estimate(picked, model)
    assert "2 of 3 micrographs matched; 1 without picks (empty.mrc)" in text
    assert "1 name of picks matches nothing (lost)" in text
    assert "6 particles: " in text and "median" in text
    found = read_particles(picked / "out" / "p.star")
    assert list(found.table["micrograph"]) == ["mics/a.mrc"] * 3 + ["mics/b.mrc"] * 3
    np.testing.assert_allclose(found.table[["y", "x"]], np.tile(PLACES, (2, 1)), atol=1e-5)
    np.testing.assert_allclose(found.table["score"], np.tile(SCORES, 2), atol=1e-5)
    micrograph = read_micrograph(picked / "mics" / "b.mrc")
    *_, poses = estimate_poses(micrograph, PLACES, load_estimator(model), PoseSettings(100.0))
    assert isinstance(poses, Poses)
    np.testing.assert_allclose(found.matrices[3:], poses.matrices, atol=1e-5)


def test_phases_are_flipped_for_a_defocus_and_boxes_are_cut(picked, model):
    estimate(picked, model)
    before = read_particles(picked / "out" / "p.star").matrices
    assert "defocus 30000 Å" in estimate(picked, model, "--defocus", 30000, "--boxes", 24)
    found = read_particles(picked / "out" / "p.star")
    assert not np.allclose(found.matrices, before, atol=1e-3)
    images = read_particle_images(found)
    assert images.shape == (6, 24, 24)
    with mrcfile.open(picked / "mics" / "a.mrc") as mrc:
        y, x = np.trunc(PLACES[1]).astype(int)
        cut = mrc.data[y - 12 : y + 12, x - 12 : x + 12]
    assert np.corrcoef(images[1].ravel(), cut.ravel())[0, 1] < -0.95
    text = estimate(picked, model, "--defocus", "auto")
    assert "a.mrc: no rings are seen, so its phases are not flipped" in text


def test_what_cannot_be_read_is_told_and_does_not_stop_the_others(picked, model):
    (picked / "mics" / "a.mrc").write_bytes(b"torn")
    text = estimate(picked, model, code=1)
    assert "Not estimated: a.mrc" in text and "3 particles: " in text
    assert len(read_particles(picked / "out" / "p.star")) == 3


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--defocus", "far"), "give Å under focus"),
        (("--refine",), "no map to refine against"),
        (("--picks", "nowhere"), "there is no such file or folder"),
        (("--model", "nothing.safetensors"), "no such pose model"),
    ],
)
def test_mistakes_are_sentences(picked, model, more, sentence):
    assert sentence in estimate(picked, model, *more, code=2)
    assert not (picked / "out" / "p.star").exists()


def test_picks_of_other_micrographs_are_refused(picked, model):
    for name in ("a", "b"):
        (picked / "mics" / f"{name}.mrc").unlink()
    assert "belong to none of the micrographs" in estimate(picked, model, code=2)


def particles(path, matrices):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(0, 100, (len(matrices), 2)), columns=["x", "y"])
    table["score"] = 0.0
    table[["rot", "tilt", "psi"]] = matrices_to_angles(matrices)
    write_particles_star(path, {"m.mrc": table}, 2.0, 64)
    return path


def test_preferred_views_are_told_and_drawn(tmp_path):
    rng = np.random.default_rng(1)
    angles = np.column_stack([rng.uniform(0, 360, (600, 2)), rng.uniform(0, 360, 600)])
    angles[:, 1] = 90 + rng.normal(0, 8, 600)
    side = Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix()
    text = run(
        *("pose", "views", particles(tmp_path / "side.star", side), "--symmetry", "D7"),
        *("-o", tmp_path / "views.png"),
    )
    assert "Views are uneven" in text and "side views" in text
    assert (tmp_path / "views.png").read_bytes()[:4] == b"\x89PNG"
    even = particles(tmp_path / "even.star", Rotation.random(600, rng).as_matrix())
    assert "No sign of preferred views" in run("pose", "views", even, "--symmetry", "D7")


def test_views_need_poses_and_a_group_that_exists(tmp_path):
    write_picks_star(tmp_path / "p.star", "m.mrc", PLACES[:, 1], PLACES[:, 0], SCORES)
    assert "have no poses" in run("pose", "views", tmp_path / "p.star", code=2)
    star = particles(tmp_path / "q.star", Rotation.random(5, 0).as_matrix())
    assert "a symmetry is C1" in run("pose", "views", star, "--symmetry", "Q2", code=2)


def test_a_wrong_group_is_told_before_the_map_is_read(tmp_path):
    text = run("pose", "train", tmp_path / "nowhere.mrc", "--symmetry", "D1", code=2)
    assert "a symmetry is C1" in text
