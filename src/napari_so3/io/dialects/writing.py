"""Writing coordinates in the formats of other programs."""

from __future__ import annotations

import math
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.io.dialects.box import write_box
from napari_so3.io.dialects.cbox import write_cbox
from napari_so3.io.dialects.common import NO_SCORE, CoordinateError, make_table
from napari_so3.io.dialects.eman import write_json
from napari_so3.io.dialects.tables import write_csv, write_topaz
from napari_so3.io.files import shown_path
from napari_so3.io.micrographs import micrograph_name
from napari_so3.io.particle_star import write_particles_star
from napari_so3.io.star import write_autopick_star, write_picks_star

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

WRITERS = {
    "star": "RELION STAR of each micrograph, and autopick.star",
    "particles": "one STAR of optics and particles, for RELION 3.1 to 5 and cryoSPARC's import",
    "box": "EMAN .box of each micrograph, whole pixels",
    "json": "EMAN2 NAME_info.json of each micrograph",
    "cbox": "CBOX 1.0 of crYOLO of each micrograph",
    "topaz": "one Topaz table, whole pixels",
    "csv": "one CSV of x, y, score and micrograph",
}
# Formats with a file for each micrograph, and what its name ends with.
EACH = {
    "star": "_autopick.star",
    "box": ".box",
    "json": "_info.json",
    "cbox": ".cbox",
}
# Formats that hold the edge of the boxes.
BOXED = ("particles", "box", "cbox")
_LIST_FILE = "autopick.star"


def write_coordinates(
    output: Path,
    format: str,
    tables: Mapping[str, pd.DataFrame],
    *,
    box: int,
    pixel_size: float | None,
) -> list[Path]:
    """Write coordinates of one or many micrographs.

    Parameters
    ----------
    output : Path
        Of ``particles``, ``topaz`` and ``csv`` the file. Of the others the folder, which is made
        where it is missing; or with the ending of the format the file of the only micrograph.
    format : str
        Key of `WRITERS`.
    tables : mapping of str to DataFrame
        Micrograph, as it is to be written, to x, y (pixels) and on request score; NaN stands for
        no score.
    box : int
        Edge of the boxes, pixels; the formats of `BOXED` need it.
    pixel_size : float or None
        Å per pixel of the micrographs; only ``particles`` needs it.

    Returns
    -------
    list of Path
        Files written, each of them as a whole.

    Raises
    ------
    CoordinateError
        Something of it cannot be written.
    """
    if format not in WRITERS:
        raise CoordinateError(f"{format} is none of the formats: {', '.join(WRITERS)}.")
    if box <= 0:
        raise CoordinateError(f"{output.name}: a box of {box} pixels is not positive.")
    checked = {name: _checked(table, name, output) for name, table in tables.items()}
    _check_names(checked, output)
    try:
        if format in EACH:
            return _write_each(output, format, checked, box)
        if output.is_dir():
            raise CoordinateError(f"{output.name}: this is a folder; give the name of a file.")
        _write_one(output, format, checked, box, pixel_size)
    except OSError as error:
        raise CoordinateError(f"{output}: it cannot be written ({error}).") from error
    return [output]


def _checked(table: pd.DataFrame, name: str, output: Path) -> pd.DataFrame:
    """x, y and score of a table, as floats."""
    whole = make_table(table["x"], table["y"])
    if not np.isfinite(whole.to_numpy()).all():
        raise CoordinateError(f"{output.name}: a coordinate of {name} is not finite.")
    whole["score"] = table["score"].to_numpy(np.float64) if "score" in table else np.nan
    return whole


def _check_names(tables: Mapping[str, pd.DataFrame], output: Path) -> None:
    known: dict[str, str] = {}
    for name in tables:
        other = known.setdefault(_stem(name), name)
        if other != name:
            raise CoordinateError(
                f"{output.name}: {other} and {name} have the same name, so their coordinates would "
                "be mixed up; write them one by one."
            )


def _stem(micrograph: str) -> str:
    return micrograph_name(PureWindowsPath(micrograph).name)


def _write_each(
    output: Path, format: str, tables: Mapping[str, pd.DataFrame], box: int
) -> list[Path]:
    """Write a file for each micrograph."""
    if output.name.lower().endswith(EACH[format][EACH[format].rindex(".") :]):
        if len(tables) != 1:
            raise CoordinateError(
                f"{output.name}: it can hold one micrograph, not {len(tables)}; give a folder."
            )
        ((name, table),) = tables.items()
        _write_file(output, format, name, table, box)
        return [output]
    output.mkdir(parents=True, exist_ok=True)
    files = {name: output / (_stem(name) + EACH[format]) for name in tables}
    for name, file in files.items():
        _write_file(file, format, name, tables[name], box)
    if format != "star":
        return list(files.values())
    rows = [(name, shown_path(file)) for name, file in files.items()]
    write_autopick_star(output / _LIST_FILE, rows)
    return [*files.values(), output / _LIST_FILE]


def _write_file(file: Path, format: str, name: str, table: pd.DataFrame, box: int) -> None:
    if format == "star":
        score = table["score"].fillna(NO_SCORE)
        write_picks_star(file, name, table["x"], table["y"], score)
    elif format == "box":
        write_box(file, table, box)
    elif format == "json":
        write_json(file, table)
    else:
        write_cbox(file, table, box)


def _write_one(
    output: Path,
    format: str,
    tables: Mapping[str, pd.DataFrame],
    box: int,
    pixel_size: float | None,
) -> None:
    """Write one file for all micrographs."""
    if format == "topaz":
        write_topaz(output, tables)
    elif format == "csv":
        write_csv(output, tables)
    elif pixel_size is None or not 0 < pixel_size < math.inf:
        raise CoordinateError(
            f"{output.name}: a STAR file of particles needs the pixel size of the micrographs in Å."
        )
    else:
        write_particles_star(output, tables, pixel_size, box)
