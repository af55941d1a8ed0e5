"""``napari-so3 pose compare``: how far the poses of two files are apart."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_so3.cli.common import console, say, user_errors

if TYPE_CHECKING:
    from napari_so3.poses.errors import PoseErrors

FILES = (
    "STAR of RELION, .cs of cryoSPARC, a table of poses of napari-so3 (CSV) or a folder of them."
)


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="FIRST", help="Poses: " + FILES, show_default=False)
    ],
    second: Annotated[Path, typer.Argument(metavar="SECOND", help="Poses of the same particles.")],
    symmetry: Annotated[
        str,
        typer.Option(
            "--symmetry",
            "-s",
            help="Point group of the particle (C1, C4, D7, T, O, I), as in RELION.",
        ),
    ] = "C1",
    align: Annotated[
        bool,
        typer.Option(
            "--align",
            help="Find the rotation, and the hand, that brings the second poses into the frame of "
            "the first. Without it, both must belong to the same map.",
        ),
    ] = False,
    radius: Annotated[
        float,
        typer.Option(help="Largest distance of a pick in both files, pixels of the micrograph."),
    ] = 5.0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="CSV of the errors of every particle.", show_default=False
        ),
    ] = None,
) -> None:
    """Compare the poses of two files, where symmetric copies count as one pose."""
    with user_errors():
        from napari_so3.poses.compare import compare_poses, read_poses

        tables = read_poses(first), read_poses(second)
        for table in tables:
            for note in table.notes:
                say(f"{table.path.name}: {note}")
        found = compare_poses(*tables, symmetry, radius=radius, align=align)
        for sentence in found.sentences():
            say(sentence)
        _show(found.errors)
        if output is not None:
            found.write_csv(output)
            say(f"Errors of every particle: {output}")


def _show(errors: "PoseErrors") -> None:
    from napari_so3.poses.errors import random_errors

    table = Table(title=f"Errors under {errors.symmetry}")
    for heading in ("", "median", "mean", "(rad)", *(f"≤ {limit}°" for limit in errors.hits)):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, each in (("poses", errors), ("random poses", random_errors(errors.symmetry))):
        table.add_row(
            name,
            f"{each.median_deg:.1f}°",
            f"{each.mean_deg:.1f}°",
            f"{each.mean_rad:.3f}",
            *(f"{share:.1%}" for share in each.hits.values()),
        )
    console.print(table)
