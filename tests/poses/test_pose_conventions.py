"""RELION's projections and ours at the same angles are the same images.

RELION's projections of images with an odd edge are shifted by one pixel along x and y; those with
64 pixels are of the map resampled from 65 voxels, half a voxel off along its three axes.
"""

import numpy as np
import pytest
import torch

from napari_so3.io.particle_images import read_particle_images
from napari_so3.io.particles import read_particles
from napari_so3.io.volumes import read_volume
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.rotations import euler_to_matrix, matrix_to_euler

SAME = 0.98
WRONG = 0.9


def _correlations(a, b):
    a, b = (x - x.mean(axis=(1, 2), keepdims=True) for x in (np.asarray(a), np.asarray(b)))
    return (a * b).sum((1, 2)) / np.sqrt((a**2).sum((1, 2)) * (b**2).sum((1, 2)))


@pytest.fixture(scope="module")
def ribosome(data_dir):
    values, _ = read_volume(data_dir / "maps/published/aspire_70S_65.mrc")
    return DensityMap(values.copy(), 1.0, "ribosome")


@pytest.fixture(params=[65, 64], scope="module")
def relion(request, data_dir, ribosome):
    """Poses and images of RELION, and our projections of the same map at any poses."""
    edge = request.param
    table = read_particles(data_dir / f"particle_stacks/rln_proj_{edge}.star")

    def project(matrices):
        offset = (
            torch.zeros(3, dtype=torch.float64) if edge == 65 else -0.5 * torch.ones(3).double()
        )
        shifts = (matrices @ offset)[:, [1, 0]] + (1.0 if edge == 65 else 0.0)
        return ribosome.project(matrices, (edge, edge), 65 / edge, shifts).numpy()

    return torch.from_numpy(table.matrices), read_particle_images(table), project


def test_our_projections_are_those_of_relion(relion):
    matrices, images, project = relion
    assert _correlations(project(matrices), images).min() > SAME


@pytest.mark.parametrize("wrong", ["transposed", "psi", "rot", "mirrored"])
def test_another_convention_would_be_noticed(relion, wrong):
    matrices, images, project = relion
    rot, tilt, psi = matrix_to_euler(matrices)
    others = {
        "transposed": matrices.mT,
        "psi": euler_to_matrix(rot, tilt, -psi),
        "rot": euler_to_matrix(-rot, tilt, psi),
        "mirrored": euler_to_matrix(180 + rot, 180 - tilt, -psi),
    }
    assert _correlations(project(others[wrong]), images).mean() < WRONG


def test_images_that_are_turned_over_would_be_noticed(relion):
    matrices, images, project = relion
    projections = project(matrices)
    for flipped in (images[:, ::-1], images[:, :, ::-1], images.transpose(0, 2, 1)):
        assert _correlations(projections, flipped).mean() < WRONG


def test_rotations_of_simulated_projections(data_dir):
    """Another program, with matrices instead of angles; its images are off by parts of a pixel."""
    folder = data_dir / "particle_stacks"
    matrices = torch.from_numpy(np.load(folder / "toy_rotations.npz")["rotation"][:100]).double()
    values, _ = read_volume(folder / "toymodel_small_nocenter.mrc")
    star = folder / "toy.star"  # names the stack below; need not exist
    table = _table_of(star, "toy_projections.mrcs", len(matrices))
    images = read_particle_images(table)
    toy = DensityMap(values.copy(), 1.0, "toy")
    assert np.median(_correlations(toy.project(matrices, (30, 30), 1.0), images)) > SAME
    for wrong in (matrices.mT, matrices * torch.tensor([1.0, -1.0, -1.0])[:, None]):
        assert np.median(_correlations(toy.project(wrong, (30, 30), 1.0), images)) < 0.8


def _table_of(path, stack, count):
    import pandas as pd

    from napari_so3.io.particles import ParticleTable

    frame = pd.DataFrame({"stack": stack, "index": range(count)})
    return ParticleTable(path, "toy", frame, None, np.zeros((count, 2)))
