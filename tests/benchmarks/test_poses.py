"""Poses of 1,000 picks of a micrograph, and projection matching with the same map as the rival.

The networks have the shape that ``napari-so3 pose train`` gives them, and random weights: what they
say does not change how long it takes. The rival compares the very crops with the projections of a
grid of 7.5 degrees at all shifts within the same reach, as one matrix product; it is the exhaustive
search that the network spares.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import PIXEL_SIZE
from measure import Cost, Costs

from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.preprocess import preprocess
from napari_so3.poses.cutting import particle_images, standardise
from napari_so3.poses.estimate import SHIFT, PoseSettings, estimate_poses
from napari_so3.poses.estimator import PoseEstimator
from napari_so3.poses.matching import MatcherConfig, PoseMatcher, matching_grid
from napari_so3.poses.poses import Poses
from napari_so3.poses.reference import Reference
from napari_so3.poses.train import CHANNELS, HIDDEN, PIXELS_PER_DIAMETER, pose_grids
from napari_so3.simulation.density import barrel
from napari_so3.simulation.volume import rasterise
from napari_so3.so3.pose_networks import PoseConfig, PoseNet
from napari_so3.so3.rotations import RotationGrid

PICKS = 1000
MATCHED = 30  # picks that the rival matches; its time per pick counts
DIAMETER = 160.0  # Å
FINE = 733, 48  # views and in-plane angles 7.5 degrees apart
ROUNDS = 3

Time = Callable[[str, str, Callable[[], object], float], None]


@pytest.fixture
def time(benchmark: Any, costs: Costs) -> Time:
    """Time some work, scale it, and file it."""

    def measure(symmetry: str, what: str, work: Callable[[], object], scale: float = 1.0) -> None:
        benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=1)
        title = f"poses of {PICKS} picks, {symmetry}"
        costs.add(title, what, [Cost(benchmark.stats["median"] * scale)])

    return measure


@pytest.fixture(params=["D7", "C1"])
def estimator(request: pytest.FixtureRequest) -> PoseEstimator:
    grid = pose_grids(request.param)[-1]
    net = PoseNet(PoseConfig("so3", CHANNELS, grid=grid, hidden=HIDDEN)).eval()
    density = rasterise(barrel(), 3.0, "barrel")
    reference = Reference.of(density, DIAMETER / PIXELS_PER_DIAMETER, DIAMETER)
    return PoseEstimator(net, "bench", PIXELS_PER_DIAMETER, DIAMETER, reference=reference)


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).uniform(100, 3996, (PICKS, 2))


@pytest.mark.parametrize("refine", [False, True])
def test_estimate(
    time: Time,
    estimator: PoseEstimator,
    micrographs: list[Path],
    points: np.ndarray,
    refine: bool,
) -> None:
    def work() -> None:
        micrograph = read_micrograph(micrographs[0], PIXEL_SIZE)
        settings = PoseSettings(DIAMETER, refine=refine)
        *_, poses = estimate_poses(micrograph, points, estimator, settings)
        assert isinstance(poses, Poses) and len(poses) == PICKS

    what = "napari-so3, file to poses" + (", refined" if refine else "")
    time(estimator.symmetry, what, work, 1.0)


def test_matcher(
    time: Time, estimator: PoseEstimator, micrographs: list[Path], points: np.ndarray
) -> None:
    assert estimator.reference is not None
    config = MatcherConfig(estimator.box, grid=matching_grid(estimator.symmetry))
    matcher = replace(estimator, net=PoseMatcher(config, estimator.reference).eval())

    def work() -> None:
        micrograph = read_micrograph(micrographs[0], PIXEL_SIZE)
        *_, poses = estimate_poses(micrograph, points, matcher, PoseSettings(DIAMETER))
        assert isinstance(poses, Poses) and len(poses) == PICKS

    time(estimator.symmetry, f"the same, matching {len(config.grid)} projections", work, 1.0)


def test_network(
    time: Time, estimator: PoseEstimator, micrographs: list[Path], points: np.ndarray
) -> None:
    crops = standardise(particle_images(working_image(micrographs[0]), points, estimator.box))
    time(estimator.symmetry, "  of which the network", lambda: estimator.estimate(crops), 1.0)


def test_projection_matching(
    time: Time, estimator: PoseEstimator, micrographs: list[Path], points: np.ndarray
) -> None:
    assert estimator.reference is not None
    reach, box = round(SHIFT * PIXELS_PER_DIAMETER), estimator.box
    working = working_image(micrographs[0])
    crops = particle_images(working, points[:MATCHED], box + 2 * reach)
    grid = RotationGrid.reduced(estimator.symmetry, *FINE)
    templates = estimator.reference.seen(grid.matrices, box).flatten(1)

    def work() -> None:
        best = [match(crop[None], templates, box) for crop in crops]
        assert len(best) == MATCHED

    name = f"projection matching, {len(grid)} poses (7.5 degrees)"
    time(estimator.symmetry, name, work, PICKS / MATCHED)


def working_image(path: Path) -> Any:
    micrograph = read_micrograph(path, PIXEL_SIZE)
    return preprocess(micrograph.to_float32(), PIXEL_SIZE, DIAMETER, DIAMETER / PIXELS_PER_DIAMETER)


def match(crop: torch.Tensor, templates: torch.Tensor, box: int) -> int:
    """Find the template that fits best at any shift, by the correlation coefficient."""
    windows = F.unfold(crop, box)[0]  # (box * box, shifts)
    spread = windows.std(dim=0) * box
    return int(((templates @ windows) / spread).amax(dim=1).argmax())
