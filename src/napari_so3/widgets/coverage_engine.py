"""What the tab "Views" lets a thread do: count the views, and write a figure of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from napari_so3.io.files import atomic_path
from napari_so3.poses.blur import blur_of_grid
from napari_so3.poses.coverage import view_coverage
from napari_so3.poses.coverage_words import words
from napari_so3.poses.mollweide import draw
from napari_so3.widgets.why_engine import NotWritten, Written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_so3.poses.blur import Blur
    from napari_so3.poses.coverage import Coverage

ROWS = 120  # pixels of the picture


class Covered(NamedTuple):
    """Views that were counted.

    Attributes
    ----------
    coverage : Coverage
        What there is of every view.
    picture : ndarray
        (ROWS, 2 ROWS) its density.
    words : str
        What it means.
    """

    coverage: Coverage
    picture: NDArray[np.float64]
    words: str


def count_views(
    matrices: NDArray[np.float64],
    group: NDArray[np.float64],
    blur: Blur,
    grid: NDArray[np.float64] | None,
) -> Iterator[Covered]:
    """Count the views of poses (n, 3, 3) under a point group (G, 3, 3).

    Parameters
    ----------
    matrices, group : ndarray
        Poses and point group.
    blur : Blur
        Of the estimator.
    grid : ndarray or None
        (R, 3, 3) if the poses are only those of a grid.

    Yields
    ------
    Covered
        What was counted.
    """
    if grid is not None:
        blur = replace(blur_of_grid(grid, group), clarity=blur.clarity)
    coverage = view_coverage(matrices, group, blur=blur)
    yield Covered(coverage, draw(coverage.density, ROWS), words(coverage))


def write_coverage(coverage: Coverage, name: str, path: Path) -> Iterator[Written | NotWritten]:
    """Draw the figure of a coverage and write it, as the ending of the path says.

    Parameters
    ----------
    coverage : Coverage
        What is drawn.
    name : str
        Whose picks they are, or nothing.
    path : Path
        File ending in png, pdf or svg; replaced as a whole.

    Yields
    ------
    Written or NotWritten
        What became of it.
    """
    from napari_so3.poses.figures import coverage_figure

    try:
        with atomic_path(path) as temporary:
            coverage_figure(coverage, name).savefig(temporary, format=path.suffix[1:].lower())
    except (OSError, ValueError) as error:
        yield NotWritten(f"{path}: cannot be written ({error}); choose another file.")
    else:
        yield Written(path)
