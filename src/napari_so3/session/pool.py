"""The candidates of all micrographs of a session in memory, to be counted while one looks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from psygnal import Signal

from napari_so3.io.files import atomic_path
from napari_so3.picking.picks import CANDIDATES, DIGITS, Picks, PicksError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CACHE = ".pool.npz"  # in the folder of candidates; made again where it is missing or old
_COLUMNS = ("y", "x", "logit", "rotation", "edge")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of one micrograph, best first, without what can be looked up.

    Parameters
    ----------
    y, x : ndarray
        (n,) float32, pixels of the micrograph.
    logit : ndarray
        (n,) float32 AL1 log-odds, falling.
    rotation : ndarray
        (n,) int32 index in the grid of the model.
    edge : ndarray
        (n,) float32 distance of the nearest border, Å.
    pixel_size : float
        Å.
    """

    y: NDArray[np.float32]
    x: NDArray[np.float32]
    logit: NDArray[np.float32]
    rotation: NDArray[np.int32]
    edge: NDArray[np.float32]
    pixel_size: float

    def __len__(self) -> int:
        return len(self.logit)

    @classmethod
    def of(cls, picks: Picks) -> Candidates:
        """Take what is needed from a table of picks, rounded as it is in files."""
        table, known = picks.table, picks.provenance
        y, x, logit = (
            np.round(table[name].to_numpy(np.float64), DIGITS[name]).astype(np.float32)
            for name in ("y", "x", "logit")
        )
        size, (ny, nx) = float(known["pixel_size"]), known["shape"]
        edge = np.minimum(np.minimum(y, ny - 1 - y), np.minimum(x, nx - 1 - x)) * size
        rotation = table["rotation"].to_numpy(np.int32)
        return cls(y, x, logit, rotation, edge.astype(np.float32), size)


