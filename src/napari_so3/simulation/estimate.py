"""What micrographs tell by themselves: the spectrum of their noise, and their defocus."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.simulation.ctf import evaluate_ctf

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.simulation.ctf import CTF

_LARGEST_PATCH = 512  # pixels
_LOWEST_RING = 2  # below, a plane takes what there is
_PATCHES_ACROSS = 2  # at least, without their overlap
_SMALLEST_IMAGE = 48  # pixels
_OUTLIER = 6.0  # robust standard deviations: hot and dead pixels
_TO_SD = 1.4826  # standard deviations per median absolute deviation
_AT_ONCE = 32  # patches that are transformed together

DEFOCUS_RANGE = (3_000.0, 40_000.0)  # Å
_DEFOCUS_STEP = 50.0  # Å
_BAND = (1 / 30.0, 1 / 5.0)  # 1/Å, where Thon rings are looked for
_NYQUIST_SHARE = 0.9  # of the Nyquist frequency, up to which a spectrum can be trusted
_BACKGROUND_DEGREE = 3  # of the polynomial under the rings
_FADINGS = (0.0, 200.0, 600.0)  # Å^2, B-factors of the rings that are tried
FEWEST_ZEROS = 2.0  # of the CTF in the band
LEAST_CORRELATION = 0.6
LEAST_SIGNIFICANCE = 6.0  # standard deviations of Fisher's z


@dataclass(frozen=True, eq=False)
class NoiseSpectrum:
    """Radially averaged power of noise.

    Parameters
    ----------
    frequencies : ndarray
        (k,) float64, rising, 1/Å.
    power : ndarray
        (k,) float64, not negative; the square of its standard deviation for white noise.
    """

    frequencies: NDArray[np.float64]
    power: NDArray[np.float64]

    def draw(self, shape: tuple[int, int], pixel_size: float, generator: torch.Generator) -> Tensor:
        """Draw noise with this spectrum.

        Parameters
        ----------
        shape : tuple of int
            Size (ny, nx).
        pixel_size : float
            Å per pixel. Beyond the known frequencies the power is that at the nearest known one.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        Tensor
            (ny, nx) float32, mean 0, standard deviation 1; all 0 if there is no power.
        """
        ny, nx = shape
        frequency = np.hypot(
            np.fft.fftfreq(ny, pixel_size)[:, None], np.fft.rfftfreq(nx, pixel_size)
        )
        amplitude = np.sqrt(np.interp(frequency, self.frequencies, self.power))
        spectrum = torch.fft.rfft2(torch.randn(shape, generator=generator))
        noise: Tensor = torch.fft.irfft2(spectrum * torch.from_numpy(amplitude).float(), s=shape)
        noise = noise - noise.mean()
        spread = noise.std()
        return noise / spread if spread > 0 else noise


def estimate_noise(image: NDArray[np.float32], pixel_size: float) -> NoiseSpectrum:
    """Estimate the noise power of a micrograph.

    Overlapping patches, each without its own plane, are transformed under a Hann window; the
    median over the patches leaves out the few that show contaminants or carbon. Particles count as
    noise: in micrographs they are the smaller part of the power.

    Parameters
    ----------
    image : ndarray
        (ny, nx) of finite numbers.
    pixel_size : float
        Å per pixel.

    Returns
    -------
    NoiseSpectrum
        From two over the edge of a patch to the Nyquist frequency, in squared units of the image.

    Raises
    ------
    ValueError
        If the pixel size is not positive, the image is smaller than 48 pixels, not finite or
        constant.
    """
    if not pixel_size > 0:
        raise ValueError(f"the pixel size must be above 0 Å, not {pixel_size}")
    if image.ndim != 2 or min(image.shape) < _SMALLEST_IMAGE:
        raise ValueError(
            f"an image of {image.shape} is too small for a spectrum; {_SMALLEST_IMAGE} pixels are "
            "needed"
        )
    mended = _without_outliers(np.asarray(image, dtype=np.float32))
    edge = 2 ** int(math.log2(min(image.shape) / _PATCHES_ACROSS))
    edge = min(edge, _LARGEST_PATCH)
    power, counts = _patch_powers(mended, edge)
    # The median of a mean of n exponentials lies about 1 / (3 n) below their mean.
    median = np.median(power, axis=0) / (1.0 - 1.0 / (3.0 * counts))
    return NoiseSpectrum(np.arange(_LOWEST_RING, edge // 2 + 1) / (edge * pixel_size), median)


def _without_outliers(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put the median in place of pixels far from it."""
    middle = np.float32(np.median(image))
    spread = _TO_SD * float(np.median(np.abs(image - middle)))
    if not (np.isfinite(middle) and np.isfinite(spread)) or image.min() == image.max():
        raise ValueError("an image that is constant or not finite has no spectrum")
    out: NDArray[np.float32] = np.where(np.abs(image - middle) > _OUTLIER * spread, middle, image)
    return out


