"""``napari-so3 pose train``: a pose model from a map, or from particles with known poses."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from napari_so3.cli.common import Device, PixelSize, VoxelSize, say, user_errors, watching
from napari_so3.io.micrographs import find_micrographs, read_micrograph

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch

    from napari_so3.poses.estimator import PoseEstimator
    from napari_so3.poses.train import PoseTraining

    Training = Generator[Any, None, None]
    Learning = tuple[Path, torch.device]  # checkpoint and where

PARTICLES = (".star", ".cs")  # endings of files of particles; all others are maps
GOES_ON = "Stopped. The same command goes on from the last checkpoint."

Symmetry = Annotated[
    str, typer.Option(help="Point group of the particle: C1, C4, D7, T, O, I, ...; RELION's axes.")
]


def train(
    source: Annotated[
        Path,
        typer.Argument(
            help="Density of the particle (MRC), to learn from simulated micrographs of it; or "
            "particles with known poses and images (STAR of RELION, .cs of cryoSPARC).",
            show_default=False,
        ),
    ],
    micrographs: Annotated[
        list[str] | None,
        typer.Argument(
            help="With a map: micrographs, to take pixel size, noise and defocus from.",
            show_default=False,
        ),
    ] = None,
    symmetry: Symmetry = "C1",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Model file to write (.safetensors).")
    ] = Path("poses.safetensors"),
    diameter: Annotated[
        float | None,
        typer.Option(
            "--diameter",
            "-d",
            min=10.0,
            max=5000.0,
            help="Longest diameter of the particle in Å; by default that of the map. Particles "
            "need it.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the training, if not as usual.", show_default=False),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(min=1, help="Width of the network, if not as usual.", show_default=False),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--map",
            help="With particles: the map that their poses refer to, to show and refine poses "
            "with.",
            show_default=False,
        ),
    ] = None,
    matcher: Annotated[
        bool,
        typer.Option(
            "--matcher",
            help="No training: particles will be compared with the map in all orientations. Of "
            "particles with known poses the map is reconstructed first.",
        ),
    ] = False,
    voxel_size: VoxelSize = None,
    pixel_size: PixelSize = None,
    seed: Annotated[int, typer.Option(help="Of weights and simulations.")] = 0,
    device: Device = "auto",
) -> None:
    """Train a pose model for your particle: from its map, or from particles with known poses.

    A training that was stopped goes on from its last checkpoint when the same command is given
    again.

    Example: `napari-so3 pose train map.mrc Micrographs/ --symmetry D7 -o t20s.safetensors`, then
    `napari-so3 pose estimate Micrographs/ --picks AutoPick --model t20s.safetensors`
    """
    with user_errors(GOES_ON):
        from napari_so3.picking.pick import choose_device, describe_device
        from napari_so3.poses.train import PoseTraining
        from napari_so3.so3.symmetry import symmetry_group

        symmetry_group(symmetry)  # a wrong name is told before anything is read
        given = {"steps": steps, "channels": channels}
        settings = PoseTraining(
            symmetry=symmetry,
            diameter=diameter,
            seed=seed,
            pixel_size=pixel_size,
            **{name: value for name, value in given.items() if value is not None},
        )
        where = choose_device(device)
        if not matcher:
            say(f"training on {describe_device(where)}")
        output.parent.mkdir(parents=True, exist_ok=True)
        name, checkpoint = (
            output.name.removesuffix(".safetensors"),
            output.with_suffix(".checkpoint"),
        )
        learning = None if matcher else (checkpoint, where)
        if source.suffix.lower() in PARTICLES:
            events = _from_particles(source, reference, voxel_size, settings, name, learning)
        else:
            events = _from_map(source, voxel_size, micrographs, settings, name, learning)
        made = _watch(events)
        made.save(output)
        say(
            f"model: {output}\nnext: napari-so3 pose estimate MICROGRAPHS --picks PICKS "
            f"--model {output} -o particles.star"
        )


def _from_map(
    path: Path,
    voxel_size: float | None,
    micrographs: list[str] | None,
    settings: "PoseTraining",
    name: str,
    learning: "Learning | None",
) -> "Training":
    from napari_so3.poses.train import match_map, train_from_map
    from napari_so3.simulation.volume import read_density

    density = read_density(path, voxel_size)
    own = [read_micrograph(p, settings.pixel_size) for p in find_micrographs(micrographs or [])]
    if learning is None:
        return match_map(density, settings, own, name)
    return train_from_map(density, settings, own, name, *learning)


def _from_particles(
    path: Path,
    reference: Path | None,
    voxel_size: float | None,
    settings: "PoseTraining",
    name: str,
    learning: "Learning | None",
) -> "Training":
    from napari_so3.io.particles import read_particles
    from napari_so3.poses.from_particles import match_particle_map, train_from_particles
    from napari_so3.simulation.volume import read_density

    density = None if reference is None else read_density(reference, voxel_size)
    particles = read_particles(path)
    if learning is None:
        return match_particle_map(particles, settings, density, name)
    return train_from_particles(particles, settings, density, name, *learning)


def _watch(events: "Training") -> "PoseEstimator":
    """Show a training: notes, a bar, and after each epoch its figures; return the model."""
    from napari_so3.poses.estimator import PoseEstimator
    from napari_so3.training.fit import FitProgress

    made = None
    with watching(events) as (steps, progress):
        bar = progress.add_task("preparing", total=None)
        for event in steps:
            if isinstance(event, PoseEstimator):
                made = event
            elif isinstance(event, FitProgress):
                words = f"step, loss {event.loss:.3f}, {event.images_per_second:.3g} particles/s"
                progress.update(bar, description=words, completed=event.step, total=event.steps)
                if event.validation is not None:
                    error = np.degrees(-event.validation)
                    figures = f"loss {event.loss:.3f}, mean error {error:.1f} degrees"
                    say(f"epoch {event.epoch}: {figures}")
            else:
                say(event.text)
    if made is None:
        raise RuntimeError("the training ended without a model")
    return made
