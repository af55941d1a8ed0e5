"""What a micrograph shows besides proteins, in units of the standard deviation of its noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_so3.simulation.ctf import apply_ctf
from napari_so3.simulation.layout import Discs

if TYPE_CHECKING:
    from torch import Tensor

    from napari_so3.simulation.ctf import CTF

_COLOUR_EXPONENT = 0.35
_SEEN = 0.6  # share of structural noise that went through the microscope as the particles do
_FADING = 800.0  # Å^2, B-factor of it: what moves under the beam
_HOLE_RADIUS = 6000.0


def coloured_noise(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw noise whose amplitude falls as 1/f^0.35.

    Returns
    -------
    Tensor
        (ny, nx) float32, mean 0, standard deviation 1.
    """
    spectrum = torch.fft.rfft2(torch.randn(shape, generator=generator))
    frequency = torch.hypot(
        torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1])[None, :]
    )
    frequency[0, 0] = math.inf
    noise: Tensor = torch.fft.irfft2(spectrum * frequency**-_COLOUR_EXPONENT, s=shape)
    return noise / noise.std()


def structural_noise(
    shape: tuple[int, int], pixel_size: float, ctf: CTF, generator: torch.Generator
) -> Tensor:
    """Draw the noise of ice: mostly shaped by the CTF, as particles are, else 1/f^0.35.

    Together with white noise this gives the power spectra of vitreous ice around real particles
    (docs/contact_sheet.py compares them).

    Parameters
    ----------
    shape : tuple of int
        Size (ny, nx).
    pixel_size : float
        Å per pixel.
    ctf : CTF
        Settings of the microscope.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        (ny, nx) float32, mean 0, standard deviation 1.
    """
    faded = replace(ctf, b_factor=ctf.b_factor + _FADING)
    seen = apply_ctf(torch.randn(shape, generator=generator), faded, pixel_size)
    noise = math.sqrt(_SEEN) * seen / seen.std()
    noise += math.sqrt(1 - _SEEN) * coloured_noise(shape, generator)
    return (noise - noise.mean()) / noise.std()


def shot_noise(
    expected: Tensor, electrons: float, share: float, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Count electrons instead of seeing what is expected.

    Parameters
    ----------
    expected : Tensor
        (ny, nx) what is expected, in units of the standard deviation of the whole noise.
    electrons : float
        Electrons per pixel where 0 is expected.
    share : float
        Share of the counting in the variance of the whole noise; sets the contrast.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    image : Tensor
        (ny, nx) float32: counts, brought to the scale of what is expected.
    counted : float
        Mean number of electrons per pixel.
    """
    unit = math.sqrt(electrons / share)  # electrons per standard deviation of the noise
    rate = (electrons + unit * expected.cpu()).clamp(min=0.0)
    counts = torch.poisson(rate, generator=generator)
    return ((counts - electrons) / unit).to(expected.device), float(counts.mean())


def ice_gradient(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw the slow change of the ground under uneven ice: a random plane plus a quadratic.

    Returns
    -------
    Tensor
        (ny, nx) float32, mean 0, standard deviation 1.
    """
    y, x = _unit_grid(shape)
    a = torch.randn(5, generator=generator)
    ramp = a[0] * y + a[1] * x + 0.7 * (a[2] * y**2 + a[3] * x**2 + a[4] * x * y)
    return (ramp - ramp.mean()) / ramp.std()


def carbon_film(shape: tuple[int, int], pixel_size: float, generator: torch.Generator) -> Tensor:
    """Draw the coverage of a carbon film that reaches into the micrograph from one side.

    Parameters
    ----------
    shape : tuple of int
        Size (ny, nx).
    pixel_size : float
        Å per pixel.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        (ny, nx) float32 from 0 in the hole to 1 on the film, with a soft edge bent as the rim of
        a hole. It covers about a tenth of the micrograph.
    """
    y, x = (torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape)
    angle = 2 * math.pi * float(torch.rand((), generator=generator))
    radius = _HOLE_RADIUS / pixel_size
    outwards = y[:, None] * math.sin(angle) + x[None, :] * math.cos(angle)
    sideways = x[None, :] * math.sin(angle) - y[:, None] * math.cos(angle)
    distance = torch.hypot(outwards + radius, sideways)
    edge = torch.quantile(distance[::8, ::8].flatten(), 0.9)
    return torch.sigmoid((distance - edge) / (25.0 / pixel_size))


def draw_crystals(n: int, shape: tuple[int, int], size: float, generator: torch.Generator) -> Discs:
    """Place n crystals at random, with radii from half to one and a half ``size`` (pixels)."""
    centres = torch.rand(n, 2, generator=generator, dtype=torch.float64) * torch.tensor(shape)
    radii = size * (0.5 + torch.rand(n, generator=generator, dtype=torch.float64) ** 2)
    return Discs(centres, radii)


def render_crystals(
    crystals: Discs,
    shape: tuple[int, int],
    origin: tuple[int, int],
    softness: float,
    generator: torch.Generator,
) -> Tensor:
    """Render the thickness of crystals: lumps with irregular outlines, thicker on one side.

    Parameters
    ----------
    crystals : Discs
        Places and sizes.
    shape : tuple of int
        Size (ny, nx) of the canvas.
    origin : tuple of int
        Where pixel (0, 0) of the micrograph lies on the canvas, (y, x).
    softness : float
        Width of the edge, pixels.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        (ny, nx) float32, about 1 inside the crystals and 0 elsewhere.
    """
    canvas = torch.zeros(shape)
    ys, xs = (torch.arange(n, dtype=torch.float32) - o for n, o in zip(shape, origin, strict=True))
    for (cy, cx), radius in zip(crystals.centres.tolist(), crystals.radii.tolist(), strict=True):
        rows = (ys - cy).abs() < 2 * radius
        columns = (xs - cx).abs() < 2 * radius
        y, x = ys[rows, None] - cy, xs[None, columns] - cx
        theta = torch.atan2(y, x)
        outline = torch.full_like(theta, radius)
        for order in range(2, 6):
            phase = 2 * math.pi * float(torch.rand((), generator=generator))
            outline = outline + 0.16 * radius / order * torch.cos(order * theta + phase)
        lump = torch.sigmoid((outline - torch.hypot(y, x)) / softness)
        tilt = 2 * math.pi * float(torch.rand((), generator=generator))
        wedge = 1 + 0.3 * (y * math.sin(tilt) + x * math.cos(tilt)) / radius
        canvas[rows[:, None] & columns] += (lump * wedge).flatten()
    return canvas


def _unit_grid(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    y, x = (torch.linspace(-1, 1, n) for n in shape)
    return y[:, None], x[None, :]
