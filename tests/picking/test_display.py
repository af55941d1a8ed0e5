import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_so3.picking.display import (
    BINS,
    DisplaySettings,
    contrast_limits,
    filter_for_display,
    low_pass,
)

PIXEL_SIZE = 2.0  # Å


def wave(shape, period, axis):
    """A plane wave of a period in pixels, which is even at the borders as a reflection is."""
    along = np.cos(np.pi * 2 * (np.arange(shape[axis]) + 0.5) / period)
    return np.broadcast_to(along[:, None] if axis == 0 else along, shape).astype(np.float32)


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("bin_", [1, 2])
@pytest.mark.parametrize(
    ("lowpass", "left"),
    [(10.0, 1.0), (13.0, 1.0), (16.0, 0.5), (20.0, 0.0), (40.0, 0.0), (0.0, 1.0)],
)
def test_the_low_pass_keeps_what_is_longer_than_its_cut_off(axis, bin_, lowpass, left):
    """A wave of 16 Å on a rectangle, whichever way it runs, binned or not."""
    shape = (256, 400)
    image = wave(shape, 16.0 / PIXEL_SIZE, axis)
    settings = DisplaySettings(lowpass=lowpass, bin=bin_)
    out, step = filter_for_display(image, PIXEL_SIZE, settings)
    assert step == (bin_, bin_)
    inner = out[20:-20, 20:-20]  # binning takes the image as periodic
    assert np.std(inner) == pytest.approx(left * np.sqrt(0.5), abs=0.03)


def test_the_low_pass_is_as_sharp_in_every_direction():
    shape = (240, 360)
    power = np.abs(np.fft.fft2(low_pass(noise(shape), (0.1, 0.1)))) ** 2
    power /= np.abs(np.fft.fft2(noise(shape))) ** 2
    fy, fx = np.meshgrid(np.fft.fftfreq(240), np.fft.fftfreq(360), indexing="ij")
    radius, angle = np.hypot(fy, fx), np.arctan2(abs(fy), abs(fx))
    for low in np.linspace(0, np.pi / 2, 4)[:-1]:
        sector = (angle >= low) & (angle <= low + np.pi / 6)
        assert np.median(power[sector & (radius < 0.07)]) == pytest.approx(1.0, abs=0.05)
        assert np.median(power[sector & (radius > 0.125) & (radius < 0.135)]) < 0.01


def test_the_low_pass_knows_which_axis_is_coarser():
    along_y, along_x = wave((200, 200), 1 / 0.15, 0), wave((200, 200), 1 / 0.15, 1)
    out = low_pass(along_y + along_x, (0.1, 0.25))
    np.testing.assert_allclose(out, along_x, atol=0.02)


def test_the_low_pass_does_not_carry_one_border_to_the_other():
    image = np.zeros((100, 120), np.float32)
    image[:3] = image[:, :3] = 1.0
    out = low_pass(image, (0.05, 0.05))
    assert out[0, 60] > 0.2
    assert np.abs(out[-5:, 40:]).max() < 0.05 * out[0, 60]
    assert np.abs(out[40:, -5:]).max() < 0.05 * out[60, 0]


@given(st.integers(100, 160), st.integers(100, 160), st.sampled_from(BINS), st.integers(0, 99))
def test_what_is_seen_lies_where_it_is_in_the_micrograph(ny, nx, bin_, seed):
    """Any sizes: what is seen at a pixel is what the micrograph shows at that pixel times step."""
    y0, x0 = np.random.default_rng(seed).uniform(0.4, 0.6, 2) * (ny, nx)
    width = max(5.0, 1.2 * bin_)

    def spot(y, x):
        return np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * width**2))

    y, x = np.ogrid[:ny, :nx]
    image = spot(y, x) + 0.12 * (-1.0) ** (y + x)  # finest detail, or else the spot were hot
    settings = DisplaySettings(lowpass=4.0 * PIXEL_SIZE, bin=bin_)
    out, (step_y, step_x) = filter_for_display(image, PIXEL_SIZE, settings)
    assert out.shape == (round(ny / bin_), round(nx / bin_))
    y, x = np.ogrid[: out.shape[0], : out.shape[1]]
    expected = spot(y * step_y, x * step_x)
    np.testing.assert_allclose(out - out.mean(), expected - expected.mean(), atol=0.07)


@pytest.mark.parametrize("dtype", [np.float32, ">f4", np.float16, np.int8, np.uint16])
@pytest.mark.parametrize("settings", [DisplaySettings(), DisplaySettings(20.0, 4)])
def test_the_micrograph_stays_as_it_is(dtype, settings):
    image = (20 * noise((96, 120)) + 100).astype(dtype)
    before = image.copy()
    image.flags.writeable = False
    out, _ = filter_for_display(image, PIXEL_SIZE, settings)
    contrast_limits(image, settings)
    np.testing.assert_array_equal(image, before)
    assert out.dtype == np.float32
    assert not np.shares_memory(out, image)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9])
def test_bad_pixels_leave_no_trace(bad):
    clean = noise((120, 160))
    image = clean.copy()
    image[60, 80] = bad
    settings = DisplaySettings(lowpass=30.0, bin=2)
    out, _ = filter_for_display(image, PIXEL_SIZE, settings)
    expected, _ = filter_for_display(clean, PIXEL_SIZE, settings)
    assert np.abs(out - expected).max() < 0.3 * expected.std()


def test_an_image_without_a_finite_pixel_can_be_shown():
    image = np.full((20, 30), np.nan, np.float32)
    out, _ = filter_for_display(image, PIXEL_SIZE, DisplaySettings(20.0, 2))
    np.testing.assert_array_equal(out, 0.0)
    low, high = contrast_limits(image, DisplaySettings())
    assert np.isfinite([low, high]).all()
    assert low < high


def test_nothing_is_filtered_unless_one_asks_for_it():
    assert not DisplaySettings(contrast=5.0).filters
    assert DisplaySettings(lowpass=20.0).filters
    assert DisplaySettings(bin=2).filters


def test_contrast_counts_standard_deviations_that_ice_does_not_change():
    image = 10.0 + 2.0 * noise((300, 400))
    image[:30] = -500.0  # a tenth is something else
    image[0, 0] = np.nan
    low, high = contrast_limits(image, DisplaySettings(contrast=3.0))
    assert (low, high) == pytest.approx((4.0, 16.0), abs=1.5)
    wide = contrast_limits(image, DisplaySettings(contrast=6.0))
    assert np.diff(wide) == pytest.approx(2 * (high - low))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_contrast_of_images_with_few_values(dtype):
    image = np.zeros((60, 80), dtype)
    low, high = contrast_limits(image, DisplaySettings())
    assert low < 0 < high
    image[::3, ::2] = 40  # counts: most pixels are 0
    low, high = contrast_limits(image, DisplaySettings(contrast=2.0))
    assert high - low == pytest.approx(4 * image.astype(float).std(), rel=1e-3)


def test_the_display_does_without_torch():
    """It is imported by docks, which open before torch is there."""
    code = "import sys, napari_so3.picking.display; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
