"""Rotations of particles: RELION's convention, and grids that sample SO(3).

One convention everywhere: a rotation is a right-handed active matrix ``r`` on column vectors
(x, y, z) that maps the reference to the image, equal to RELION's ``A(rot, tilt, psi)``. Its third
row is the viewing direction in the frame of the particle. Quaternions are (x, y, z, w).
"""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from napari_so3.so3.symmetry import symmetry_group

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
INSIDE_UNIT = (0.31, 0.17, 0.93)  # a direction on no symmetry axis: its cell is the unit
UNIT_PROBES = 200  # directions of the unit that are to be covered
UNIT_TURNS, UNIT_TRIES = 8, 40  # turns about z of a lattice; lattices that are compared


def euler_to_matrix(rot: ArrayLike, tilt: ArrayLike, psi: ArrayLike) -> Tensor:
    """Turn RELION's Euler angles into rotation matrices.

    Parameters
    ----------
    rot, tilt, psi : array_like
        Intrinsic ZYZ angles in degrees; they broadcast against each other to shape (...).

    Returns
    -------
    Tensor
        (..., 3, 3) float64, ``(Rz(rot) Ry(tilt) Rz(psi))^T`` (RELION ``Euler_angles2matrix``).
    """
    angles = np.stack(np.broadcast_arrays(rot, tilt, psi), axis=-1).astype(np.float64)
    flat = Rotation.from_euler("ZYZ", angles.reshape(-1, 3), degrees=True).inv().as_matrix()
    return torch.from_numpy(flat.reshape(*angles.shape[:-1], 3, 3))


def matrix_to_euler(r: Tensor) -> tuple[NDArray[np.float64], ...]:
    """Turn rotation matrices into RELION's Euler angles.

    At tilt 0 and 180 only the sum or the difference of rot and psi is defined; psi is then 0.

    Parameters
    ----------
    r : Tensor
        (..., 3, 3) rotation matrices.

    Returns
    -------
    rot, tilt, psi : ndarray
        (...) float64, degrees; rot and psi in [-180, 180], tilt in [0, 180].
    """
    matrices = r.detach().cpu().double().numpy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gimbal lock", category=UserWarning)
        rotation = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).inv()
        angles = rotation.as_euler("ZYZ", degrees=True).reshape(*matrices.shape[:-2], 3)
    return angles[..., 0], angles[..., 1], angles[..., 2]


def geodesic_distance(a: Tensor, b: Tensor) -> Tensor:
    """Angle in radians of the rotation that leads from one rotation to the other.

    Parameters
    ----------
    a, b : Tensor
        (..., 3, 3) rotation matrices whose leading dimensions broadcast.

    Returns
    -------
    Tensor
        (...) angles in [0, pi].
    """
    # The angle from both its sine and its cosine: acos alone loses half of the digits near 0.
    axis, cosine = turn_between(a, b)
    return torch.atan2(axis.norm(dim=-1), cosine)


