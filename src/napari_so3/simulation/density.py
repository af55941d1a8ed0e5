"""What a particle is, and particles of Gaussian blobs, whose projections are exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from napari_so3.so3.rotations import euler_to_matrix, random_rotations

if TYPE_CHECKING:
    from torch import Tensor

REACH = 0.7  # diameters from the origin: no particle goes farther
_BARREL_SIGMA = 4.0
_BARREL_RADIUS = 35.0
_BARREL_RING_HEIGHTS = (18.5, 57.0)
_BLOBS_PER_DOMAIN = 48


class Particle(Protocol):
    """Something that can be put into a micrograph: it has a size and projections."""

    @property
    def diameter(self) -> float:
        """Extent, Å; the particle keeps within `REACH` diameters of the origin."""

    def project(
        self,
        matrices: Tensor,
        shape: tuple[int, int],
        pixel_size: float,
        centre_shift: Tensor | None = None,
    ) -> Tensor:
        """Project along z at many orientations: P_z(rV).

        The origin falls on pixel ``(ny // 2, nx // 2)`` plus the shift, a point ``p`` on the x and
        y of ``r p`` from there, x along columns and y along rows.

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
            (B, ny, nx) float32 projected density per Å^2.

        Raises
        ------
        ValueError
            If the pixel size is not positive, or matrices and shifts differ in number.
        """


@dataclass(frozen=True, eq=False)
class PseudoAtoms:
    """A density: a sum of isotropic Gaussians of one width, centred on the origin.

    Parameters
    ----------
    positions : Tensor
        (N, 3) float64 centres (x, y, z), Å.
    amplitudes : Tensor
        (N,) float64 integrals of the Gaussians.
    sigma : float
        Standard deviation of every Gaussian, Å.

    Raises
    ------
    ValueError
        If the shapes do not agree or sigma is not positive.
    """

    positions: Tensor
    amplitudes: Tensor
    sigma: float

    def __post_init__(self) -> None:
        n = len(self.amplitudes)
        if self.positions.shape != (n, 3) or self.amplitudes.shape != (n,) or n == 0:
            raise ValueError(
                "pseudo-atoms need (N, 3) positions and (N,) amplitudes with N > 0, not "
                f"{tuple(self.positions.shape)} and {tuple(self.amplitudes.shape)}"
            )
        if not self.sigma > 0:
            raise ValueError(f"the width of pseudo-atoms must be above 0 Å, not {self.sigma}")

    @property
    def diameter(self) -> float:
        """Diameter of the sphere about the origin that holds every atom and its sigma, Å."""
        return 2.0 * (float(self.positions.norm(dim=1).max()) + self.sigma)

    def project(
        self,
        matrices: Tensor,
        shape: tuple[int, int],
        pixel_size: float,
        centre_shift: Tensor | None = None,
    ) -> Tensor:
        """Project along z at many orientations, sampled without interpolation.

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
            (B, ny, nx) float32 projected density per Å^2: its sum times ``pixel_size ** 2`` is the
            sum of the amplitudes, where the image holds the particle and sigma is above half a
            pixel.

        Raises
        ------
        ValueError
            If the pixel size is not positive, or matrices and shifts differ in number.
        """
        shift = check_projection(matrices, pixel_size, centre_shift)
        turned = torch.einsum(
            "bij,nj->bni", matrices[:, :2].double(), self.positions.to(matrices.device).double()
        )
        xy = turned / pixel_size
        width = self.sigma / pixel_size
        along_y, along_x = (
            _gaussians(xy[..., axis] + shift[:, None, row] + shape[row] // 2, width, shape[row])
            for row, axis in ((0, 1), (1, 0))
        )
        weights = (self.amplitudes / (2 * math.pi * self.sigma**2)).float().to(matrices.device)
        return (along_y * weights[:, None]).mT @ along_x


def check_projection(matrices: Tensor, pixel_size: float, centre_shift: Tensor | None) -> Tensor:
    """Check the arguments of `Particle.project`.

    Returns
    -------
    Tensor
        (B, 2) float64 shifts on the device of the matrices.

    Raises
    ------
    ValueError
        If the pixel size is not positive, or matrices and shifts differ in number.
    """
    if not pixel_size > 0:
        raise ValueError(f"the pixel size must be above 0 Å, not {pixel_size}")
    if centre_shift is None:
        return matrices.new_zeros((len(matrices), 2), dtype=torch.float64)
    if centre_shift.shape != (len(matrices), 2):
        raise ValueError(
            f"{len(matrices)} rotations need ({len(matrices)}, 2) shifts (y, x), "
            f"not {tuple(centre_shift.shape)}"
        )
    return centre_shift.to(matrices.device, torch.float64)


def barrel() -> PseudoAtoms:
    """Build a barrel with D7 symmetry, reminiscent of a 20S proteasome.

    Two outer and two inner rings of seven subunits, about 110 Å wide and 150 Å high, along z;
    one of the twofold axes is x.

    Returns
    -------
    PseudoAtoms
        The same density at each call.
    """
    generator = torch.Generator().manual_seed(20)
    rings = []
    for height, twist in zip(_BARREL_RING_HEIGHTS, (6.0, -10.0), strict=True):
        subunit = _ball(generator, 40) * torch.tensor([17.0, 16.0, 15.5])
        subunit = subunit + torch.tensor([_BARREL_RADIUS, 0.0, height])
        rings.append(_turn(subunit, 7, offset=twist))
    half = torch.cat(rings)
    positions = torch.cat((half, half * torch.tensor([1.0, -1.0, -1.0])))
    return PseudoAtoms(positions, torch.ones(len(positions), dtype=torch.float64), _BARREL_SIGMA)


def random_protein(generator: torch.Generator, diameter: float) -> PseudoAtoms:
    """Invent a protein: globular, elongated, a ring or a stack of rings, of several domains.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness.
    diameter : float
        Diameter of the particle, Å.

    Returns
    -------
    PseudoAtoms
        A density with this diameter and its centre of mass on the origin.
    """
    shape = int(torch.randint(4, (), generator=generator))
    if shape >= 2:
        positions, amplitudes = _ring_of_domains(generator)
        if shape == 3:
            positions, amplitudes = _stacked(generator, positions, amplitudes)
    else:
        positions, amplitudes = _domains(generator, persistence=(0.0, 2.5)[shape])
    positions = positions - (amplitudes[:, None] * positions).sum(0) / amplitudes.sum()
    sigma = diameter / 20.0
    scale = (diameter / 2.0 - sigma) / positions.norm(dim=1).max()
    return PseudoAtoms(positions * scale, amplitudes, sigma)


def _gaussians(centres: Tensor, width: float, n: int) -> Tensor:
    """Sample Gaussians of height 1 on n pixels: (B, N) centres in pixels to (B, N, n) float32."""
    offsets = torch.arange(n, device=centres.device) - centres[..., None]
    return torch.exp(-0.5 * (offsets / width).float() ** 2)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def _ball(generator: torch.Generator, n: int) -> Tensor:
    """(n, 3) points spread uniformly in the unit ball."""
    points = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    radii = torch.rand(n, 1, generator=generator, dtype=torch.float64) ** (1 / 3)
    return torch.nn.functional.normalize(points, dim=1) * radii


def _turn(points: Tensor, order: int, offset: float = 0.0) -> Tensor:
    """(order * N, 3) copies of (N, 3) points about z, the first at ``offset`` degrees."""
    angles = offset + torch.arange(order) * (360.0 / order)
    # Active turns about z are psi of the opposite sign.
    turns = euler_to_matrix(0.0, 0.0, -angles.numpy())
    return torch.einsum("kij,nj->kni", turns, points).reshape(-1, 3)


def _domain(generator: torch.Generator, radius: float) -> Tensor:
    """(N, 3) points in an ellipsoid of random axes and orientation about the origin."""
    axes = radius * _uniform(generator, 0.6, 1.25, 3)
    turn = random_rotations(1, generator)[0]
    return (_ball(generator, _BLOBS_PER_DOMAIN) * axes) @ turn.T


def _domains(
    generator: torch.Generator, persistence: float, largest: int = 7
) -> tuple[Tensor, Tensor]:
    """Grow touching domains, in all directions or, with persistence, along one.

    Returns (N, 3) positions and (N,) amplitudes; the radius of a domain is about 1.
    """
    count = int(torch.randint(2, largest, (), generator=generator))
    heading = torch.nn.functional.normalize(
        torch.randn(3, generator=generator, dtype=torch.float64), dim=0
    )
    radii = _uniform(generator, 0.7, 1.3, count)
    centres = [torch.zeros(3, dtype=torch.float64)]
    for i in range(1, count):
        parent = i - 1 if persistence else int(torch.randint(i, (), generator=generator))
        step = torch.randn(3, generator=generator, dtype=torch.float64) + persistence * heading
        step = step / step.norm() * 0.75 * (radii[i] + radii[parent])
        centres.append(centres[parent] + step)
    positions = [
        _domain(generator, float(radius)) + centre
        for centre, radius in zip(centres, radii, strict=True)
    ]
    weights = _uniform(generator, 0.6, 1.4, count).repeat_interleave(_BLOBS_PER_DOMAIN)
    return torch.cat(positions), weights * radii.repeat_interleave(_BLOBS_PER_DOMAIN) ** 3


def _ring_of_domains(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Repeat a subunit of few domains about z: (N, 3) positions and (N,) amplitudes."""
    order = int(torch.randint(3, 9, (), generator=generator))
    subunit, amplitudes = _domains(generator, persistence=0.0, largest=4)
    subunit = subunit - subunit.mean(0)
    extent = float(subunit[:, 1].abs().max())
    radius = float(_uniform(generator, 0.8, 1.1)) * extent / math.sin(math.pi / order)
    subunit = subunit + torch.tensor([radius, 0.0, 0.0])
    return _turn(subunit, order), amplitudes.repeat(order)


def _stacked(
    generator: torch.Generator, positions: Tensor, amplitudes: Tensor
) -> tuple[Tensor, Tensor]:
    """Stack two to four copies of a ring along z, each turned about it against the last."""
    copies = int(torch.randint(2, 5, (), generator=generator))
    height = float(positions[:, 2].max() - positions[:, 2].min())
    twist = float(_uniform(generator, 0.0, 60.0))
    stack = [
        _turn(positions, 1, i * twist) + torch.tensor([0.0, 0.0, i * height]) for i in range(copies)
    ]
    return torch.cat(stack), amplitudes.repeat(copies)
