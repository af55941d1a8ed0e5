"""A volume that is a map, turned, moved, mirrored and noisy, is recognised, hand included."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_so3.insight.likeness import compare_steps, compare_with_map
from napari_so3.insight.shells import fourier_shell_correlation, power_spectrum, soft_ball
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.rotations import euler_to_matrix, geodesic_distance
from napari_so3.so3.turning import sample_volume

VOXEL = 3.0


@pytest.fixture(scope="module")
def density():
    """A particle without symmetry: a chain of atoms."""
    rng = np.random.default_rng(4)
    chain = np.cumsum(rng.standard_normal((50, 3)), axis=0)
    chain -= chain.mean(axis=0)
    values = np.zeros((48, 48, 48))
    np.add.at(values, tuple(np.rint(chain * 12 / np.abs(chain).max() + 24).astype(int).T), 1.0)
    return DensityMap(ndimage.gaussian_filter(values, 1.5).astype(np.float32), VOXEL, "chain")


@pytest.mark.parametrize(("hand", "euler"), [(1, (40, 70, 200)), (-1, (300, 120, 15))])
def test_rotation_shift_and_hand_of_a_noisy_copy(density, hand, euler):
    r = euler_to_matrix(*euler)
    voxel, shift = 1.3 * VOXEL, np.array([1.5, -1.0, 0.5])
    copy = sample_volume(density.values, 24, 33, 1.3, r, shift)[::hand]
    noise = np.random.default_rng(1).normal(0, copy.std(), copy.shape)
    found = compare_with_map((copy + noise).astype(np.float32), voxel, density)
    assert found.hand == hand
    assert np.degrees(float(geodesic_distance(torch.from_numpy(found.rotation), r))) < 3
    assert found.shift == pytest.approx(shift * voxel, abs=0.3 * voxel)
    assert found.correlation > found.correlation_mirrored + 0.05
    assert found.correlation_mirrored > found.correlation_blind
    # what it found makes the copy out of the map
    turned = torch.from_numpy(found.rotation)
    again = sample_volume(density.values, 24, 33, 1.3, turned, found.shift / voxel)[:: found.hand]
    assert np.corrcoef(again.ravel(), copy.ravel())[0, 1] > 0.98


def test_the_resolution_is_where_noise_sets_in(density):
    size = 33
    spectrum = np.fft.rfftn(sample_volume(density.values, 24, size, 1.0))
    f = np.fft.fftfreq(size)
    s = np.sqrt(f[:, None, None] ** 2 + f[:, None] ** 2 + np.fft.rfftfreq(size) ** 2)
    phases = np.angle(np.fft.rfftn(np.random.default_rng(0).standard_normal(3 * [size])))
    spoilt = np.where(s < 0.2, spectrum, np.abs(spectrum) * np.exp(1j * phases))
    volume = np.fft.irfftn(spoilt, s=3 * [size], axes=(0, 1, 2)).astype(np.float32)
    found = compare_with_map(volume, VOXEL, density)
    assert found.resolution() == pytest.approx(VOXEL / 0.2, rel=0.15)
    assert found.fsc[-1, 0] == pytest.approx(0.5 / VOXEL, rel=0.05)


def test_a_filtered_map_can_stand_for_the_map(density):
    filtered = sample_volume(density.values, 24, 25, 1.8)
    filtered = filtered - ndimage.gaussian_filter(filtered, 4)
    found = compare_with_map(filtered, 1.8 * VOXEL, filtered)
    assert found.correlation > 0.99
    assert found.resolution() == pytest.approx(2 * 1.8 * VOXEL, rel=0.1)


def test_it_can_be_cancelled_and_tells_how_far_it_is(density):
    steps = compare_steps(sample_volume(density.values, 24, 16, 2.6), 2.6 * VOXEL, density)
    first, second = next(steps), next(steps)
    assert 0 < first < second < 1
    steps.close()


@pytest.mark.parametrize(
    ("volume", "voxel", "words"),
    [
        (np.ones((9, 9, 9)), 2.0, "constant"),
        (np.ones((9, 9, 8)), 2.0, "cube"),
        (np.eye(9)[None] * np.ones((9, 1, 1)), -1.0, "voxel size"),
    ],
)
def test_what_cannot_be_compared(density, volume, voxel, words):
    with pytest.raises(ValueError, match=words):
        compare_with_map(volume.astype(np.float32), voxel, density)


def test_fsc_is_one_with_itself_and_nothing_with_noise():
    a, b = np.random.default_rng(0).standard_normal((2, 24, 24, 24)).astype(np.float32)
    same, other = fourier_shell_correlation(a, 3 * a, 2.0), fourier_shell_correlation(a, b, 2.0)
    assert same[:, 1] == pytest.approx(1.0)
    assert np.abs(other[4:, 1]).max() < 0.15
    assert fourier_shell_correlation(a, -a, 2.0)[:, 1] == pytest.approx(-1.0)


def test_the_power_of_a_gaussian():
    axis = np.arange(32) - 15.5
    squares = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    spectrum = power_spectrum(np.exp(-squares / (2 * 2.0**2)).astype(np.float32), 1.5)
    f = spectrum[:10, 0] * 1.5  # cycles per voxel
    expected = np.exp(-((2 * np.pi * f * 2.0) ** 2))
    assert spectrum[:10, 1] / spectrum[0, 1] == pytest.approx(expected, rel=0.15, abs=0.01)
    assert spectrum[-1, 0] == pytest.approx(0.5 / 1.5)


def test_the_ball_fills_the_cube_and_leaves_the_corners():
    ball = soft_ball(21)
    assert ball[10, 10, 10] == 1 and ball[0, 0, 0] == 0
    assert 0.4 < ball.mean() < np.pi / 6
