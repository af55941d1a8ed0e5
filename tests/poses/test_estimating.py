"""From a micrograph and picks to poses: crops, comparison with the map, refinement, the table."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_so3.io.micrographs import Micrograph
from napari_so3.io.models import ModelFileError
from napari_so3.picking.preprocess import WorkingImage, preprocess
from napari_so3.poses.cutting import particle_images, standardise
from napari_so3.poses.estimate import PoseError, PoseSettings, Progress, estimate_poses
from napari_so3.poses.estimator import PoseEstimator, load_estimator
from napari_so3.poses.poses import Poses, PosesError, angles_to_matrices, matrices_to_angles
from napari_so3.poses.reference import Reference
from napari_so3.poses.refine import compare, refine
from napari_so3.simulation.ctf import CTF, flip_phases
from napari_so3.simulation.density import random_protein
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.simulation.volume import rasterise
from napari_so3.so3.pose_networks import PoseConfig, PoseNet
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix, random_rotations

DIAMETER, PIXELS, BOX = 160.0, 24.0, 33
SIMULATION = SimulationConfig(
    shape=(260, 300), pixel_size=5.0, n_particles=14, snr=3.0, ctf=CTF(), structure=0.2
)


@pytest.fixture(scope="module")
def density():
    return rasterise(random_protein(torch.Generator().manual_seed(4), DIAMETER), 4.0, "protein")


@pytest.fixture(scope="module")
def reference(density):
    return Reference.of(density, DIAMETER / PIXELS, DIAMETER)


@pytest.fixture(scope="module")
def scene(density):
    made = simulate_micrograph(density, SIMULATION, torch.Generator().manual_seed(1))
    inside = made.truth[
        made.truth["y"].between(30, 230) & made.truth["x"].between(30, 270)
    ].reset_index(drop=True)
    return replace(made, truth=inside)


@pytest.fixture(scope="module")
def estimator(reference):
    torch.manual_seed(2)
    config = PoseConfig(channels=2, grid=RotationGrid(6, 8), hidden=8)
    net = PoseNet(config).eval()
    with torch.no_grad():
        net.head.weight2.normal_()
    return PoseEstimator(net, "tiny", PIXELS, DIAMETER, reference=reference)


def micrograph(made, image=None):
    return Micrograph(
        Path("made.mrc"), made.image if image is None else image, made.pixel_size, "given"
    )


def points(made):
    return made.truth[["y", "x"]].to_numpy()


def true_poses(made):
    return euler_to_matrix(*made.truth[["rot", "tilt", "psi"]].to_numpy().T).numpy()


def crops(made, margin):
    working = preprocess(made.image, made.pixel_size, DIAMETER, DIAMETER / PIXELS)
    return particle_images(working, points(made), BOX + 2 * margin)


def degrees(a, b):
    return np.degrees((Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude())


def run(*arguments):
    *progress, poses = estimate_poses(*arguments)
    assert all(isinstance(p, Progress) for p in progress)
    return poses


def test_crops_are_cut_where_they_are_wanted():
    image = torch.arange(60.0)[:, None] * 100 + torch.arange(80.0)
    working = WorkingImage(image, (2.0, 2.0), (4.0, 4.0))
    cut = particle_images(working, np.array([[40.0, 60.0], [41.0, 60.0]]), 5)
    torch.testing.assert_close(cut[0, 0], image[18:23, 28:33], atol=1e-2, rtol=0)
    torch.testing.assert_close(cut[1, 0], image[18:23, 28:33] + 50, atol=1e-2, rtol=0)
    assert particle_images(working, np.zeros((0, 2)), 5).shape == (0, 1, 5, 5)


def test_standardised_crops_do_not_depend_on_contrast():
    images = torch.randn(4, 1, 9, 9)
    torch.testing.assert_close(standardise(3 * images + 7), standardise(images))
    assert float(standardise(torch.full((1, 1, 9, 9), 5.0)).abs().max()) == 0.0


def test_particles_match_the_map_at_their_poses(scene, reference):
    cut = crops(scene, 3)
    right = compare(cut, true_poses(scene), reference, 3, None)
    wrong = compare(cut, true_poses(scene).transpose(0, 2, 1).copy(), reference, 3, None)
    mirrored = compare(cut.flip(2), true_poses(scene), reference, 3, None)
    assert right.correlation.min() > 0.75
    assert np.mean(wrong.correlation < right.correlation - 0.1) > 0.7
    assert np.mean(mirrored.correlation < right.correlation - 0.1) > 0.7
    assert np.abs(right.shift).max() < 0.7


def test_a_shift_is_found(scene, reference):
    working = preprocess(scene.image, scene.pixel_size, DIAMETER, DIAMETER / PIXELS)
    off = np.array([2.0, -1.5])  # working pixels
    moved = points(scene) + off * working.scale
    found = compare(particle_images(working, moved, BOX + 6), true_poses(scene), reference, 3, None)
    np.testing.assert_allclose(np.median(found.shift, axis=0), -off, atol=0.3)


def test_refinement_climbs_to_the_truth(scene, reference):
    true = true_poses(scene)
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(len(true), 3))
    axes *= np.radians(9.0) / np.linalg.norm(axes, axis=1, keepdims=True)
    near = Rotation.from_rotvec(axes).as_matrix() @ true
    far = random_rotations(len(true)).numpy()
    alternatives = np.stack((far, near), axis=1)
    shares = np.tile([0.6, 0.3], (len(true), 1))
    poses, chosen, fit = refine(crops(scene, 3), alternatives, shares, reference, 3, None)
    assert np.mean(chosen == 1) > 0.8
    after = degrees(poses, true)
    assert np.median(after) < 4.0 and np.mean(after < 9.0) > 0.8
    assert fit.correlation.min() > 0.7


def test_the_micrograph_turned_turns_the_poses(density, estimator):
    # at the working pixel size nothing is resampled, and quarter turns are exact
    config = replace(SIMULATION, shape=(221, 261), pixel_size=DIAMETER / PIXELS)
    made = simulate_micrograph(density, config, torch.Generator().manual_seed(6))
    before = run(micrograph(made), points(made), estimator, PoseSettings())
    turned = np.ascontiguousarray(np.rot90(made.image, -1))
    places = np.column_stack((points(made)[:, 1], len(made.image) - 1 - points(made)[:, 0]))
    after = run(micrograph(made, turned), places, estimator, PoseSettings())
    quarter = euler_to_matrix(0, 0, -90).numpy()
    agree = degrees(quarter @ before.matrices, after.matrices)
    assert np.median(agree) < 1.0
    np.testing.assert_allclose(after.table["confidence"], before.table["confidence"], atol=0.05)


def test_the_table_is_in_the_order_of_the_picks(scene, estimator):
    poses = run(micrograph(scene), points(scene), estimator, PoseSettings(top=3))
    np.testing.assert_array_equal(poses.table[["y", "x"]].to_numpy(), points(scene))
    assert poses.alternatives.shape == (len(poses), 3, 3, 3)
    assert poses.table["confidence"].between(0, 1).all()
    assert (poses.table["effective"] >= 1 - 1e-6).all()
    order = np.arange(len(poses))[::-1]
    backwards = run(micrograph(scene), points(scene)[::-1], estimator, PoseSettings(top=3))
    np.testing.assert_allclose(backwards.table["psi"][order], poses.table["psi"], atol=0.1)
    assert len(run(micrograph(scene), np.zeros((0, 2)), estimator, PoseSettings())) == 0


def test_the_alternative_that_was_refined_comes_first(scene, estimator):
    plain = run(micrograph(scene), points(scene), estimator, PoseSettings(top=4))
    refined = run(micrograph(scene), points(scene), estimator, PoseSettings(top=4, refine=True))
    np.testing.assert_allclose(
        refined.table["confidence"], plain.table["confidence"], rtol=1e-6
    )  # how sure the network was
    np.testing.assert_allclose(np.sort(refined.shares), np.sort(plain.shares), rtol=1e-6)
    assert not np.array_equal(refined.shares, plain.shares)  # some second ones fit better
    np.testing.assert_allclose(refined.alternatives[:, 0], refined.matrices, atol=1e-6)
    kept = np.argsort(-refined.shares, axis=1, kind="stable")
    moved = kept[:, 0] != 0  # their likeliest is still among the alternatives, as it was
    rows = np.flatnonzero(moved)
    np.testing.assert_allclose(
        refined.alternatives[rows, kept[rows, 0]], plain.alternatives[rows, 0], atol=1e-6
    )


def test_flipped_phases_of_a_micrograph_match_better_at_high_defocus(density):
    config = replace(
        SIMULATION, ctf=CTF(defocus_u=30_000.0, defocus_v=30_000.0, b_factor=20.0), pixel_size=3.0,
        shape=(420, 420), n_particles=10,
    )  # fmt: skip
    made = simulate_micrograph(density, config, torch.Generator().manual_seed(3))
    fine = Reference.of(density, 3.2, DIAMETER)
    flipped = flip_phases(torch.from_numpy(made.image), made.ctf, made.pixel_size).numpy()
    correlation = {}
    for name, image, ctf in (("flipped", flipped, made.ctf), ("as usual", made.image, None)):
        working = preprocess(image, made.pixel_size, DIAMETER, 3.2)
        cut = particle_images(working, points(made), 67)
        correlation[name] = compare(cut, true_poses(made), fine, 3, ctf).correlation.mean()
    assert correlation["flipped"] > correlation["as usual"] + 0.02
    twice = flip_phases(torch.from_numpy(flipped), made.ctf, made.pixel_size).numpy()
    np.testing.assert_allclose(twice, made.image, atol=1e-3)


def test_what_cannot_be_done_is_said(scene, estimator):
    unknown = Micrograph(Path("a.mrc"), scene.image, None, "unknown")
    with pytest.raises(PoseError, match=r"^a\.mrc: .*pixel size"):
        run(unknown, points(scene), estimator, PoseSettings())
    with pytest.raises(PoseError, match=r"160 Å.*60 Å"):
        run(micrograph(scene), points(scene), estimator, PoseSettings(diameter=60.0))
    with pytest.raises(PoseError, match="no map"):
        blind = replace(estimator, reference=None)
        run(micrograph(scene), points(scene), blind, PoseSettings(refine=True))


def test_without_a_map_there_are_poses_but_no_correlation(scene, estimator):
    blind = run(
        micrograph(scene), points(scene), replace(estimator, reference=None), PoseSettings()
    )
    seeing = run(micrograph(scene), points(scene), estimator, PoseSettings())
    assert blind.table["correlation"].isna().all()
    np.testing.assert_allclose(blind.matrices, seeing.matrices)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_poses(scene, estimator):
    on_cpu = run(micrograph(scene), points(scene), estimator, PoseSettings())
    gpu = torch.device("cuda")
    on_gpu = run(micrograph(scene), points(scene), estimator, PoseSettings(), gpu)
    estimator.net.cpu()
    assert np.median(degrees(on_cpu.matrices, on_gpu.matrices)) < 0.5


def test_an_estimator_survives_its_file(tmp_path, scene, estimator):
    path = tmp_path / "model.safetensors"
    replace(estimator, temperature=1.7, spread=0.2, training={"steps": 3}).save(path)
    loaded = load_estimator(path)
    assert (loaded.temperature, loaded.spread, loaded.training) == (1.7, 0.2, {"steps": 3})
    one = run(micrograph(scene), points(scene), loaded, PoseSettings())
    other = run(micrograph(scene), points(scene), estimator, PoseSettings())
    np.testing.assert_allclose(one.matrices, other.matrices, atol=1e-3)
    assert not np.allclose(one.table["confidence"], other.table["confidence"])
    np.testing.assert_allclose(one.table["correlation"], other.table["correlation"], atol=0.01)


def test_other_files_are_no_estimators(tmp_path, tiny_model):
    with pytest.raises(ModelFileError, match="not a pose estimator but a picker"):
        load_estimator(tiny_model)
    with pytest.raises(ModelFileError, match="no such pose model"):
        load_estimator(tmp_path / "none.safetensors")


def test_poses_survive_their_file(tmp_path, scene, estimator):
    poses = run(micrograph(scene), points(scene), estimator, PoseSettings())
    path = tmp_path / "poses.csv"
    poses.write_csv(path)
    back = Poses.read_csv(path)
    assert degrees(back.matrices, poses.matrices).max() < 0.01
    np.testing.assert_allclose(back.shares, poses.shares, atol=1e-5)
    known = poses.shares > 0
    assert degrees(back.alternatives[known], poses.alternatives[known]).max() < 0.01
    assert back.provenance == poses.provenance and back.symmetry == "C1"


@pytest.mark.parametrize(
    "content", ["", "y,x\n1,2\n", '# napari-so3 poses: {"symmetry": "C1"}\ny,x\n1,2\n', "\xff"]
)
def test_other_tables_are_refused(tmp_path, content):
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(PosesError, match=r"^bad\.csv: "):
        Poses.read_csv(path)


def test_angles_are_those_of_relion_also_at_the_poles():
    angles = np.random.default_rng(0).uniform([-180, 0, -180], [180, 180, 180], (300, 3))
    angles[:3, 1], angles[3:6, 1] = 0, 180
    matrices = angles_to_matrices(angles)
    np.testing.assert_allclose(matrices, euler_to_matrix(*angles.T).numpy(), atol=1e-12)
    again = matrices_to_angles(matrices)
    np.testing.assert_allclose(angles_to_matrices(again), matrices, atol=1e-12)
    np.testing.assert_allclose(again[6:], angles[6:], atol=1e-9)
    assert np.isnan(matrices_to_angles(np.full((1, 3, 3), np.nan))).all()
    assert math.isclose(again[0, 0], 0.0)
