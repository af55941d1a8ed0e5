"""A map from particles with known poses, and what it does not know."""

import numpy as np
import pytest
import roma
import torch

from napari_so3.io.particles import ParticleTable
from napari_so3.poses.estimator import PoseEstimator, load_estimator
from napari_so3.poses.matching import MatcherConfig
from napari_so3.poses.reconstruction import ParticleMatcher, reconstruct, slices_of, transform
from napari_so3.simulation.density import PseudoAtoms, barrel
from napari_so3.so3.rotations import RotationGrid, geodesic_distance, random_rotations
from napari_so3.so3.symmetry import symmetry_group

BOX, PIXEL = 25, 8.0
GRID = RotationGrid(64, 16)
NONE = torch.eye(3, dtype=torch.float64)[None]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def lumps():
    points = 22.0 * torch.randn(14, 3, generator=seeded(8), dtype=torch.float64)
    return PseudoAtoms(points - points.mean(dim=0), torch.ones(14, dtype=torch.float64), 9.0)


def images_of(particle, rotations, noise, seed=0):
    clean = particle.project(rotations, (BOX, BOX), PIXEL)
    clean = clean / clean.std()
    return clean + noise * torch.randn(clean.shape, generator=seeded(seed))


def errors_deg(net, images, rotations):
    with torch.no_grad():
        logits, poses = net.decode(net(images[:, None]))
    best = poses[torch.arange(len(images)), logits.argmax(dim=1)].double()
    return np.degrees(geodesic_distance(best, rotations).numpy())


def matcher(images, rotations, group=NONE, grid=GRID, reach=0):
    made = reconstruct(images, rotations, group)
    return ParticleMatcher.of(made, MatcherConfig(BOX, reach, grid)).eval()


@pytest.fixture(scope="module")
def known():
    rotations = random_rotations(600, seeded(1))
    return images_of(lumps(), rotations, 0.7), rotations


def test_slices_of_the_map_are_the_images_without_their_noise(known):
    made = reconstruct(*known, NONE)
    rotations = random_rotations(20, seeded(2))
    clean = transform(images_of(lumps(), rotations, 0.0))
    noisy = transform(images_of(lumps(), rotations, 0.7, seed=3))
    found = slices_of(made.mean, rotations)
    left = (found - clean).abs().square().sum()
    assert float(left) < 0.25 * float((noisy - clean).abs().square().sum())
    turned = slices_of(made.mean, rotations.mT)
    assert float((turned - clean).abs().square().sum()) > 3 * float(left)


def test_poses_of_new_images_are_found(known):
    rotations = random_rotations(80, seeded(4))
    images = images_of(lumps(), rotations, 0.7, seed=5)
    found = errors_deg(matcher(*known), images, rotations)
    worst = np.degrees(float(GRID.nearest(random_rotations(5000, seeded(6)))[1].max()))
    assert np.mean(found < worst) > 0.9
    assert np.median(errors_deg(matcher(*known), images.flip(1), rotations)) > 30.0


def test_a_shift_is_looked_for(known):
    rotations = random_rotations(60, seeded(7))
    images = torch.roll(images_of(lumps(), rotations, 0.5, seed=8), (2, -1), (1, 2))
    still = errors_deg(matcher(*known), images, rotations)
    moved = errors_deg(matcher(*known, reach=2), images, rotations)
    assert np.median(moved) < 15.0 and np.mean(moved < 20.0) > np.mean(still < 20.0)


def test_preferred_views_tell_about_all_others():
    spread = 0.1 * torch.randn(600, 3, generator=seeded(9), dtype=torch.float64)
    rotations = random_rotations(1, seeded(10)) @ roma.rotvec_to_rotmat(spread)
    net = matcher(images_of(lumps(), rotations, 0.3), rotations)
    every = random_rotations(80, seeded(11))
    images = images_of(lumps(), every, 0.3, seed=12)
    careful = errors_deg(net, images, every).mean()
    with torch.no_grad():
        net.variance.zero_()  # as if the map knew all views
    net._prepared = None
    careless = errors_deg(net, images, every).mean()
    assert careful < careless - 10.0 and careful < 80.0


def test_variance_is_small_where_images_have_been():
    spread = 0.05 * torch.randn(200, 3, generator=seeded(9), dtype=torch.float64)
    made = reconstruct(
        images_of(lumps(), roma.rotvec_to_rotmat(spread), 0.3), roma.rotvec_to_rotmat(spread), NONE
    )
    n = len(made.mean)
    inside = made.variance[n // 2, n // 2 + 4, 4]  # frequencies across the view
    outside = made.variance[n // 2 + 5, n // 2, 2]  # along it
    assert float(inside) < 0.1 * float(outside)


def test_symmetry_makes_more_of_few_images():
    group = symmetry_group("D7")
    rotations = random_rotations(40, seeded(13))
    images = images_of(barrel(), rotations, 0.5)
    new = random_rotations(30, seeded(14))
    clean = transform(images_of(barrel(), new, 0.0))
    left = [
        float((slices_of(reconstruct(images, rotations, g).mean, new) - clean).abs().square().sum())
        for g in (group, NONE)
    ]
    assert left[0] < 0.7 * left[1]


def test_it_survives_its_file(tmp_path, known):
    net = matcher(*known)
    estimator = PoseEstimator(net, "lumps", 24.0, 150.0, temperature=3.0)
    estimator.save(tmp_path / "lumps.safetensors")
    loaded = load_estimator(tmp_path / "lumps.safetensors")
    images = images_of(lumps(), random_rotations(5, seeded(15)), 0.5)[:, None]
    np.testing.assert_allclose(
        loaded.estimate(images).logits, estimator.estimate(images).logits, rtol=1e-3, atol=1e-2
    )
    assert loaded.reference is None


def test_one_is_made_from_a_table_of_particles(stack_of_lumps, monkeypatch):
    monkeypatch.setattr("napari_so3.poses.from_particles.matching_grid", lambda _: GRID)
    from napari_so3.poses.from_particles import match_particle_map
    from napari_so3.poses.train import PoseTraining

    *notes, made = match_particle_map(stack_of_lumps, PoseTraining(diameter=150.0))
    assert isinstance(made, PoseEstimator)
    assert made.training["method"] == "matching with the map of the particles"
    median = float(notes[-1].text.split("median error ")[1].split(" ")[0])
    assert median < 25.0


@pytest.fixture
def stack_of_lumps(tmp_path):
    import pandas as pd

    from napari_so3.io.volumes import write_image_stack

    rotations = random_rotations(300, seeded(20))
    images = lumps().project(rotations, (48, 48), 5.0)
    images = images / images.std() + 0.5 * torch.randn(images.shape, generator=seeded(21))
    write_image_stack(tmp_path / "lumps.mrcs", images.numpy(), 5.0)
    table = pd.DataFrame({"stack": "lumps.mrcs", "index": range(300), "pixel_size": 5.0})
    path = tmp_path / "lumps.star"
    return ParticleTable(path, "RELION", table, rotations.numpy(), np.zeros((300, 2)))
