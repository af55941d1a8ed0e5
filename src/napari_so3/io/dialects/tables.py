"""Tables as text: Topaz, CryoPPP, our candidates, and others with or without headings."""

from __future__ import annotations

import io
import json
import re
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_so3.io.dialects.common import (
    CoordinateError,
    NoCoordinatesError,
    make_table,
    to_numbers,
    to_scores,
)
from napari_so3.io.files import atomic_path
from napari_so3.io.micrographs import micrograph_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CANDIDATES_MARK = "# napari-so3 picks: "  # how the tables of picking/picks.py begin
CANDIDATES = "picks of napari-so3"
TOPAZ = "Topaz table"
CRYOPPP = "CryoPPP"
NAPARI = "points of napari"
TABLE = "table"
_CRYOPPP_HEADINGS = ("xcoordinate", "ycoordinate", "diameter")
_X = ("x", "xcoord", "xcoordinate", "coordinatex", "xpx", "xpixel", "centerx", "xcenter", "axis1")
_Y = tuple(name.replace("x", "y") for name in _X if name not in ("xpx", "xpixel", "axis1"))
_Y += ("ypx", "ypixel", "axis0")
_SCORE = ("score", "confidence", "logit", "autopickfigureofmerit", "probability")
_NAME = ("micrograph", "imagename", "micrographname", "image", "filename")
_BOX = ("box", "boxsize")


def read_table(path: Path, text: str) -> tuple[str, pd.DataFrame, tuple[str, ...]]:
    """Read a table of coordinates, separated by commas, tabs, semicolons or spaces.

    Parameters
    ----------
    path : Path
        File, for messages.
    text : str
        Its content. Without headings, the columns are x and y.

    Returns
    -------
    format : str
        What it is, in words.
    table : DataFrame
        x, y, and score, micrograph, box where it has them.
    notes : tuple of str
        What was done, and what to mind.

    Raises
    ------
    CoordinateError
        A row is damaged, or it cannot be known what the columns are.
    NoCoordinatesError
        It has no columns for x and y.
    """
    lines = text.splitlines()
    if text.startswith(CANDIDATES_MARK):
        return _read_candidates(path, lines)
    start = next((i for i, row in enumerate(lines) if row.strip() and row.lstrip()[0] != "#"), None)
    if start is None:
        raise NoCoordinatesError(f"{path.name}: it is empty.")
    body, separator = "\n".join(lines[start:]), _separator(lines[start])
    first = re.split(separator, lines[start].strip())
    if np.isfinite(to_scores(first)).all():
        return TABLE, *_read_headless(path, _parse(path, body, separator, None))
    headings = [_bare(name) for name in first]
    if not (set(_X) & set(headings) and set(_Y) & set(headings)):
        raise NoCoordinatesError(
            f"{path.name}: none of its columns ({', '.join(first)[:60]}) are x and y."
        )
    columns = dict(zip(headings, _columns(path, body, separator, len(headings)), strict=True))
    table = _named(path, columns)
    if tuple(headings) == _CRYOPPP_HEADINGS:
        return CRYOPPP, table, _cryoppp_notes(columns)
    if "axis0" in headings:
        return NAPARI, table, ("axis-0 is y and axis-1 is x, as napari writes points",)
    tomogram = bool({"z", "zcoord"} & set(headings))
    notes = ("z was left out: these are coordinates of a tomogram",) if tomogram else ()
    is_topaz = {"imagename", "xcoord", "ycoord"} <= set(headings)
    return TOPAZ if is_topaz else TABLE, table, notes


def _separator(line: str) -> str:
    found = [mark for mark in ("\t", ",", ";") if mark in line]
    return found[0] if found else r"\s+"


def _bare(heading: str) -> str:
    """Heading in small letters and digits, without the prefix of RELION."""
    return re.sub(r"[^a-z0-9]", "", heading.lower()).removeprefix("rln")


def _parse(path: Path, body: str, separator: str, header: int | None) -> pd.DataFrame:
    try:
        return pd.read_csv(
            io.StringIO(body.strip("\n") if separator == "\t" else body.strip()),
            sep=separator,
            header=header,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            index_col=False,
        )
    except (ValueError, pd.errors.ParserWarning) as error:
        detail = " ".join(str(error).split())
        raise CoordinateError(f"{path.name}: it is no regular table ({detail}).") from error


