"""STAR files of RELION: coordinates per micrograph, and the list of them.

Coordinates are pixels of the micrograph, x = column and y = row, the centre of the first pixel 0.
"""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import starfile

from napari_so3.io.dialects.common import (
    CoordinateError,
    make_table,
    to_numbers,
    to_scores,
)
from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

_XY = ("rlnCoordinateX", "rlnCoordinateY")
_FIGURE = "rlnAutopickFigureOfMerit"


class StarError(CoordinateError):
    """A STAR file that cannot be read or written; one sentence that names it."""


def write_picks_star(
    path: str | Path, micrograph: str, x: ArrayLike, y: ArrayLike, logit: ArrayLike
) -> None:
    """Write the picks of one micrograph as RELION's autopicking does: one block `data_`.

    Parameters
    ----------
    path : str or Path
        File, usually NAME_autopick.star; replaced as a whole.
    micrograph : str
        Micrograph name for rlnMicrographName, usually its path relative to the RELION project.
        Single spaces are allowed and written in quotes, which RELION reads since 3.1.
    x, y : array_like
        (n,) column and row in pixels, kept to 1e-6; n may be 0.
    logit : array_like
        (n,) log-odds, written as rlnAutopickFigureOfMerit, kept to 1e-6.

    Raises
    ------
    StarError
        The name cannot be written in a STAR file, or the numbers are not finite or not as many.
    """
    path = Path(path)
    columns = [np.asarray(values, dtype=np.float64) for values in (x, y, logit)]
    if columns[0].ndim != 1 or len({column.shape for column in columns}) > 1:
        raise StarError(f"{path.name}: x, y and logit must be lists of one length.")
    if not all(np.isfinite(column).all() for column in columns):
        raise StarError(f"{path.name}: a coordinate or a score of a pick is not finite.")
    table = pd.DataFrame(
        {  # the name comes last: starfile takes a row that begins with data_ for a new block
            "rlnCoordinateX": columns[0],
            "rlnCoordinateY": columns[1],
            "rlnClassNumber": 0,
            "rlnAnglePsi": 0.0,
            "rlnAutopickFigureOfMerit": columns[2],
            "rlnMicrographName": checked_name(micrograph, path),
        }
    )
    _write(path, "", table)


def write_autopick_star(path: str | Path, rows: Sequence[tuple[str, str]]) -> None:
    """Write RELION's list of micrographs and their coordinate files (autopick.star).

    Parameters
    ----------
    path : str or Path
        File; replaced as a whole.
    rows : sequence of (str, str)
        Micrograph and its coordinate file, both relative to the RELION project; names as in
        `write_picks_star`.

    Raises
    ------
    StarError
        A name cannot be written in a STAR file.
    """
    path = Path(path)
    names = [[checked_name(name, path) for name in row] for row in rows]
    columns = ["rlnMicrographName", "rlnMicrographCoordinates"]
    _write(path, "coordinate_files", pd.DataFrame(names, columns=columns, dtype=object))


def checked_name(name: str, path: Path) -> str:
    """Refuse names that RELION or starfile would read back as another one.

    Parameters
    ----------
    name : str
        Of a micrograph or another file.
    path : Path
        File to be written, for messages.

    Returns
    -------
    str
        The name.

    Raises
    ------
    StarError
        It cannot be written in a STAR file.
    """
    if not name or set("\"'#") & set(name) or name != " ".join(name.split()):
        raise StarError(
            f"{path.name}: STAR files cannot hold the name {name!r}; rename that file so that it "
            "has no quotes, no # and no spaces but single ones between words."
        )
    return name


def _write(path: Path, block: str, table: pd.DataFrame) -> None:
    first = table.iloc[:, 0].astype(str)
    quote = bool(first.str.startswith(("data_", "_")).any())  # would begin a block or a column
    write_text(
        path, starfile.to_string({block: table}, float_format="%.6f", quote_all_strings=quote)
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file, replacing what is there."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_coordinates(path: str | Path) -> pd.DataFrame:
    """Read the coordinates of a STAR file: RELION before 3.1, 3.1 to 5, and programs like it.

    Parameters
    ----------
    path : str or Path
        File. The block `particles` is used where it has coordinates, or else the first that has.

    Returns
    -------
    DataFrame
        x, y float64 in pixels, and where the file has them, score (rlnAutopickFigureOfMerit,
        float64, NaN for the placeholders -999 and -9999) and micrograph (rlnMicrographName, str).

    Raises
    ------
    StarError
        The file cannot be read, has no coordinates, or has some that are not numbers.
    """
    path = Path(path)
    return coordinates_of(read_blocks(path), path)[0]


def read_blocks(path: Path) -> dict[str, Any]:
    """Read all blocks of a STAR file.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    dict
        By the name of the block, without ``data_``: a DataFrame of a loop, a dict otherwise.

    Raises
    ------
    StarError
        The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.read().decode("utf-8")
        blocks: dict[str, Any] = starfile.read(
            path,
            always_dict=True,
            parse_as_string=["rlnMicrographName", "rlnMicrographCoordinates"],
        )
    except OSError as error:
        raise StarError(f"{path.name}: it cannot be opened ({error.strerror or error}).") from error
    except Exception as error:  # starfile raises anything on text that is no STAR file
        detail = " ".join(str(error).split())
        raise StarError(f"{path.name}: it is not a valid STAR file ({detail}).") from error
    finally:
        linecache.clearcache()  # starfile leaves the lines of a bad file there, to be read again
    return blocks


def listed_files(blocks: dict[str, Any]) -> list[tuple[str, str]]:
    """Find the micrographs and coordinate files that a list of RELION (autopick.star) names.

    Parameters
    ----------
    blocks : dict
        Of `read_blocks`.

    Returns
    -------
    list of (str, str)
        Empty where it is no such list.
    """
    for block in map(as_table, blocks.values()):
        if {"rlnMicrographName", "rlnMicrographCoordinates"} <= set(block):
            names, files = block["rlnMicrographName"], block["rlnMicrographCoordinates"]
            return [(str(name), str(file)) for name, file in zip(names, files, strict=True)]
    return []


def coordinates_of(blocks: dict[str, Any], path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Find the coordinates among the blocks of a STAR file.

    Parameters
    ----------
    blocks : dict
        Of `read_blocks`.
    path : Path
        File, for messages.

    Returns
    -------
    table : DataFrame
        As of `read_coordinates`.
    notes : tuple of str
        What was left out.

    Raises
    ------
    StarError
        There are none, or some are not numbers.
    """
    block = _coordinate_block(blocks, path)
    try:
        x, y = (to_numbers(block[name], name, path) for name in _XY)
    except CoordinateError as error:
        raise StarError(str(error)) from error
    score = to_scores(block[_FIGURE]) if _FIGURE in block else None
    names = None
    if "rlnMicrographName" in block:
        names = [str(name) for name in block["rlnMicrographName"]]
    notes = []
    if "rlnCoordinateZ" in block:
        notes.append("rlnCoordinateZ was left out: these are coordinates of a tomogram")
    return make_table(x, y, score, names), tuple(notes)


def _coordinate_block(blocks: dict[str, Any], path: Path) -> pd.DataFrame:
    for name in sorted(blocks, key=lambda name: name != "particles"):
        block = as_table(blocks[name])
        if set(_XY) <= set(block):
            return block
    raise StarError(
        f"{path.name}: it has no block with rlnCoordinateX and rlnCoordinateY, so no coordinates."
    )


def as_table(block: Any) -> pd.DataFrame:
    """Give a block of `read_blocks` as a table; one without loop has a single row."""
    if block is None:
        return pd.DataFrame()
    return block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])
