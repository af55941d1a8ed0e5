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
        from napari_so3.picking.card import card
        from napari_so3.picking.picker import load_picker

        rows = card(load_picker(model))
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
