"""How a micrograph is shown: binned, low-pass filtered and with contrast; for the eye alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from napari_so3.picking.preprocess import fourier_resample, mend_pixels, robust_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = (1, 2, 4, 8)
EDGE = 0.2  # half the width of the soft edge of the low-pass, of the cut-off frequency


@dataclass(frozen=True)
class DisplaySettings:
    """What is done to a micrograph before it is shown; nothing, as it stands.

    Parameters
    ----------
    lowpass : float
        Resolution in Å beyond which nothing is shown; 0 leaves everything.
    bin : int
        Pixels of the micrograph per displayed pixel, one of `BINS`.
    contrast : float
        Standard deviations between the middle grey and black, and between it and white.
    """

    lowpass: float = 0.0
    bin: int = 1
    contrast: float = 3.0

    @property
    def filters(self) -> bool:
        """Whether pixels are changed."""
        return self.lowpass > 0 or self.bin > 1


def filter_for_display(
    image: NDArray[Any], pixel_size: float, settings: DisplaySettings
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Mend, bin and low-pass filter a micrograph.

    The first pixel stays at 0: what is at (y, x) appears at (y / step_y, x / step_x).

    Parameters
    ----------
    image : ndarray
        (ny, nx) of any real dtype; it stays as it is.
    pixel_size : float
        Å.
    settings : DisplaySettings
        What to do.

    Returns
    -------
    pixels : ndarray
        (ny', nx') float32, finite, of mean about 0.
    step : (float, float)
        True ratio of the sizes along y and x.
    """
    mended = mend_pixels(np.asarray(image, dtype=np.float32))
    ny, nx = mended.shape
    binned = fourier_resample(
        mended, (max(1, round(ny / settings.bin)), max(1, round(nx / settings.bin)))
    )
    step = ny / binned.shape[0], nx / binned.shape[1]
    if settings.lowpass > 0:
        cutoff = pixel_size / settings.lowpass
        binned = low_pass(binned, (cutoff * step[0], cutoff * step[1]))
    return binned, step


def low_pass(image: NDArray[np.float32], cutoff: tuple[float, float]) -> NDArray[np.float32]:
    """Take out high frequencies with a soft edge, reflecting the image at its borders.

    Parameters
    ----------
    image : ndarray
        (h, w) float32.
    cutoff : (float, float)
        Frequency along y and x at which half of the amplitude is left, cycles per pixel.

    Returns
    -------
    ndarray
        (h, w) float32; the image itself if the cut-off is beyond what it can hold.
    """
    if 0.5 * np.hypot(1.0 / cutoff[0], 1.0 / cutoff[1]) <= 1.0 - EDGE:
        return image
    spectrum = fft.dctn(image, type=2, workers=-1)
    fy, fx = (
        (np.arange(n, dtype=np.float32) / np.float32(2 * n * c)) ** 2
        for n, c in zip(image.shape, cutoff, strict=True)
    )
    radius = np.sqrt(fy[:, None] + fx)  # in units of the cut-off
    along = np.clip((radius - np.float32(1.0 - EDGE)) / np.float32(2.0 * EDGE), 0.0, 1.0)
    spectrum *= np.float32(0.5) + np.float32(0.5) * np.cos(np.float32(np.pi) * along)
    out: NDArray[np.float32] = fft.idctn(spectrum, type=2, workers=-1, overwrite_x=True)
    return out


def contrast_limits(image: NDArray[Any], settings: DisplaySettings) -> tuple[float, float]:
    """Choose which values are black and white.

    Parameters
    ----------
    image : ndarray
        (ny, nx) of any real dtype; an even sample of its finite pixels is looked at.
    settings : DisplaySettings
        Its `contrast` counts robust standard deviations, which ice and carbon hardly change.

    Returns
    -------
    low, high : float
        With low < high, also for constant images.
    """
    middle, deviation = robust_range(image)
    if deviation == 0.0:  # most pixels are equal
        finite = image[np.isfinite(image)]
        deviation = float(np.std(finite, dtype=np.float64)) if finite.size else 0.0
    reach = settings.contrast * (deviation or 1.0)
    return middle - reach, middle + reach
