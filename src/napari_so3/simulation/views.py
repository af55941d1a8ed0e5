"""Which sides particles show: any, or preferred ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from napari_so3.so3.rotations import euler_to_matrix, random_rotations

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Views:
    """The distribution of the orientations; turned in plane, particles are always uniform.

    Parameters
    ----------
    preferred : tuple of (rot, tilt)
        RELION angles of the views that particles prefer, degrees, all equally often; without
        any, all orientations are equally frequent.
    width : float
        Standard deviation of the view about a preferred one along each of two directions, degrees.

    Raises
    ------
    ValueError
        If the width is negative.
    """

    preferred: tuple[tuple[float, float], ...] = ()
    width: float = 15.0

    def __post_init__(self) -> None:
        if not self.width >= 0:
            raise ValueError(f"the width of views must not be negative, not {self.width} degrees")

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw rotations.

        Parameters
        ----------
        n : int
            How many.
        generator : torch.Generator
            Source of randomness.

        Returns
        -------
        Tensor
            (n, 3, 3) float64 matrices, reference to image.
        """
        if not self.preferred:
            return random_rotations(n, generator)
        which = torch.randint(len(self.preferred), (n,), generator=generator).numpy()
        rot, tilt = np.array(self.preferred, dtype=np.float64)[which].T
        psi = 360.0 * torch.rand(n, generator=generator, dtype=torch.float64).numpy()
        # A turn about an axis in the image plane tips the view; about z it would turn the image.
        tip = torch.zeros(n, 3, dtype=torch.float64)
        tip[:, :2] = torch.randn(n, 2, generator=generator, dtype=torch.float64)
        tip *= math.radians(self.width)
        tips = torch.from_numpy(Rotation.from_rotvec(tip.numpy()).as_matrix())
        return tips @ euler_to_matrix(rot, tilt, psi)
