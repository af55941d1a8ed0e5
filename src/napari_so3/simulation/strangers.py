"""Proteins that a micrograph shows and that are not to be picked: other ones, and heaps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_so3.so3.rotations import random_rotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_so3.simulation.density import Particle

_RADIUS = 0.45  # of the disc that other proteins stay out of, diameters
_IN_HEAP = (6, 16)  # proteins
_STEP = (0.35, 0.6)  # distance of a protein from the one that it sticks to, diameters


@dataclass(frozen=True, eq=False)
class Stranger:
    """One protein, or a heap of one kind of it.

    Parameters
    ----------
    kind : Particle
        Which.
    places : Tensor
        (n, 2) float64 centres (y, x) about the middle, pixels.
    matrices : Tensor
        (n, 3, 3) rotations.
    radius : float
        Of the disc about the middle that is taken, pixels.
    """

    kind: Particle
    places: Tensor
    matrices: Tensor
    radius: float


def draw_strangers(
    kinds: Sequence[Particle],
    n_single: int,
    n_heaps: int,
    pixel_size: float,
    generator: torch.Generator,
) -> list[Stranger]:
    """Draw what is not to be picked.

    Parameters
    ----------
    kinds : sequence of Particle
        What to draw from.
    n_single, n_heaps : int
        How many proteins that lie alone, and how many heaps of 6 to 15.
    pixel_size : float
        Å per pixel.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    list of Stranger
        The heaps first, since they need the most room.
    """
    strangers = []
    for i in range(n_heaps + n_single):
        kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
        diameter = kind.diameter / pixel_size
        if i < n_heaps:
            places = _heap(diameter, generator)
        else:
            places = torch.zeros(1, 2, dtype=torch.float64)
        radius = float(places.norm(dim=1).max()) + _RADIUS * diameter
        matrices = random_rotations(len(places), generator)
        strangers.append(Stranger(kind, places, matrices, radius))
    return strangers


def _heap(diameter: float, generator: torch.Generator) -> Tensor:
    """(n, 2) places of proteins that each stick to one before, about their middle."""
    n = int(torch.randint(*_IN_HEAP, (), generator=generator))
    places = torch.zeros(n, 2, dtype=torch.float64)
    for i in range(1, n):
        host = places[int(torch.randint(i, (), generator=generator))]
        u, v = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        length, angle = diameter * (_STEP[0] + (_STEP[1] - _STEP[0]) * u), 2 * math.pi * v
        step = torch.tensor((math.sin(angle), math.cos(angle)), dtype=torch.float64)
        places[i] = host + length * step
    return places - places.mean(0)
