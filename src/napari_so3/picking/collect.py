"""Find picks and labels in files, by the name of their micrograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.io.micrographs import micrograph_name
from napari_so3.io.star import StarError, read_coordinates
from napari_so3.picking.compare import EvaluationError, ScoredPoints
from napari_so3.picking.evaluate import outside
from napari_so3.picking.picks import CANDIDATES, LIST_FILE, Picks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

_SUFFIXES = ("_autopick", "_manualpick")


def bare_name(name: str) -> str:
    """Strip folders, the ending and what RELION adds from the name of a micrograph or its picks.

    Parameters
    ----------
    name : str
        ``"MotionCorr/a.mrc"``, ``"a_autopick.star"``, ...

    Returns
    -------
    str
        ``"a"``; other dots in the name are kept.
    """
    bare = micrograph_name(PureWindowsPath(name).name)  # takes / and \ for separators
    for ending in (".star", ".csv", *_SUFFIXES):
        bare = bare.removesuffix(ending)
    return bare


def collect_picks(
    where: Path, pixel_size: float | None = None, shape: tuple[int, int] | None = None
) -> dict[str, ScoredPoints]:
    """Read picks with their scores.

    Parameters
    ----------
    where : Path
        Folder of picks, of which all candidates are read; or folder of STAR files, or one of them.
    pixel_size : float, optional
        Å; by default what the candidates say.
    shape : (int, int), optional
        Rows and columns of the micrographs; by default what the candidates say, or else what the
        picks reach to.

    Returns
    -------
    dict
        By the bare name of the micrograph.

    Raises
    ------
    EvaluationError
        If there are no picks, they have no scores, two files are of one micrograph, or the pixel
        size is unknown or not positive.
    PicksError, StarError
        If a file cannot be read.
    """
    if pixel_size is not None and not 0 < pixel_size < np.inf:
        raise EvaluationError(f"a pixel size of {pixel_size:g} Å is not positive.")
    _check_exists(where)
    tables = sorted((where / CANDIDATES).glob("*.csv"))
    found = _Collection()
    for table in tables:
        picks = Picks.read_csv(table)
        known = dict(picks.provenance)
        if pixel_size is not None:
            known["pixel_size"] = pixel_size
        if shape is not None:
            known["shape"] = shape
        found.add(bare_name(picks.micrograph), Picks(picks.table, picks.micrograph, known), table)
    if tables:
        return {name: ScoredPoints.of(picks) for name, picks in found.items.items()}
    if pixel_size is None:
        raise EvaluationError(
            f"{where}: STAR files do not tell the pixel size; give it in Å with --pixel-size."
        )
    return {
        name: _scored(table, where, pixel_size, shape) for name, table in _read_stars(where).items()
    }


def collect_labels(where: Path) -> dict[str, NDArray[np.float64]]:
    """Read labelled positions.

    Parameters
    ----------
    where : Path
        Folder of STAR files, or one of them.

    Returns
    -------
    dict
        By the bare name of the micrograph: (n, 2) float64 y and x, micrograph pixels.

    Raises
    ------
    EvaluationError
        If there are none, or two files are of one micrograph.
    StarError
        If a file of coordinates cannot be read.
    """
    _check_exists(where)
    return {n: t[["y", "x"]].to_numpy(np.float64) for n, t in _read_stars(where).items()}


class _Collection:
    """Things by micrograph, and the files they came from."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self._files: dict[str, Path] = {}

    def add(self, name: str, item: Any, file: Path) -> None:
        if name in self.items:
            raise EvaluationError(
                f"{self._files[name]} and {file} are both of the micrograph {name}; give a folder "
                "with one file for each, or one of them."
            )
        self.items[name], self._files[name] = item, file


def _check_exists(where: Path) -> None:
    if not where.exists():
        raise EvaluationError(f"{where}: there is no such file or folder.")


def _read_stars(where: Path) -> dict[str, pd.DataFrame]:
    """Read the STAR files of a folder that hold coordinates, or one file that must."""
    files = [where]
    if where.is_dir():
        files = sorted(f for f in where.rglob("*.star") if f.name != LIST_FILE)
    found = _Collection()
    for file in files:
        try:
            table = read_coordinates(file)
        except StarError:
            if where.is_dir() and not _has_coordinates(file):
                continue  # a folder of RELION holds other STAR files too
            raise
        if "micrograph" in table and len(table):
            for name, part in table.groupby(table["micrograph"].map(bare_name), sort=True):
                found.add(str(name), part, file)
        else:
            found.add(bare_name(file.name), table, file)
    if not found.items:
        raise EvaluationError(f"{where}: holds no picks and no STAR files with coordinates.")
    return found.items


def _has_coordinates(file: Path) -> bool:
    """Whether a file that cannot be read was meant to hold coordinates."""
    try:
        return b"rlnCoordinateX" in file.read_bytes()
    except OSError:
        return True


def _scored(
    table: pd.DataFrame, where: Path, pixel_size: float, shape: tuple[int, int] | None
) -> ScoredPoints:
    if "score" not in table:
        raise EvaluationError(
            f"{where}: the picks have no scores (rlnAutopickFigureOfMerit), so they cannot be "
            "ranked."
        )
    points = table[["y", "x"]].to_numpy(np.float64)
    if shape is None:
        ny, nx = np.ceil(points.max(axis=0, initial=0.0)).astype(int) + 1
        shape = int(ny), int(nx)
    scores = table["score"].to_numpy(np.float64)
    return ScoredPoints(points, scores, pixel_size, shape, log_odds=False)


@dataclass(frozen=True)
class Matching:
    """Which names both sides have, and which only one."""

    shared: tuple[str, ...]
    only_picks: tuple[str, ...]
    only_labels: tuple[str, ...]


def match_names(picks: Iterable[str], labels: Iterable[str]) -> Matching:
    """Pair the micrographs of picks and labels.

    Raises
    ------
    EvaluationError
        If there is no pair.
    """
    a, b = set(picks), set(labels)
    if not a & b:
        raise EvaluationError(
            "no picks and labels are of the same micrograph: the first picks are of "
            f"{min(a, default='nothing')}, the first labels of {min(b, default='nothing')}."
        )
    return Matching(tuple(sorted(a & b)), tuple(sorted(a - b)), tuple(sorted(b - a)))


def count_outside(
    picks: Mapping[str, ScoredPoints], labels: Mapping[str, NDArray[np.float64]]
) -> int:
    """Count the labels that lie outside of their micrograph, where both are known."""
    return sum(
        int(outside(points, picks[name].shape).sum())
        for name, points in labels.items()
        if name in picks
    )
