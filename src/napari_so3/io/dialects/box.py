"""Boxes as text: EMAN's .box, and the CBOX files of crYOLO before 1.8.

A line is x, y, width, height and sometimes a score, x and y of the corner with the lowest indices.
The centre is x + width / 2, which is a pixel of RELION's box (index n // 2) where n is even; a half
pixel of odd boxes and of float corners is kept, where RELION drops it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.io.dialects.common import (
    CoordinateError,
    centres_note,
    make_table,
    to_numbers,
)
from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_EMAN_FLAGS = (-1.0, -2.0, -3.0)  # what EMAN 1 has in the fifth column: no scores
_SEPARATOR = re.compile(r"[\s,;]+")


def read_box(path: Path, text: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read boxes.

    Parameters
    ----------
    path : Path
        File, for messages.
    text : str
        Its content: four columns, a fifth with scores; more are left out.

    Returns
    -------
    table : DataFrame
        x, y of the centres, box, score where there is one; as many rows as lines.
    notes : tuple of str
        What was done.

    Raises
    ------
    CoordinateError
        A line is no box.
    """
    rows = [_SEPARATOR.split(line.strip()) for line in text.splitlines() if _is_row(line)]
    columns = {len(row) for row in rows}
    if rows and len(rows[0]) < 4:
        raise CoordinateError(f"{path.name}: its lines are not x, y, width and height of boxes.")
    if len(columns) > 1:
        raise CoordinateError(f"{path.name}: not all of its lines have as many numbers.")
    x, y, width, height = (
        to_numbers([row[i] for row in rows], name, path)
        for i, name in enumerate(("x", "y", "the width", "the height"))
    )
    if (np.minimum(width, height) <= 0).any():
        raise CoordinateError(f"{path.name}: the width or the height of a box is not positive.")
    score, notes = None, centres_note(np.maximum(width, height))
    if columns and columns.pop() > 4:
        score = to_numbers([row[4] for row in rows], "the score", path)
        if np.isin(score, _EMAN_FLAGS).all():
            score, notes = None, (*notes, "the flags of EMAN in the fifth column are no scores")
    table = make_table(x + width / 2, y + height / 2, score, box=np.maximum(width, height))
    return table, notes


def _is_row(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def write_box(path: Path, table: pd.DataFrame, box: int) -> None:
    """Write EMAN boxes of whole pixels, as EMAN, RELION and Topaz read them; scores are lost.

    Parameters
    ----------
    path : Path
        File; replaced as a whole.
    table : DataFrame
        x, y of the centres; they move by half a pixel at most.
    box : int
        Edge, pixels; an odd one becomes the next even one, so that centres are pixels.
    """
    box += box % 2
    corners = np.floor(table[["x", "y"]].to_numpy(np.float64) + 0.5).astype(np.int64) - box // 2
    lines = [f"{x}\t{y}\t{box}\t{box}\n" for x, y in corners]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")
