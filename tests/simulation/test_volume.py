import gzip
import math

import mrcfile
import numpy as np
import pytest
import starfile
import torch

from napari_so3.simulation.density import PseudoAtoms, random_protein
from napari_so3.simulation.volume import DensityError, DensityMap, read_density
from napari_so3.so3.rotations import euler_to_matrix, random_rotations

VOXEL = 4.0


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rasterised(atoms, n=64, voxel_size=VOXEL):
    axis = (torch.arange(n, dtype=torch.float64) - n // 2) * voxel_size
    z, y, x = (
        torch.exp(-((axis - atoms.positions[:, i, None]) ** 2) / (2 * atoms.sigma**2))
        for i in (2, 1, 0)
    )
    height = atoms.amplitudes / (2 * math.pi * atoms.sigma**2) ** 1.5
    return torch.einsum("n,nz,ny,nx->zyx", height, z, y, x).float().numpy()


def correlations(a, b):
    return [np.corrcoef(p.flatten(), q.flatten())[0, 1] for p, q in zip(a, b, strict=True)]


@pytest.fixture(scope="module")
def protein():
    return random_protein(seeded(5), 160.0)


def write(path, values, voxel_size=VOXEL):
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(values)
        mrc.voxel_size = voxel_size
    return path


@pytest.mark.parametrize("n", [64, 65])
@pytest.mark.parametrize(
    ("pixel_size", "shape"), [(3.0, (80, 81)), (4.0, (64, 60)), (9.0, (31, 30))]
)
def test_a_map_projects_like_the_atoms_that_it_shows(protein, n, pixel_size, shape):
    density = DensityMap(rasterised(protein, n), VOXEL, "protein")
    matrices = random_rotations(12, seeded())
    shift = 3 * torch.rand(12, 2, generator=seeded(1)) - 1.5

    images = density.project(matrices, shape, pixel_size, shift)
    expected = protein.project(matrices, shape, pixel_size, shift)

    assert min(correlations(images, expected)) > 0.999
    assert float((images - expected).norm() / expected.norm()) < 0.03  # and in the same unit
    assert (
        max(correlations(density.project(matrices.mT, shape, pixel_size, shift), expected)) < 0.98
    )


def test_the_map_does_not_come_again_beyond_its_box(protein):
    density = DensityMap(rasterised(protein), VOXEL, "protein")
    image = density.project(random_rotations(1, seeded()), (300, 300), VOXEL)[0]
    ring = image.clone()
    ring[118:183, 118:183] = 0
    assert ring.abs().max() < 0.01 * image.max()


@pytest.mark.parametrize(
    ("stack", "scale", "offset", "shift"),
    [
        # RELION projects an odd box one pixel down and right of the middle.
        ("rln_proj_65", 1.0, 0.0, 1.0),
        # Its map was shrunk from 65 voxels, which moved it by half a voxel in 3D.
        ("rln_proj_64", 65 / 64, -0.5, 0.0),
    ],
)
def test_projections_are_those_of_relion(data_dir, stack, scale, offset, shift):
    values = np.array(mrcfile.read(data_dir / "maps/published/aspire_70S_65.mrc"))
    density = DensityMap(values, 1.0, "70S")
    images = torch.from_numpy(mrcfile.read(data_dir / f"particle_stacks/{stack}.mrcs"))
    table = starfile.read(data_dir / f"particle_stacks/{stack}.star")
    right = euler_to_matrix(*(table[f"rlnAngle{a}"].to_numpy() for a in ("Rot", "Tilt", "Psi")))

    def agreement(matrices):
        moved = (matrices @ torch.full((3,), offset, dtype=torch.float64))[:, [1, 0]] + shift
        return correlations(density.project(matrices, images.shape[1:], scale, moved), images)

    assert min(agreement(right)) > 0.999
    mirror = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    for wrong in (right.mT, mirror @ right, right @ mirror):
        assert np.mean(agreement(wrong)) < 0.8


def test_reading_clears_the_solvent(tmp_path, protein):
    """Noise and a level around the particle are gone; the particle is as it was."""
    clean = rasterised(protein)
    noise = np.random.default_rng(0).normal(-0.3, 0.04, clean.shape) * clean.max()
    path = write(tmp_path / "noisy.mrc", (clean + noise).astype(np.float32))

    density = read_density(path)

    assert density.name == "noisy"
    assert density.voxel_size == VOXEL
    images = density.project(random_rotations(6, seeded()), (64, 64), VOXEL)
    border = torch.cat((images[:, :6].flatten(), images[:, :, -6:].flatten()))
    assert border.abs().max() < 0.01 * images.max()
    expected = protein.project(random_rotations(6, seeded()), (64, 64), VOXEL)
    assert min(correlations(images, expected)) > 0.98
    assert density.diameter == pytest.approx(DensityMap(clean, VOXEL, "").diameter, rel=0.05)


def test_the_diameter_is_the_longest_extent():
    """A rod of 186 Å: blobs in a row, off the axes of the grid."""
    along = torch.tensor([2.0, 1.0, -1.0], dtype=torch.float64) / math.sqrt(6)
    rod = PseudoAtoms(
        torch.linspace(-85, 85, 40, dtype=torch.float64)[:, None] * along,
        torch.ones(40, dtype=torch.float64),
        8.0,
    )
    assert DensityMap(rasterised(rod), VOXEL, "rod").diameter == pytest.approx(186, abs=10)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("densities/6z6u_apoferritin.mrc", 120, 145),
        ("densities/1pma_T20S_proteasome_28chains.mrc", 165, 190),  # the diagonal of 110 x 150 Å
        ("densities/70S_ribosome_sparx_grp0.mrc", 250, 300),
        ("densities/1a3n_hemoglobin.mrc", 60, 76),
        ("published/ngl_betaGal_100.mrc", 170, 200),
    ],
)
def test_real_maps_are_as_large_as_is_known(data_dir, name, low, high):
    density = read_density(data_dir / "maps" / name)
    assert low < density.diameter < high
    images = density.project(random_rotations(4, seeded()), (64, 64), density.diameter / 32)
    border = torch.cat((images[:, :6].flatten(), images[:, :, -6:].flatten()))
    assert border.abs().max() < 0.05 * images.max()


