"""``napari-so3 inspect``: what a model sees, in figures and arrays, without a screen."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from napari_so3.cli.common import (
    DEFAULT_MODEL,
    Device,
    Diameter,
    Micrographs,
    Model,
    PixelSize,
    Rotations,
    Threshold,
    console,
    count,
    read_rotations,
    say,
    user_errors,
)
from napari_so3.cli.looking import (
    InspectError,
    best_place,
    check_figure,
    follow,
    look,
    make_folder,
    open_all,
    picks_on,
    read_tables,
    save_figure,
)
from napari_so3.io.micrographs import find_micrographs, read_micrograph

app = typer.Typer(help="See what a model sees in micrographs, and why.", no_args_is_help=True)

OneMicrograph = Annotated[
    Path, typer.Argument(help="Micrograph (.mrc, .tif, .png, ...).", show_default=False)
]
FigureFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Figure to write: .png, .pdf or .svg.", show_default=False),
]
Folder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder to write in; made if missing.")
]


@app.command()
def budget(
    micrographs: Micrographs,
    diameter: Diameter,
    model: Model = DEFAULT_MODEL,
    most: Annotated[
        int, typer.Option("--most", "-n", min=1, help="Micrographs to compare on, at most.")
    ] = 3,
    threshold: Threshold = None,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    output: FigureFile = None,
) -> None:
    """Compare fewer and more rotations of a model: time, and the picks that are kept.

    Nothing is trained again. The largest number is what the others are compared with. A pick is
    kept if it is also among as many of the best candidates.

    Example: `napari-so3 inspect budget Micrographs/ --diameter 150 -o budget.png`
    """
    with user_errors():
        from napari_so3.insight.budget import survey_budget
        from napari_so3.insight.figures import budget_figure
        from napari_so3.picking.pick import PickSettings, choose_device
        from napari_so3.picking.picker import load_picker

        check_figure(output)
        paths = find_micrographs(micrographs)[:most]
        opened = [read_micrograph(path, pixel_size) for path in paths]
        picker, where = load_picker(model), choose_device(device)
        found = follow(
            survey_budget(opened, picker, PickSettings(diameter), where, threshold=threshold)
        )
        table = Table("Rotations", "Time", "Picks", "Kept", "At the threshold", "New", "ΔP")
        for row in found.rows:
            own = ", the model's own" if found.is_own(row) else ""
            table.add_row(
                f"{row.rotations} ({row.views} x {row.in_plane}{own})",
                f"{row.seconds:.2f} s",
                str(row.picks),
                f"{100 * row.kept:.1f} %",
                f"{100 * row.kept_at_threshold:.1f} %",
                str(row.new),
                f"{row.shift:.3f}",
            )
        console.print(table)
        say(found.advice())
        row, on = found.suggested(), count(len(paths), "micrograph")
        say(f"Suggested on {on}: --rotations {row.views}x{row.in_plane}")
        if output is not None:
            save_figure(budget_figure(found), output)


@app.command()
def check(
    micrograph: OneMicrograph,
    diameter: Diameter,
    model: Model = DEFAULT_MODEL,
    rotations: Rotations = None,
    threshold: Threshold = None,
    device: Device = "auto",
    pixel_size: PixelSize = None,
    output: FigureFile = None,
) -> None:
    """Pick a micrograph again, turned by quarters and mirrored: picks should move with it.

    Example: `napari-so3 inspect check one.mrc --diameter 150`
    """
    with user_errors():
        from napari_so3.insight.figures import self_check_figure
        from napari_so3.insight.self_check import self_check
        from napari_so3.picking.score import Scorer

        check_figure(output)
        opened, picker, settings, where = open_all(
            micrograph, diameter, model, rotations, device, pixel_size
        )
        found = follow(self_check(opened, picker, settings, Scorer(picker.net, where), threshold))
        for sentence in found.sentences():
            say(sentence)
        if output is not None:
            save_figure(self_check_figure(found), output)


@app.command()
def maps(
    micrograph: OneMicrograph,
    diameter: Diameter,
    output: Folder = Path("maps"),
    model: Model = DEFAULT_MODEL,
    rotations: Rotations = None,
    threshold: Threshold = None,
    device: Device = "auto",
    pixel_size: PixelSize = None,
) -> None:
    """Write the score map of every rotation, and figures of them.

    `NAME_maps.npz` holds the arrays, as `napari_so3.insight.saving.save_maps` describes them;
    `NAME_rotations.png` shows the rotations that win most picks, `NAME_in_plane.png` and
    `NAME_views.png` which rotation wins where.

    Example: `napari-so3 inspect maps one.mrc --diameter 150 -o Maps`
    """
    with user_errors():
        from napari_so3.insight.figures import orientation_figure, rotation_montage
        from napari_so3.insight.saving import save_maps

        opened, picker, settings, where = open_all(
            micrograph, diameter, model, rotations, device, pixel_size
        )
        image, seen, found = look(opened, picker, settings, where)
        picks = picks_on(found, picker, threshold)
        stem = output / opened.name
        make_folder(output)
        save_maps(stem.with_name(f"{opened.name}_maps.npz"), seen)
        for name, figure in (
            ("rotations", rotation_montage(seen, image, picks, diameter)),
            ("in_plane", orientation_figure(seen, image, "in-plane")),
            ("views", orientation_figure(seen, image, "view")),
        ):
            save_figure(figure, stem.with_name(f"{opened.name}_{name}.png"))
        say(f"{count(len(picks), 'pick')}, {count(len(seen.rotations), 'rotation')}")


@app.command()
def explain(
    micrograph: OneMicrograph,
    diameter: Diameter,
    at: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="X Y",
            help="A place, pixels of the micrograph; by default that of the best pick.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Figure to write: .png, .pdf or .svg.")
    ] = Path("pick.png"),
    picks: Annotated[
        Path | None,
        typer.Option(
            help="Folder made by `napari-so3 pick` with the same model: crops are averaged over "
            "all its micrographs, and not over this one alone.",
            show_default=False,
        ),
    ] = None,
    model: Model = DEFAULT_MODEL,
    rotations: Rotations = None,
    threshold: Threshold = None,
    device: Device = "auto",
    pixel_size: PixelSize = None,
) -> None:
    """Show why a place is a pick: its crop, others of the same rotation, filters, response.

    Example: `napari-so3 inspect explain one.mrc --diameter 150 --at 512 300 -o why.png`
    """
    with user_errors():
        from napari_so3.insight.explain import explain as explain_pick
        from napari_so3.insight.figures import explanation_figure

        check_figure(output)
        opened, picker, settings, where = open_all(
            micrograph, diameter, model, rotations, device, pixel_size
        )
        image, seen, found = look(opened, picker, settings, where)
        others = (
            [picks_on(found, picker, threshold)]
            if picks is None
            else [picks_on(table, picker, threshold) for table in read_tables(picks, picker)]
        )
        place = (at[1], at[0]) if at is not None else best_place(found, opened)
        result = follow(explain_pick(place, seen, opened, picker, settings, others, image))
        say(result.sentence())
        save_figure(explanation_figure(result), output)


@app.command()
def filters(
    diameter: Diameter,
    output: Folder = Path("filters"),
    model: Model = DEFAULT_MODEL,
    rotations: Rotations = None,
    layer: Annotated[int, typer.Option(min=1, help="Layer, from 1.")] = 1,
    out: Annotated[int, typer.Option("--out", min=1, help="Output channel, from 1.")] = 1,
    channel: Annotated[int, typer.Option("--in", min=1, help="Input channel, from 1.")] = 1,
) -> None:
    """List the learned 3D filters of a model, and write one as volume and projections.

    `NAME.mrc` is the filter, `NAME.mrcs` and `NAME.star` its projections and their angles,
    `NAME.png` a figure; `spectra.png` shows all filters. A filter is no map: its frame is
    arbitrary and its hand is unknown.

    Example: `napari-so3 inspect filters --diameter 150 --layer 1 --out 3 -o Filters`
    """
    with user_errors():
        from napari_so3.insight.figures import filters_figure, spectra_figure
        from napari_so3.insight.filters import filter_bank
        from napari_so3.picking.pick import PickSettings
        from napari_so3.picking.picker import load_picker

        PickSettings(diameter)  # refuses what makes no sense
        bank = filter_bank(load_picker(model, read_rotations(rotations)))
        table = Table("Layer", "Filters", "Edge", "Norms", "Dead")
        for number, one in enumerate(bank.layers, start=1):
            outs, ins = one.shape
            norms = f"{one.norms.min():.2g} to {one.norms.max():.2g}"
            dead = int(one.dead.sum())
            table.add_row(
                f"{number}: {one.name}", f"{outs} x {ins}", str(one.size), norms, f"{dead}"
            )
        console.print(table)
        if layer > len(bank.layers):
            raise InspectError(f"there is no layer {layer}; {bank.model} has {len(bank.layers)}.")
        outs, ins = bank.layers[layer - 1].shape
        if out > outs or channel > ins:
            raise InspectError(f"layer {layer} has {outs} output and {ins} input channels.")
        which = (layer - 1, out - 1, channel - 1)
        make_folder(output)
        stem = output / f"layer{layer}_out{out}_in{channel}"
        bank.export_volume(stem.with_suffix(".mrc"), *which, diameter)
        bank.export_projections(stem.with_suffix(".mrcs"), *which, diameter)
        save_figure(filters_figure(bank, diameter, *which), stem.with_suffix(".png"))
        save_figure(spectra_figure(bank, diameter), output / "spectra.png")
