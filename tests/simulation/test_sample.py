import mrcfile
import numpy as np
import pytest
import starfile
import torch

from napari_so3.io.star import read_coordinates
from napari_so3.simulation.micrograph import particle_discs
from napari_so3.simulation.sample import sample_micrograph, write_sample


@pytest.fixture(scope="module")
def sample():
    return sample_micrograph(seed=0)


def test_the_sample_is_not_square_and_shows_barrels(sample):
    assert sample.image.shape == (1024, 1200)
    assert sample.pixel_size == 3.0
    assert len(sample.truth) == 120


def test_another_seed_shows_other_particles(sample):
    assert not np.array_equal(sample_micrograph(seed=1).truth, sample.truth)


def test_written_files_can_be_read_again(tmp_path, sample):
    micrograph, truth = write_sample(tmp_path / "new")

    with mrcfile.open(micrograph) as mrc:
        assert mrc.data.dtype == np.float32
        np.testing.assert_array_equal(mrc.data, sample.image)
        assert float(mrc.voxel_size.x) == float(mrc.voxel_size.y) == pytest.approx(3.0)

    blocks = starfile.read(truth)
    particles = blocks["particles"]
    assert set(particles["rlnMicrographName"]) == {"sample.mrc"}
    names = {"X": "x", "Y": "y"}
    for star, column in names.items():
        np.testing.assert_allclose(particles[f"rlnCoordinate{star}"], sample.truth[column])
    for angle in ("Rot", "Tilt", "Psi"):
        np.testing.assert_allclose(
            particles[f"rlnAngle{angle}"], sample.truth[angle.lower()], atol=1e-5
        )
    assert sorted(p.name for p in micrograph.parent.iterdir()) == [
        "sample.mrc",
        "sample_truth.star",
    ]


def test_the_written_coordinates_point_at_dark_spots(tmp_path):
    """Read in file order, x is the column and y the row, the first pixel is (0, 0)."""
    micrograph, truth = write_sample(tmp_path)
    image = mrcfile.read(micrograph)
    yx = read_coordinates(truth)[["y", "x"]].to_numpy()

    def darkness(y, x):
        spots = particle_discs(torch.tensor(np.stack((y, x), 1)), 12.0, image.shape).numpy()
        return -image[spots].mean() + image.mean()

    right = darkness(*yx.T)
    assert right > 0.05
    assert right > 3 * darkness(1023 - yx[:, 0], yx[:, 1])
