"""Projections put where they belong and seen through the microscope."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from scipy.fft import next_fast_len

from napari_so3.simulation.background import render_crystals
from napari_so3.simulation.ctf import apply_ctf
from napari_so3.simulation.density import REACH
from napari_so3.so3.rotations import RotationGrid

if TYPE_CHECKING:
    from torch import Tensor

    from napari_so3.simulation.ctf import CTF
    from napari_so3.simulation.density import Particle
    from napari_so3.simulation.layout import Discs

_DELOCALISATION = 150.0  # Å that the CTF spreads a particle beyond its own border
_CRYSTAL_EDGE = 15.0  # Å


class Canvas:
    """Projected density of a micrograph and of what lies around it.

    Parameters
    ----------
    shape : tuple of int
        Size (ny, nx) of the micrograph.
    pixel_size : float
        Å per pixel.
    margin : float
        Å around the micrograph in which particles may lie.
    device : str or torch.device
        Where to compute.
    """

    def __init__(
        self, shape: tuple[int, int], pixel_size: float, margin: float, device: str | torch.device
    ) -> None:
        self._seen_shape = shape
        self._pixel_size = pixel_size
        # Room for the CTF to spread particles, and not around the border into the micrograph.
        self.offset = math.ceil((margin + _DELOCALISATION) / pixel_size)
        ny, nx = (next_fast_len(n + 2 * self.offset, real=True) for n in shape)
        self.shape = (ny, nx)
        self.density = torch.zeros(self.shape, device=device)

    def put(
        self, particle: Particle, matrices: Tensor, positions: Tensor, weight: float = 1.0
    ) -> None:
        """Add particles; what of them lies beyond the canvas is cut.

        Parameters
        ----------
        particle : Particle
            The density of each.
        matrices : Tensor
            (n, 3, 3) rotations.
        positions : Tensor
            (n, 2) float64 centres (y, x) in the micrograph, pixels.
        weight : float
            Factor on the density.
        """
        half = math.ceil(REACH * particle.diameter / self._pixel_size) + 1
        size = 2 * half + 1
        corners = positions.round()
        patches = particle.project(
            matrices.to(self.density.device), (size, size), self._pixel_size, positions - corners
        )
        for patch, corner in zip(patches, corners.long().tolist(), strict=True):
            on_canvas, on_patch = zip(
                *(
                    _overlap(c + self.offset - half, size, n)
                    for c, n in zip(corner, self.shape, strict=True)
                ),
                strict=True,
            )
            self.density[on_canvas] += weight * patch[on_patch]

    def seen(self, ctf: CTF) -> Tensor:
        """Image of the micrograph through the microscope: (ny, nx) float32, density times Å."""
        imaged = apply_ctf(self.density, ctf, self._pixel_size)
        rows, columns = (slice(self.offset, self.offset + n) for n in self._seen_shape)
        return imaged[rows, columns].contiguous()


def thickness(particle: Particle, pixel_size: float) -> float:
    """Projected density where there is some, over the diameter, averaged over views.

    It compares the unit of the density of one particle with that of another.
    """
    n = math.ceil(2 * REACH * particle.diameter / pixel_size) + 1
    images = particle.project(RotationGrid(8, 1).matrices, (n, n), pixel_size)
    return float((images**2).sum() / images.sum()) / particle.diameter


def image_crystals(
    crystals: Discs,
    shape: tuple[int, int],
    pixel_size: float,
    ctf: CTF,
    generator: torch.Generator,
) -> Tensor:
    """Image ice crystals, with the fringe that defocus puts around them.

    Parameters
    ----------
    crystals : Discs
        Places and sizes.
    shape : tuple of int
        Size (ny, nx) of the micrograph.
    pixel_size : float
        Å per pixel.
    ctf : CTF
        Settings of the microscope.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        (ny, nx) float32, -1 on average inside.
    """
    canvas = Canvas(shape, pixel_size, 2 * pixel_size * float(crystals.radii.max()), "cpu")
    origin, softness = (canvas.offset, canvas.offset), _CRYSTAL_EDGE / pixel_size
    canvas.density += render_crystals(crystals, canvas.shape, origin, softness, generator)
    inside = canvas.density > 0.5
    return canvas.seen(ctf) / apply_ctf(canvas.density, ctf, pixel_size)[inside].mean().abs()


def _overlap(start: int, size: int, n: int) -> tuple[slice, slice]:
    """Where a patch that starts at a pixel meets n pixels: there, and on the patch."""
    first, last = min(max(start, 0), n), max(min(start + size, n), 0)
    last = max(first, last)
    return slice(first, last), slice(first - start, last - start)
