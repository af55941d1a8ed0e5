"""``napari-so3 model``: what models there are, and what is in them."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from napari_so3.cli.common import DEFAULT_MODEL, console, say, user_errors

app = typer.Typer(help="Look at models.", no_args_is_help=True)


@app.command()
def info(
    model: Annotated[
        str, typer.Argument(help="Name of a bundled model, or path of a model file.")
    ] = DEFAULT_MODEL,
) -> None:
    """Show what a model is and how it was trained."""
    with user_errors():
        from napari_so3.picking.picker import load_picker
        from napari_so3.so3.networks import PickerConfig

        picker = load_picker(model)
    config = picker.net.config
    grid = config.grid
    if isinstance(config, PickerConfig):
        filters = f"{config.kernels} pixels, {config.channels} channels first, {config.basis}s"
    else:
        filters = f"one map of {config.size} pixels"
    rows = {
        "name": picker.name,
        "parameters": f"{sum(p.numel() for p in picker.net.parameters()):,}",
        "filters": filters,
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


@app.command("list")
def list_models() -> None:
    """List the models that come with napari-so3."""
    from napari_so3.picking.picker import bundled_models

    for name, path in bundled_models().items():
        say(f"{name}: {path}")
