"""Particles given by a density map, projected by Fourier slices."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from scipy.fft import next_fast_len
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from torch_fourier_slice import extract_central_slices_rfft_3d
from torch_fourier_slice.volume_utils import separable_sinc2_correction

from napari_so3.io.volumes import VolumeError, read_volume
from napari_so3.simulation.density import REACH, check_projection

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.simulation.density import PseudoAtoms

_SMOOTHING = 6.0  # Å (sd) of the low-pass that tells the particle from solvent
_CORE = 0.15  # of the largest smoothed density: certainly not solvent
_SPECK = 0.05  # of the largest piece: smaller pieces are dust
_EDGE = 12.0  # Å over which the mask falls to 0
_ENDING = re.compile(r"\.(mrc|map|ccp4)(\.gz|\.bz2)?$", re.IGNORECASE)
_BATCH = 2**22  # points of slices that are sampled at once


class DensityError(ValueError):
    """A density map that cannot be used; one sentence that names it."""


@dataclass(frozen=True, eq=False)
class DensityMap:
    """A particle given by its density on a cubic grid, with the origin on voxel n // 2.

    Parameters
    ----------
    values : ndarray
        (n, n, n) float32 density [z, y, x] per Å^3 in any unit, positive in the particle and 0
        around it.
    voxel_size : float
        Å.
    name : str
        For messages and files.

    Raises
    ------
    DensityError
        If the values are not a cube of finite numbers, are all the same or mostly negative where
        they differ from 0, or if the voxel size is not positive.
    """

    values: NDArray[np.float32]
    voxel_size: float
    name: str
    _transforms: dict[tuple[float, torch.device], _Transform] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        shape = self.values.shape
        if len(shape) != 3 or len(set(shape)) != 1:
            raise DensityError(f"{self.name}: a density needs a cube of values, not {shape}.")
        if not self.voxel_size > 0:
            raise DensityError(
                f"{self.name}: the voxel size must be above 0 Å, not {self.voxel_size}."
            )
        if not np.isfinite(self.values).all():
            raise DensityError(f"{self.name}: some values are not finite; mend the map first.")
        if self.values.min() == self.values.max():
            raise DensityError(f"{self.name}: all values are the same; there is no particle in it.")
        smoothed = _smooth(self.values, self.voxel_size)
        if -smoothed.min() > smoothed.max():
            raise DensityError(
                f"{self.name}: its particle is darker than what is around it (inverted contrast); "
                "multiply the map by -1."
            )

    @cached_property
    def diameter(self) -> float:
        """Longest extent of the particle, Å.

        The particle is where the density, smoothed by 6 Å, exceeds half of its median in the
        particle; dust is left out.
        """
        smoothed = _smooth(self.values, self.voxel_size)
        core = _core(smoothed)
        points = np.argwhere(core & (smoothed > 0.5 * np.median(smoothed[core])))
        flat = bool((np.ptp(points, axis=0) == 0).any())
        corners = points if flat else points[ConvexHull(points).vertices]
        return (float(pdist(corners).max(initial=0.0)) + 1.0) * self.voxel_size

    def project(
        self,
        matrices: Tensor,
        shape: tuple[int, int],
        pixel_size: float,
        centre_shift: Tensor | None = None,
    ) -> Tensor:
        """Project the density along z at many orientations, as RELION does.

        Central slices of the transform of the map, padded to twice its size, are evaluated at the
        pixels wanted: the pixel size may be any, shifts are exact, and frequencies beyond either
        Nyquist limit are left out.

        Parameters
        ----------
        matrices : Tensor
            (B, 3, 3) rotations, reference to image; the work is done on their device.
        shape : tuple of int
            Size (ny, nx) of the images.
        pixel_size : float
            Å per pixel.
        centre_shift : Tensor, optional
            (B, 2) shifts (y, x) of the particles, pixels; none by default.

        Returns
        -------
        Tensor
            (B, ny, nx) float32 projected density per Å^2, the origin on pixel
            ``(ny // 2, nx // 2)`` plus the shift.

        Raises
        ------
        ValueError
            If the pixel size is not positive, or matrices and shifts differ in number.
        """
        shift = check_projection(matrices, pixel_size, centre_shift)
        transform = self._transform(pixel_size, matrices.device)
        images = torch.empty((len(matrices), *shape), device=matrices.device)
        size = max(1, _BATCH // transform.values.shape[1] ** 2)
        for first in range(0, len(matrices), size):
            part = slice(first, first + size)
            images[part] = transform.project(matrices[part], shape, pixel_size, shift[part])
        return images

    def _transform(self, pixel_size: float, device: torch.device) -> _Transform:
        """Give the padded transform of the map for a pixel size; one is kept."""
        key = (pixel_size, device)
        if key not in self._transforms:
            self._transforms.clear()
            self._transforms[key] = _pad_and_transform(
                torch.from_numpy(self.values).to(device), self.voxel_size, pixel_size
            )
        return self._transforms[key]


@dataclass(frozen=True, eq=False)
class _Transform:
    """Fourier transform of a density, as torch-fourier-slice wants it.

    Parameters
    ----------
    values : Tensor
        (m, m, m // 2 + 1) complex64, z and y with frequency 0 at m // 2; m is even.
    length : float
        Å, one over the spacing of the frequencies.
    band : float
        Largest frequency in units of the spacing, below m / 2.
    """

    values: Tensor
    length: float
    band: float

    def project(
        self, matrices: Tensor, shape: tuple[int, int], pixel_size: float, shift: Tensor
    ) -> Tensor:
        """Images (B, ny, nx) of the central slices."""
        m = self.values.shape[0]
        # The slice of an image lies across its view: frequencies turn as the particle, r^T k.
        slices = extract_central_slices_rfft_3d(self.values, matrices.mT, fftfreq_max=self.band / m)
        along_y, along_x = (
            self._waves(frequencies.to(shift.device), n, shift[:, axis], pixel_size)
            for frequencies, n, axis in (
                (torch.arange(m) - m // 2, shape[0], 0),
                (torch.arange(m // 2 + 1), shape[1], 1),
            )
        )
        weights = torch.full((m // 2 + 1,), 2.0, device=shift.device)  # the other half, conjugated
        weights[0] = 1.0
        images: Tensor = (along_y @ slices @ (along_x * weights).mT).real / self.length**2
        return images

    def _waves(self, frequencies: Tensor, n: int, shift: Tensor, pixel_size: float) -> Tensor:
        """(B, n, m) waves exp(2 pi i f x) at the pixels, and 0 where the map would repeat."""
        x = (torch.arange(n, device=shift.device) - n // 2 - shift[:, None]) * pixel_size
        phase = 2 * math.pi * x[..., None] * frequencies / self.length
        inside = (x.abs() < self.length / 2)[..., None]
        return torch.polar(inside.expand_as(phase).float(), phase.float())


def read_density(
    path: Path, voxel_size: float | None = None, lowpass: float | None = None
) -> DensityMap:
    """Read the density of a particle and clear the solvent around it.

    The level of the solvent is subtracted, and everything beyond a soft mask about the particle
    is set to 0. The origin stays on voxel n // 2, as in RELION.

    Parameters
    ----------
    path : Path
        MRC file, compressed or not. A map that is not cubic is padded.
    voxel_size : float, optional
        Å; from the header by default.
    lowpass : float, optional
        Resolution in Å beyond which the map is smoothed away; kept as it is by default.

    Returns
    -------
    DensityMap
        Named as the file.

    Raises
    ------
    DensityError
        If the file cannot be opened or does not hold one volume with a bright particle near its
        middle, or its voxel size is not known.
    """
    try:
        values, own_voxel_size = read_volume(path)
    except VolumeError as error:
        raise DensityError(str(error)) from error
    voxel_size = own_voxel_size if voxel_size is None else voxel_size
    if voxel_size is None:
        raise DensityError(f"{path.name}: its header has no voxel size; give it in Å.")
    if not np.isfinite(values).all():
        raise DensityError(f"{path.name}: some values are not finite; mend the map first.")
    name = _ENDING.sub("", path.name)
    density = DensityMap(_cube(values - _solvent_level(values)), voxel_size, name)
    cleared = density.values * _soft_mask(density)
    if lowpass is not None:
        cleared = ndimage.gaussian_filter(cleared, 0.225 * lowpass / voxel_size)
    return DensityMap(cleared, voxel_size, name)


def rasterise(atoms: PseudoAtoms, voxel_size: float, name: str) -> DensityMap:
    """Put pseudo-atoms on a grid.

    Parameters
    ----------
    atoms : PseudoAtoms
        Whose width is at least a voxel.
    voxel_size : float
        Å.
    name : str
        Of the map.

    Returns
    -------
    DensityMap
        With an odd edge, the origin on the middle voxel.
    """
    half = math.ceil((atoms.diameter / 2 + 3 * atoms.sigma) / voxel_size)
    axis = torch.arange(-half, half + 1, dtype=torch.float64) * voxel_size
    waves = [
        torch.exp(-((axis - atoms.positions[:, i, None]) ** 2) / (2 * atoms.sigma**2))
        for i in range(3)
    ]
    weights = atoms.amplitudes / (2 * math.pi * atoms.sigma**2) ** 1.5
    values = torch.einsum("n,nz,ny,nx->zyx", weights, waves[2], waves[1], waves[0])
    return DensityMap(values.float().numpy(), voxel_size, name)


def _solvent_level(values: NDArray[np.float32]) -> np.float32:
    """Median of the voxels outside the largest ball in the box."""
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in values.shape)]
    level: np.float32 = np.median(values[sum(a**2 for a in axes) > 1])
    return level


def _cube(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad with 0 to a cube, so that the centre n // 2 of each axis stays the centre."""
    n = max(values.shape)
    before = [n // 2 - side // 2 for side in values.shape]
    after = [n - side - b for side, b in zip(values.shape, before, strict=True)]
    return np.pad(values, list(zip(before, after, strict=True)))


def _smooth(values: NDArray[np.float32], voxel_size: float) -> NDArray[np.float32]:
    smoothed: NDArray[np.float32] = ndimage.gaussian_filter(
        values, _SMOOTHING / voxel_size, mode="constant"
    )
    return smoothed


def _core(smoothed: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels of the particle: above the solvent, and in its main pieces."""
    pieces, _ = ndimage.label(smoothed > _CORE * smoothed.max())
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    core: NDArray[np.bool_] = (sizes >= _SPECK * sizes.max())[pieces]
    return core & (pieces > 0)


def _soft_mask(density: DensityMap) -> NDArray[np.float32]:
    """1 on the particle, falling to 0 within 12 Å around it."""
    core = _core(_smooth(density.values, density.voxel_size))
    points = np.argwhere(core) - len(core) // 2
    farthest = float(np.linalg.norm(points, axis=1).max()) * density.voxel_size
    if farthest > REACH * density.diameter:
        raise DensityError(
            f"{density.name}: the particle lies to one side, up to {farthest:.0f} Å from the "
            "middle of the map; centre it first."
        )
    distance = ndimage.distance_transform_edt(~core, sampling=density.voxel_size)
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(distance / _EDGE, 0, 1))).astype(np.float32)


def _pad_and_transform(values: Tensor, voxel_size: float, pixel_size: float) -> _Transform:
    """Band-limit the map, so that little is padded, pad it to twice its size and transform it."""
    values, voxel_size = _band_limited(values, voxel_size, pixel_size)
    n = len(values)
    size = next_fast_len(2 * n)
    size += size % 2
    before = size // 2 - n // 2
    after = size - n - before
    padded = torch.nn.functional.pad(values, [before, after] * 3)
    padded = padded / separable_sinc2_correction(padded.shape, device=values.device)
    transform = torch.fft.rfftn(torch.fft.ifftshift(padded)) * voxel_size**3
    length = size * voxel_size
    half = min(math.floor(length / (2 * pixel_size)) + 2, size // 2)
    keep = torch.arange(-half, half, device=values.device)
    cropped = transform[keep][:, keep][..., : half + 1]
    band = min(length / (2 * pixel_size), half - 1)
    return _Transform(cropped.contiguous(), length, band)


def _band_limited(values: Tensor, voxel_size: float, pixel_size: float) -> tuple[Tensor, float]:
    """Crop the transform of a map to what a pixel size can show: values and voxel size."""
    n = len(values)
    m = 2 * (math.floor(n * voxel_size / (2 * pixel_size)) + 1)
    if m >= n:
        return values, voxel_size
    transform = torch.fft.rfftn(torch.fft.ifftshift(values))
    keep = torch.arange(-(m // 2), m // 2, device=values.device)
    keep = torch.fft.ifftshift(keep)
    transform = transform[keep][:, keep][..., : m // 2 + 1].clone()
    transform[m // 2] = transform[:, m // 2] = transform[..., m // 2] = 0
    limited = torch.fft.fftshift(torch.fft.irfftn(transform, s=(m, m, m)))
    return limited * (m / n) ** 3, voxel_size * n / m
