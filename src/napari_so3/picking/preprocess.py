"""From a micrograph as it is on disk to the image that the network sees.

Four steps, in this order:

1. Non-finite and hot pixels (more than 10 robust standard deviations from the median) become the
   median: one of 1e9 would otherwise ring through the whole Fourier transform. The least-squares
   plane is taken out: the step from one border to the opposite one would ring too.
2. Fourier crop to the working pixel size, to the nearest odd number of pixels and with the true
   ratio of the sizes per axis; the first pixel stays at 0.
3. Local normalisation: the mean and the standard deviation in a Gaussian window of
   `WINDOW` particle diameters are taken out. Ice gradients and the levels on both sides of a
   carbon edge are slower than that and vanish; a global mean would leave them. The statistics are
   taken twice, the second time with outliers clipped, so that ice crystals do not darken their
   surroundings.
4. Clip to `CLIP` standard deviations, and the sign that makes particles bright.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

HOT = 10.0  # robust standard deviations
CLIP = 6.0  # local standard deviations
WINDOW = 1.5  # particle diameters, standard deviation of the Gaussian window
CALMEST = 0.3  # of the median local standard deviation: the least that is divided by
SAMPLE = 1_000_000  # pixels that robust statistics look at


@dataclass(frozen=True)
class WorkingImage:
    """A micrograph as the network sees it.

    Parameters
    ----------
    pixels : Tensor
        (h, w) float32, particles bright, locally of mean 0 and standard deviation 1.
    scale : tuple of float
        Micrograph pixels per working pixel along y and x: ``y_micrograph = y * scale[0]``.
    pixel_size : tuple of float
        Working pixel size along y and x, Å.
    """

    pixels: Tensor
    scale: tuple[float, float]
    pixel_size: tuple[float, float]


def robust_range(image: NDArray[np.float32]) -> tuple[float, float]:
    """Median and robust standard deviation (1.4826 times the median absolute deviation).

    Parameters
    ----------
    image : ndarray
        (ny, nx); non-finite pixels are left out, large images are sampled evenly.

    Returns
    -------
    median, deviation : float
        The deviation is 0 for a constant image; both are 0 if no pixel is finite.
    """
    step = max(1, int(np.sqrt(image.size / SAMPLE)))
    sample = image[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 0.0
    median = float(np.median(sample))
    return median, 1.4826 * float(np.median(np.abs(sample - median)))


def mend_pixels(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace non-finite and hot pixels by the median, and take out the plane.

    Parameters
    ----------
    image : ndarray
        (ny, nx) float32.

    Returns
    -------
    ndarray
        (ny, nx) float32 of mean about 0, a new array.
    """
    median, deviation = robust_range(image)
    limit = HOT * deviation if deviation > 0 else np.finfo(np.float32).max
    low, high = image.min(), image.max()
    if not (median - limit <= low and high <= median + limit):  # also true for NaN
        image = np.where(np.abs(image - np.float32(median)) <= limit, image, np.float32(median))
    step = max(1, int(np.sqrt(image.size / SAMPLE)))
    sample = image[::step, ::step]
    # On a regular grid the mean and the two slopes are independent of each other.
    along_y, along_x = (_ramp(sample, axis, step, image.shape[axis]) for axis in (0, 1))
    along_y += np.float32(sample.mean(dtype=np.float64))
    out: NDArray[np.float32] = image - along_y[:, None]
    out -= along_x
    return out


def _ramp(sample: NDArray[np.float32], axis: int, step: int, length: int) -> NDArray[np.float32]:
    """Least-squares slope of every ``step``-th pixel along an axis, drawn out to ``length``."""
    profile = sample.mean(axis=1 - axis, dtype=np.float64)
    position = np.arange(len(profile), dtype=np.float64) * step
    along = position - position.mean()
    slope = float(along @ profile) / max(float(along @ along), 1.0)
    ramp: NDArray[np.float64] = slope * (np.arange(length) - position.mean())
    return ramp.astype(np.float32)


