"""A pose estimator learns: from a map, and from particles with known poses."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from napari_so3.io.particle_star import image_names
from napari_so3.io.particles import ParticleTable, read_particles
from napari_so3.io.volumes import write_image_stack
from napari_so3.poses.calibration import calibrate, errors
from napari_so3.poses.estimator import PoseEstimator, load_estimator
from napari_so3.poses.from_particles import train_from_particles
from napari_so3.poses.poses import matrices_to_angles
from napari_so3.poses.reference import Reference
from napari_so3.poses.source import PoseImages, PoseSource
from napari_so3.poses.train import (
    PIXELS_PER_DIAMETER,
    PoseTraining,
    pose_grids,
    train_from_map,
)
from napari_so3.simulation.density import barrel, random_protein
from napari_so3.simulation.volume import rasterise
from napari_so3.so3.pose_networks import PoseConfig, PoseNet
from napari_so3.so3.rotations import RotationGrid, random_rotations
from napari_so3.training.fit import FitProgress
from napari_so3.training.from_map import MapSettings, look
from napari_so3.training.teach import Note, TrainError

QUICK = PoseTraining(symmetry="D7", steps=6, channels=2)


@pytest.fixture(scope="module")
def density():
    return rasterise(barrel(), 6.0, "barrel")


@pytest.fixture(autouse=True)
def few_micrographs(monkeypatch):
    monkeypatch.setattr("napari_so3.poses.train.HELD_OUT", 1)
    monkeypatch.setattr("napari_so3.poses.train.CALIBRATION", 1)
    monkeypatch.setattr("napari_so3.poses.train.MICROGRAPHS", 1)
    monkeypatch.setattr("napari_so3.training.from_map.MOST", 40)
    monkeypatch.setattr("napari_so3.training.from_map.ACROSS", 8.0)


def last(events):
    *others, made = events
    assert isinstance(made, PoseEstimator)
    return others, made


def test_it_learns_from_a_map(density, tmp_path):
    events, made = last(train_from_map(density, QUICK, name="barrels"))
    assert {type(e) for e in events} == {Note, FitProgress}
    assert made.name == "barrels" and made.symmetry == "D7"
    assert made.diameter == pytest.approx(density.diameter)
    assert made.reference is not None and made.temperature > 0 and made.spread > 0
    assert "barrel" in made.training["data"][0] and "median error" in made.training["figures"]
    made.save(tmp_path / "barrels.safetensors")
    load_estimator(tmp_path / "barrels.safetensors")


def test_a_killed_training_goes_on_to_the_same_weights(density, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_so3.poses.train.STEPS_PER_EPOCH", 2)
    grids = RotationGrid(2, 4), RotationGrid(3, 4)
    monkeypatch.setattr("napari_so3.poses.train.pose_grids", lambda _: grids)
    settings = replace(QUICK, symmetry="C1")
    _, whole = last(train_from_map(density, settings))
    checkpoint = tmp_path / "poses.checkpoint"
    for event in train_from_map(density, settings, checkpoint=checkpoint):
        if isinstance(event, FitProgress) and event.step == 5:
            break
    assert list(tmp_path.iterdir())
    events, resumed = last(train_from_map(density, settings, checkpoint=checkpoint))
    assert [e.step for e in events if isinstance(e, FitProgress)] == [5, 6]
    for name, value in whole.net.state_dict().items():
        torch.testing.assert_close(resumed.net.state_dict()[name], value, msg=name)
    assert not list(tmp_path.iterdir())


def test_grids_are_coarse_first_and_small_with_symmetry():
    assert [len(grid) for grid in pose_grids("C1")] == [48, 256]
    (only,) = pose_grids("D7")
    assert len(only) < 48 and only.symmetry == "D7"


def test_simulated_crops_show_the_truth(density):
    scene, _ = look(density, MapSettings(), ())
    scene = replace(scene, snr=(3.0, 4.0))
    source = PoseSource(scene.make, 33, PIXELS_PER_DIAMETER, scene.diameter)
    images = source.simulate(1, np.random.default_rng(1))
    reference = Reference.of(density, scene.diameter / PIXELS_PER_DIAMETER, scene.diameter)
    true, wrong = (
        correlations(images.images, reference.seen(r, 33))
        for r in (images.rotations, images.rotations.mT)
    )
    assert true.median() > 0.25
    assert (true > wrong).double().mean() > 0.7


def correlations(images, others):
    a, b = (x.flatten(1) - x.flatten(1).mean(dim=1, keepdim=True) for x in (images, others))
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """STAR and MRCS of 240 images of an asymmetric particle, shifted, bright, 8 Å per pixel."""
    folder = tmp_path_factory.mktemp("particles")
    protein = random_protein(torch.Generator().manual_seed(9), 150.0)
    matrices = random_rotations(240, torch.Generator().manual_seed(1))
    rng = np.random.default_rng(0)
    shifts = rng.uniform(-2, 2, (240, 2))
    images = protein.project(matrices, (48, 48), 8.0, torch.from_numpy(shifts))
    images = images / images.std() + 0.2 * torch.randn(images.shape)
    write_image_stack(folder / "images.mrcs", images.numpy(), 8.0)
    angles = matrices_to_angles(matrices.numpy())
    names = image_names("images.mrcs", 240, folder / "particles.star")
    columns = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
    table = pd.DataFrame(angles, columns=columns)
    table["rlnOriginXAngst"], table["rlnOriginYAngst"] = (-8 * shifts[:, 1], -8 * shifts[:, 0])
    table["rlnOpticsGroup"], table["rlnImageName"] = 1, names
    optics = pd.DataFrame(
        [{"rlnOpticsGroup": 1, "rlnOpticsGroupName": "a", "rlnImagePixelSize": 8.0}]
    )
    import starfile

    starfile.write({"optics": optics, "particles": table}, folder / "particles.star")
    return folder / "particles.star"


def test_it_learns_from_particles(stack, monkeypatch):
    monkeypatch.setattr("napari_so3.poses.train.pose_grids", lambda _: (RotationGrid(6, 8),))
    particles = read_particles(stack)
    settings = PoseTraining(diameter=150.0, steps=40, channels=3)
    events, made = last(train_from_particles(particles, settings))
    losses = [e.loss for e in events if isinstance(e, FitProgress)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.2
    assert "bright" in events[0].text and made.reference is None
    mean = float(made.training["figures"].split("mean ")[1].split(",")[0])
    assert mean < 120  # degrees; guessing has 126.5


def test_dark_particles_are_the_same_once_inverted(stack):
    particles = read_particles(stack)
    settings = PoseTraining(diameter=150.0, steps=2, channels=2)
    _, bright = last(train_from_particles(particles, settings))
    import mrcfile

    dark = stack.parent / "dark" / "images.mrcs"
    dark.parent.mkdir(exist_ok=True)
    with mrcfile.open(stack.parent / "images.mrcs") as mrc:
        write_image_stack(dark, -mrc.data, 8.0)
    (dark.parent / stack.name).write_text(stack.read_text())
    _, inverted = last(train_from_particles(read_particles(dark.parent / stack.name), settings))
    for name, value in bright.net.state_dict().items():
        torch.testing.assert_close(inverted.net.state_dict()[name], value, atol=1e-4, rtol=1e-3)


def test_what_cannot_be_learnt_from_is_said(stack):
    particles = read_particles(stack)
    with pytest.raises(TrainError, match=r"^particles\.star: give the diameter"):
        next(train_from_particles(particles, PoseTraining()))
    without = ParticleTable(
        particles.path, "", particles.table.drop(columns="pixel_size"), None, particles.origins
    )
    known = PoseTraining(diameter=150.0)
    with pytest.raises(TrainError, match="no poses"):
        next(train_from_particles(without, known))
    with pytest.raises(TrainError, match="pixel size"):
        next(train_from_particles(replace(without, matrices=particles.matrices), known))
    few = replace(particles, matrices=particles.matrices.copy())
    few.matrices[50:] = np.nan
    with pytest.raises(TrainError, match="50 particles"):
        next(train_from_particles(few, known))


def test_calibrated_confidences_are_right():
    """Logits that are four times too sure are cooled down until confidences hold."""

    class Known(PoseNet):
        def forward(self, x):
            out = torch.zeros(len(x), len(self.config.grid), 4)
            out[..., 0] = 4.0 * x.flatten(1)[:, : len(self.config.grid)]
            return out

    grid = RotationGrid(6, 8)
    torch.manual_seed(5)
    logits = 2.5 * torch.randn(1000, len(grid))
    truth = torch.distributions.Categorical(logits=logits).sample()
    box = PoseConfig().box
    images = torch.zeros(1000, 1, box, box)
    images.flatten(1)[:, : len(grid)] = logits
    estimator = PoseEstimator(
        Known(PoseConfig(channels=1, grid=grid)).eval(), "known", PIXELS_PER_DIAMETER, 100.0
    )
    made, words = calibrate(estimator, PoseImages(images, grid.matrices[truth]))
    assert made.temperature == pytest.approx(4.0, rel=0.2)
    assert "1000 particles" in words
    distribution = made.estimate(images)
    right = errors(distribution, grid.matrices[truth]).numpy() < 1e-3
    assert distribution.top(1)[1].mean() == pytest.approx(right.mean(), abs=0.03)
