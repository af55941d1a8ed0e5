"""Projection matching finds the poses of a map's projections, and says so as a network does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_so3.poses.estimator import PoseEstimator, load_estimator
from napari_so3.poses.matching import MatcherConfig, PoseMatcher, matching_grid
from napari_so3.poses.reference import Reference
from napari_so3.poses.train import PIXELS_PER_DIAMETER, PoseTraining, match_map
from napari_so3.simulation.density import PseudoAtoms, barrel
from napari_so3.simulation.volume import DensityMap, rasterise
from napari_so3.so3.rotations import RotationGrid, geodesic_distance, random_rotations

DIAMETER, BOX = 160.0, 33
GRID = RotationGrid(96, 16)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def reference():
    lumps = 25.0 * torch.randn(14, 3, generator=seeded(8), dtype=torch.float64)
    lumps = PseudoAtoms(lumps - lumps.mean(dim=0), torch.ones(14, dtype=torch.float64), 8.0)
    density = rasterise(lumps, 4.0, "lumps")
    return Reference.of(density, DIAMETER / PIXELS_PER_DIAMETER, DIAMETER)


@pytest.fixture(scope="module")
def matcher(reference):
    return PoseMatcher(MatcherConfig(BOX, grid=GRID), reference).eval()


def noisy(reference, rotations, noise=0.05):
    clean = reference.seen(rotations, BOX)[:, None]
    return clean / clean.std() + noise * torch.randn(clean.shape, generator=seeded(1))


def angles(estimator, images, rotations):
    mode = torch.from_numpy(estimator.estimate(images).mode)
    return np.degrees(geodesic_distance(mode, rotations).numpy())


def test_the_nearest_rotation_of_the_grid_is_found(matcher, reference):
    rotations = random_rotations(150, seeded(2))
    estimator = PoseEstimator(matcher, "m", PIXELS_PER_DIAMETER, DIAMETER, reference=reference)
    found = angles(estimator, noisy(reference, rotations), rotations)
    worst = np.degrees(float(GRID.nearest(random_rotations(5000, seeded(3)))[1].max()))
    assert np.mean(found < worst) > 0.95
    assert np.median(found) < 11.0


def test_the_mirrored_map_does_not_fit(reference):
    values = np.ascontiguousarray(reference.values[:, :, ::-1])
    other = DensityMap(values, reference.pixel_size, "mirrored")
    wrong = PoseMatcher(MatcherConfig(BOX, grid=GRID), Reference(other, DIAMETER)).eval()
    rotations = random_rotations(60, seeded(2))
    estimator = PoseEstimator(wrong, "m", PIXELS_PER_DIAMETER, DIAMETER)
    assert np.median(angles(estimator, noisy(reference, rotations), rotations)) > 40.0


def test_shifts_and_contrast_do_not_matter(matcher, reference):
    rotations = random_rotations(40, seeded(5))
    images = noisy(reference, rotations, 0.0)
    with torch.no_grad():
        still, moved, faint = (
            matcher(x)[..., 0] for x in (images, torch.roll(images, (2, -1), (2, 3)), 0.5 * images)
        )
    assert (moved.argmax(1) == still.argmax(1)).double().mean() > 0.9
    torch.testing.assert_close(faint, still, atol=1.0, rtol=0.05)


def test_turning_the_image_turns_the_pose(matcher, reference):
    images = noisy(reference, random_rotations(30, seeded(6)))
    with torch.no_grad():
        before = matcher(images)[..., 0].argmax(1)
        after = matcher(torch.rot90(images, 1, (2, 3)))[..., 0].argmax(1)
    quarter = GRID.psi_shift(GRID.n_psi // 4)
    assert (quarter[before] == after).double().mean() > 0.95


def test_a_symmetric_map_needs_few_rotations():
    assert len(matching_grid("D7")) < len(matching_grid("C1")) / 10


def test_one_is_made_from_a_map_and_survives_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_so3.poses.train.HELD_OUT", 1)
    monkeypatch.setattr("napari_so3.poses.train.CALIBRATION", 1)
    monkeypatch.setattr("napari_so3.training.from_map.ACROSS", 8.0)
    monkeypatch.setattr("napari_so3.training.from_map.MOST", 40)
    density = rasterise(barrel(), 6.0, "barrel")
    *notes, made = match_map(density, PoseTraining("D7"), name="barrels")
    assert "not seen" in notes[-1].text and made.training["method"] == "projection matching"
    path = tmp_path / "barrels.safetensors"
    made.save(path)
    loaded = load_estimator(path)
    images = noisy(made.reference, random_rotations(5, seeded(7)))
    one, other = (e.estimate(images).logits for e in (made, loaded))
    np.testing.assert_allclose(one, other, atol=0.3)
    assert loaded.temperature == made.temperature
    hot = replace(loaded, temperature=100 * loaded.temperature).estimate(images)
    assert (hot.effective_number > loaded.estimate(images).effective_number).all()