@dataclass(frozen=True, eq=False)
class Flat:
    """The candidates of all micrographs one after another.

    Parameters
    ----------
    y, x, logit, rotation, edge : ndarray
        (N,) as in `Candidates`.
    owner : ndarray
        (N,) int32, index of the micrograph.
    start : ndarray
        (M + 1,) int64, where each micrograph begins.
    pixel_size : ndarray
        (M,) Å; 1 where nothing is known of a micrograph.
    """

    y: NDArray[np.float32]
    x: NDArray[np.float32]
    logit: NDArray[np.float32]
    rotation: NDArray[np.int32]
    edge: NDArray[np.float32]
    owner: NDArray[np.int32]
    start: NDArray[np.int64]
    pixel_size: NDArray[np.float64]

    def per_micrograph(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Count what is chosen, (N,) bool, in every micrograph, (M,)."""
        return self._sum(chosen, np.int64)

    def means(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Average the log-odds of what is chosen, (N,) bool, in every micrograph, (M,); or NaN."""
        with np.errstate(invalid="ignore"):
            return self._sum(self.logit * chosen, np.float64) / self.per_micrograph(chosen)

    def _sum(self, values: NDArray[Any], dtype: Any) -> NDArray[Any]:
        begin, filled = self.start[:-1], np.diff(self.start) > 0
        total = np.zeros(len(begin), dtype)
        if filled.any():  # reduceat knows no empty parts
            total[filled] = np.add.reduceat(values, begin[filled], dtype=dtype)
        return total


class CandidatePool:
    """The candidates of a run, by the name of the micrograph.

    ``changed`` tells the micrograph whose candidates are new, or ``""`` for all of them.
    """

    changed = Signal(str)

    def __init__(self) -> None:
        self._items: dict[str, Candidates] = {}
        self._names: tuple[str, ...] = ()
        self._flat: Flat | None = None

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __len__(self) -> int:
        return len(self._items)

    def get(self, name: str) -> Candidates | None:
        """Candidates of a micrograph; None where it has not been picked."""
        return self._items.get(name)

    def set_names(self, names: Sequence[str]) -> None:
        """Say which micrographs there are, and in which order."""
        self._names, self._flat = tuple(names), None

    def put(self, name: str, candidates: Candidates) -> None:
        """Add or replace the candidates of a micrograph."""
        self._items[name], self._flat = candidates, None
        self.changed.emit(name)

    def replace(self, items: dict[str, Candidates]) -> None:
        """Replace everything, such as for another run."""
        self._items, self._flat = dict(items), None
        self.changed.emit("")

    @property
    def flat(self) -> Flat:
        """All candidates, in the order of the names."""
        if self._flat is None:
            self._flat = _flatten([self._items.get(name) for name in self._names])
        return self._flat


def _flatten(items: Sequence[Candidates | None]) -> Flat:
    there = [item for item in items if item is not None]
    lengths = np.array([0 if item is None else len(item) for item in items], dtype=np.int64)
    kinds = (np.float32, np.float32, np.float32, np.int32, np.float32)
    y, x, logit, rotation, edge = (
        np.concatenate([np.zeros(0, kind), *(getattr(item, name) for item in there)])
        for name, kind in zip(_COLUMNS, kinds, strict=True)
    )
    owner = np.repeat(np.arange(len(items), dtype=np.int32), lengths)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    sizes = np.array([1.0 if item is None else item.pixel_size for item in items])
    return Flat(y, x, logit, rotation, edge, owner, start, sizes)


@dataclass(frozen=True)
class Loading:
    """How far the reading of a run is; ``items`` is what was read since the last of these."""

    done: int
    total: int
    items: dict[str, Candidates]
    problems: tuple[str, ...] = ()


def load_run(folder: Path, names: Sequence[str], chunk: int = 50) -> Iterator[Loading]:
    """Read the candidates of a folder of picks; all at once where the cache is up to date.

    Parameters
    ----------
    folder : Path
        Folder of picks.
    names : sequence of str
        Micrographs; the candidates of others are left alone.
    chunk : int
        Tables that are read between two yields.

    Yields
    ------
    Loading
        What the cache knows, and then what had to be read. A table that cannot be read is named in
        ``problems``: its micrograph is not picked.
    """
    files = _tables(folder, names)
    known = _read_cache(folder, files)
    missing = [name for name in files if name not in known]
    yield Loading(len(known), len(files), {name: known[name] for name in files if name in known})
    for begin in range(0, len(missing), chunk):
        items, problems = {}, []
        for name in missing[begin : begin + chunk]:
            try:
                items[name] = Candidates.of(Picks.read_csv(folder / CANDIDATES / f"{name}.csv"))
            except (KeyError, PicksError) as error:
                problems.append(f"{name}.csv: cannot be used ({error}); pick that micrograph anew.")
        done = len(known) + min(begin + chunk, len(missing))
        yield Loading(done, len(files), items, tuple(problems))


def read_run(folder: Path, names: Sequence[str]) -> tuple[dict[str, Candidates], list[str]]:
    """Read a run to the end, where nobody waits for it.

    Parameters
    ----------
    folder, names
        As in `load_run`.

    Returns
    -------
    items : dict
        Micrograph name to candidates.
    problems : list of str
        Sentences on tables that cannot be used.
    """
    items: dict[str, Candidates] = {}
    problems: list[str] = []
    for loading in load_run(folder, names):
        items |= loading.items
        problems += loading.problems
    return items, problems


def save_cache(folder: Path, items: dict[str, Candidates]) -> None:
    """Keep candidates in one file, from which `load_run` takes them as long as their tables stay.

    Parameters
    ----------
    folder : Path
        Folder of picks.
    items : dict
        Micrograph name to candidates.

    Raises
    ------
    OSError
        If it cannot be written; nothing is lost by that.
    """
    files = _tables(folder, list(items))
    names = [name for name in files if name in items]
    if not names:
        return
    flat = _flatten([items[name] for name in names])
    arrays = {name: getattr(flat, name) for name in (*_COLUMNS, "start", "pixel_size")}
    with atomic_path(folder / CANDIDATES / CACHE) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            names=np.array(names),
            stamps=np.array([files[name] for name in names], dtype=np.int64),
            **arrays,
        )


def _tables(folder: Path, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Size and time of the tables that exist, by micrograph, in the order of the names."""
    there = {}
    try:
        with os.scandir(folder / CANDIDATES) as entries:
            for entry in entries:
                if entry.name.endswith(".csv"):
                    stat = entry.stat()
                    there[entry.name.removesuffix(".csv")] = (stat.st_size, stat.st_mtime_ns)
    except FileNotFoundError:
        return {}
    return {name: there[name] for name in names if name in there}


def _read_cache(folder: Path, files: dict[str, tuple[int, int]]) -> dict[str, Candidates]:
    """Candidates whose tables have not changed since the cache was written."""
    try:
        path = folder / CANDIDATES / CACHE
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            cache = {name: file[name] for name in file.files}
        columns = [cache[name] for name in _COLUMNS]
        names, start = cache["names"].tolist(), cache["start"].tolist()
        stamps, sizes = cache["stamps"].tolist(), cache["pixel_size"].tolist()
    except (OSError, KeyError, ValueError, EOFError, AttributeError, BadZipFile):
        return {}
    return {
        name: _candidates([column[start[i] : start[i + 1]] for column in columns], sizes[i])
        for i, name in enumerate(names)
        if files.get(name) == tuple(stamps[i])
    }


def _candidates(columns: Sequence[NDArray[Any]], pixel_size: float) -> Candidates:
    y, x, logit, rotation, edge = columns
    return Candidates(y, x, logit, rotation, edge, pixel_size)