@pytest.mark.parametrize("name", ["map.mrc", "map.map", "map.mrc.gz"])
def test_maps_are_read_whatever_their_ending(tmp_path, protein, name):
    plain = write(tmp_path / "plain.mrc", rasterised(protein))
    path = tmp_path / name
    content = plain.read_bytes()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_density(path).name == "map"


def test_a_map_that_is_not_cubic_keeps_its_centre(tmp_path, protein):
    whole = rasterised(protein)
    path = write(tmp_path / "cut.mrc", np.ascontiguousarray(whole[5:-4, :, 3:-4]))
    r = random_rotations(1, seeded())
    images = [read_density(p).project(r, (64, 64), VOXEL) for p in (path, write(path, whole))]
    assert correlations(*images)[0] > 0.999


def test_a_low_pass_smooths(tmp_path, protein):
    path = write(tmp_path / "map.mrc", rasterised(protein))
    r = random_rotations(1, seeded())
    sharp, smooth = (read_density(path, lowpass=a).project(r, (64, 64), VOXEL) for a in (None, 40))
    assert float(smooth.max()) < 0.9 * float(sharp.max())
    assert float(smooth.sum()) == pytest.approx(float(sharp.sum()), rel=0.02)


def damaged(path, values, kind):
    """Write a file that cannot be used."""
    if kind == "not finite":
        values[3, 4, 5] = np.nan
    if kind == "all values are the same":
        values[:] = 2.0
    if kind == "inverted contrast":
        values *= -1
    if kind == "not a 3D map":
        values = values[0]
    if kind == "to one side":
        values = np.roll(values, 14, axis=2)
    write(path, values, 0.0 if kind == "no voxel size" else VOXEL)
    if kind == "not cubes":
        with mrcfile.open(path, "r+") as mrc:
            mrc.voxel_size = (4.0, 4.0, 5.0)
    if kind == "damaged":
        path.write_bytes(path.read_bytes()[:200_000])
    if kind == "not an MRC file":
        path.write_bytes(b"a text\n" * 1000)


@pytest.mark.filterwarnings("ignore:Data array contains NaN")
@pytest.mark.parametrize(
    "kind",
    [
        "not finite",
        "all values are the same",
        "inverted contrast",
        "not a 3D map",
        "to one side",
        "no voxel size",
        "not cubes",
        "damaged",
        "not an MRC file",
    ],
)
def test_what_is_wrong_with_a_map_is_said_in_a_sentence(tmp_path, protein, kind):
    path = tmp_path / "odd.mrc"
    damaged(path, rasterised(protein), kind)
    with pytest.raises(DensityError, match=kind) as error:
        read_density(path)
    assert "odd" in str(error.value)
    assert str(error.value).count("\n") == 0


def test_a_missing_voxel_size_can_be_given(tmp_path, protein):
    path = write(tmp_path / "map.mrc", rasterised(protein), 0.0)
    assert read_density(path, voxel_size=VOXEL).voxel_size == VOXEL


def test_a_map_needs_a_cube_and_a_voxel_size(protein):
    values = rasterised(protein)
    with pytest.raises(DensityError, match="cube"):
        DensityMap(values[:-1], VOXEL, "a")
    with pytest.raises(DensityError, match="voxel size"):
        DensityMap(values, 0.0, "a")
