"""Average real T20S by predicted poses: ``python docs/experiments/t20s_averages.py DATA MODEL``.

The general model picks the 18 micrographs, the pose model MODEL gives poses, and the crops of the
side views and of the top views are turned by them and averaged. A barrel of four rings and a ring
of seven subunits should be seen; two numbers say how clearly, and a third is the correlation with
the projection of the map, imaged as particles are. Beside them, with as many crops each:

- ``not turned``: the same crops as they are;
- ``other poses``: each turned by the pose of another particle of that view;
- ``scrambled``: micrographs of the same power spectrum and random phases, at the same places, with
  the poses that the model sees in them. Turned noise looks like what it was compared with; only
  what exceeds this comes from the particles.

``--refine`` climbs from each pose to the best match with the map, which makes the last row matter
more. ``-o FILE`` draws the averages.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from common import CASES

from napari_so3.insight.figures_style import new_figure, picture, split, title
from napari_so3.io.micrographs import find_micrographs, read_micrograph
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.picks import Picks
from napari_so3.picking.preprocess import preprocess
from napari_so3.picking.score import Scorer
from napari_so3.poses.averages import (
    SIDE,
    TOP,
    angular_power,
    average_view,
    ring_contrast,
)
from napari_so3.poses.cutting import particle_images
from napari_so3.poses.errors import group_matrices
from napari_so3.poses.estimate import PoseSettings, estimate_poses
from napari_so3.poses.estimator import load_estimator
from napari_so3.poses.poses import Poses
from napari_so3.poses.reference import Reference

if TYPE_CHECKING:
    from napari_so3.io.micrographs import Micrograph
    from napari_so3.poses.averages import View, ViewAverage
    from napari_so3.poses.estimator import PoseEstimator

T20S = CASES["t20s"]
STEP, SIZE, BIG = 5.0, 49, 75  # Å per pixel of the averages; edges of averages and crops
PERIODS = np.arange(32.0, 46.0, 0.5)  # Å, between two rings
WIDTH = 70.0  # Å of the barrel that the rings are looked for in
RING = 20.0, 50.0  # Å, radii between which the seven subunits are looked for
GROUPS = {"side": "D28", "top": "D7"}  # all side views of a barrel look much the same


@dataclass(frozen=True, eq=False)
class Particles:
    """Crops (n, BIG, BIG) about the picks, their poses (n, 3, 3) and shifts (n, 2), pixels."""

    crops: np.ndarray
    matrices: np.ndarray
    shifts: np.ndarray
    confidence: np.ndarray


def find_picks(micrograph: Micrograph, scorer: Scorer, model: str) -> np.ndarray:
    """Pick with the threshold of the model: (n, 2) y and x."""
    picker = load_picker(model)
    for event in pick(micrograph, picker, PickSettings(T20S.diameter), scorer):
        if isinstance(event, Picks):
            return event.above(picker.threshold).table[["y", "x"]].to_numpy()
    raise RuntimeError("the picking gave no picks")


def see(
    micrograph: Micrograph, points: np.ndarray, estimator: PoseEstimator, refine: bool
) -> Particles:
    """Estimate the poses of picks, and cut them out."""
    settings = PoseSettings(estimator.diameter, refine=refine)
    *_, poses = estimate_poses(micrograph, points, estimator, settings)
    assert isinstance(poses, Poses)
    assert micrograph.pixel_size is not None
    working = preprocess(micrograph.to_float32(), micrograph.pixel_size, estimator.diameter, STEP)
    crops = particle_images(working, points, BIG)[:, 0].numpy()
    shifts = poses.table[["dy", "dx"]].to_numpy() / STEP
    return Particles(crops, poses.matrices, shifts, poses.table["confidence"].to_numpy())


def scrambled(micrograph: Micrograph, rng: np.random.Generator) -> Micrograph:
    """Give every frequency a random phase and leave its power as it is."""
    image = micrograph.to_float32()
    noise = np.fft.rfft2(rng.normal(size=image.shape))
    spectrum = np.abs(np.fft.rfft2(image - image.mean())) * noise / np.abs(noise)
    mixed = np.fft.irfft2(spectrum, s=image.shape).astype(np.float32)
    return replace(micrograph, data=mixed)


def together(parts: list[Particles]) -> Particles:
    """Put the particles of all micrographs into one."""
    names = ("crops", "matrices", "shifts", "confidence")
    return Particles(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def average(what: Particles, view: View) -> ViewAverage:
    """Average the crops of a view."""
    group = group_matrices(GROUPS[view.name])
    return average_view(what.crops, what.matrices, group, view, SIZE, what.shifts)


def with_other_poses(what: Particles, view: View, rng: np.random.Generator) -> np.ndarray:
    """Average the crops of a view, each turned by the pose of another one."""
    rows = average(what, view).rows
    other = rows[np.roll(rng.permutation(len(rows)), 1)]
    mixed = Particles(
        what.crops[rows], what.matrices[other], what.shifts[rows], what.confidence[rows]
    )
    return average(mixed, view).turned


def clarity(image: np.ndarray, view: View, period: float) -> float:
    """Ring contrast of a side view; power of order seven over that of its neighbours of a top."""
    if view is SIDE:
        return ring_contrast(image, period / STEP, WIDTH / STEP)
    seven, others = angular_power(image, 7, *(r / STEP for r in RING))
    return seven / others if others else np.nan  # without crops there is nothing


def likeness(image: np.ndarray, truth: np.ndarray, diameter: float) -> float:
    """Correlation with a projection within the disc of the particle."""
    axis = (np.arange(SIZE) - SIZE // 2) * STEP
    disc = np.hypot(axis[:, None], axis) <= diameter / 2
    return float(np.corrcoef(image[disc], truth[disc])[0, 1])


def main() -> None:
    """Read the command line, pick, estimate, average and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("model", help="pose model of T20S")
    parser.add_argument("-o", "--output", type=Path, help="figure to write")
    parser.add_argument("--refine", action="store_true")
    parser.add_argument("--picker", default="general")
    parser.add_argument("--most", type=int, help="micrographs; all by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    estimator = load_estimator(arguments.model)
    scorer = Scorer(load_picker(arguments.picker).net, torch.device("cpu"))
    rng = np.random.default_rng(0)
    real, noise = [], []
    for path in find_micrographs([arguments.data / T20S.micrographs])[: arguments.most]:
        micrograph = read_micrograph(path, T20S.pixel_size)
        points = find_picks(micrograph, scorer, arguments.picker)
        real.append(see(micrograph, points, estimator, arguments.refine))
        noise.append(see(scrambled(micrograph, rng), points, estimator, arguments.refine))
    particles, without = together(real), together(noise)
    print(
        f"{len(particles.crops)} picks in {len(real)} micrographs, median confidence "
        f"{np.median(particles.confidence):.2f} (scrambled {np.median(without.confidence):.2f})"
    )
    assert estimator.reference is not None
    rows = {
        view.name: compare_ways(particles, without, view, estimator, rng) for view in (SIDE, TOP)
    }
    if arguments.output is not None:
        draw(rows, arguments.output)


def compare_ways(
    particles: Particles,
    without: Particles,
    view: View,
    estimator: PoseEstimator,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Print the table of a view; return its pictures."""
    assert estimator.reference is not None
    reference = Reference.of(estimator.reference.density, STEP, estimator.diameter)
    truth = reference.seen(torch.from_numpy(view.matrix[None]), SIZE)[0].numpy()
    period = max(PERIODS, key=lambda p: ring_contrast(truth, p / STEP, WIDTH / STEP))
    found, blank = average(particles, view), average(without, view)
    pictures = {
        "turned": found.turned,
        "not turned": found.plain,
        "other poses": with_other_poses(particles, view, rng),
        "scrambled": blank.turned,
        "map": truth,
    }
    counts = dict.fromkeys(pictures, len(found.rows)) | {"scrambled": len(blank.rows), "map": 1}
    what = f"rings every {period:.0f} Å" if view is SIDE else "order 7 over neighbours"
    print(f"\n| {view.name} views | crops | {what} | correlation with the map |\n|--|--|--|--|")
    for name, image in pictures.items():
        like = likeness(image, truth, estimator.diameter)
        print(f"| {name} | {counts[name]} | {clarity(image, view, period):.3g} | {like:.2f} |")
    return pictures


def draw(rows: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Draw the averages of both views, a row each."""
    figure = new_figure(9.0, 4.2)
    for part, (view, pictures) in zip(split(figure, 1, 1, stacked=True), rows.items(), strict=True):
        axes = part.subplots(1, len(pictures))
        for ax, (name, image) in zip(axes, pictures.items(), strict=True):
            picture(ax, image, STEP)
            title(ax, f"{view}, {name}")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
