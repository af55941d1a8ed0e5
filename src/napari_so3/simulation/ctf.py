"""The contrast transfer function of the microscope, with particles dark on a bright ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CTF:
    """What the contrast of a micrograph depends on.

    Parameters
    ----------
    voltage_kv : float
        Acceleration voltage, kV.
    cs_mm : float
        Spherical aberration, mm.
    amplitude_contrast : float
        Fraction of amplitude contrast, 0 to 1.
    defocus_u, defocus_v : float
        Largest and smallest defocus, Å; underfocus is positive, as in RELION.
    astigmatism_angle : float
        Direction of ``defocus_u``, degrees from x (columns) towards y (rows).
    phase_shift : float
        Phase shift of a phase plate, degrees.
    b_factor : float
        Fall-off with resolution, Å^2: the envelope is ``exp(-b_factor s^2 / 4)``.

    Raises
    ------
    ValueError
        If the voltage is not positive or the amplitude contrast is outside 0 to 1.
    """

    voltage_kv: float = 300.0
    cs_mm: float = 2.7
    amplitude_contrast: float = 0.1
    defocus_u: float = 15_000.0
    defocus_v: float = 15_000.0
    astigmatism_angle: float = 0.0
    phase_shift: float = 0.0
    b_factor: float = 100.0

    def __post_init__(self) -> None:
        if not self.voltage_kv > 0:
            raise ValueError(f"the voltage must be above 0 kV, not {self.voltage_kv}")
        if not 0 <= self.amplitude_contrast <= 1:
            raise ValueError(
                f"the amplitude contrast must be from 0 to 1, not {self.amplitude_contrast}"
            )

    @property
    def wavelength(self) -> float:
        """Relativistic wavelength of the electrons, Å."""
        volts = 1e3 * self.voltage_kv
        return 12.264259661 / math.sqrt(volts + 0.978475598e-6 * volts**2)


def evaluate_ctf(ctf: CTF, shape: tuple[int, int], pixel_size: float) -> Tensor:
    """Evaluate the CTF on the frequencies of ``torch.fft.rfft2``.

    ``-sin(pi lam dz s^2 - pi/2 Cs lam^3 s^4 + phase + asin w) exp(-B s^2 / 4)``: negative at low
    frequencies under focus, so that matter, a positive density, turns dark.

    Parameters
    ----------
    ctf : CTF
        Settings of the microscope.
    shape : tuple of int
        Size (ny, nx) of the image.
    pixel_size : float
        Å per pixel.

    Returns
    -------
    Tensor
        (ny, nx // 2 + 1) float32.

    Raises
    ------
    ValueError
        If the pixel size is not positive.
    """
    if not pixel_size > 0:
        raise ValueError(f"the pixel size must be above 0 Å, not {pixel_size}")
    ny, nx = shape
    fy = torch.fft.fftfreq(ny, pixel_size, dtype=torch.float64)[:, None]
    fx = torch.fft.rfftfreq(nx, pixel_size, dtype=torch.float64)[None, :]
    s2 = fy**2 + fx**2
    axis = math.radians(2 * ctf.astigmatism_angle)
    # s^2 cos 2(phi - phi0), without the angle phi of each frequency.
    s2_astigmatic = (fx**2 - fy**2) * math.cos(axis) + 2 * fx * fy * math.sin(axis)
    defocus_s2 = (
        s2 * (ctf.defocus_u + ctf.defocus_v) + s2_astigmatic * (ctf.defocus_u - ctf.defocus_v)
    ) / 2
    chi = (
        math.pi * ctf.wavelength * defocus_s2
        - math.pi / 2 * (1e7 * ctf.cs_mm) * ctf.wavelength**3 * s2**2
        + math.radians(ctf.phase_shift)
        + math.asin(ctf.amplitude_contrast)
    )
    return (-torch.sin(chi) * torch.exp(-ctf.b_factor * s2 / 4)).float()


def apply_ctf(image: Tensor, ctf: CTF, pixel_size: float) -> Tensor:
    """Image a projected density through the microscope; the image wraps around at its borders.

    Parameters
    ----------
    image : Tensor
        (..., ny, nx) projected density.
    ctf : CTF
        Settings of the microscope.
    pixel_size : float
        Å per pixel.

    Returns
    -------
    Tensor
        (..., ny, nx) float32.
    """
    ny, nx = image.shape[-2:]
    transfer = evaluate_ctf(ctf, (ny, nx), pixel_size).to(image.device)
    spectrum = torch.fft.rfft2(image.float()) * transfer
    imaged: Tensor = torch.fft.irfft2(spectrum, s=(ny, nx))
    return imaged


def flip_phases(image: Tensor, ctf: CTF, pixel_size: float) -> Tensor:
    """Give all frequencies the sign that low ones have: particles stay dark.

    Parameters
    ----------
    image : Tensor
        (ny, nx) micrograph.
    ctf : CTF
        Its CTF.
    pixel_size : float
        Å per pixel.

    Returns
    -------
    Tensor
        (ny, nx) float32; flipped twice it is as it was.
    """
    shape = (int(image.shape[0]), int(image.shape[1]))
    signs = torch.where(evaluate_ctf(ctf, shape, pixel_size) > 0, -1.0, 1.0).to(image.device)
    flipped: Tensor = torch.fft.irfft2(torch.fft.rfft2(image.float()) * signs, s=shape)
    return flipped
