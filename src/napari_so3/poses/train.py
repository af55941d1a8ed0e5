"""From the map of a particle to an estimator of its poses: simulate, train, calibrate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.poses.calibration import calibrate, judge_by_error
from napari_so3.poses.estimator import PoseEstimator
from napari_so3.poses.losses import PoseLoss
from napari_so3.poses.matching import MatcherConfig, PoseMatcher, matching_grid
from napari_so3.poses.reference import Reference
from napari_so3.poses.source import PoseSource
from napari_so3.so3.pose_networks import PoseConfig, PoseNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.symmetry import symmetry_group
from napari_so3.training.alignment import align_to_symmetry
from napari_so3.training.checkpoint import digest
from napari_so3.training.fit import FitConfig, FitProgress
from napari_so3.training.from_map import MapSettings, look
from napari_so3.training.phases import Phase, fit_phases
from napari_so3.training.settle import made_now
from napari_so3.training.teach import Note

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.poses.reconstruction import ParticleMatcher
    from napari_so3.poses.source import PoseImages
    from napari_so3.simulation.volume import DensityMap
    from napari_so3.training.fit import Draw

PIXELS_PER_DIAMETER = 24.0
CHANNELS, HIDDEN = 8, 32
RATE = 2e-3
SNR = (0.15, 2.0)  # of simulated micrographs; below, no pose is seen
STEPS_PER_EPOCH = 50
COARSE = 0.6  # share of the steps on few rotations
MICROGRAPHS = 12  # simulated at a time
HELD_OUT = 4  # micrographs that the training is validated with
CALIBRATION = 8  # micrographs


@dataclass(frozen=True)
class PoseTraining:
    """How to learn poses.

    Parameters
    ----------
    symmetry : str
        Point group of the particle.
    diameter : float, optional
        Particle diameter, Å; that of the map by default.
    steps : int
        Optimisation steps of 64 images.
    channels : int
        Of the first layer of the network.
    seed : int
        Of everything.
    pixel_size : float, optional
        Å per pixel of the micrographs; that of the given ones by default.
    """

    symmetry: str = "C1"
    diameter: float | None = None
    steps: int = 2500
    channels: int = CHANNELS
    seed: int = 0
    pixel_size: float | None = None


def pose_grids(symmetry: str) -> tuple[RotationGrid, ...]:
    """Give the rotations to train on, one grid after the other.

    Parameters
    ----------
    symmetry : str
        Point group.

    Returns
    -------
    tuple of RotationGrid
        Without symmetry 48 and 256, since the 3D weights outlive their grid; with one they are few
        enough to begin with the last ones.
    """
    if len(symmetry_group(symmetry)) == 1:
        return RotationGrid(6, 8), RotationGrid(32, 8)
    return (RotationGrid.reduced(symmetry, 42, 12),)


def train_from_map(
    density: DensityMap,
    settings: PoseTraining,
    own: Sequence[Micrograph] = (),
    name: str = "poses",
    checkpoint: Path | None = None,
    device: torch.device | None = None,
) -> Generator[Note | FitProgress | PoseEstimator, None, None]:
    """Train a pose estimator for the particle of a map, on simulated micrographs.

    Parameters
    ----------
    density : DensityMap
        The particle; turned onto RELION's axes of its symmetry if it is not.
    settings : PoseTraining
        How.
    own : sequence of Micrograph
        Micrographs of the user; pixel size, power spectrum and range of defocus are taken from
        them.
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
    SymmetryError
        If the map does not have the symmetry.
    TrainError
        If the given micrographs have no pixel size.
    """
    lesson = yield from _prepare(density, settings, own)
    yield from learn(lesson, settings, name, checkpoint, device)


def match_map(
    density: DensityMap,
    settings: PoseTraining,
    own: Sequence[Micrograph] = (),
    name: str = "poses",
) -> Generator[Note | PoseEstimator, None, None]:
    """Make an estimator that compares particles with all projections of a map; nothing is trained.

    Parameters
    ----------
    density, settings, own, name
        As of `train_from_map`; simulated particles only calibrate its confidence.

    Yields
    ------
    Note or PoseEstimator
        What was found out, how large the errors are, and at last the estimator.

    Raises
    ------
    SymmetryError
        If the map does not have the symmetry.
    TrainError
        If the given micrographs have no pixel size.
    """
    lesson = yield from _prepare(density, settings, own)
    assert lesson.reference is not None
    config = MatcherConfig(_config(settings).box, grid=matching_grid(settings.symmetry))
    net = PoseMatcher(config, lesson.reference).eval()
    yield from finish(
        net, lesson, lesson.held_out, settings, name, {"method": "projection matching"}
    )


def _prepare(
    density: DensityMap, settings: PoseTraining, own: Sequence[Micrograph]
) -> Generator[Note, None, Lesson]:
    """Find out what to simulate, and simulate what is held out."""
    density, turned = align_to_symmetry(density, settings.symmetry)
    scene, notes = look(
        density,
        MapSettings(diameter=settings.diameter, seed=settings.seed, pixel_size=settings.pixel_size),
        own,
    )
    yield from (Note(text) for text in notes)
    if not torch.allclose(turned, torch.eye(3, dtype=turned.dtype)):
        yield Note(
            f"The map was turned, so that its axes of {settings.symmetry} are RELION's; poses "
            "refer to the turned map."
        )
    scene = replace(scene, snr=SNR)
    source = PoseSource(
        scene.make, _config(settings).box, PIXELS_PER_DIAMETER, scene.diameter, MICROGRAPHS,
        seed=settings.seed,
    )  # fmt: skip
    fresh = source.simulate(HELD_OUT + CALIBRATION, np.random.default_rng((settings.seed, 1)))
    lesson = Lesson(
        source,
        fresh,
        scene.diameter,
        Reference.of(density, scene.diameter / PIXELS_PER_DIAMETER, scene.diameter),
        {
            "data": [
                f"simulated micrographs of {density.name}, {scene.pixel_size:.3g} Å per pixel"
            ],
            "own micrographs": len(own),
            "defocus": scene.defocus,
            "turned": turned.tolist(),
        },
        digest(
            density.values, density.voxel_size, scene.diameter, scene.pixel_size, scene.defocus,
            *(spectrum.power for spectrum in scene.spectra),
        ),
    )  # fmt: skip
    return lesson


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a pose network learns from.

    Parameters
    ----------
    draw : callable
        Gives the batch of a step.
    held_out : PoseImages
        Images that are not learnt from; the first half validates, the second calibrates.
    diameter : float
        Of the particle, Å.
    reference : Reference, optional
        The map that the poses refer to.
    record : dict
        Where it comes from, for the model file.
    digest : str
        Of all that; a checkpoint of another lesson is refused.
    """

    draw: Draw
    held_out: PoseImages
    diameter: float
    reference: Reference | None
    record: dict[str, object]
    digest: str


