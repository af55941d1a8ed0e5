"""What the coordinate formats share: their table, their errors, reading text and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

NO_SCORE = -999.0  # what crYOLO and CASSPER write where RELION wants a figure of merit
_NO_SCORES = (NO_SCORE, -9999.0)  # and CryoTransformer


class CoordinateError(ValueError):
    """Coordinates that cannot be read or written; one sentence that names the file."""


class NoCoordinatesError(CoordinateError):
    """A file that never was meant to hold coordinates, or holds none that can be used."""


def make_table(
    x: ArrayLike,
    y: ArrayLike,
    score: ArrayLike | None = None,
    micrograph: Sequence[str] | str | None = None,
    box: ArrayLike | None = None,
) -> pd.DataFrame:
    """Put coordinates into the table that all readers give.

    Parameters
    ----------
    x, y : array_like
        (n,) column and row of the centres, pixels of the micrograph, the first pixel centre is 0.
    score : array_like, optional
        (n,), NaN where there is none; no column where there is none at all.
    micrograph : str or sequence of str, optional
        Name as in the file, of all or of each.
    box : array_like, optional
        Edge of the box, pixels, of all or of each.

    Returns
    -------
    DataFrame
        Columns x, y float64 and where given, score float64, micrograph str, box float64.
    """
    x = np.asarray(x, dtype=np.float64)
    columns: dict[str, Any] = {"x": x, "y": np.asarray(y, dtype=np.float64)}
    if score is not None:
        values = np.array(score, dtype=np.float64)
        values[np.isin(values, _NO_SCORES) | ~np.isfinite(values)] = np.nan
        if len(values) == 0 or not np.isnan(values).all():
            columns["score"] = values
    if micrograph is not None:
        names = [micrograph] * len(x) if isinstance(micrograph, str) else list(micrograph)
        columns["micrograph"] = pd.Series(names, dtype=object)
    if box is not None:
        columns["box"] = np.broadcast_to(np.asarray(box, dtype=np.float64), x.shape)
    return pd.DataFrame(columns)


def read_text(path: Path) -> str:
    """Read a text file, with or without a byte order mark.

    Raises
    ------
    CoordinateError
        The file cannot be opened.
    NoCoordinatesError
        It is not text.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4096)
            content = b"" if b"\0" in start else start + file.read()
        if b"\0" in start:
            raise NoCoordinatesError(f"{path.name}: it is no text, so no coordinates can be read.")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise CoordinateError(
            f"{path.name}: it cannot be opened ({error.strerror or error})."
        ) from error
    except UnicodeDecodeError as error:
        raise NoCoordinatesError(
            f"{path.name}: it is no UTF-8 text, so no coordinates can be read."
        ) from error


def to_numbers(values: Iterable[Any], column: str, path: Path) -> NDArray[np.float64]:
    """Turn text into finite numbers.

    Parameters
    ----------
    values : iterable
        Numbers or their text.
    column : str
        What the error calls them.
    path : Path
        File.

    Returns
    -------
    ndarray
        (n,) float64.

    Raises
    ------
    CoordinateError
        One of them is no finite number; it names the first such row, counted from 1.
    """
    values = list(values)
    numbers = to_scores(values)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise CoordinateError(
            f"{path.name}: {column} of row {bad[0] + 1} is not a number ({values[bad[0]]!s:.20})."
        )
    return numbers


def to_scores(values: Iterable[Any]) -> NDArray[np.float64]:
    """Turn text into numbers, NaN where it is none."""
    values = list(values)
    try:
        return np.array(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return np.array([_number(value) for value in values], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def centres_note(box: NDArray[np.float64]) -> tuple[str, ...]:
    """Say that corners of boxes became centres; nothing where there are no boxes."""
    if len(box) == 0:
        return ()
    low, high = box.min(), box.max()
    size = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return (f"corners of boxes of {size} pixels became centres",)