def fourier_resample(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Change the sampling of an image by cropping or zero-padding its Fourier transform.

    The first pixel keeps its position: ``y_old = y_new * ny_old / ny_new``, likewise for x.

    Parameters
    ----------
    image : ndarray
        (ny, nx) float32.
    shape : tuple of int
        New (ny, nx).

    Returns
    -------
    ndarray
        (ny, nx) float32 of the new shape; the mean is kept.

    Raises
    ------
    ValueError
        If a new size is below one.
    """
    if min(shape) < 1:
        raise ValueError(f"an image is at least one pixel wide, not {shape}")
    if image.shape == shape:
        return image
    (ny, nx), (my, mx) = image.shape, shape
    kx, ky = min(nx, mx) // 2 + 1, min(ny, my)
    # Columns beyond the new band are dropped before the second, expensive transform.
    rows = fft.rfft(image, axis=1, workers=-1)[:, :kx]
    full = fft.fft(rows, axis=0, workers=-1)
    out = np.zeros((my, mx // 2 + 1), dtype=np.complex64)
    low = (ky + 1) // 2
    out[:low, :kx] = full[:low]
    if ky > low:
        out[my - (ky - low) :, :kx] = full[ny - (ky - low) :]
    # A Nyquist term that has lost its partner would be counted with the wrong weight.
    if ky % 2 == 0 and my != ny:
        out[my - ky // 2] = 0.0
        if my > ky:
            out[ky // 2] = 0.0
    if min(nx, mx) % 2 == 0 and mx != nx:
        out[:, min(nx, mx) // 2] = 0.0
    out *= np.float32(my * mx / (ny * nx))
    back = fft.irfft2(out, s=shape, workers=-1)
    return back.astype(np.float32, copy=False)


def blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Convolve with a Gaussian, reflecting the image at its borders.

    By the discrete cosine transform, whose boundaries are just that: fifteen times faster than
    `scipy.ndimage.gaussian_filter` at the windows used here.

    Parameters
    ----------
    image : ndarray
        (h, w) float32.
    sigma : float
        Standard deviation, pixels.

    Returns
    -------
    ndarray
        (h, w) float32.
    """
    spectrum = fft.dctn(image, type=2, workers=-1)
    for axis, n in enumerate(image.shape):
        damping = np.exp(-0.5 * (sigma * np.pi * np.arange(n) / n) ** 2).astype(np.float32)
        spectrum *= damping[:, None] if axis == 0 else damping
    out: NDArray[np.float32] = fft.idctn(spectrum, type=2, workers=-1)
    return out


def normalise_locally(image: NDArray[np.float32], window: float) -> NDArray[np.float32]:
    """Take out the local mean and the local standard deviation.

    Parameters
    ----------
    image : ndarray
        (h, w) float32.
    window : float
        Standard deviation of the Gaussian window, pixels.

    Returns
    -------
    ndarray
        (h, w) float32 clipped to +-`CLIP`; all 0 for a constant image.
    """
    flat = image - blur(image, window)
    limit = CLIP * robust_range(flat)[1]
    if limit == 0.0:
        return np.zeros_like(image)
    flat -= blur(np.clip(flat, -limit, limit), window)
    spread = np.sqrt(np.maximum(blur(np.clip(flat, -limit, limit) ** 2, window), 0.0))
    # Blank areas (rims, masks) must not be blown up to look like noise.
    spread = np.maximum(spread, CALMEST * np.median(spread))
    out: NDArray[np.float32] = np.clip(flat / spread, -CLIP, CLIP)
    return out


def preprocess(
    image: NDArray[np.float32],
    pixel_size: float,
    diameter: float,
    working_pixel_size: float,
    sign: int = -1,
) -> WorkingImage:
    """Prepare a micrograph for the network.

    Parameters
    ----------
    image : ndarray
        (ny, nx) float32, row 0 first.
    pixel_size : float
        Å per pixel of the micrograph.
    diameter : float
        Particle diameter, Å.
    working_pixel_size : float
        Å per pixel that the network works at.
    sign : int
        -1 where particles are dark (cryo-EM micrographs), 1 where they are bright.

    Returns
    -------
    WorkingImage
        The image and how its pixels lie on the micrograph.
    """
    import torch  # takes seconds, and what else is here does without it

    ny, nx = image.shape
    # Odd sizes: a map of every second pixel then begins and ends at the border, and is the same
    # map of the same pixels when the micrograph is turned or mirrored.
    wanted = (n * pixel_size / working_pixel_size for n in (ny, nx))
    shape = tuple(2 * max(0, round((n - 1) / 2)) + 1 for n in wanted)
    small = fourier_resample(mend_pixels(image), (shape[0], shape[1]))
    pixels = sign * normalise_locally(small, WINDOW * diameter / working_pixel_size)
    scale = (ny / shape[0], nx / shape[1])
    return WorkingImage(
        torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)),
        scale,
        (pixel_size * scale[0], pixel_size * scale[1]),
    )
