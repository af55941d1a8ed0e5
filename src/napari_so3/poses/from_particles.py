"""From particles whose poses are known to an estimator of poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.io.particle_images import read_particle_images
from napari_so3.picking.preprocess import WorkingImage, fourier_resample
from napari_so3.poses.cutting import particle_images, standardise
from napari_so3.poses.matching import MatcherConfig, matching_grid
from napari_so3.poses.reconstruction import ParticleMatcher, reconstruct
from napari_so3.poses.reference import Reference
from napari_so3.poses.source import PoseImages
from napari_so3.poses.train import PIXELS_PER_DIAMETER, Lesson, finish, learn
from napari_so3.so3.pose_networks import PoseConfig
from napari_so3.training.checkpoint import digest
from napari_so3.training.teach import Note, TrainError
from napari_so3.training.tiles import Batch

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.io.particles import ParticleTable
    from napari_so3.poses.estimator import PoseEstimator
    from napari_so3.poses.train import PoseTraining
    from napari_so3.simulation.volume import DensityMap
    from napari_so3.training.fit import FitProgress

FEWEST = 100  # particles
HELD_OUT = 0.15  # share that is not learnt from, from the end of the table
SLACK = 2  # pixels by which images are shifted at most, as picks are off their particles
BATCH = 64
CORE = 0.35  # diameters: the middle of an image is all particle


def train_from_particles(
    particles: ParticleTable,
    settings: PoseTraining,
    density: DensityMap | None = None,
    name: str = "poses",
    checkpoint: Path | None = None,
    device: torch.device | None = None,
) -> Generator[Note | FitProgress | PoseEstimator, None, None]:
    """Train a pose network on particles with known poses.

    Parameters
    ----------
    particles : ParticleTable
        With poses, and images that are there; bright or dark, which the images tell.
    settings : PoseTraining
        How; with the diameter.
    density : DensityMap, optional
        The map that the poses refer to.
    name : str
        Of the estimator.
    checkpoint : Path, optional
        Beginning of the names of checkpoints; a killed training goes on from there.
    device : torch.device, optional
        Where to train; the CPU by default.

    Yields
    ------
    Note, FitProgress or PoseEstimator
        What was found out, steps, and at last the estimator. Stop iterating to stop.

    Raises
    ------
    TrainError
        If there are no poses, too few particles, or diameter or pixel size are not known.
    ParticleError
        If an image is missing or damaged.
    """
    lesson = yield from _prepare(particles, settings, density)
    yield from learn(lesson, settings, name, checkpoint, device)


def match_particle_map(
    particles: ParticleTable,
    settings: PoseTraining,
    density: DensityMap | None = None,
    name: str = "poses",
) -> Generator[Note | PoseEstimator, None, None]:
    """Reconstruct the map of particles with known poses, and make an estimator that compares.

    What the particles do not tell of the map, for want of views, speaks neither for nor against a
    pose; see `ParticleMatcher`.

    Parameters
    ----------
    particles, settings, density, name
        As of `train_from_particles`.

    Yields
    ------
    Note or PoseEstimator
        What was found out, how large the errors are, and at last the estimator.

    Raises
    ------
    TrainError, ParticleError
        As `train_from_particles`.
    """
    lesson = yield from _prepare(particles, settings, density)
    draw = lesson.draw
    assert isinstance(draw, ShiftedImages)
    yield Note("Reconstructing the map from the particles.")
    grid = matching_grid(settings.symmetry)
    made = reconstruct(draw.centred(), draw.rotations, grid.group)
    net = ParticleMatcher.of(made, MatcherConfig(PoseConfig().box, grid=grid)).eval()
    how: dict[str, object] = {"method": "matching with the map of the particles"}
    yield from finish(net, lesson, lesson.held_out, settings, name, how)


def _prepare(
    particles: ParticleTable, settings: PoseTraining, density: DensityMap | None
) -> Generator[Note, None, Lesson]:
    """Read and centre the images, and hold some out."""
    rows, pixel_size = _check(particles, settings)
    assert settings.diameter is not None and particles.matrices is not None
    stack = read_particle_images(particles, rows)
    sign = _sign(stack, settings.diameter / pixel_size)
    colour = "bright" if sign > 0 else "dark"
    yield Note(f"{len(rows)} particles with poses; they are {colour} in their images.")
    working = settings.diameter / PIXELS_PER_DIAMETER
    box = PoseConfig().box + 2 * SLACK
    if stack.shape[-1] * pixel_size < box * working:
        yield Note(
            f"The images are {stack.shape[-1] * pixel_size:.0f} Å wide and {box * working:.0f} Å "
            "are looked at: they are continued as mirror images; better extract larger boxes."
        )
    cut = _cut(sign * stack, pixel_size, particles.origins[rows], working, box)
    rotations = torch.from_numpy(particles.matrices[rows])
    kept = round((1 - HELD_OUT) * len(rows))
    middle = slice(SLACK, box - SLACK)
    lesson = Lesson(
        ShiftedImages(cut[:kept], rotations[:kept]),
        PoseImages(standardise(cut[kept:, :, middle, middle]), rotations[kept:]),
        settings.diameter,
        None if density is None else Reference.of(density, working, settings.diameter),
        {"data": [f"{len(rows)} particles of {particles.path.name}"]},
        digest(cut.numpy(), rotations.numpy()),
    )
    return lesson


@dataclass(frozen=True, eq=False)
class ShiftedImages:
    """Draws images, each shifted a little.

    Parameters
    ----------
    images : Tensor
        (n, 1, box + 2 SLACK, box + 2 SLACK).
    rotations : Tensor
        (n, 3, 3).
    """

    images: torch.Tensor
    rotations: torch.Tensor

    def centred(self) -> torch.Tensor:
        """Images (n, box, box) as they are, standardised."""
        middle = slice(SLACK, -SLACK)
        return standardise(self.images[:, :, middle, middle])[:, 0]

    def __call__(self, step: int, rng: np.random.Generator) -> Batch:
        """Draw a batch; the step does not matter."""
        rows = rng.integers(len(self.images), size=BATCH)
        box = self.images.shape[-1] - 2 * SLACK
        shifts = rng.integers(0, 2 * SLACK + 1, size=(BATCH, 2))
        images = torch.stack(
            [
                self.images[row, :, y : y + box, x : x + box]
                for row, (y, x) in zip(rows, shifts, strict=True)
            ]
        )
        return Batch(standardise(images), self.rotations[torch.from_numpy(rows)])


def _check(particles: ParticleTable, settings: PoseTraining) -> tuple[NDArray[np.int64], float]:
    """Find the particles that can be learnt from, and their pixel size."""
    name = particles.path.name
    if particles.matrices is None:
        raise TrainError(f"{name}: its particles have no poses (rlnAngleRot, Tilt, Psi).")
    if settings.diameter is None:
        raise TrainError(f"{name}: give the diameter of the particle in Å (--diameter).")
    if settings.pixel_size is not None:
        pixel_size = settings.pixel_size
    elif "pixel_size" in particles.table:
        sizes = particles.table["pixel_size"]
        pixel_size = float(sizes.iloc[0])
        if not np.allclose(sizes, pixel_size):
            raise TrainError(f"{name}: its images differ in pixel size; train on one of them.")
    else:
        raise TrainError(f"{name}: it does not tell the pixel size of its images; give it in Å.")
    rows = np.flatnonzero(np.isfinite(particles.matrices).all(axis=(1, 2)))
    if len(rows) < FEWEST:
        raise TrainError(
            f"{name}: {len(rows)} particles have poses, and {FEWEST} are the fewest to learn from."
        )
    return rows, pixel_size


def _sign(stack: NDArray[np.float32], diameter: float) -> int:
    """1 if particles (diameter in pixels) are brighter than what is around them, or else -1."""
    n = stack.shape[-1]
    axis = np.arange(n) - n // 2
    radius = np.hypot(axis[:, None], axis)
    mean = stack.mean(axis=0)
    rim = radius > min(0.55 * diameter, 0.45 * n)
    return 1 if mean[radius < CORE * diameter].mean() >= mean[rim].mean() else -1


def _cut(
    stack: NDArray[np.float32],
    pixel_size: float,
    origins: NDArray[np.float64],
    working: float,
    box: int,
) -> torch.Tensor:
    """Resample images and centre them on their particles: (n, 1, box, box)."""
    n = stack.shape[-1]
    size = max(2, round(n * pixel_size / working))
    scale = n / size
    centres = n // 2 - origins / pixel_size
    return torch.cat(
        [
            particle_images(
                WorkingImage(
                    torch.from_numpy(fourier_resample(image, (size, size))),
                    (scale, scale),
                    (pixel_size * scale, pixel_size * scale),
                ),
                centre[None],
                box,
            )
            for image, centre in zip(stack, centres, strict=True)
        ]
    )
