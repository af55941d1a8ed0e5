"""``napari-so3 pick``: micrographs to a folder of picks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from napari_so3.cli.common import (
    DEFAULT_MODEL,
    Device,
    Diameter,
    Micrographs,
    Model,
    PixelSize,
    Rotations,
    Threshold,
    complain,
    count,
    read_rotations,
    say,
    user_errors,
    watching,
)
from napari_so3.io.micrographs import find_micrographs

if TYPE_CHECKING:
    import torch

    from napari_so3.picking.batch import BatchSettings, Done

GOES_ON = "Stopped. The same command goes on from here."


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
    rotations: Rotations = None,
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
    with user_errors(GOES_ON):
        failed = pick_into(
            output,
            find_micrographs(micrographs),
            make_batch(model, diameter, threshold, pixel_size, margin, rotations),
            device,
            overwrite,
        )
    raise typer.Exit(1 if failed else 0)


def make_batch(
    model: str,
    diameter: float,
    threshold: float | None,
    pixel_size: float | None,
    margin: float | None = None,
    rotations: str | None = None,
) -> "BatchSettings":
    """Load the model, whose threshold is the default, and join it with what the user decides."""
    from napari_so3.picking.batch import BatchSettings
    from napari_so3.picking.pick import PickSettings
    from napari_so3.picking.picker import load_picker

    picker = load_picker(model, read_rotations(rotations))
    chosen = picker.threshold if threshold is None else threshold
    return BatchSettings(picker, PickSettings(diameter, margin=margin), chosen, pixel_size)


def pick_into(
    output: Path, paths: list[Path], batch: "BatchSettings", device: str, overwrite: bool = False
) -> int:
    """Pick into a folder with a progress bar; return how many micrographs failed."""
    from napari_so3.picking.batch import check_names, open_folder
    from napari_so3.picking.pick import choose_device, describe_device

    check_names(paths)
    where = choose_device(device)
    open_folder(output, batch, overwrite)
    picker, diameter = batch.picker, batch.settings.diameter
    say(
        f"{count(len(paths), 'micrograph')}, {describe_device(where)}, model {picker.name} with "
        f"{len(picker.net.config.grid)} rotations at {picker.working_pixel_size(diameter):.3g} Å "
        f"per pixel, threshold {batch.threshold:g}"
    )
    failures = _pick_all(paths, output, batch, where)
    for reason in failures:
        complain("Not picked", reason)
    return len(failures)


def _pick_all(
    paths: list[Path], output: Path, batch: "BatchSettings", device: "torch.device"
) -> list[str]:
    """Run the batch; return the reasons of the failures."""
    from napari_so3.picking.batch import Begun, Done, Failed, pick_many

    failures: list[str] = []
    boxes: set[int] = set()
    found = 0
    with watching(pick_many(paths, output, batch, device)) as (events, progress):
        every = progress.add_task("micrographs", total=len(paths))
        one = progress.add_task("rotations", total=None)
        for event in events:
            if isinstance(event, Begun):
                progress.reset(one, description=escape(event.path.name), total=None)
            elif isinstance(event, Done):
                progress.advance(every)
                found += event.picks
                boxes.add(event.box)
                say(_done_line(event))
            elif isinstance(event, Failed):
                progress.advance(every)
                failures.append(event.reason)
            else:
                progress.update(one, completed=event.done, total=event.total)
                if event.note:
                    progress.update(every, description=f"micrographs ({event.note})")
    picked = len(paths) - len(failures)
    advice = f"; a box of {' or '.join(map(str, sorted(boxes)))} pixels holds a particle"
    say(
        f"{count(found, 'pick')} in {count(picked, 'micrograph')}; RELION's list is "
        f"{output / 'autopick.star'}{advice if boxes else ''}"
    )
    return failures


def _done_line(event: "Done") -> str:
    how = "picked before" if event.reused else f"{event.seconds:.1f} s"
    picks, candidates = count(event.picks, "pick"), count(event.candidates, "candidate")
    line = f"{event.path.name}: {picks} of {candidates}, {how}"
    return "\n  ".join((line, *event.warnings))
