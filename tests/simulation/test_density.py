import math

import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_so3.simulation.density import PseudoAtoms, barrel, random_protein
from napari_so3.so3.rotations import euler_to_matrix, random_rotations


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def centroid(image):
    """Centre of mass (y, x) in pixels."""
    image = image.double()
    y, x = (torch.arange(n, dtype=torch.float64) for n in image.shape)
    return torch.stack(((image.sum(1) * y).sum(), (image.sum(0) * x).sum())) / image.sum()


@pytest.mark.parametrize("shape", [(64, 80), (65, 81)])
def test_an_atom_lands_where_the_rotation_sends_it(shape):
    x0 = torch.tensor([31.0, -22.0, 40.0], dtype=torch.float64)
    atom = PseudoAtoms(x0[None], torch.ones(1, dtype=torch.float64), sigma=6.0)
    matrices = random_rotations(20, seeded())
    shift = torch.rand(20, 2, generator=seeded(1), dtype=torch.float64) - 0.5

    images = atom.project(matrices, shape, 4.0, shift)

    for image, r, (dy, dx) in zip(images, matrices, shift, strict=True):
        x, y, _ = (r @ x0).tolist()
        expected = torch.tensor(
            [shape[0] // 2 + y / 4 + dy, shape[1] // 2 + x / 4 + dx], dtype=torch.float64
        )
        torch.testing.assert_close(centroid(image), expected, atol=1e-4, rtol=0)


def test_rotations_mean_what_relion_means():
    """A reference point on z shows where the transposed ZYZ matrix of scipy puts it."""
    angles = (50.0, 70.0, -20.0)
    z = torch.tensor([[0.0, 0.0, 60.0]], dtype=torch.float64)
    atom = PseudoAtoms(z, torch.ones(1, dtype=torch.float64), sigma=6.0)

    image = atom.project(euler_to_matrix(*angles)[None], (41, 41), 4.0)[0]

    x, y, _ = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().T @ [0.0, 0.0, 60.0]
    expected = torch.tensor([20 + y / 4, 20 + x / 4], dtype=torch.float64)
    torch.testing.assert_close(centroid(image), expected, atol=1e-4, rtol=0)


def test_a_larger_psi_turns_the_image_by_rot90():
    protein = random_protein(seeded(3), 150.0)
    rot, tilt = 33.0, 62.0
    here, turned = protein.project(
        euler_to_matrix(rot, tilt, torch.tensor([17.0, 107.0])), (61, 61), 4.0
    )

    torch.testing.assert_close(turned, torch.rot90(here, 1, (0, 1)), atol=1e-8, rtol=1e-4)
    assert not torch.allclose(turned, torch.rot90(here, -1, (0, 1)), rtol=0.1)


@pytest.mark.parametrize("pixel_size", [2.0, 5.0, 8.0])
def test_mass_is_conserved_at_any_pose_shift_and_pixel_size(pixel_size):
    protein = random_protein(seeded(4), 160.0)
    n = math.ceil(260 / pixel_size)
    shift = torch.rand(10, 2, generator=seeded())
    images = protein.project(random_rotations(10, seeded()), (n, n + 3), pixel_size, shift)

    mass = images.sum((1, 2)).double() * pixel_size**2
    torch.testing.assert_close(mass, protein.amplitudes.sum().expand(10), rtol=1e-4, atol=0)


def test_the_barrel_has_d7_symmetry_and_no_more():
    r = random_rotations(1, seeded())[0]
    group = torch.from_numpy(Rotation.create_group("D7").as_matrix())
    images = barrel().project(r @ group, (70, 70), 3.0)
    torch.testing.assert_close(images, images[:1].expand_as(images), atol=1e-5, rtol=1e-4)

    d8 = torch.from_numpy(Rotation.create_group("D8").as_matrix())
    images = barrel().project(r @ d8, (70, 70), 3.0)
    assert (images - images[:1]).abs().max() > 0.05 * images.max()


def test_the_barrel_is_as_large_as_a_proteasome():
    positions, sigma = barrel().positions, barrel().sigma
    assert 2 * (float(positions[:, 2].abs().max()) + sigma) == pytest.approx(150, abs=5)
    width = 2 * (float(positions[:, :2].norm(dim=1).max()) + sigma)
    assert width == pytest.approx(110, abs=5)


def test_random_proteins_have_the_diameter_asked_for_and_differ():
    generator = seeded()
    proteins = [random_protein(generator, 130.0) for _ in range(30)]
    assert all(p.diameter == pytest.approx(130.0) for p in proteins)

    elongation = []
    for p in proteins:
        centre = (p.amplitudes[:, None] * p.positions).sum(0) / p.amplitudes.sum()
        torch.testing.assert_close(centre, torch.zeros(3).double(), atol=1e-9, rtol=0)
        spread = torch.linalg.svdvals(p.positions)
        elongation.append(float(spread[0] / spread[2]))
    assert max(elongation) > 3
    assert min(elongation) < 1.8


def test_random_proteins_are_reproducible():
    a, b = (random_protein(seeded(9), 130.0) for _ in range(2))
    assert torch.equal(a.positions, b.positions)
    assert torch.equal(a.amplitudes, b.amplitudes)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="pseudo-atoms need"):
        PseudoAtoms(torch.zeros(3, 2), torch.ones(3), 5.0)
    with pytest.raises(ValueError, match="shifts"):
        barrel().project(random_rotations(3), (20, 20), 8.0, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="pixel size"):
        barrel().project(random_rotations(1), (20, 20), 0.0)