def _columns(path: Path, body: str, separator: str, count: int) -> list[pd.Series[str]]:
    """Columns of a table with headings; two headings may be alike."""
    frame = _parse(path, body, separator, 0)
    if frame.shape[1] != count:
        raise CoordinateError(
            f"{path.name}: its rows have another number of columns than its headings."
        )
    return [frame.iloc[:, i] for i in range(count)]


def _named(path: Path, columns: Mapping[str, pd.Series[str]]) -> pd.DataFrame:
    """Table of the columns whose headings are known."""
    x, y = (next(columns[known] for known in names if known in columns) for names in (_X, _Y))
    score, name, box = (
        next((columns[known] for known in names if known in columns), None)
        for names in (_SCORE, _NAME, _BOX)
    )
    return make_table(
        to_numbers(x, "x", path),
        to_numbers(y, "y", path),
        None if score is None else to_scores(score),
        None if name is None else [str(value).strip() for value in name],
        None if box is None else to_numbers(box, "box", path),
    )


def _read_headless(path: Path, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    count = frame.shape[1]
    if count not in (2, 3):
        raise CoordinateError(
            f"{path.name}: it has {count} columns without headings; give it the ending .box if "
            "they are corners and sizes of boxes, or else a first line like x,y,score."
        )
    notes = ("the third column has no heading and was left out",) if count == 3 else ()
    x, y = (to_numbers(frame[i], name, path) for i, name in enumerate("xy"))
    return make_table(x, y), notes


def _cryoppp_notes(columns: Mapping[str, pd.Series[str]]) -> tuple[str, ...]:
    sizes = sorted(set(columns["diameter"]), key=len)
    return (
        f"the particle's diameter is {', '.join(sizes[:3])} pixels",
        "CryoPPP counts y from the opposite edge of the micrographs in EMPIAR; nothing is turned",
    )


def _read_candidates(path: Path, lines: list[str]) -> tuple[str, pd.DataFrame, tuple[str, ...]]:
    try:
        head = json.loads(lines[0].removeprefix(CANDIDATES_MARK))
        name, box = str(head["micrograph"]), head.get("box")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CoordinateError(f"{path.name}: its first line is damaged ({error}).") from error
    frame = _parse(path, "\n".join(lines[1:]), ",", 0)
    if not {"x", "y", "logit"} <= set(frame):
        raise CoordinateError(f"{path.name}: it lacks the columns x, y and logit.")
    x, y, logit = (to_numbers(frame[column], column, path) for column in ("x", "y", "logit"))
    notes = ("all candidates are read, also those below the threshold",)
    return CANDIDATES, make_table(x, y, logit, name, box), notes


def write_topaz(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write one Topaz table of all micrographs: whole pixels, names without folder and ending.

    Parameters
    ----------
    path : Path
        File; replaced as a whole.
    tables : mapping of str to DataFrame
        Micrograph to x, y, score.

    Raises
    ------
    CoordinateError
        A name holds a tab or a line break.
    """
    parts = []
    for micrograph, table in tables.items():
        name = micrograph_name(PureWindowsPath(micrograph).name)
        if set('\t\r\n"') & set(name):
            raise CoordinateError(f"{path.name}: a Topaz table cannot hold the name {name!r}.")
        pixels = np.floor(table[["x", "y"]].to_numpy(np.float64) + 0.5).astype(np.int64)
        parts.append(_topaz_part(name, pixels, table["score"].to_numpy(np.float64)))
    columns = ["image_name", "x_coord", "y_coord", "score"]
    whole = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
    if whole["score"].isna().all() and len(whole):
        whole = whole.drop(columns="score")
    with atomic_path(path) as temporary:
        whole.to_csv(temporary, sep="\t", index=False, lineterminator="\n")


def _topaz_part(name: str, pixels: NDArray[np.int64], score: NDArray[np.float64]) -> pd.DataFrame:
    x, y = pixels.T
    return pd.DataFrame({"image_name": name, "x_coord": x, "y_coord": y, "score": score})


def write_csv(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write x, y, score and micrograph of all micrographs as CSV, every digit kept.

    Parameters
    ----------
    path : Path
        File; replaced as a whole.
    tables : mapping of str to DataFrame
        Micrograph to x, y, score; a missing score becomes an empty field.
    """
    columns = ["x", "y", "score", "micrograph"]
    parts = [t[columns[:3]].astype(np.float64).assign(micrograph=m) for m, t in tables.items()]
    whole = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
    with atomic_path(path) as temporary:
        whole.to_csv(temporary, index=False, lineterminator="\n")
