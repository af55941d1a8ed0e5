"""Find picks and labels in files, by the name of their micrograph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.io.coordinates import read_coordinate_file, read_coordinate_folder
from napari_so3.io.dialects.common import NO_SCORE
from napari_so3.io.names import bare_name, match_names
from napari_so3.picking.compare import EvaluationError, ScoredPoints
from napari_so3.picking.evaluate import outside
from napari_so3.picking.picks import CANDIDATES, Picks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from napari_so3.io.coordinates import CoordinateFile
    from napari_so3.io.names import NameMatch


def collect_picks(
    where: Path, pixel_size: float | None = None, shape: tuple[int, int] | None = None
) -> dict[str, ScoredPoints]:
    """Read picks with their scores.

    Parameters
    ----------
    where : Path
        Folder of picks, of which all candidates are read; or folder of coordinate files of any
        program, or one of them.
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
    PicksError, CoordinateError
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
            f"{where}: coordinate files do not tell the pixel size; give it in Å with --pixel-size."
        )
    return {
        name: _scored(table, where, pixel_size, shape) for name, table in _read_all(where).items()
    }


def collect_labels(where: Path) -> dict[str, NDArray[np.float64]]:
    """Read labelled positions.

    Parameters
    ----------
    where : Path
        Folder of coordinate files of any program, or one of them. Candidates of napari-so3 in a
        folder are left out, since those below the threshold are among them.

    Returns
    -------
    dict
        By the bare name of the micrograph: (n, 2) float64 y and x, micrograph pixels.

    Raises
    ------
    EvaluationError
        If there are none, or two files are of one micrograph.
    CoordinateError
        If a file of coordinates cannot be read.
    """
    _check_exists(where)
    return {n: t[["y", "x"]].to_numpy(np.float64) for n, t in _read_all(where).items()}


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


def coordinate_files(where: Path) -> Iterator[CoordinateFile]:
    """Read one file of coordinates, or those of a folder.

    Parameters
    ----------
    where : Path
        File; or folder, in which files of other content and candidates of napari-so3 are left out:
        those below the threshold are among them.

    Yields
    ------
    CoordinateFile
        The next one.

    Raises
    ------
    CoordinateError
        A file is damaged, or the only one holds no coordinates.
    """
    if not where.is_dir():
        yield read_coordinate_file(where)
        return
    for file in read_coordinate_folder(where):
        if file.path.parent.name != CANDIDATES:
            yield file


def collect_tables(files: Iterable[CoordinateFile]) -> dict[str, pd.DataFrame]:
    """Sort coordinates by micrograph.

    Parameters
    ----------
    files : iterable of CoordinateFile
        Of one or of many micrographs each.

    Returns
    -------
    dict
        By the bare name of the micrograph, which is that of the file where it names none.

    Raises
    ------
    EvaluationError
        If two files are of one micrograph.
    """
    found = _Collection()
    for file in files:
        table = file.table
        if "micrograph" in table and len(table):
            bare = {name: bare_name(name) for name in table["micrograph"].unique()}
            for name, part in table.groupby(table["micrograph"].map(bare), sort=True):
                found.add(str(name), part, file.path)
        else:
            found.add(bare_name(file.path.name), table, file.path)
    return found.items


def _read_all(where: Path) -> dict[str, pd.DataFrame]:
    tables = collect_tables(coordinate_files(where))
    if not tables:
        raise EvaluationError(f"{where}: holds no picks and no files with coordinates.")
    return tables


def _scored(
    table: pd.DataFrame, where: Path, pixel_size: float, shape: tuple[int, int] | None
) -> ScoredPoints:
    if "score" not in table:
        raise EvaluationError(
            f"{where}: the picks of a file have no scores, so they cannot be ranked."
        )
    points = table[["y", "x"]].to_numpy(np.float64)
    if shape is None:
        ny, nx = np.ceil(points.max(axis=0, initial=0.0)).astype(int) + 1
        shape = int(ny), int(nx)
    scores = table["score"].fillna(NO_SCORE).to_numpy(np.float64)  # below all others
    return ScoredPoints(points, scores, pixel_size, shape, log_odds=False)


def pair_by_name(
    picks: Mapping[str, ScoredPoints], labels: Mapping[str, NDArray[np.float64]]
) -> tuple[dict[str, NDArray[np.float64]], NameMatch]:
    """Find the labels of the micrographs that were picked.

    Parameters
    ----------
    picks, labels : mapping
        Of `collect_picks` and `collect_labels`.

    Returns
    -------
    labels : dict
        Those that belong to picks, by the name of the picks.
    match : NameMatch
        How it went; the picks are its micrographs.

    Raises
    ------
    EvaluationError
        If there is no pair.
    """
    match = match_names(sorted(picks), sorted(labels))
    if not match.pairs:
        raise EvaluationError(
            "no picks and labels are of the same micrograph: the first picks are of "
            f"{min(picks, default='nothing')}, the first labels of "
            f"{min(labels, default='nothing')}."
        )
    return {name: labels[label] for name, label in match.pairs}, match


def count_outside(
    picks: Mapping[str, ScoredPoints], labels: Mapping[str, NDArray[np.float64]]
) -> int:
    """Count the labels that lie outside of their micrograph, where both are known."""
    return sum(
        int(outside(points, picks[name].shape).sum())
        for name, points in labels.items()
        if name in picks
    )
