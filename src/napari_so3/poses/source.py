"""Where a pose network learns from: particles cut out of simulated micrographs, and their poses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.picking.preprocess import preprocess
from napari_so3.poses.cutting import particle_images, standardise
from napari_so3.simulation.ctf import flip_phases
from napari_so3.so3.rotations import euler_to_matrix
from napari_so3.training.distributed import Processes
from napari_so3.training.tiles import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_so3.simulation.micrograph import SimulatedMicrograph

JITTER = 0.03  # diameters that a pick is off its particle along y and x, standard deviation
MARGIN = 0.3  # diameters from the border, within which nothing is picked
SCALE = 0.03  # standard deviation of the logarithm of the magnification
FLIPPED = 0.5  # share of the micrographs whose phases are flipped


@dataclass(frozen=True)
class PoseImages:
    """Standardised images (n, 1, box, box) float32 and their rotations (n, 3, 3) float64."""

    images: Tensor
    rotations: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: slice | Tensor) -> PoseImages:
        """Keep some."""
        return PoseImages(self.images[rows], self.rotations[rows])


@dataclass
class PoseSource:
    """Particles of simulated micrographs, made anew from time to time.

    Parameters
    ----------
    make : callable
        Simulates a micrograph.
    box : int
        Edge of the crops, working pixels.
    pixels_per_diameter, diameter : float
        Working pixels across a particle, and Å.
    micrographs : int
        Simulated at a time.
    batch : int
        Images of a step.
    refresh : int
        Steps after which that is done.
    seed : int
        Of the micrographs.
    """

    make: Callable[[np.random.Generator], SimulatedMicrograph]
    box: int
    pixels_per_diameter: float
    diameter: float
    micrographs: int = 12
    batch: int = 64
    refresh: int = 40
    seed: int = 0
    _age: int = field(default=-1, init=False)
    _images: PoseImages | None = field(default=None, init=False)

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Draw the batch of a step (number from 0)."""
        age = step // self.refresh
        if self._images is None or age != self._age:
            fresh = np.random.default_rng((self.seed, Processes().rank, age))
            self._images, self._age = self.simulate(self.micrographs, fresh), age
        rows = torch.from_numpy(rng.integers(len(self._images), size=self.batch))
        return Batch(self._images.images[rows], self._images.rotations[rows])

    def simulate(self, n: int, rng: np.random.Generator) -> PoseImages:
        """Simulate micrographs and cut the particles out.

        Parameters
        ----------
        n : int
            Micrographs.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        PoseImages
            Of all particles that are not at a border.
        """
        parts = [self._cut(self.make(rng), rng) for _ in range(n)]
        return PoseImages(
            standardise(torch.cat([images for images, _ in parts])),
            torch.cat([rotations for _, rotations in parts]),
        )

    def _cut(self, made: SimulatedMicrograph, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        image = made.image
        if rng.random() < FLIPPED:
            image = flip_phases(torch.from_numpy(image), made.ctf, made.pixel_size).numpy()
        wrong = float(np.exp(SCALE * rng.normal()))
        working = preprocess(
            image,
            made.pixel_size,
            self.diameter,
            wrong * self.diameter / self.pixels_per_diameter,
        )
        points = made.truth[["y", "x"]].to_numpy()
        margin = MARGIN * self.diameter / made.pixel_size
        inside = ((points >= margin) & (points <= np.array(image.shape) - 1 - margin)).all(axis=1)
        truth, points = made.truth[inside], points[inside]
        off = JITTER * self.diameter / made.pixel_size
        crops = particle_images(working, points + off * rng.normal(size=points.shape), self.box)
        return crops, euler_to_matrix(*truth[["rot", "tilt", "psi"]].to_numpy().T)
