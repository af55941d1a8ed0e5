"""STAR files of RELION: coordinates per micrograph, and the list of them.

Coordinates are pixels of the micrograph, x = column and y = row, the centre of the first pixel 0.
"""

from __future__ import annotations

import linecache
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import starfile

from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

_NO_SCORE = -999  # what crYOLO and CASSPER write where RELION wants a figure of merit


class StarError(ValueError):
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
            "rlnMicrographName": _checked_name(micrograph, path),
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
    names = [[_checked_name(name, path) for name in row] for row in rows]
    columns = ["rlnMicrographName", "rlnMicrographCoordinates"]
    _write(path, "coordinate_files", pd.DataFrame(names, columns=columns, dtype=object))


def _checked_name(name: str, path: Path) -> str:
    """Refuse names that RELION or starfile would read back as another one."""
    if not name or set("\"'#") & set(name) or name != " ".join(name.split()):
        raise StarError(
            f"{path.name}: STAR files cannot hold the name {name!r}; rename that file so that it "
            "has no quotes, no # and no spaces but single ones between words."
        )
    return name


def _write(path: Path, block: str, table: pd.DataFrame) -> None:
    first = table.iloc[:, 0].astype(str)
    quote = bool(first.str.startswith(("data_", "_")).any())  # would begin a block or a column
    text = starfile.to_string({block: table}, float_format="%.6f", quote_all_strings=quote)
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
        float64) and micrograph (rlnMicrographName, str).

    Raises
    ------
    StarError
        The file cannot be read, has no coordinates, or has some that are not numbers.
    """
    path = Path(path)
    block = _coordinate_block(_read_blocks(path), path)
    table = pd.DataFrame(
        {
            "x": _numbers(block, "rlnCoordinateX", path),
            "y": _numbers(block, "rlnCoordinateY", path),
        }
    )
    if "rlnAutopickFigureOfMerit" in block:
        score = _numbers(block, "rlnAutopickFigureOfMerit", path)
        if len(score) == 0 or (score != _NO_SCORE).any():
            table["score"] = score
    if "rlnMicrographName" in block:
        table["micrograph"] = [str(name) for name in block["rlnMicrographName"]]
    return table


def _read_blocks(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            file.read().decode("utf-8")
        blocks: dict[str, Any] = starfile.read(
            path, always_dict=True, parse_as_string=["rlnMicrographName"]
        )
    except OSError as error:
        raise StarError(f"{path.name}: it cannot be opened ({error.strerror or error}).") from error
    except Exception as error:  # starfile raises anything on text that is no STAR file
        detail = " ".join(str(error).split())
        raise StarError(f"{path.name}: it is not a valid STAR file ({detail}).") from error
    finally:
        linecache.clearcache()  # starfile leaves the lines of a bad file there, to be read again
    return blocks


def _coordinate_block(blocks: dict[str, Any], path: Path) -> pd.DataFrame:
    """Block that holds coordinates; a block without loop is one particle."""
    names = sorted(blocks, key=lambda name: name != "particles")
    for name in names:
        block = blocks[name]
        if block is not None and {"rlnCoordinateX", "rlnCoordinateY"} <= set(block):
            return block if isinstance(block, pd.DataFrame) else pd.DataFrame([block])
    raise StarError(
        f"{path.name}: it has no block with rlnCoordinateX and rlnCoordinateY, so no coordinates."
    )


def _numbers(block: pd.DataFrame, column: str, path: Path) -> pd.Series[float]:
    values = pd.to_numeric(block[column], errors="coerce").astype(np.float64)
    for row, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise StarError(f"{path.name}: {column} of row {row} is not a number.")
    return values.reset_index(drop=True)