def learn(
    lesson: Lesson,
    settings: PoseTraining,
    name: str,
    checkpoint: Path | None,
    device: torch.device | None,
) -> Generator[Note | FitProgress | PoseEstimator, None, None]:
    """Train a pose network, and calibrate it.

    Parameters
    ----------
    lesson : Lesson
        What from.
    settings : PoseTraining
        How.
    name, checkpoint, device
        As of `train_from_map`.

    Yields
    ------
    Note, FitProgress or PoseEstimator
        Steps, how large the errors are, and at last the estimator.
    """
    torch.manual_seed(settings.seed)
    net = PoseNet(_config(settings)).to(device or torch.device("cpu"))
    half = len(lesson.held_out) // 2
    judge = judge_by_error(lesson.held_out.take(slice(0, half)))
    for event in fit_phases(
        net,
        _phases(settings),
        lambda _: lesson.draw,
        lambda _: judge,
        checkpoint,
        origin=digest(lesson.digest, settings),
    ):
        if isinstance(event, FitProgress):
            yield event
        else:
            net = event
    calibration = lesson.held_out.take(slice(half, None))
    how = {"method": "network", "steps": settings.steps, "seed": settings.seed}
    yield from finish(net.cpu().eval(), lesson, calibration, settings, name, how)


def finish(
    net: PoseNet | PoseMatcher | ParticleMatcher,
    lesson: Lesson,
    calibration: PoseImages,
    settings: PoseTraining,
    name: str,
    how: dict[str, object],
) -> Generator[Note | PoseEstimator, None, None]:
    """Calibrate, and write down how it was made.

    Parameters
    ----------
    net : PoseNet, PoseMatcher or ParticleMatcher
        In evaluation mode, on the CPU.
    lesson : Lesson
        What it was made from.
    calibration : PoseImages
        That it has not seen.
    settings, name
        As of `train_from_map`.
    how : dict
        For the model file.

    Yields
    ------
    Note or PoseEstimator
        How large the errors are, and at last the estimator.
    """
    plain = PoseEstimator(
        net, name, PIXELS_PER_DIAMETER, lesson.diameter, reference=lesson.reference
    )
    made, words = calibrate(plain, calibration)
    yield Note(words)
    training = {
        **made_now(), **lesson.record, **how, "symmetry": settings.symmetry, "figures": words
    }  # fmt: skip
    yield replace(made, training=training)


def _config(settings: PoseTraining) -> PoseConfig:
    grid = pose_grids(settings.symmetry)[-1]
    return PoseConfig("so3", settings.channels, grid=grid, hidden=HIDDEN)


def _phases(settings: PoseTraining) -> list[Phase]:
    config, grids = _config(settings), pose_grids(settings.symmetry)
    plan = ((1.0, RATE),) if len(grids) == 1 else ((COARSE, RATE), (1 - COARSE, RATE / 2))
    phases = []
    for grid, (share, rate) in zip(grids, plan, strict=True):
        steps = max(1, round(share * settings.steps))
        each = min(steps, STEPS_PER_EPOCH)
        fit = FitConfig(
            epochs=max(1, round(steps / each)),
            steps_per_epoch=each,
            learning_rate=rate,
            schedule="one-cycle",
            loss=PoseLoss(replace(config, grid=grid)),
            seed=settings.seed,
        )
        phases.append(Phase(fit, grid))
    return phases