def _patch_powers(
    image: NDArray[np.float32], edge: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, k) power of the rings of each patch, and (k,) waves in each ring."""
    tops, lefts = (_starts(n, edge) for n in image.shape)
    corners = [(top, left) for top in tops for left in lefts]
    hann = torch.hann_window(edge)
    window = hann[:, None] * hann
    window = window / window.square().mean().sqrt()
    y = torch.fft.fftfreq(edge)[:, None] * edge
    x = torch.arange(edge // 2 + 1)
    ring = torch.hypot(y, x.float()).round().long().flatten()
    # A wave and its conjugate are one; both stand in the first and the last column.
    weight = torch.ones(edge, edge // 2 + 1)
    weight[:, 0] = weight[:, -1] = 0.5
    waves = torch.bincount(ring, weight.flatten())
    whole = torch.from_numpy(image)
    powers = []
    for first in range(0, len(corners), _AT_ONCE):
        patches = torch.stack(
            [whole[t : t + edge, u : u + edge] for t, u in corners[first : first + _AT_ONCE]]
        )
        spectrum = torch.fft.rfft2(_without_plane(patches) * window).abs().square() / edge**2
        flat = torch.zeros(len(patches), len(waves))
        flat.index_add_(1, ring, (spectrum * weight).flatten(1))
        powers.append(flat / waves)
    kept = slice(_LOWEST_RING, edge // 2 + 1)
    return torch.cat(powers)[:, kept].double().numpy(), waves[kept].double().numpy()


def _starts(n: int, edge: int) -> list[int]:
    """First pixels of patches that overlap by half and cover n pixels."""
    count = math.ceil((n - edge) / (edge / 2)) + 1
    return [round(v) for v in np.linspace(0, n - edge, count)]


def _without_plane(patches: Tensor) -> Tensor:
    """Subtract from each patch (n, e, e) the plane that fits it best."""
    ramp = torch.linspace(-1, 1, patches.shape[-1])
    ramp = ramp / ramp.square().mean().sqrt()
    flat = patches - patches.mean((-2, -1), keepdim=True)
    for axis in (ramp, ramp[:, None]):
        flat = flat - (flat * axis).mean((-2, -1), keepdim=True) * axis
    return flat


def estimate_defocus(image: NDArray[np.float32], pixel_size: float, ctf: CTF) -> float | None:
    """Estimate the mean defocus of a micrograph from its Thon rings.

    The logarithm of the radial power and the squared CTF are compared between 1/30 and 1/5 Å (or
    nine tenths of the Nyquist frequency), both without what a cubic polynomial of the frequency
    describes. The best correlation counts if all of this holds:

    - the CTF has `FEWEST_ZEROS` zeros or more in that band;
    - the correlation is at least `LEAST_CORRELATION`, and `LEAST_SIGNIFICANCE` standard deviations
      of Fisher's z above 0;
    - it is a maximum inside `DEFOCUS_RANGE`, not at its end.

    Parameters
    ----------
    image : ndarray
        (ny, nx) of finite numbers.
    pixel_size : float
        Å per pixel.
    ctf : CTF
        The microscope: voltage, spherical aberration, amplitude contrast and phase shift are used.

    Returns
    -------
    float or None
        Å, under focus; None where no rings can be seen.

    Raises
    ------
    ValueError
        As for `estimate_noise`.
    """
    spectrum = estimate_noise(image, pixel_size)
    highest = min(_BAND[1], _NYQUIST_SHARE * 0.5 / pixel_size)
    s = spectrum.frequencies
    band = (s >= _BAND[0]) & (s <= highest)
    if band.sum() <= 2 * (_BACKGROUND_DEGREE + 1):
        return None
    s = s[band]
    powers = np.polynomial.legendre.legvander(np.linspace(-1, 1, len(s)), _BACKGROUND_DEGREE)
    background = np.linalg.qr(powers)[0].astype(np.float64)
    rings = _flattened(np.log(np.maximum(spectrum.power[band], 1e-30))[None], background)
    grid = np.arange(DEFOCUS_RANGE[0], DEFOCUS_RANGE[1] + 1.0, _DEFOCUS_STEP)
    squared = np.stack([_squared_ctf(ctf, d, s) for d in grid])
    correlation = np.max(
        [_flattened(squared * np.exp(-b / 2 * s**2), background) @ rings[0] for b in _FADINGS],
        axis=0,
    )
    best = int(np.argmax(correlation))
    if best in (0, len(grid) - 1):
        return None
    free = len(s) - _BACKGROUND_DEGREE - 1
    enough = max(LEAST_CORRELATION, math.tanh(LEAST_SIGNIFICANCE / math.sqrt(max(free - 3, 1))))
    zeros = (_phase(ctf, grid[best], s[-1]) - _phase(ctf, grid[best], s[0])) / math.pi
    if correlation[best] < enough or zeros < FEWEST_ZEROS:
        return None
    return float(grid[best])


def _flattened(curves: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, k) curves without the background, each of length 1."""
    flat = curves - (curves @ background) @ background.T
    out: NDArray[np.float64] = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return out


def _phase(ctf: CTF, defocus: float, s: float) -> float:
    """Phase of the CTF at a frequency, radians; it has a zero at every multiple of pi."""
    quadratic = math.pi * ctf.wavelength * defocus * s**2
    return quadratic - math.pi / 2 * 1e7 * ctf.cs_mm * ctf.wavelength**3 * s**4


def _squared_ctf(ctf: CTF, defocus: float, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square of the CTF without envelope at evenly spaced frequencies."""
    plain = replace(ctf, defocus_u=defocus, defocus_v=defocus, b_factor=0.0)
    samples = 2 * round(s[-1] / (s[1] - s[0]))
    pixel_size = 0.5 / s[-1]
    values = evaluate_ctf(plain, (1, samples), pixel_size)[0].double().numpy()
    out: NDArray[np.float64] = np.interp(s, np.fft.rfftfreq(samples, pixel_size), values) ** 2
    return out
