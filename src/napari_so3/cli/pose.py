"""``napari-so3 pose``: train a pose model, estimate poses, compare them, and see the views."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from napari_so3.cli.common import say, user_errors
from napari_so3.cli.pose_compare import compare
from napari_so3.cli.pose_estimate import PoseCommandError, estimate
from napari_so3.cli.pose_train import Symmetry, train

app = typer.Typer(
    help="Estimate how particles are turned, and see which views there are.", no_args_is_help=True
)
app.command()(train)
app.command()(estimate)
app.command()(compare)


@app.command()
def views(
    particles: Annotated[
        Path,
        typer.Argument(
            help="Particles with poses: STAR of RELION, .cs of cryoSPARC, or a folder of poses in "
            "a session of napari-so3.",
            show_default=False,
        ),
    ],
    symmetry: Symmetry = "C1",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Figure to write: .png, .pdf or .svg.", show_default=False
        ),
    ] = None,
) -> None:
    """Say which views the particles show, and whether some are preferred.

    Example: `napari-so3 pose views particles.star --symmetry D7 -o views.png`
    """
    with user_errors():
        from napari_so3.cli.looking import check_figure, save_figure
        from napari_so3.poses.compare import read_poses
        from napari_so3.poses.coverage import view_coverage
        from napari_so3.poses.coverage_words import words
        from napari_so3.poses.errors import group_matrices

        check_figure(output)
        group = group_matrices(symmetry)
        matrices = read_poses(particles).matrices
        if matrices is None or not (known := np.isfinite(matrices).all(axis=(1, 2))).any():
            raise PoseCommandError(f"{particles}: its particles have no poses.")
        coverage = view_coverage(matrices[known], group)
        say(words(coverage))
        say(
            f"as if {100 * coverage.share:.0f} % of the views were covered evenly; probability of "
            f"views as uneven by chance {coverage.p:.2g}"
        )
        if output is not None:
            from napari_so3.poses.figures import coverage_figure

            save_figure(coverage_figure(coverage), output)
