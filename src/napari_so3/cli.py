"""The command line: the verbs of the docks without a screen."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from napari_so3 import __version__
from napari_so3.io.files import atomic_path
from napari_so3.io.micrographs import (
    MicrographError,
    find_micrographs,
    micrograph_name,
    read_micrograph,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from napari_so3.picking.batch import BatchSettings, Done

DEFAULT_MODEL = "general"
SAMPLE_DIAMETER = 150.0

app = typer.Typer(
    help="Pick particles in cryo-EM micrographs with SO(3)-equivariant networks.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
)
model_app = typer.Typer(help="Look at models.", no_args_is_help=True)
app.add_typer(model_app, name="model")
console, errors = Console(), Console(stderr=True)

Micrographs = Annotated[
    list[str],
    typer.Argument(
        help="Micrographs (.mrc, .mrc.gz, .mrcs, .tif, .png, .jpg), folders of them, or glob "
        "patterns in quotes.",
        show_default=False,
    ),
]
Diameter = Annotated[
    float,
    typer.Option(
        "--diameter",
        "-d",
        help="Longest diameter of the particle in Å. It sets the scale at which the network "
        "looks, the smallest distance of two picks (half of it) and the edge margin (a quarter).",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Name of a bundled model, or path of a model file."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        "-t",
        min=0.0,
        max=1.0,
        help="Smallest AL1 probability of a pick; by default what the model suggests. Running "
        "again with another threshold takes seconds: all candidates are kept.",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda or cuda:N.")
]
PixelSize = Annotated[
    float | None,
    typer.Option(
        "--pixel-size",
        "-p",
        help="Å per pixel of all micrographs; by default what each file says.",
        show_default=False,
    ),
]


def _version(show: bool) -> None:
    if show:
        typer.echo(f"napari-so3 {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Pick particles in cryo-EM micrographs with SO(3)-equivariant networks."""


@app.command()
def pick(
    micrographs: Micrographs,
    diameter: Diameter,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the picks; made if missing.")
    ] = Path("picks"),
    model: Model = DEFAULT_MODEL,
    threshold: Threshold = None,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    margin: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Drop picks whose centre is closer to the border than this, in Å; by default a "
            "quarter of the diameter.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Throw away picks made with other settings in -o."),
    ] = False,
) -> None:
    """Pick the particles of micrographs.

    Writes `NAME_autopick.star` for every micrograph and `autopick.star` for RELION, and keeps all
    candidates with their rotations in `candidates/NAME.csv`. Coordinates are pixels of the
    micrograph as stored: x = column, y = row, the first pixel is 0. The figure of merit is the
    log-odds of the AL1 probability.

    A run that was stopped goes on where it was when the same command is given again. A micrograph
    that cannot be read does not stop the others: it is listed at the end and the exit code is 1.

    Example: `napari-so3 pick Micrographs/ --diameter 150 -o AutoPick`
    """
    with _user_errors():
        failed = _pick(
            find_micrographs(micrographs),
            output,
            _batch(model, diameter, threshold, pixel_size, margin),
            device,
            overwrite,
        )
    raise typer.Exit(1 if failed else 0)


@contextmanager
def _user_errors() -> Iterator[None]:
    """Say in one sentence what a user can mend, instead of a traceback."""
    # torch and pandas take seconds to import: only the verbs that need them wait for them
    from napari_so3.io.models import ModelFileError
    from napari_so3.io.star import StarError
    from napari_so3.picking.batch import OutputError
    from napari_so3.picking.pick import PickError

    try:
        yield
    except (MicrographError, ModelFileError, OutputError, PickError, StarError) as error:
        errors.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        errors.print("Stopped. The same command goes on from here.")
        raise typer.Exit(130) from None


def _batch(
    model: str,
    diameter: float,
    threshold: float | None,
    pixel_size: float | None,
    margin: float | None = None,
) -> BatchSettings:
    from napari_so3.picking.batch import BatchSettings
    from napari_so3.picking.pick import PickSettings
    from napari_so3.picking.picker import load_picker

    picker = load_picker(model)
    chosen = picker.threshold if threshold is None else threshold
    return BatchSettings(picker, PickSettings(diameter, margin=margin), chosen, pixel_size)


