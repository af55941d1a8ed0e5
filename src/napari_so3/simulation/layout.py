"""Where things lie in a micrograph: particles, clusters of them, and what is not to be picked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_TRIALS_PER_DART = 100
_TOUCHING = (0.6, 0.9)  # distance of neighbours in a cluster, diameters
_CLUSTER = 3  # particles in a cluster, about


@dataclass(frozen=True, eq=False)
class Discs:
    """Round places, such as those that no particle touches.

    Parameters
    ----------
    centres : Tensor
        (n, 2) float64 (y, x), pixels.
    radii : Tensor
        (n,) float64, pixels.
    """

    centres: Tensor
    radii: Tensor

    def __add__(self, other: Discs) -> Discs:
        return Discs(torch.cat((self.centres, other.centres)), torch.cat((self.radii, other.radii)))


class NoRoomError(ValueError):
    """More things than a micrograph holds; says how many found room."""


def scatter(
    n: int,
    shape: tuple[int, int],
    diameter: float,
    min_distance: float,
    crowded: int,
    obstacles: Discs,
    generator: torch.Generator,
) -> Tensor:
    """Throw darts until all particles lie apart and off the obstacles.

    Parameters
    ----------
    n : int
        Number of particles.
    shape : tuple of int
        Size (ny, nx) of the micrograph, which holds all centres.
    diameter : float
        Of a particle, pixels.
    min_distance : float
        Smallest distance between particles that are not in clusters, diameters.
    crowded : int
        How many of the particles lie in clusters, touching their neighbours.
    obstacles : Discs
        What particles keep half a diameter away from.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor
        (n, 2) float64 centres (y, x).

    Raises
    ------
    NoRoomError
        If they do not fit.
    """
    extent = np.array(shape, dtype=np.float64) - 1
    lying = _Dartboard(n, obstacles, diameter / 2)
    clusters = 0 if crowded < 2 else max(1, crowded // _CLUSTER)
    lonely = n - crowded + clusters if clusters else n
    for dart in _uniform(lonely * _TRIALS_PER_DART, generator) * extent:
        if lying.count == lonely:
            break
        lying.add(dart, min_distance * diameter)
    members = [[i] for i in range(clusters)]
    for i in range(n - lonely):
        _join(lying, members[i % clusters], diameter, extent, generator)
    if lying.count < n:
        raise NoRoomError(f"only {lying.count} of {n} particles")
    return torch.from_numpy(lying.centres)


def _join(
    lying: _Dartboard,
    cluster: list[int],
    diameter: float,
    extent: NDArray[np.float64],
    generator: torch.Generator,
) -> None:
    """Lay one more particle next to one of a cluster, if there is room."""
    for step in _steps(diameter, generator):
        host = lying.centres[cluster[int(torch.randint(len(cluster), (), generator=generator))]]
        dart = host + step
        inside = bool(((dart >= 0) & (dart <= extent)).all())
        if inside and lying.add(dart, _TOUCHING[0] * diameter):
            cluster.append(lying.count - 1)
            return


def scatter_discs(
    radii: Tensor, shape: tuple[int, int], obstacles: Discs, generator: torch.Generator
) -> Discs:
    """Place discs at random, apart from each other and from obstacles.

    Parameters
    ----------
    radii : Tensor
        (n,) float64 radii, pixels.
    shape : tuple of int
        Size (ny, nx) of the micrograph, which holds all centres.
    obstacles : Discs
        What is there.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Discs
        The new ones.

    Raises
    ------
    NoRoomError
        If they do not fit.
    """
    extent = np.array(shape, dtype=np.float64) - 1
    placed = Discs(torch.empty(0, 2, dtype=torch.float64), torch.empty(0, dtype=torch.float64))
    for radius in radii:
        board = _Dartboard(1, obstacles + placed, float(radius))
        for dart in _uniform(_TRIALS_PER_DART, generator) * extent:
            if board.add(dart, 0.0):
                break
        else:
            raise NoRoomError(f"only {len(placed.radii)} of {len(radii)} contaminants")
        placed += Discs(torch.from_numpy(board.centres), radius[None])
    return placed


class _Dartboard:
    """Centres that keep their distance, from each other and from obstacles."""

    def __init__(self, n: int, obstacles: Discs, radius: float) -> None:
        self.count = 0
        self.centres = np.empty((n, 2))
        self._obstacles = obstacles.centres.numpy()
        self._clear = obstacles.radii.numpy() + radius

    def add(self, dart: NDArray[np.float64], distance: float) -> bool:
        """Keep a dart (y, x) if it lies free."""
        if np.any(np.hypot(*(self.centres[: self.count] - dart).T) < distance):
            return False
        if np.any(np.hypot(*(self._obstacles - dart).T) < self._clear):
            return False
        self.centres[self.count] = dart
        self.count += 1
        return True


def _uniform(n: int, generator: torch.Generator) -> NDArray[np.float64]:
    """(n, 2) numbers from 0 to 1."""
    drawn: NDArray[np.float64] = torch.rand(n, 2, generator=generator, dtype=torch.float64).numpy()
    return drawn


def _steps(diameter: float, generator: torch.Generator) -> NDArray[np.float64]:
    """(trials, 2) steps (y, x) to a touching neighbour in any direction, pixels."""
    drawn = _uniform(_TRIALS_PER_DART, generator)
    length = diameter * (_TOUCHING[0] + (_TOUCHING[1] - _TOUCHING[0]) * drawn[:, :1])
    angle = 2 * math.pi * drawn[:, 1]
    steps: NDArray[np.float64] = length * np.stack((np.sin(angle), np.cos(angle)), axis=1)
    return steps
