"""What the verbs share: options, what is said on the terminal, progress, mistakes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from rich.progress import ProgressColumn

Event = TypeVar("Event")

DEFAULT_MODEL = "general"

# File names may look like emoji codes (":a:"), so none are replaced.
console, errors = Console(emoji=False), Console(stderr=True, emoji=False)

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
Rotations = Annotated[
    str | None,
    typer.Option(
        "--rotations",
        metavar="VIEWSxANGLES",
        help="Rotations that the model is used with, such as 8x8: 8 views, 8 in-plane angles "
        "each. Fewer are faster, more are finer; nothing is trained again. By default the model's "
        "own.",
        show_default=False,
    ),
]
VoxelSize = Annotated[
    float | None,
    typer.Option(
        "--voxel-size", help="Å per voxel of the map, if not what it says.", show_default=False
    ),
]
MOST_ROTATIONS = 10_000
NAMED = 3  # micrographs that are left out and listed by name


class RotationsError(ValueError):
    """A text names no rotations; one sentence for the user."""


def read_rotations(text: str | None) -> tuple[int, int] | None:
    """Read ``8x8``: views and in-plane angles.

    Raises
    ------
    RotationsError
        If it is something else, or more than `MOST_ROTATIONS`.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower())
    if found is None:
        raise RotationsError(
            f"{text!r} names no rotations; write views x in-plane angles, such as 8x8."
        )
    views, angles = map(int, found.groups())
    if views * angles > MOST_ROTATIONS:
        raise RotationsError(
            f"{text} are {views * angles} rotations; at most {MOST_ROTATIONS} can be used."
        )
    return views, angles


def say(text: str) -> None:
    """Print a line as it is: file names in it are not taken for markup, long ones not broken."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def complain(what: str, text: str) -> None:
    """Print a line on stderr that begins with a red word."""
    errors.print(f"[bold red]{what}:[/] {escape(text)}", highlight=False, soft_wrap=True)


def count(n: int, what: str) -> str:
    """Put a number before a noun: ``1 pick``, ``2 picks``."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def say_left_out(names: Sequence[str], what: str) -> None:
    """Say which micrographs are not used, the first by name; nothing if there are none."""
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        say(f"{what}, left out: {', '.join(names[:NAMED])}{more}")


@contextmanager
def user_errors(stopped: str = "Stopped.") -> Iterator[None]:
    """Say in one sentence what a user can mend, instead of a traceback.

    The error classes of this package hold such a sentence; exit code 2. Other errors are bugs and
    pass.

    Parameters
    ----------
    stopped : str
        What to say after Ctrl-C; exit code 130.
    """
    try:
        yield
    except ValueError as error:
        if not type(error).__module__.startswith("napari_so3."):
            raise
        complain("Error", str(error))
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        errors.print(stopped, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None


@contextmanager
def watching(
    events: Generator[Event, None, None], *columns: ProgressColumn
) -> Iterator[tuple[Iterator[Event], Progress]]:
    """Show progress bars while a generator works, and close it whatever happens.

    Parameters
    ----------
    events : generator
        What yields progress.
    *columns : ProgressColumn
        Of the bars; by default name, bar, count and time left.

    Yields
    ------
    (iterator, Progress)
        The events, to loop over, and the bars, to add tasks to.
    """
    columns = columns or (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with closing(events), Progress(*columns, console=console, transient=True) as progress:
        yield events, progress


def open_napari(module: str, *arguments: object) -> bool:
    """Run a module of `widgets` as a process of its own, if napari can open a window here.

    Parameters
    ----------
    module : str
        Name.
    *arguments
        Of its command line.

    Returns
    -------
    bool
        Whether it ran; why not is said.
    """
    has_display = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not has_display:
        say("No display here, so napari is not opened.")
        return False
    if not any(importlib.util.find_spec(qt) for qt in ("PyQt6", "PySide6")):
        say("No Qt here, so napari is not opened: pip install 'napari-so3[all]'.")
        return False
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=False)
    return True