def _pick(
    paths: list[Path], output: Path, batch: BatchSettings, device: str, overwrite: bool = False
) -> int:
    """Pick into a folder with a progress bar; return how many micrographs failed."""
    from napari_so3.picking.batch import check_names, open_folder
    from napari_so3.picking.pick import choose_device, describe_device

    check_names(paths)
    where = choose_device(device)
    open_folder(output, batch, overwrite)
    picker, diameter = batch.picker, batch.settings.diameter
    console.print(
        f"{_count(len(paths), 'micrograph')}, {describe_device(where)}, "
        f"model {escape(picker.name)} with "
        f"{len(picker.net.config.grid)} rotations at {picker.working_pixel_size(diameter):.3g} Å "
        f"per pixel, threshold {batch.threshold:g}",
        highlight=False,
        soft_wrap=True,
    )
    failures = _show_progress(paths, output, batch, where)
    for reason in failures:
        errors.print(f"[red]Not picked:[/] {escape(reason)}", highlight=False, soft_wrap=True)
    return len(failures)


def _show_progress(
    paths: list[Path], output: Path, batch: BatchSettings, device: torch.device
) -> list[str]:
    """Run the batch; return the reasons of the failures."""
    from napari_so3.picking.batch import Begun, Done, Failed, pick_many

    failures: list[str] = []
    boxes: set[int] = set()
    found = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with (
        closing(pick_many(paths, output, batch, device)) as events,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        every = progress.add_task("micrographs", total=len(paths))
        one = progress.add_task("rotations", total=None)
        for event in events:
            if isinstance(event, Begun):
                progress.reset(one, description=escape(event.path.name), total=None)
            elif isinstance(event, Done):
                progress.advance(every)
                found += event.picks
                boxes.add(event.box)
                console.print(_done_line(event), highlight=False, soft_wrap=True)
            elif isinstance(event, Failed):
                progress.advance(every)
                failures.append(event.reason)
            else:
                progress.update(one, completed=event.done, total=event.total)
                if event.note:
                    progress.update(every, description=f"micrographs ({event.note})")
    picked = len(paths) - len(failures)
    advice = f"; a box of {' or '.join(map(str, sorted(boxes)))} pixels holds a particle"
    console.print(
        f"{_count(found, 'pick')} in {_count(picked, 'micrograph')}; RELION's list is "
        f"{escape(str(output / 'autopick.star'))}{advice if boxes else ''}",
        highlight=False,
        soft_wrap=True,
    )
    return failures


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _done_line(event: Done) -> str:
    how = "picked before" if event.reused else f"{event.seconds:.1f} s"
    picks, candidates = _count(event.picks, "pick"), _count(event.candidates, "candidate")
    line = f"{event.path.name}: {picks} of {candidates}, {how}"
    return escape("\n  ".join((line, *event.warnings)))


@model_app.command("info")
def model_info(
    model: Annotated[
        str, typer.Argument(help="Name of a bundled model, or path of a model file.")
    ] = DEFAULT_MODEL,
) -> None:
    """Show what a model is and how it was trained."""
    with _user_errors():
        from napari_so3.picking.picker import load_picker

        picker = load_picker(model)
    config = picker.net.config
    grid = config.grid
    rows = {
        "name": picker.name,
        "parameters": f"{sum(p.numel() for p in picker.net.parameters()):,}",
        "filters": f"{config.kernels} pixels, {config.channels} channels first, {config.basis}s",
        "rotations": f"{len(grid)} ({grid.n_directions} directions x {grid.n_psi} in plane), "
        f"joined by {config.aggregation}",
        "scale": f"{picker.pixels_per_diameter:g} pixels across a particle, "
        f"sees {config.receptive_field}",
        "particles": "dark" if picker.sign < 0 else "bright",
        "threshold": f"{picker.threshold:g}",
        "fingerprint": picker.fingerprint,
        **{
            str(key): "\n".join(map(str, value)) if isinstance(value, list) else str(value)
            for key, value in picker.training.items()
        },
    }
    table = Table(show_header=False, box=None)
    for key, value in rows.items():
        table.add_row(f"[bold]{escape(key)}[/]", escape(value))
    console.print(table)


@model_app.command("list")
def model_list() -> None:
    """List the models that come with napari-so3."""
    from napari_so3.picking.picker import bundled_models

    for name, path in bundled_models().items():
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


@app.command()
def demo(
    micrographs: Annotated[
        list[str] | None,
        typer.Argument(help="Micrographs of yours, beside the sample.", show_default=False),
    ] = None,
    diameter: Annotated[
        float, typer.Option("--diameter", "-d", help="Diameter of your particles in Å.")
    ] = SAMPLE_DIAMETER,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = Path(
        "demo-output"
    ),
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    show: Annotated[
        bool, typer.Option(help="Open napari with the result, where there is a display.")
    ] = True,
) -> None:
    """Pick a sample micrograph, and yours; draw what was found; open napari.

    The sample is simulated, so that the truth is known: barrels of 150 Å in ice.
    """
    with _user_errors():
        from napari_so3.simulation.sample import write_sample

        sample, truth = write_sample(output / "sample")
        batch = _batch(model, SAMPLE_DIAMETER, None, None)
        failed = _pick([sample], output / "sample", batch, device, overwrite=True)
        _compare(truth, output / "sample", batch)
        shown = _draw([sample], output / "sample", batch)
        if micrographs:
            own = _batch(model, diameter, None, pixel_size)
            paths = find_micrographs(micrographs)
            failed += _pick(paths, output / "yours", own, device, overwrite=True)
            shown = _draw(paths, output / "yours", own) or shown
    if show and shown:
        _open_napari(shown[0])
    raise typer.Exit(1 if failed else 0)


def _compare(truth: Path, output: Path, batch: BatchSettings) -> None:
    """Say how many of the sample's particles were found."""
    from napari_so3.io.star import read_coordinates
    from napari_so3.picking.evaluate import match_picks
    from napari_so3.picking.picks import Picks

    particles = read_coordinates(truth)[["y", "x"]].to_numpy()
    picks = Picks.read_csv(output / "candidates" / "sample.csv").above(batch.threshold)
    radius = SAMPLE_DIAMETER / 4 / float(picks.provenance["pixel_size"])
    right = int(match_picks(picks, particles, radius).sum())
    console.print(
        f"The sample holds {len(particles)} particles: {right} of {len(picks)} picks are within a "
        "quarter of a diameter of one.",
        highlight=False,
        soft_wrap=True,
    )


def _draw(paths: list[Path], output: Path, batch: BatchSettings) -> list[tuple[Path, Path]]:
    """Write an overlay picture per micrograph; return the pairs of micrograph and candidates."""
    from napari_so3.picking.overlay import draw_overlay
    from napari_so3.picking.picks import Picks

    drawn = []
    for path in paths:
        name = micrograph_name(path)
        table = output / "candidates" / f"{name}.csv"
        if not table.exists():
            continue
        picks = Picks.read_csv(table).above(batch.threshold)
        micrograph = read_micrograph(path, batch.pixel_size)
        with atomic_path(output / f"{name}_picks.png") as temporary:
            draw_overlay(micrograph, picks, batch.settings.diameter).save(temporary)
        console.print(f"picture: {output / f'{name}_picks.png'}", highlight=False, soft_wrap=True)
        drawn.append((path, table))
    return drawn


def _open_napari(shown: tuple[Path, Path]) -> None:
    has_display = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not has_display:
        console.print("No display here, so napari is not opened.")
        return
    if not any(importlib.util.find_spec(qt) for qt in ("PyQt6", "PySide6")):
        console.print("No Qt here, so napari is not opened: pip install 'napari-so3[all]'.")
        return
    subprocess.run([sys.executable, "-m", "napari_so3.widgets.show", *map(str, shown)], check=False)


if __name__ == "__main__":
    app()
