"""A map as a network: one layer whose 3D filter is the density of the particle.

The filter's projections are correlated with the image, normalised so that every response is in
[-1, 1] whatever the contrast, and scaled to logits, which AL1 joins. That is template matching; but
as the responses are differentiable in the map, training can improve on it, and the rotations that
match are in the frame of the map.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import nn

from napari_so3.so3.aggregation import aggregate
from napari_so3.so3.dense import RotationScorer
from napari_so3.so3.projection import centred_coordinates
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.turning import turn_volumes

if TYPE_CHECKING:
    from torch import Tensor

    from napari_so3.so3.aggregation import Aggregation

PROJECTED_AT_ONCE = 32  # rotations
LEAST_VARIANCE = 0.1  # of a preprocessed image: the least that a response is normalised by
ROLL_OFF = 0.1  # cycles per pixel over which the low-pass falls


@dataclass(frozen=True)
class TemplateConfig:
    """Shape of a `TemplateNet`.

    Parameters
    ----------
    size : int
        Edge k of the map and of its projections, pixels; odd.
    stride : int
        Pixels of the image per pixel of the score map.
    band : float
        The map holds no frequencies above this, cycles per pixel.
    grid : RotationGrid
        Rotations; they can be changed without retraining.
    aggregation : {"al1", "max", "lse"}
        How the rotations are joined.
    prior : float
        AL1: probability that all-zero logits stand for.

    Raises
    ------
    ValueError
        If the size is even or below 3, the stride below 1 or the band not positive.
    """

    size: int = 25
    stride: int = 1
    band: float = 0.5
    grid: RotationGrid = field(default_factory=lambda: RotationGrid(32, 8))
    aggregation: Aggregation = "al1"
    prior: float = 0.01

    def __post_init__(self) -> None:
        if self.size < 3 or self.size % 2 == 0:
            raise ValueError(f"the size of a template is odd and at least 3, not {self.size}")
        if self.stride < 1:
            raise ValueError(f"the stride is at least 1, not {self.stride}")
        if not self.band > 0:
            raise ValueError(f"the band of a template is above 0, not {self.band}")

    @property
    def receptive_field(self) -> int:
        """Edge of the patch that one score sees, pixels."""
        return self.size

    def to_dict(self) -> dict[str, Any]:
        """Turn into JSON-ready values; `from_dict` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TemplateConfig:
        """Build from what `to_dict` gave.

        Raises
        ------
        TypeError, ValueError
            If a value is missing, unknown or out of range.
        """
        values = dict(values)
        return cls(grid=RotationGrid(**values.pop("grid")), **values)


def ball_mask(size: int, n_dimensions: int) -> Tensor:
    """Ball (or disc) that touches the faces of a cube: float32 of 0 and 1, ``size`` per axis."""
    squares = centred_coordinates(size) ** 2
    total = squares
    for _ in range(n_dimensions - 1):
        total = total[..., None] + squares
    return (total <= ((size - 1) / 2) ** 2 + 1e-9).float()


def _low_pass(size: int, band: float) -> Tensor:
    """Raised-cosine low-pass on the frequencies of `torch.fft.rfftn` of a cube."""
    f = torch.fft.fftfreq(size) ** 2
    s = torch.sqrt(f[:, None, None] + f[None, :, None] + torch.fft.rfftfreq(size) ** 2)
    beyond = ((s - band) / ROLL_OFF + 1.0).clamp(0.0, 1.0)
    return 0.5 * (1.0 + torch.cos(torch.pi * beyond))


