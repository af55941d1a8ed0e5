"""JSON: the info files of EMAN2, whose boxes are centres, and lists of x and y."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from napari_so3.io.dialects.common import (
    CoordinateError,
    NoCoordinatesError,
    make_table,
    to_numbers,
    to_scores,
)
from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def read_json(path: Path, text: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the centres of a JSON file.

    Parameters
    ----------
    path : Path
        File, for messages.
    text : str
        ``{"boxes": [[x, y, "manual", score], ...], ...}`` of EMAN2, score optional; or
        ``[{"x": ..., "y": ..., "score": ...}, ...]``.

    Returns
    -------
    table : DataFrame
        x, y, and score where there is one.
    notes : tuple of str
        None.

    Raises
    ------
    CoordinateError
        A coordinate is no number, or the pixels are not those of the micrograph.
    NoCoordinatesError
        It is JSON of another kind, or none.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise NoCoordinatesError(f"{path.name}: it is no valid JSON ({error}).") from error
    if isinstance(content, dict):
        if str(content.get("format", "")).startswith("napari-so3"):
            raise NoCoordinatesError(
                f"{path.name}: it is a {content['format']!s:.30} file, which holds more than "
                "coordinates; open it where it was made."
            )
        if isinstance(content.get("boxes"), list):
            return _from_boxes(path, content["boxes"]), ()
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return _from_records(path, content), ()
    raise NoCoordinatesError(f"{path.name}: it has no boxes of EMAN2 and no list of x and y.")


def _from_boxes(path: Path, boxes: list[Any]) -> pd.DataFrame:
    if not all(isinstance(row, list) and len(row) >= 2 for row in boxes):
        raise CoordinateError(f'{path.name}: its boxes are not lists like [x, y, "manual"].')
    score = to_scores([row[3] if len(row) > 3 else None for row in boxes])
    x, y = (to_numbers([row[i] for row in boxes], name, path) for i, name in enumerate("xy"))
    return make_table(x, y, score)


def _from_records(path: Path, records: list[dict[str, Any]]) -> pd.DataFrame:
    if {"x_ds", "y_ds"} <= set(records[0]):
        raise CoordinateError(
            f"{path.name}: x_ds and y_ds are pixels of a downsampled image and the file does not "
            "tell by how much; multiply them by the factor and give them as columns x and y of a "
            "CSV file."
        )
    if not {"x", "y"} <= set(records[0]):
        raise NoCoordinatesError(f"{path.name}: it has no boxes of EMAN2 and no list of x and y.")
    x, y = (to_numbers([row.get(name) for row in records], name, path) for name in "xy")
    return make_table(x, y, to_scores([row.get("score") for row in records]))


def write_json(path: Path, table: pd.DataFrame) -> None:
    """Write the boxes of an EMAN2 info file; what else the file has (CTF, quality) stays.

    Parameters
    ----------
    path : Path
        File, usually NAME_info.json; replaced as a whole.
    table : DataFrame
        x, y, score; a missing score is left out.

    Raises
    ------
    CoordinateError
        The file exists and is something else.
    """
    boxes = [
        [float(x), float(y), "manual", *([float(score)] if math.isfinite(score) else [])]
        for x, y, score in zip(table["x"], table["y"], table["score"], strict=True)
    ]
    content = json.dumps({**_other_entries(path), "boxes": boxes}, indent=1)
    with atomic_path(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="\n")


def _other_entries(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or "format" in content:
        raise CoordinateError(
            f"{path.name}: this file exists and is no info file of EMAN2; give another name."
        )
    return content
