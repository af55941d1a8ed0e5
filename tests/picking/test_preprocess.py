import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_so3.picking.preprocess import (
    CLIP,
    blur,
    fourier_resample,
    mend_pixels,
    normalise_locally,
    preprocess,
    robust_range,
)

sizes = st.integers(8, 60)


def wave(shape, cycles, phase=0.7):
    """A plane wave with whole cycles per image: its samples are known at any size."""
    y, x = (np.arange(n) / n for n in shape)
    angle = 2 * np.pi * (cycles[0] * y[:, None] + cycles[1] * x[None]) + phase
    return (np.cos(angle) + 2.0).astype(np.float32)


@given(sizes, sizes, sizes, sizes)
def test_resampling_keeps_waves_and_the_first_pixel(ny, nx, my, mx):
    """Any sizes, odd or even, down or up, unequal per axis: pixel 0 at 0 and the true ratio."""
    limit = (min(ny, my) - 1) // 2, (min(nx, mx) - 1) // 2
    cycles = min(3, limit[0]), -min(2, limit[1])
    out = fourier_resample(wave((ny, nx), cycles), (my, mx))
    np.testing.assert_allclose(out, wave((my, mx), cycles), atol=2e-5)


@given(sizes, sizes)
def test_resampling_down_takes_out_what_cannot_be_sampled(ny, nx):
    fast = wave((ny, nx), (ny // 2 - 1 if ny > 20 else 0, 0))
    if ny > 20:
        out = fourier_resample(fast, (ny // 4, nx))
        np.testing.assert_allclose(out, 2.0, atol=2e-5)


def test_resampling_up_and_down_returns_the_image():
    image = fourier_resample(
        np.random.default_rng(0).standard_normal((31, 45)).astype("f4"), (29, 41)
    )
    again = fourier_resample(fourier_resample(image, (64, 90)), (29, 41))
    np.testing.assert_allclose(again, image, atol=1e-5)


def test_resampling_to_nothing_is_refused():
    with pytest.raises(ValueError, match="one pixel"):
        fourier_resample(np.zeros((4, 4), np.float32), (0, 3))


def particles(shape=(400, 500), seed=0):
    """Dark blobs 20 pixels wide in unit noise; returns the image and the centres (y, x)."""
    rng = np.random.default_rng(seed)
    centres = np.stack(
        np.meshgrid(np.arange(50, shape[0] - 40, 60), np.arange(50, shape[1] - 40, 60)), -1
    ).reshape(-1, 2)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = rng.standard_normal(shape).astype(np.float32)
    for cy, cx in centres:
        image -= np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 6.0**2)).astype(np.float32)
    return image, centres


def contrast(image, centres, scale):
    """Mean at the particles, in standard deviations of everything."""
    at = np.round(centres / scale).astype(int)
    pixels = image.pixels.numpy()
    return float(pixels[at[:, 0], at[:, 1]].mean())


def clean(image):
    return preprocess(image, 2.0, 40.0, 4.0)


def test_particles_come_out_bright_and_the_noise_at_unit_scale():
    image, centres = particles()
    out = clean(image)
    assert out.pixels.shape == (201, 249)
    assert out.pixels.dtype == torch.float32
    assert contrast(out, centres, out.scale) > 1.0
    assert float(out.pixels.std()) == pytest.approx(1.0, abs=0.1)
    bright = preprocess(-image, 2.0, 40.0, 4.0, sign=1)
    torch.testing.assert_close(bright.pixels, out.pixels)


def test_gain_and_offset_of_the_detector_do_not_matter():
    image, _ = particles()
    torch.testing.assert_close(
        clean(image * 250 + 12000).pixels, clean(image).pixels, atol=2e-2, rtol=0
    )


def spoil_with_hot_pixels(image):
    image[30, 40], image[200, 333], image[399, 0] = 1e9, -1e9, np.nan
    image[77, 78] = np.inf
    return image


def spoil_with_a_ramp(image):
    return image + np.linspace(-40, 40, image.shape[1], dtype=np.float32)


def spoil_with_carbon(image):
    image[:, 380:] = image[:, 380:] * 2.0 - 12.0
    return image


@pytest.mark.parametrize(
    "spoil", [spoil_with_hot_pixels, spoil_with_a_ramp, spoil_with_carbon], ids=lambda f: f.__name__
)
def test_dirt_does_not_ruin_the_rest(spoil):
    image, centres = particles()
    reference, spoilt = clean(image), clean(spoil(image.copy()))
    assert bool(torch.isfinite(spoilt.pixels).all())
    far = centres[centres[:, 1] < 280]
    assert contrast(spoilt, far, spoilt.scale) == pytest.approx(
        contrast(reference, far, reference.scale), rel=0.1
    )
    assert abs(float(spoilt.pixels.mean())) < 0.1


@pytest.mark.parametrize("sigma", [1.5, 8.0, 30.0])
def test_blur_is_that_of_scipy(sigma):
    image = np.random.default_rng(2).standard_normal((70, 51)).astype(np.float32)
    expected = gaussian_filter(image, sigma, mode="reflect", truncate=8.0)
    np.testing.assert_allclose(blur(image, sigma), expected, atol=1e-5)


def test_normalisation_turns_and_mirrors_with_the_image():
    image = np.random.default_rng(1).standard_normal((60, 80)).astype(np.float32).cumsum(1)
    out = normalise_locally(image, 9.0)
    np.testing.assert_allclose(normalise_locally(np.rot90(image), 9.0), np.rot90(out), atol=1e-4)
    np.testing.assert_allclose(normalise_locally(image[::-1], 9.0), out[::-1], atol=1e-4)
    assert float(np.abs(out).max()) <= CLIP


def test_constant_and_empty_images_become_zero():
    assert not clean(np.full((80, 80), 7.0, np.float32)).pixels.any()
    assert not clean(np.full((80, 80), np.nan, np.float32)).pixels.any()
    assert robust_range(np.full((5, 5), np.nan, np.float32)) == (0.0, 0.0)


def test_a_blank_rim_stays_calm():
    image, _ = particles()
    image[:60] = 0.0
    out = clean(image)
    inner = out.pixels[3:25]  # the Fourier transform wraps the opposite border into the first rows
    assert float(inner.std()) < 0.3 * float(out.pixels[40:].std())


def test_scale_is_the_true_ratio_per_axis():
    out = preprocess(
        np.random.default_rng(0).standard_normal((403, 501)).astype("f4"), 1.3, 90.0, 4.5
    )
    h, w = out.pixels.shape
    assert out.scale == (403 / h, 501 / w)
    assert out.pixel_size == pytest.approx((1.3 * 403 / h, 1.3 * 501 / w))
    assert out.pixel_size[0] == pytest.approx(4.5, rel=0.01)


def test_mending_leaves_good_pixels_alone_but_for_the_plane():
    y, x = np.mgrid[:50, :70].astype(np.float32)
    image = np.random.default_rng(0).standard_normal((50, 70)).astype(np.float32)
    mended, tilted = mend_pixels(image), mend_pixels(image + 0.3 * y - 0.2 * x + 40)
    np.testing.assert_allclose(tilted, mended, atol=1e-4)
    np.testing.assert_allclose(mended, image - image.mean(), atol=0.2)
    assert mended.std() == pytest.approx(image.std(), rel=0.01)
