"""The command line: the verbs of the docks without a screen, one file each."""

from typing import Annotated

import typer

from napari_so3 import __version__
from napari_so3.cli import (
    convert,
    demo,
    evaluate,
    inspect,
    model,
    pick,
    pose,
    session,
    simulate,
    train,
)

app = typer.Typer(
    help="Pick particles in cryo-EM micrographs with SO(3)-equivariant networks.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
)
app.command()(pick.pick)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(session.desk)
app.command()(session.session)
app.command()(session.export)
app.command()(convert.convert)
app.command()(simulate.simulate)
app.add_typer(inspect.app, name="inspect")
app.add_typer(pose.app, name="pose")
app.add_typer(model.app, name="model")
app.command()(demo.demo)


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
