"""The spectrum and the defocus of a micrograph are found where they can be seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.estimate import (
    DEFOCUS_RANGE,
    NoiseSpectrum,
    estimate_defocus,
    estimate_noise,
)

PIXEL = 1.5  # Å
FREQUENCIES = np.linspace(0.004, 0.33, 80)
KNOWN = NoiseSpectrum(FREQUENCIES, 1.0 + 3.0 * np.exp(-FREQUENCIES / 0.05))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _imaged_ice(defocus: float, pixel_size: float, share: float = 0.3) -> np.ndarray:
    """White ice seen through the microscope in white noise, ``share`` of the variance."""
    ctf = CTF(defocus_u=1.01 * defocus, defocus_v=0.99 * defocus, b_factor=60.0)
    ice = apply_ctf(torch.randn((640, 640), generator=_generator()), ctf, pixel_size)
    noise = torch.randn((640, 640), generator=_generator(1))
    return (share**0.5 * ice / ice.std() + (1 - share) ** 0.5 * noise).numpy()


def _relative(found: NoiseSpectrum) -> np.ndarray:
    """Power over that of `KNOWN`, up to a common factor, in bands of the frequency."""
    ratio = found.power / np.interp(found.frequencies, KNOWN.frequencies, KNOWN.power)
    edges = np.linspace(0, len(ratio), 9).astype(int)[:-1]
    waves = found.frequencies  # as many as the ring is long
    bands = np.add.reduceat(ratio * waves, edges) / np.add.reduceat(waves, edges)
    return bands / np.median(bands)


def test_drawn_noise_has_the_spectrum_and_it_is_found_again():
    noise = KNOWN.draw((600, 700), PIXEL, _generator()).numpy()
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 1e-4 and noise.std() == pytest.approx(1.0, abs=1e-3)
    assert _relative(estimate_noise(noise, PIXEL)) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("pixel_size", [0.5 * PIXEL, 2 * PIXEL])
def test_the_spectrum_holds_at_any_pixel_size(pixel_size):
    found = estimate_noise(KNOWN.draw((512, 512), pixel_size, _generator()).numpy(), pixel_size)
    known = found.frequencies < KNOWN.frequencies[-1]
    inside = NoiseSpectrum(found.frequencies[known], found.power[known])
    assert _relative(inside) == pytest.approx(1.0, abs=0.1)


def test_white_noise_has_its_variance_as_power():
    white = 3.0 * torch.randn((512, 512), generator=_generator()).numpy()
    found = estimate_noise(white, PIXEL)
    assert found.power == pytest.approx(9.0, rel=0.35)
    assert found.power.mean() == pytest.approx(9.0, rel=0.03)
    assert found.frequencies[-1] == pytest.approx(0.5 / PIXEL)


def test_hot_pixels_gradients_and_contaminants_do_not_count():
    clean = KNOWN.draw((640, 640), PIXEL, _generator()).numpy()
    dirty = clean.copy()
    y, x = np.mgrid[:640, :640] / 640
    dirty += 3.0 * y - 2.0 * x
    for cy, cx in ((0.2, 0.3), (0.8, 0.7), (0.1, 0.9)):
        dirty[np.hypot(y - cy, x - cx) < 0.03] += 15.0
    dirty[np.random.default_rng(0).integers(640, size=(2, 30)).tolist()] = 1e6
    assert _relative(estimate_noise(dirty, PIXEL)) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("defocus", [8_000.0, 15_000.0, 28_000.0])
def test_the_defocus_is_found_by_its_rings(defocus):
    found = estimate_defocus(_imaged_ice(defocus, PIXEL), PIXEL, CTF())
    assert found == pytest.approx(defocus, rel=0.05)


def test_rings_are_found_on_top_of_a_coloured_ground():
    image = _imaged_ice(15_000.0, PIXEL) + 2 * KNOWN.draw((640, 640), PIXEL, _generator(5)).numpy()
    assert estimate_defocus(image, PIXEL, CTF()) == pytest.approx(15_000.0, rel=0.1)


def test_the_microscope_counts():
    image = _imaged_ice(15_000.0, PIXEL)
    found = estimate_defocus(image, PIXEL, CTF(voltage_kv=200.0))
    # Rings lie where wavelength times defocus says, but for the spherical aberration.
    ratio = CTF().wavelength / CTF(voltage_kv=200.0).wavelength
    assert found == pytest.approx(15_000.0 * ratio, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_no_rings_no_defocus(seed):
    white = torch.randn((600, 600), generator=_generator(seed)).numpy()
    assert estimate_defocus(white, PIXEL, CTF()) is None
    coloured = KNOWN.draw((600, 600), PIXEL, _generator(seed)).numpy()
    assert estimate_defocus(coloured, PIXEL, CTF()) is None


@pytest.mark.parametrize("pixel_size", [7.0, 16.0])
def test_coarse_pixels_no_defocus(pixel_size):
    assert estimate_defocus(_imaged_ice(15_000.0, pixel_size), pixel_size, CTF()) is None


def test_a_defocus_outside_the_range_is_not_made_up():
    image = _imaged_ice(1.6 * DEFOCUS_RANGE[1], PIXEL)
    assert estimate_defocus(image, PIXEL, CTF()) is None


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((100, 100), np.float32),
        np.ones((20, 100), np.float32),
        np.full((100, 100), np.nan, np.float32),
    ],
)
def test_what_cannot_be_estimated_says_so(image):
    with pytest.raises(ValueError, match="spectrum"):
        estimate_noise(image, PIXEL)