class TemplateNet(nn.Module):
    """Normalised cross-correlation with the projections of a map, as a picker network.

    The response of a rotation is the correlation coefficient of the image and the projection
    inside the disc of diameter ``size``. With n pixels in the disc the logit is
    ``gain * sqrt(n) * response - offset``: on white noise ``sqrt(n) * response`` has variance 1.
    Applied densely and without padding, as `PickerNet`.

    Parameters
    ----------
    config : TemplateConfig
        Shape of the network.

    Attributes
    ----------
    volume : Parameter
        (k, k, k) map [z, y, x]; bright where the particle is in a preprocessed image.
    gain, offset : Parameter
        Scalars.
    """

    disc: Tensor
    ball: Tensor
    low_pass: Tensor

    def __init__(self, config: TemplateConfig | None = None) -> None:
        super().__init__()
        self.config = config or TemplateConfig()
        k = self.config.size
        self.volume = nn.Parameter(torch.randn(k, k, k))
        self.gain = nn.Parameter(torch.tensor(4.0))
        self.offset = nn.Parameter(torch.tensor(8.0))
        self.register_buffer("disc", ball_mask(k, 2), persistent=False)
        self.register_buffer("ball", ball_mask(k, 3), persistent=False)
        self.register_buffer("low_pass", _low_pass(k, self.config.band), persistent=False)

    def density(self) -> Tensor:
        """Return the map that is projected, (k, k, k): `volume` in its band, inside the ball."""
        spectrum = torch.fft.rfftn(self.volume) * self.low_pass
        limited: Tensor = torch.fft.irfftn(spectrum, s=self.volume.shape)
        return limited * self.ball

    def filters(self) -> Tensor:
        """Project the map.

        Returns
        -------
        Tensor
            (R, k, k), each of mean 0 and norm 1 inside the disc, and 0 outside.
        """
        grid, k = self.config.grid, self.config.size
        quarters = 4 if grid.n_psi % 4 == 0 else 1
        first = grid.matrices.reshape(grid.n_directions, grid.n_psi, 3, 3)
        first = first[:, : grid.n_psi // quarters].reshape(-1, 3, 3)
        by_view = project_map(self.density(), first).reshape(grid.n_directions, -1, k, k)
        # psi + 90 degrees is rot90(+1), exactly
        turned = torch.cat([torch.rot90(by_view, q, (-2, -1)) for q in range(quarters)], dim=1)
        return turned.reshape(len(grid), k, k)

    def responses(self, x: Tensor) -> Tensor:
        """Correlation coefficients in [-1, 1] of every rotation, (B, 1, H, W) to (B, R, H', W')."""
        stride = self.config.stride
        correlation = F.conv2d(x, self.filters()[:, None], stride=stride)
        disc = self.disc[None, None]
        total, squares = (F.conv2d(v, disc, stride=stride) for v in (x, x * x))
        return correlation * inverse_spread(total, squares, self.disc.sum())

    def rotation_logits(self, x: Tensor) -> Tensor:
        """Score every rotation.

        Parameters
        ----------
        x : Tensor
            (B, 1, H, W) preprocessed image, H and W at least the receptive field.

        Returns
        -------
        Tensor
            (B, R, H', W') logits; pixel (i, j) belongs to the patch whose first pixel is
            (stride i, stride j).
        """
        return self.gain * self.disc.sum().sqrt() * self.responses(x) - self.offset

    def forward(self, x: Tensor) -> Tensor:
        """Score the presence of a particle in any rotation: (B, 1, H, W) to (B, H', W') logits."""
        return aggregate(self.rotation_logits(x), 1, self.config.aggregation, self.config.prior)

    def with_grid(self, grid: RotationGrid) -> TemplateNet:
        """Return the same map on other rotations; nothing is retrained."""
        other = TemplateNet(replace(self.config, grid=grid))
        other.load_state_dict(self.state_dict())
        return other.train(self.training)


def project_map(density: Tensor, rotations: Tensor) -> Tensor:
    """Project a map as a template: turned, summed along z, and normalised.

    Parameters
    ----------
    density : Tensor
        (k, k, k) map [z, y, x].
    rotations : Tensor
        (m, 3, 3) rotations, reference to image.

    Returns
    -------
    Tensor
        (m, k, k), each of mean 0 and norm 1 inside the disc of diameter k, and 0 outside.
    """
    disc = ball_mask(len(density), 2).to(density)
    chunks = rotations.split(PROJECTED_AT_ONCE)
    flat = torch.cat([turn_volumes(density, chunk).sum(dim=1) for chunk in chunks]) * disc
    flat = flat - flat.sum(dim=(1, 2), keepdim=True) / disc.sum() * disc
    normalised: Tensor = flat / flat.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return normalised


def inverse_spread(total: Tensor, squares: Tensor, n: Tensor) -> Tensor:
    """One over the root of the sum of squared deviations in a disc of ``n`` pixels.

    Parameters
    ----------
    total, squares : Tensor
        Sum of the pixels and of their squares.
    n : Tensor
        Number of pixels.

    Returns
    -------
    Tensor
        Of the shape of ``total``; blank areas count as of variance `LEAST_VARIANCE`.
    """
    return torch.rsqrt((squares - total * total / n).clamp(min=LEAST_VARIANCE * float(n)))


@dataclass(frozen=True)
class _PreparedImage:
    """Spectrum of an image, and where in a transform of `shape` the correlations are valid."""

    spectrum: Tensor
    shape: list[int]
    rows: slice
    cols: slice
    inverse_spread: Tensor


class TemplateScorer(RotationScorer):
    """Scores large images with a fixed `TemplateNet`, by Fourier transforms.

    At the size of a template these are four times faster than a convolution.

    Parameters
    ----------
    net : TemplateNet
        The network; its projections are computed once.
    device : torch.device
        Where to compute.
    workers : int, optional
        CPU threads; as many as torch uses by default.
    """

    def __init__(self, net: TemplateNet, device: torch.device, workers: int | None = None) -> None:
        super().__init__(net.config, device, workers)
        with torch.inference_mode():
            self._filters = net.filters().to(device)
            self._disc = net.disc.to(device)
            self._gain = (net.gain * net.disc.sum().sqrt()).to(device)
            self._offset = net.offset.to(device)

    def prepare(self, x: Tensor) -> _PreparedImage:
        """Transform an image and take its local spread, once for all rotations."""
        image = x[0, 0]
        shape = [next_fast_len(n, real=True) for n in image.shape]
        spectra = torch.fft.rfft2(torch.stack((image, image * image)), s=shape)
        k, step = self._disc.shape[-1], self.config.stride
        rows, cols = (slice(0, n - k + 1, step) for n in image.shape)
        whole = _PreparedImage(spectra, shape, rows, cols, torch.ones((), device=self.device))
        total, squares = self._correlate(whole, self._disc)
        spread = inverse_spread(total, squares, self._disc.sum())
        return replace(whole, spectrum=spectra[0], inverse_spread=spread)

    def _correlate(self, image: _PreparedImage, filters: Tensor) -> Tensor:
        spectrum = image.spectrum * torch.fft.rfft2(filters, s=image.shape).conj()
        correlation: Tensor = torch.fft.irfft2(spectrum, s=image.shape)
        return correlation[..., image.rows, image.cols]

    def rotation_logits(self, image: _PreparedImage, rotations: range) -> Tensor:
        """Score some rotations of an image.

        Parameters
        ----------
        image : _PreparedImage
            What `prepare` gave.
        rotations : range
            Consecutive rotations.

        Returns
        -------
        Tensor
            (len(rotations), H', W') float32 logits.
        """
        filters = self._filters[rotations.start : rotations.stop]
        correlation = self._correlate(image, filters)
        return correlation.mul_(self._gain * image.inverse_spread).sub_(self._offset)

    def bytes_per_rotation(self, height: int, width: int) -> int:
        """Memory that one rotation of an image takes: two spectra and a map, in float32.

        Parameters
        ----------
        height, width : int
            Size of the image, pixels.

        Returns
        -------
        int
            Bytes.
        """
        pixels = next_fast_len(height, real=True) * (next_fast_len(width, real=True) + 2)
        return 4 * 3 * pixels
