import math

import numpy as np
import pytest
import torch

from napari_so3.simulation.ctf import CTF, apply_ctf, evaluate_ctf


def closed_form(s, defocus, b=100.0, w=0.1, phase=0.0):
    """Eq. of the CTF at 300 kV (wavelength .019687 Å) and Cs 2.7 mm."""
    lam = 0.0196875
    chi = math.pi * lam * defocus * s**2 - math.pi / 2 * 2.7e7 * lam**3 * s**4
    return -np.sin(chi + phase + math.asin(w)) * np.exp(-b * s**2 / 4)


def test_the_wavelength_at_300_kv():
    assert CTF().wavelength == pytest.approx(0.019687, abs=1e-6)


@pytest.mark.parametrize("defocus", [5_000.0, 15_000.0, 25_000.0])
@pytest.mark.parametrize("phase", [0.0, 90.0])
def test_radial_values_equal_the_closed_form(defocus, phase):
    ctf = CTF(defocus_u=defocus, defocus_v=defocus, phase_shift=phase)
    values = evaluate_ctf(ctf, (200, 256), 3.0)
    along_x = closed_form(np.fft.rfftfreq(256, 3.0), defocus, phase=math.radians(phase))
    along_y = closed_form(np.fft.fftfreq(200, 3.0), defocus, phase=math.radians(phase))

    np.testing.assert_allclose(values[0].numpy(), along_x, atol=2e-3)
    np.testing.assert_allclose(values[:, 0].numpy(), along_y, atol=2e-3)


def test_the_first_zero_at_1_5_um_is_at_17_4_angstrom():
    values = evaluate_ctf(CTF(), (2, 100_000), 3.0)[0].numpy()
    first = np.flatnonzero(np.diff(np.sign(values)))[0]
    assert 1 / np.fft.rfftfreq(100_000, 3.0)[first] == pytest.approx(17.4, abs=0.1)


def test_without_astigmatism_the_ctf_is_round():
    values = evaluate_ctf(CTF(), (128, 128), 3.0)
    quadrant = values[:64, :64]
    torch.testing.assert_close(quadrant, quadrant.T)
    torch.testing.assert_close(values[1:64], values[65:].flip(0))


def test_astigmatism_lies_along_its_angle():
    """Along the angle the defocus is U, across it V."""
    n, px = 129, 3.0
    ctf = CTF(defocus_u=20_000.0, defocus_v=10_000.0, astigmatism_angle=45.0)
    values = evaluate_ctf(ctf, (n, n), px)
    k = np.arange(64)
    s = math.sqrt(2) * k / (n * px)

    np.testing.assert_allclose(values[k, k].numpy(), closed_form(s, 20_000.0), atol=2e-3)
    np.testing.assert_allclose(values[-k, k].numpy(), closed_form(s, 10_000.0), atol=2e-3)


def blob(shape=(128, 160), sigma=6.0):
    y, x = (torch.arange(n) - n // 2 for n in shape)
    return torch.exp(-(y[:, None] ** 2 + x**2) / (2 * sigma**2))


def test_matter_is_dark_under_focus_and_bright_over_focus():
    under = apply_ctf(blob(), CTF(b_factor=0.0), 3.0)
    over = apply_ctf(blob(), CTF(defocus_u=-15_000.0, defocus_v=-15_000.0), 3.0)
    assert under[64, 80] < 0
    assert under[64, 80] == under.min()
    assert over[64, 80] > 0


def test_applying_keeps_odd_shapes_and_scales_the_mean_by_the_amplitude_contrast():
    image = blob((65, 83))
    imaged = apply_ctf(image, CTF(), 3.0)
    assert imaged.shape == image.shape
    assert float(imaged.sum()) == pytest.approx(-0.1 * float(image.sum()), rel=1e-4)


@pytest.mark.parametrize("angle", [0.0, 20.0, 100.0])
@pytest.mark.parametrize(("voltage", "phase"), [(300.0, 0.0), (200.0, 70.0)])
def test_torch_ctf_gives_the_same_with_the_other_sign(angle, voltage, phase):
    torch_ctf = pytest.importorskip("torch_ctf")
    ctf = CTF(
        voltage_kv=voltage,
        defocus_u=20_000.0,
        defocus_v=16_000.0,
        astigmatism_angle=angle,
        phase_shift=phase,
        b_factor=0.0,
    )
    theirs = torch_ctf.calculate_ctf_2d(
        defocus=1.8,
        astigmatism=0.2,
        astigmatism_angle=angle,
        voltage=voltage,
        spherical_aberration=ctf.cs_mm,
        amplitude_contrast=ctf.amplitude_contrast,
        phase_shift=phase,
        pixel_size=3.0,
        image_shape=(96, 80),
        rfft=True,
        fftshift=False,
    )
    torch.testing.assert_close(evaluate_ctf(ctf, (96, 80), 3.0), -theirs, atol=1e-4, rtol=0)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="voltage"):
        CTF(voltage_kv=0.0)
    with pytest.raises(ValueError, match="amplitude contrast"):
        CTF(amplitude_contrast=7.0)
    with pytest.raises(ValueError, match="pixel size"):
        evaluate_ctf(CTF(), (8, 8), 0.0)
