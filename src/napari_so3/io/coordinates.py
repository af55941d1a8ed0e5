"""Coordinates in files of any kind: what is in a file, in one table, and writing it as another.

The table (`make_table`) has x and y, float64 pixels of the micrograph: centres, x = column and
y = row, the centre of the first pixel 0, row 0 first as in the MRC file; and where the file has
them score, micrograph (the name as in the file) and box (edge, pixels).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_so3.io.dialects.box import read_box
from napari_so3.io.dialects.cbox import read_cbox
from napari_so3.io.dialects.common import (
    CoordinateError,
    NoCoordinatesError,
    make_table,
    read_text,
)
from napari_so3.io.dialects.cryosparc import is_cs, read_cs
from napari_so3.io.dialects.eman import read_json
from napari_so3.io.dialects.tables import read_table
from napari_so3.io.dialects.writing import BOXED, EACH, WRITERS, write_coordinates
from napari_so3.io.files import find_in_project
from napari_so3.io.star import StarError, coordinates_of, listed_files, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BOXED",
    "EACH",
    "ENDINGS",
    "LIST",
    "WRITERS",
    "CoordinateError",
    "CoordinateFile",
    "NoCoordinatesError",
    "make_table",
    "read_coordinate_file",
    "read_coordinate_folder",
    "write_coordinates",
]

ENDINGS = (".star", ".box", ".cbox", ".json", ".cs", ".txt", ".tab", ".tsv", ".csv")
LIST = "list of RELION"
_CBOX_MARK = re.compile(r"^\s*data_cryolo\s*$|^\s*_cbox_format_version\b", re.MULTILINE)
_STAR_MARK = re.compile(r"\A(?:\s*(?:#[^\n]*)?\n)*\s*data_", re.MULTILINE)


@dataclass(frozen=True)
class CoordinateFile:
    """What a file of coordinates holds.

    Attributes
    ----------
    path : Path
        File.
    format : str
        What it is, in words.
    table : DataFrame
        Coordinates, see the module.
    notes : tuple of str
        What was done to get them, and what to mind.
    """

    path: Path
    format: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_coordinate_file(path: str | Path) -> CoordinateFile:
    """Read the coordinates of a file, whose kind is told by its content and its ending.

    Parameters
    ----------
    path : str or Path
        RELION STAR (also autopick.star, whose files are read), EMAN .box, EMAN2 JSON, CBOX, Topaz
        table, cryoSPARC .cs, CryoPPP, candidates of napari-so3, or CSV.

    Returns
    -------
    CoordinateFile
        Table and notes.

    Raises
    ------
    CoordinateError
        It cannot be read, or it is damaged. `NoCoordinatesError` where it holds no coordinates.
    """
    path = Path(path)
    if is_cs(path):
        return CoordinateFile(path, "cryoSPARC", *read_cs(path))
    text, suffix = read_text(path), path.suffix.lower()
    if _CBOX_MARK.search(text):
        return CoordinateFile(path, "CBOX of crYOLO", *read_cbox(path, read_blocks(path)))
    if suffix == ".star" or _STAR_MARK.match(text):
        return _read_star(path, text)
    if suffix == ".json" or text.lstrip()[:1] in ("{", "["):
        return CoordinateFile(path, "JSON", *read_json(path, text))
    if suffix in (".box", ".cbox"):
        kind = "EMAN boxes" if suffix == ".box" else "CBOX of crYOLO before 1.8"
        return CoordinateFile(path, kind, *read_box(path, text))
    return CoordinateFile(path, *read_table(path, text))


def read_coordinate_folder(folder: Path) -> Iterator[CoordinateFile]:
    """Read all files of coordinates in a folder and in those below, in order.

    Parameters
    ----------
    folder : Path
        Folder. Files that hold no coordinates are left out, as are lists of RELION: their files
        are found by themselves.

    Yields
    ------
    CoordinateFile
        The next one.

    Raises
    ------
    CoordinateError
        A file of coordinates is damaged.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in ENDINGS or not path.is_file() or path.name.startswith("."):
            continue
        try:
            if path.suffix.lower() == ".star" and _is_list(path):
                continue
            yield read_coordinate_file(path)
        except NoCoordinatesError:
            continue


def _is_list(path: Path) -> bool:
    return "_rlnMicrographCoordinates" in read_text(path)


def _read_star(path: Path, text: str) -> CoordinateFile:
    try:
        blocks = read_blocks(path)
        if listed := listed_files(blocks):
            return _follow(path, listed)
        return CoordinateFile(path, "RELION STAR", *coordinates_of(blocks, path))
    except StarError as error:
        if "rlnCoordinateX" in text:
            raise
        raise NoCoordinatesError(str(error)) from error


def _follow(path: Path, listed: list[tuple[str, str]]) -> CoordinateFile:
    """Read the files that a list names."""
    tables, notes, missing = [], [], []
    for micrograph, name in listed:
        file = find_in_project(name, path.resolve().parent)
        if file is None:
            missing.append(name)
        elif not _is_list(file):
            found = read_coordinate_file(file)
            tables.append(found.table.assign(micrograph=micrograph))
            notes += [note for note in found.notes if note not in notes]
    if not tables:
        raise CoordinateError(
            f"{path.name}: none of the {len(listed)} files that it lists is there "
            f"({_some(missing)}); open it in the RELION project that it belongs to."
        )
    if missing:
        notes.append(
            f"of {len(listed)} listed files {len(missing)} could not be found: {_some(missing)}"
        )
    return CoordinateFile(path, LIST, pd.concat(tables, ignore_index=True), tuple(notes))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
