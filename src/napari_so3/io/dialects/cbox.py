"""CBOX 1.0 of crYOLO: a STAR text with float corners, width and confidence of each box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_so3.io.dialects.common import (
    CoordinateError,
    centres_note,
    make_table,
    to_numbers,
    to_scores,
)
from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = (
    *("CoordinateX", "CoordinateY", "CoordinateZ", "Width", "Height", "Depth"),
    *("EstWidth", "EstHeight", "Confidence", "NumBoxes", "Angle"),
)


def read_cbox(path: Path, blocks: dict[str, Any]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the boxes of a CBOX file.

    Parameters
    ----------
    path : Path
        File, for messages.
    blocks : dict
        Of `napari_so3.io.star.read_blocks`.

    Returns
    -------
    table : DataFrame
        x, y of the centres, box, and score (Confidence) where there is one.
    notes : tuple of str
        What was done and left out.

    Raises
    ------
    CoordinateError
        It has no block ``cryolo`` with corners and widths, or one is no number.
    """
    block = blocks.get("cryolo")
    if isinstance(block, dict):  # one box, written without loop
        block = pd.DataFrame([block])
    if block is None or not {"CoordinateX", "CoordinateY", "Width", "Height"} <= set(block):
        raise CoordinateError(
            f"{path.name}: its block cryolo lacks CoordinateX, CoordinateY, Width or Height."
        )
    x, y, width, height = (
        to_numbers(block[name], name, path)
        for name in ("CoordinateX", "CoordinateY", "Width", "Height")
    )
    edge = np.maximum(width, height)
    confidence = to_scores(block["Confidence"]) if "Confidence" in block else None
    table = make_table(x + width / 2, y + height / 2, confidence, box=edge)
    return table, (*centres_note(edge), *_left_out(block, blocks))


def _left_out(block: pd.DataFrame, blocks: dict[str, Any]) -> list[str]:
    """Sentences on what of tomograms and filaments is not read."""
    notes = []
    if "CoordinateZ" in block and np.isfinite(to_scores(block["CoordinateZ"])).any():
        notes.append("CoordinateZ was left out: these are coordinates of a tomogram")
    if "filamentid" in block:
        filaments = len(set(block["filamentid"].dropna()))
        notes.append(f"the boxes lie on {filaments} filaments, which are not kept apart")
    vertices = blocks.get("filament_vertices")
    if vertices is not None and len(vertices):
        notes.append(f"{len(vertices)} filament points were left out")
    return notes


def write_cbox(path: Path, table: pd.DataFrame, box: int) -> None:
    """Write CBOX 1.0.

    Parameters
    ----------
    path : Path
        File; replaced as a whole.
    table : DataFrame
        x, y, score; a missing score becomes ``<NA>``.
    box : int
        Edge, pixels.
    """
    missing = "<NA>"
    lines = ["", "data_global", "", "_cbox_format_version 1.0", "", "data_cryolo", "", "loop_"]
    lines += [f"_{name} #{i}" for i, name in enumerate(_COLUMNS, start=1)]
    edge = float(box)
    for x, y, score in zip(table["x"], table["y"], table["score"], strict=True):
        confidence = repr(float(score)) if np.isfinite(score) else missing
        corner = f"{float(x) - edge / 2!r} {float(y) - edge / 2!r} {missing}"
        size = f"{edge} {edge} {missing} {missing} {missing}"
        lines.append(f"{corner} {size} {confidence} {missing} {missing}")
    lines += ["", "data_cryolo_include", "", "loop_", "_slice_index #1", ""]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8", newline="\n")