def turn_between(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Axis and angle of the rotation that leads from one rotation to the other.

    Parameters
    ----------
    a, b : Tensor
        (..., 3, 3) rotation matrices whose leading dimensions broadcast.

    Returns
    -------
    axis : Tensor
        (..., 3) axis, as long as the sine of the angle.
    cosine : Tensor
        (...) of the angle.
    """
    c = a.mT @ b
    cosine = (c.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0) / 2.0
    axis = torch.stack(
        (
            c[..., 2, 1] - c[..., 1, 2],
            c[..., 0, 2] - c[..., 2, 0],
            c[..., 1, 0] - c[..., 0, 1],
        ),
        dim=-1,
    )
    return axis / 2.0, cosine


def random_rotations(n: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw rotations uniformly on SO(3).

    Parameters
    ----------
    n : int
        How many.
    generator : torch.Generator, optional
        Source of randomness; the global one by default.

    Returns
    -------
    Tensor
        (n, 3, 3) float64 matrices.
    """
    q = torch.randn(n, 4, dtype=torch.float64, generator=generator)
    return torch.from_numpy(Rotation.from_quat(q.numpy()).as_matrix())


def fibonacci_sphere(n: int) -> tuple[Tensor, Tensor]:
    """Spread points evenly over the sphere (paper, section 2: the Fibonacci lattice).

    Parameters
    ----------
    n : int
        Number of points. A single point is put on the z axis.

    Returns
    -------
    rot, tilt : Tensor
        (n,) float64, radians.
    """
    if n == 1:
        return torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    s = torch.arange(n, dtype=torch.float64)
    return (s * GOLDEN_ANGLE) % (2 * math.pi), torch.acos(1.0 - (2 * s + 1) / n)


def _asymmetric_unit(group: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Spread ``n`` directions over the asymmetric unit of a group: (n,) rot and tilt, radians.

    They are the points in the unit of a Fibonacci sphere of about ``n`` per unit. Which points fall
    into the unit depends on its size and its turn about z: the best covering of a few is taken.
    """
    # A direction is in the unit if no copy of INSIDE_UNIT is closer.
    cells = group @ torch.tensor(INSIDE_UNIT, dtype=torch.float64)

    def in_unit(points: Tensor) -> Tensor:
        cosines = points @ cells.T
        return cosines[:, 0] >= cosines.amax(dim=1) - 1e-12

    probes = _unit_vectors(*fibonacci_sphere(UNIT_PROBES * len(group)))
    probes = probes[in_unit(probes)]
    best, found, tried = -2.0, None, 0
    total = n * len(group)
    for size, step in itertools.product(
        sorted(range(1, 3 * total), key=lambda m: abs(m - total)), range(UNIT_TURNS)
    ):
        rot, tilt = fibonacci_sphere(size)
        rot = (rot + step * 2 * math.pi / UNIT_TURNS) % (2 * math.pi)
        kept = in_unit(_unit_vectors(rot, tilt))
        if int(kept.sum()) != n:
            continue
        orbit = (group @ _unit_vectors(rot[kept], tilt[kept]).T).mT.reshape(-1, 3)
        worst = float((probes @ orbit.T).amax(dim=1).min())
        if worst > best:
            best, found = worst, (rot[kept], tilt[kept])
        tried += 1
        if tried == UNIT_TRIES:
            break
    assert found is not None, "some sphere has any number of directions in the unit"
    return found


def _unit_vectors(rot: Tensor, tilt: Tensor) -> Tensor:
    """Directions of angles in radians: (n, 3) x, y, z."""
    return torch.stack((tilt.sin() * rot.cos(), tilt.sin() * rot.sin(), tilt.cos()), dim=-1)


@dataclass(frozen=True)
class RotationGrid:
    """A sample of SO(3): directions on the sphere times in-plane angles (a Hopf grid).

    Rotation ``s * n_psi + j`` looks along direction ``s`` with in-plane angle
    ``psi = 360 j / n_psi`` degrees. The in-plane angles form a cyclic group, so that turning an
    image in plane rolls the rotations; with ``n_psi`` a multiple of 4, quarter turns are exact.

    For a symmetric particle the directions of one asymmetric unit are enough: the others show the
    same images. They are those of a Fibonacci sphere with as many directions per unit.

    Parameters
    ----------
    n_directions : int
        Number of viewing directions, S, in the asymmetric unit. One direction of C1 is the z axis:
        the SO(2) grid.
    n_psi : int
        Number of in-plane angles.
    antipodal : bool
        Build the sphere of pairs (d, -d), which closes the grid under mirrors of the image for
        1-3 % worse covering. Needs an even number of directions, and C1.
    symmetry : str
        Point group of the particle, as in `symmetry_group`.

    Raises
    ------
    ValueError
        If a size is below one, the directions of an antipodal grid are odd in number, there is no
        such symmetry, or an antipodal grid is to have one.
    """

    n_directions: int = 12
    n_psi: int = 8
    antipodal: bool = False
    symmetry: str = "C1"

    def __post_init__(self) -> None:
        if self.n_directions < 1 or self.n_psi < 1:
            raise ValueError(
                "a rotation grid needs at least one direction and one in-plane angle, "
                f"not {self.n_directions} x {self.n_psi}"
            )
        if self.antipodal and self.n_directions % 2:
            raise ValueError(
                f"an antipodal grid needs an even number of directions, not {self.n_directions}"
            )
        if len(self.group) > 1 and self.antipodal:
            raise ValueError(f"a grid is antipodal or of symmetry {self.symmetry}, not both")

    def __len__(self) -> int:
        return self.n_directions * self.n_psi

    @classmethod
    def so2(cls, n_psi: int = 8) -> RotationGrid:
        """Grid of in-plane rotations only."""
        return cls(1, n_psi)

    @classmethod
    def reduced(cls, symmetry: str, n_directions: int, n_psi: int) -> RotationGrid:
        """Grid for a symmetric particle, as fine as ``RotationGrid(n_directions, n_psi)``.

        Parameters
        ----------
        symmetry : str
            Point group, as in `symmetry_group`.
        n_directions : int
            Directions on the whole sphere; about one in the order of the group is kept.
        n_psi : int
            Number of in-plane angles.

        Returns
        -------
        RotationGrid
            With C1 the full grid.
        """
        kept = max(1, round(n_directions / len(symmetry_group(symmetry))))
        return cls(kept, n_psi, symmetry=symmetry)

    @cached_property
    def group(self) -> Tensor:
        """(G, 3, 3) float64 rotations ``g`` of the symmetry: ``r`` and ``r g`` are one image."""
        return symmetry_group(self.symmetry)

    @cached_property
    def _view_angles(self) -> tuple[Tensor, Tensor]:
        """(S,) rot and tilt of the viewing directions, radians."""
        if len(self.group) > 1:
            return _asymmetric_unit(self.group, self.n_directions)
        if not self.antipodal:
            return fibonacci_sphere(self.n_directions)
        half = self.n_directions // 2
        s = torch.arange(half, dtype=torch.float64)
        rot = (s * GOLDEN_ANGLE) % (2 * math.pi)
        tilt = torch.acos(1.0 - (s + 0.5) / half)
        return torch.cat((rot, (rot + math.pi) % (2 * math.pi))), torch.cat((tilt, math.pi - tilt))

    @cached_property
    def euler_angles(self) -> NDArray[np.float64]:
        """(R, 3) RELION rot, tilt and psi in degrees, in [0, 360), [0, 180] and [0, 360)."""
        rot, tilt = (np.degrees(a.numpy()) for a in self._view_angles)
        psi = np.arange(self.n_psi) * (360.0 / self.n_psi)
        return np.column_stack(
            (
                np.repeat(rot, self.n_psi),
                np.repeat(tilt, self.n_psi),
                np.tile(psi, self.n_directions),
            )
        )

    @cached_property
    def matrices(self) -> Tensor:
        """(R, 3, 3) float64 rotation matrices, reference to image."""
        return euler_to_matrix(*self.euler_angles.T)

    @cached_property
    def quaternions(self) -> Tensor:
        """(R, 4) float64 unit quaternions (x, y, z, w) with w >= 0."""
        rotations = Rotation.from_matrix(self.matrices.numpy())
        return torch.from_numpy(rotations.as_quat(canonical=True))

    @cached_property
    def directions(self) -> Tensor:
        """(S, 3) float64 viewing directions (x, y, z) in the frame of the particle."""
        return self.matrices[:: self.n_psi, 2]

    @cached_property
    def distances(self) -> Tensor:
        """(R, R) float64 geodesic angles between the rotations, up to symmetry, radians."""
        angles = [
            geodesic_distance((self.matrices @ g)[:, None], self.matrices) for g in self.group
        ]
        return torch.stack(angles).amin(dim=0)

    def nearest(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Find the grid rotation closest to each rotation, up to symmetry.

        Parameters
        ----------
        r : Tensor
            (..., 3, 3) rotation matrices.

        Returns
        -------
        index : Tensor
            (...) int64 indices into the grid.
        angle : Tensor
            (...) float64 geodesic distance to it, radians.
        """
        flat = r.reshape(-1, 3, 3).double()
        # trace(a^T b) = 1 + 2 cos(angle): the largest trace is the smallest angle.
        equivalent = flat[:, None] @ self.group  # (n, G, 3, 3)
        trace = equivalent.reshape(len(flat), -1, 9) @ self.matrices.reshape(-1, 9).T
        index = trace.amax(dim=1).argmax(dim=1)
        angle = geodesic_distance(self.matrices[index, None], equivalent).amin(dim=1)
        return index.reshape(r.shape[:-2]), angle.reshape(r.shape[:-2])

    def neighbour_weights(self, kappa: float = 4.0, reach: float = 1.6) -> Tensor:
        """Weights that smooth a function over neighbouring rotations.

        A radius graph, not the k nearest: the grid is full of ties, and breaking them would break
        the symmetry under in-plane turns.

        Parameters
        ----------
        kappa : float
            Concentration; the weight is ``exp(kappa (cos(angle) - 1))`` before normalisation.
        reach : float
            Radius of the graph in units of the mean distance to the nearest other rotation.

        Returns
        -------
        Tensor
            (R, R) float64; rows sum to 1, entries beyond the radius are 0.
        """
        others = self.distances + torch.eye(len(self)) * 10.0
        radius = reach * float(others.min(dim=1).values.mean()) if len(self) > 1 else 0.0
        weights = torch.exp(kappa * (self.distances.cos() - 1.0))
        weights = weights * (self.distances <= radius + 1e-9)
        return weights / weights.sum(dim=1, keepdim=True)

    def psi_shift(self, steps: int) -> Tensor:
        """Index of the rotation whose psi is ``steps`` grid steps larger.

        Returns
        -------
        Tensor
            (R,) int64: entry i is the index of rotation i turned by ``steps``.
        """
        index = torch.arange(len(self)).reshape(self.n_directions, self.n_psi)
        return index.roll(-steps, dims=1).reshape(-1)

    def mirror(self) -> Tensor:
        """Index of the rotation that sees the mirror image (rows reversed, ``flip`` along y).

        Returns
        -------
        Tensor
            (R,) int64: entry i is the index of ``Rx(180) r_i``.

        Raises
        ------
        ValueError
            If the grid is not closed under mirrors; an antipodal grid is.
        """
        mirrored = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)) @ self.matrices
        index, angle = self.nearest(mirrored)
        if float(angle.max()) > 1e-6:
            raise ValueError("only an antipodal grid is closed under mirrors of the image")
        return index
