"""``napari-so3 demo``: a sample micrograph picked, drawn and compared with its truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_so3.cli.common import (
    DEFAULT_MODEL,
    Device,
    Model,
    PixelSize,
    open_napari,
    say,
    user_errors,
)
from napari_so3.cli.pick import GOES_ON, make_batch, pick_into
from napari_so3.io.files import atomic_path
from napari_so3.io.micrographs import find_micrographs, micrograph_name, read_micrograph

if TYPE_CHECKING:
    from napari_so3.picking.batch import BatchSettings

SAMPLE_DIAMETER = 150.0


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
    with user_errors(GOES_ON):
        from napari_so3.simulation.sample import write_sample

        sample, truth = write_sample(output / "sample")
        batch = make_batch(model, SAMPLE_DIAMETER, None, None)
        failed = pick_into(output / "sample", [sample], batch, device, overwrite=True)
        _compare(truth, output / "sample", batch)
        shown = _draw([sample], output / "sample", batch)
        if micrographs:
            own = make_batch(model, diameter, None, pixel_size)
            paths = find_micrographs(micrographs)
            failed += pick_into(output / "yours", paths, own, device, overwrite=True)
            shown = _draw(paths, output / "yours", own) or shown
    if show and shown:
        open_napari("napari_so3.widgets.show", *shown[0])
    raise typer.Exit(1 if failed else 0)


def _compare(truth: Path, output: Path, batch: "BatchSettings") -> None:
    """Say how many of the sample's particles were found."""
    from napari_so3.io.star import read_coordinates
    from napari_so3.picking.evaluate import match_picks
    from napari_so3.picking.picks import Picks

    particles = read_coordinates(truth)[["y", "x"]].to_numpy()
    picks = Picks.read_csv(output / "candidates" / "sample.csv").above(batch.threshold)
    radius = SAMPLE_DIAMETER / 4 / float(picks.provenance["pixel_size"])
    right = int(match_picks(picks, particles, radius).sum())
    say(
        f"The sample holds {len(particles)} particles: {right} of {len(picks)} picks are within a "
        "quarter of a diameter of one."
    )


def _draw(paths: list[Path], output: Path, batch: "BatchSettings") -> list[tuple[Path, Path]]:
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
        say(f"picture: {output / f'{name}_picks.png'}")
        drawn.append((path, table))
    return drawn
