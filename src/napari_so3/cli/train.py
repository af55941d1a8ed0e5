"""``napari-so3 train``: a model from labels, or from a map."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_so3.cli.common import (
    DEFAULT_MODEL,
    Device,
    PixelSize,
    VoxelSize,
    console,
    count,
    say,
    say_left_out,
    user_errors,
    watching,
)
from napari_so3.io.micrographs import find_micrographs, read_micrograph

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch

    from napari_so3.picking.picker import Picker
    from napari_so3.simulation.volume import DensityMap
    from napari_so3.training.tiles import LabelledMicrograph

STOPPED = "Stopped. The same command goes on from the last checkpoint."


def train(
    micrographs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Labelled micrographs, folders of them, or glob patterns in quotes. With "
            "--from-map: micrographs without labels, to take pixel size and noise from.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            "-l",
            help="Folder of STAR files with the labelled particles, one of them, or a labels file "
            "of napari-so3 (.json).",
            show_default=False,
        ),
    ] = None,
    diameter: Annotated[
        float | None,
        typer.Option(
            "--diameter",
            "-d",
            min=10.0,
            max=5000.0,
            help="Longest diameter of the particle in Å; with --from-map that of the map, unless "
            "it is given.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Model file to write (.safetensors).")
    ] = Path("trained.safetensors"),
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model to start from: its name, or its file.")
    ] = DEFAULT_MODEL,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from random weights instead.")
    ] = False,
    complete: Annotated[
        bool,
        typer.Option(
            "--complete", help="(Nearly) every particle of these micrographs is labelled."
        ),
    ] = False,
    expected: Annotated[
        float | None,
        typer.Option(
            "--expected",
            "-n",
            min=1.0,
            help="Particles that you expect in a micrograph, labelled or not; by default as many "
            "as the starting model finds.",
            show_default=False,
        ),
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            help="What to make of what is not labelled: trimmed, bce, ge-binomial or nnpu "
            "(see docs/method.md)."
        ),
    ] = "trimmed",
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the training, if not as usual.", show_default=False),
    ] = None,
    from_map: Annotated[
        Path | None,
        typer.Option(
            "--from-map",
            help="Density of the particle (MRC): learn from simulated micrographs of it, without "
            "labels.",
            show_default=False,
        ),
    ] = None,
    voxel_size: VoxelSize = None,
    symmetry: Annotated[
        str,
        typer.Option(
            help="Point group of the map: C1, C4, D7, T, O, I, ...; the matcher then needs fewer "
            "rotations. The training takes the map as it is."
        ),
    ] = "C1",
    matcher: Annotated[
        bool,
        typer.Option(
            "--matcher",
            help="With --from-map: no training at all; the model is the map itself, compared with "
            "the micrograph in all orientations.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of weights and batches.")] = 0,
    device: Device = "auto",
    pixel_size: PixelSize = None,
) -> None:
    """Train a model for your particle: from a few labels, or from its map.

    50 labels in three micrographs or more make a good start; the general model is fine-tuned with
    them in minutes. The labels need not be complete. A training that was stopped goes on from its
    last checkpoint when the same command is given again.

    Example: `napari-so3 train Micrographs/ --labels Manual/ --diameter 150 -o mine.safetensors`,
    then `napari-so3 pick Micrographs/ --diameter 150 --model mine.safetensors`
    """
    with user_errors(STOPPED):
        from napari_so3.simulation.volume import read_density
        from napari_so3.so3.symmetry import symmetry_group
        from napari_so3.training.distributed import Processes, process_group

        symmetry_group(symmetry)  # a wrong name is told before anything is read
        _check(micrographs, labels, diameter, from_map, matcher, loss)
        with process_group() as given:
            console.quiet = Processes().rank > 0  # one of them speaks
            where = _device(device, given)
            if from_map is not None:
                made = _from_map(
                    read_density(from_map, voxel_size),
                    micrographs,
                    diameter,
                    symmetry,
                    model,
                    matcher,
                    pixel_size,
                    output,
                    where,
                    steps,
                    seed,
                )
            else:
                made = _from_labels(
                    micrographs or [],
                    labels or Path(),
                    diameter or 0.0,
                    pixel_size,
                    complete,
                    model,
                    output,
                    where,
                    {
                        "from_scratch": from_scratch,
                        "steps": steps,
                        "loss": loss,
                        "expected": expected,
                        "seed": seed,
                    },
                )
            if Processes().rank == 0:
                output.parent.mkdir(parents=True, exist_ok=True)
                made.save(output)
                across = made.training.get("diameter", diameter)
                say(
                    f"model: {output}\n"
                    f"next: napari-so3 pick MICROGRAPHS --diameter {across:.4g} --model {output}"
                )


def _check(
    micrographs: list[str] | None,
    labels: Path | None,
    diameter: float | None,
    from_map: Path | None,
    matcher: bool,
    loss: str,
) -> None:
    from typing import get_args

    from napari_so3.training.losses import LossName
    from napari_so3.training.teach import TrainError

    if loss not in get_args(LossName):
        raise TrainError(f"{loss!r} is no loss; choose one of {', '.join(get_args(LossName))}.")
    if from_map is not None and labels is not None:
        raise TrainError("give either --labels or --from-map, not both.")
    if from_map is None and matcher:
        raise TrainError("--matcher needs the map of the particle: --from-map MAP.")
    if from_map is None and (labels is None or not micrographs or diameter is None):
        raise TrainError(
            "training from labels needs MICROGRAPHS, --labels and --diameter; without labels, "
            "give the map of the particle: --from-map MAP."
        )


def _device(name: str, given: "torch.device | None") -> "torch.device":
    from napari_so3.picking.pick import choose_device, describe_device

    where = given or choose_device(name)
    say(f"training on {describe_device(where)}")
    return where


def _from_labels(
    micrographs: list[str],
    labels: Path,
    diameter: float,
    pixel_size: float | None,
    complete: bool,
    model: str,
    output: Path,
    device: "torch.device",
    settings: dict[str, Any],
) -> "Picker":
    from napari_so3.picking.picker import load_picker
    from napari_so3.training.teach import TeachSettings, teach

    labelled = _read_labelled(micrographs, labels, diameter, pixel_size, complete)
    start = load_picker(model)
    name = output.name.removesuffix(".safetensors")
    return _watch(
        teach(labelled, start, TeachSettings(**settings), name, _checkpoint(output), device)
    )


def _read_labelled(
    micrographs: list[str],
    labels: Path,
    diameter: float,
    pixel_size: float | None,
    complete: bool,
) -> "dict[str, LabelledMicrograph]":
    """Pair micrographs with labels by name, and say how that went."""
    from napari_so3.training.labels import match_labels, read_labels
    from napari_so3.training.tiles import LabelledMicrograph

    matched = match_labels(find_micrographs(micrographs), read_labels(labels, complete))
    say(f"{count(len(matched.pairs), 'micrograph')} with labels")
    here, lost = [p.name for p in matched.without_labels], list(matched.without_micrograph)
    say_left_out(here, f"{count(len(here), 'micrograph')} without labels")
    say_left_out(lost, f"labels of {count(len(lost), 'micrograph')} not given")
    return {
        path.name: LabelledMicrograph(read_micrograph(path, pixel_size), one, diameter)
        for path, one in matched.pairs
    }


def _from_map(
    density: "DensityMap",
    micrographs: list[str] | None,
    diameter: float | None,
    symmetry: str,
    model: str,
    matcher: bool,
    pixel_size: float | None,
    output: Path,
    device: "torch.device",
    steps: int | None,
    seed: int,
) -> "Picker":
    from napari_so3.picking.picker import load_picker
    from napari_so3.training.from_map import MapSettings, learn_map
    from napari_so3.training.matcher import make_matcher

    name = output.name.removesuffix(".safetensors")
    say(f"{density.name}: {density.diameter:.0f} Å")
    if matcher:
        return replace(make_matcher(density, diameter, symmetry), name=name)
    own = [read_micrograph(p, pixel_size) for p in find_micrographs(micrographs or [])]
    settings = MapSettings(
        diameter=diameter, seed=seed, **({} if steps is None else {"steps": steps})
    )
    return _watch(
        learn_map(density, load_picker(model), settings, own, name, _checkpoint(output), device)
    )


def _checkpoint(output: Path) -> Path:
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.with_suffix(".checkpoint")


def _watch(events: "Generator[Any, None, None]") -> "Picker":
    """Show a training: notes, bars, and after each epoch its figures; return the picker."""
    from napari_so3.picking.picker import Picker
    from napari_so3.training.fit import FitProgress
    from napari_so3.training.teach import Working

    made = None
    with watching(events) as (steps, progress):
        bar = progress.add_task("preparing", total=None)
        for event in steps:
            if isinstance(event, Picker):
                made = event
            elif isinstance(event, Working):
                progress.update(
                    bar, description=event.text, completed=event.done, total=event.total
                )
            elif isinstance(event, FitProgress):
                progress.update(
                    bar, description=_describe(event), completed=event.step, total=event.steps
                )
                if event.validation is not None:
                    say(
                        f"epoch {event.epoch}: loss {event.loss:.4f}, "
                        f"validation AUPRC {event.validation:.4f} (best {event.best:.4f})"
                    )
            else:
                say(event.text)
    if made is None:
        raise RuntimeError("the training ended without a model")
    return made


def _describe(event: Any) -> str:
    return (
        f"step, loss {event.loss:.4f}, rate {event.learning_rate:.1e}, "
        f"{event.images_per_second:.2g} tiles/s"
    )
