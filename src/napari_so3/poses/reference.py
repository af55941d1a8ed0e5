"""The map that poses refer to, at the pixel size of a pose network: small, and quick to project."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_so3.picking.preprocess import WINDOW
from napari_so3.simulation.ctf import CTF, evaluate_ctf
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.template import ball_mask
from napari_so3.so3.turning import sample_volume

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

EXTENT = 1.3  # diameters of the cube that is kept: the particle, and as much as its edge needs
TYPICAL = CTF(defocus_u=15_000.0, defocus_v=15_000.0)
MARGIN = 2.0  # boxes that are imaged: the CTF spreads the particle


@dataclass(frozen=True, eq=False)
class Reference:
    """A density on a small cube, its origin on the middle voxel.

    Parameters
    ----------
    density : DensityMap
        Whose edge is odd.
    diameter : float
        Å, as `preprocess` is told.
    """

    density: DensityMap
    diameter: float

    @classmethod
    def of(cls, density: DensityMap, pixel_size: float, diameter: float) -> Reference:
        """Sample a density at another pixel size.

        Parameters
        ----------
        density : DensityMap
            Of any voxel size.
        pixel_size : float
            Å.
        diameter : float
            Å, as `preprocess` will be told.

        Returns
        -------
        Reference
            Of the same particle.
        """
        size = 2 * math.ceil(EXTENT * density.diameter / pixel_size / 2) + 1
        values = sample_volume(
            density.values, len(density.values) // 2, size, pixel_size / density.voxel_size
        )
        small = DensityMap(values * ball_mask(size, 3).numpy(), pixel_size, density.name)
        return cls(small, diameter)

    @property
    def values(self) -> NDArray[np.float32]:
        """(k, k, k) float32 density [z, y, x]."""
        return self.density.values

    @property
    def pixel_size(self) -> float:
        """Å per voxel."""
        return self.density.voxel_size

    def project(self, matrices: Tensor, box: int | None = None) -> Tensor:
        """Project the density as it is.

        Parameters
        ----------
        matrices : Tensor
            (m, 3, 3) rotations, reference to image.
        box : int, optional
            Edge of the images, odd; that of the cube by default.

        Returns
        -------
        Tensor
            (m, box, box) float32, the particle bright, its origin on the middle pixel.
        """
        box = box or len(self.values)
        return self.density.project(matrices, (box, box), self.pixel_size)

    def seen(
        self,
        matrices: Tensor,
        box: int,
        ctf: CTF | None = None,
        flipped: bool = False,
    ) -> Tensor:
        """Project the density as the particles of a preprocessed micrograph look.

        Parameters
        ----------
        matrices : Tensor
            (m, 3, 3) rotations, reference to image.
        box : int
            Edge of the images, odd.
        ctf : CTF, optional
            Of the micrograph; a usual one by default.
        flipped : bool
            Whether the phases of the micrograph are flipped.

        Returns
        -------
        Tensor
            (m, box, box) float32, each of mean 0 and norm 1 inside the disc that the box holds,
            and 0 outside.
        """
        wide = 2 * round(MARGIN * box / 2) + 1
        flat = torch.fft.rfft2(self.project(matrices, wide))
        transfer = -evaluate_ctf(ctf or TYPICAL, (wide, wide), self.pixel_size)
        if flipped:
            transfer = transfer.abs()
        transfer = transfer * _flattening((wide, wide), self.pixel_size, WINDOW * self.diameter)
        imaged = torch.fft.irfft2(flat * transfer.to(flat.device), s=(wide, wide))
        first = wide // 2 - box // 2
        disc = ball_mask(box, 2).to(imaged)
        cut = imaged[:, first : first + box, first : first + box] * disc
        cut = cut - cut.sum(dim=(1, 2), keepdim=True) / disc.sum() * disc
        normalised: Tensor = cut / cut.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        return normalised


def _flattening(shape: tuple[int, int], pixel_size: float, window: float) -> Tensor:
    """Give what the local mean, taken out twice by `preprocess`, leaves of every frequency."""
    fy = torch.fft.fftfreq(shape[0], pixel_size)[:, None]
    fx = torch.fft.rfftfreq(shape[1], pixel_size)
    return (1.0 - torch.exp(-2.0 * (math.pi * window) ** 2 * (fy**2 + fx**2))) ** 2
