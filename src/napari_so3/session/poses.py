"""The poses of a session's picks: a table per micrograph, read when somebody asks for it."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from psygnal import Signal
from scipy.spatial import KDTree

from napari_so3.poses.poses import COLUMNS, Poses, PosesError
from napari_so3.session.journal import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

POSES = "poses"  # folder of the runs of pose models, in the folder of a session
NEAR = 0.5  # pixels: the largest distance of a pick from the place that its pose was found at
HELD = 64  # micrographs whose poses stay in memory


@dataclass(frozen=True, eq=False)
class Matched:
    """Poses of some points of a micrograph.

    Parameters
    ----------
    poses : Poses
        All of the micrograph.
    rows : ndarray
        (n,) int64 row of each point among them; -1 where there is none.
    """

    poses: Poses
    rows: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) bool: which points have a pose."""
        return self.rows >= 0

    @property
    def matrices(self) -> NDArray[np.float64]:
        """(n, 3, 3) float64 rotations, reference to image; NaN without pose."""
        out = np.full((len(self.rows), 3, 3), np.nan)
        out[self.known] = self.poses.matrices[self.rows[self.known]]
        return out

    def table(self, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
        """Give columns of `Poses.table` for the points, (n,) rows; NaN without pose."""
        table = self.poses.table[list(columns)].reset_index(drop=True)
        return table.reindex(self.rows).reset_index(drop=True)


class PoseStore:
    """The poses that a session shows, by the name of the micrograph.

    ``changed`` tells the micrograph whose poses are new, or ``""`` for all of them. `write`, `get`
    and `match` may be called in any thread, and touch the disk; nothing is told by them.
    """

    changed = Signal(str)

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._shown: tuple[Path | None, str] = None, ""
        self._held: OrderedDict[str, Poses] = OrderedDict()
        self._names: set[str] = set()
        self._lock = Lock()

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def use(self, root: Path | None, run: str) -> None:
        """Show the poses of another run.

        Parameters
        ----------
        root : Path or None
            Folder of the session; without one, poses are only in memory.
        run : str
            Of `pose_run_name`; its tables lie in ``root / POSES / run``. Empty for no run.
        """
        if (root, run) == self._shown:
            return
        with self._lock:
            self._shown = root, run
            self.folder = root / POSES / run if root and run else None
            self._held.clear()
            self._names = _tables(self.folder)
        self.changed.emit("")

    def get(self, name: str) -> Poses | None:
        """Give the poses of a micrograph, from memory or from its table; None if it has none.

        Raises
        ------
        PosesError
            If the table cannot be read.
        """
        with self._lock:
            held, folder, shown = self._held.get(name), self.folder, self._shown
            if held is not None:
                self._held.move_to_end(name)
                return held
            if name not in self._names or folder is None:
                return None
        poses = Poses.read_csv(_file(folder, name))
        self._hold(name, poses, shown)
        return poses

    def held(self, name: str) -> Poses | None:
        """Give the poses of a micrograph if they are in memory; the disk is not touched."""
        return self._held.get(name)

    def match(self, name: str, points: ArrayLike) -> Matched | None:
        """Find the poses of points of a micrograph.

        Parameters
        ----------
        name : str
            Micrograph.
        points : array_like
            (n, 2) y and x, pixels.

        Returns
        -------
        Matched or None
            None where the micrograph has no poses.

        Raises
        ------
        PosesError
            If the table cannot be read.
        """
        poses = self.get(name)
        return None if poses is None else Matched(poses, rows_of(poses, points))

    def write(self, name: str, poses: Poses) -> Poses:
        """Keep poses of a micrograph beside those of its other picks, without telling anybody.

        Parameters
        ----------
        name : str
            Micrograph.
        poses : Poses
            Of some of its picks; they replace poses at the same places.

        Returns
        -------
        Poses
            All that are kept of the micrograph now, for `put`.

        Raises
        ------
        SessionError
            If they cannot be written.
        """
        folder, shown = self.folder, self._shown
        try:
            before = self.get(name)
        except PosesError:
            before = None  # a damaged table is replaced
        merged = poses if before is None else merge(before, poses)
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                merged.write_csv(_file(folder, name))
            except OSError as error:
                raise SessionError(
                    f"{folder}: cannot be written ({error.strerror or error})."
                ) from error
        self._hold(name, merged, shown)
        return merged

    def put(self, name: str, poses: Poses) -> None:
        """Show the poses of a micrograph, which `write` has kept, and tell of it."""
        self._hold(name, poses, self._shown)
        self.changed.emit(name)

    def _hold(self, name: str, poses: Poses, shown: tuple[Path | None, str]) -> None:
        with self._lock:
            if shown != self._shown:  # another run is shown by now
                return
            self._names.add(name)
            self._held[name] = poses
            self._held.move_to_end(name)
            while self.folder is not None and len(self._held) > HELD:
                self._held.popitem(last=False)


@dataclass(frozen=True)
class Gathering:
    """How many of the micrographs are read."""

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Gathered:
    """Poses of picks of many micrographs, in the order of the picks.

    Parameters
    ----------
    matrices : ndarray
        (N, 3, 3) float64 rotations, reference to image; NaN without pose.
    confidence : ndarray
        (N,) float64 from 0 to 1; NaN without pose.
    problems : tuple of str
        Sentences on tables that cannot be read.
    """

    matrices: NDArray[np.float64]
    confidence: NDArray[np.float64]
    problems: tuple[str, ...]


def gather(
    store: PoseStore, names: Sequence[str], points: ArrayLike, owner: ArrayLike
) -> Iterator[Gathering | Gathered]:
    """Read the poses of picks of many micrographs.

    Parameters
    ----------
    store : PoseStore
        Where they are.
    names : sequence of str
        Micrographs.
    points : array_like
        (N, 2) y and x of the picks, pixels of their micrographs.
    owner : array_like
        (N,) index of the micrograph of each pick, rising.

    Yields
    ------
    Gathering, Gathered
        After every micrograph that has poses, and at last what was found.
    """
    points, owner = np.asarray(points, np.float64).reshape(-1, 2), np.asarray(owner)
    matrices, confidence = np.full((len(points), 3, 3), np.nan), np.full(len(points), np.nan)
    problems: list[str] = []
    begin = np.searchsorted(owner, np.arange(len(names) + 1))
    known = [i for i, name in enumerate(names) if name in store and begin[i + 1] > begin[i]]
    for done, i in enumerate(known, start=1):
        part = slice(begin[i], begin[i + 1])
        try:
            found = store.match(names[i], points[part])
        except PosesError as error:
            problems.append(str(error))
            continue
        if found is not None:
            matrices[part] = found.matrices
            confidence[part] = found.table(["confidence"])["confidence"]
        yield Gathering(done, len(known))
    yield Gathered(matrices, confidence, tuple(problems))


def pose_run_name(
    model: str,
    fingerprint: str,
    diameter: float,
    pixel_size: float | None = None,
    refined: bool = False,
) -> str:
    """Name the folder of poses after what they are made with.

    Parameters
    ----------
    model, fingerprint : str
        Name and digest of the pose model.
    diameter : float
        Of the particle, Å.
    pixel_size : float, optional
        Å of all micrographs, where it is given and not that of each file.
    refined : bool
        Whether poses were refined.

    Returns
    -------
    str
        Name without characters that a file system minds.
    """
    name = re.sub(r"[^\w.+-]+", "_", model)
    given = f"-{pixel_size:g}Apx" if pixel_size else ""
    return f"{name}-{fingerprint[:6]}-{diameter:g}A{given}{'-refined' if refined else ''}"


def rows_of(poses: Poses, points: ArrayLike) -> NDArray[np.int64]:
    """Find the row of each point, (n, 2) y and x in pixels: (n,) int64, -1 where there is none."""
    points = np.asarray(points, np.float64).reshape(-1, 2)
    if len(poses) == 0 or len(points) == 0:
        return np.full(len(points), -1, np.int64)
    places = KDTree(poses.table[["y", "x"]].to_numpy())
    distance, row = places.query(points, distance_upper_bound=NEAR)
    return np.where(np.isfinite(distance), row, -1).astype(np.int64)


def merge(before: Poses, new: Poses) -> Poses:
    """Put new poses beside others of the same micrograph.

    Parameters
    ----------
    before : Poses
        Those at places of new ones are dropped.
    new : Poses
        Says symmetry and provenance.

    Returns
    -------
    Poses
        The new ones first.
    """
    kept = before.take(np.flatnonzero(rows_of(new, before.table[["y", "x"]]) < 0))
    if len(kept) == 0:
        return new
    if len(new) == 0:
        return kept
    most = max(kept.shares.shape[1], new.shares.shape[1])
    return Poses(
        pd.concat([new.table, kept.table], ignore_index=True),
        np.concatenate([_widened(p.alternatives, most, np.nan) for p in (new, kept)]),
        np.concatenate([_widened(p.shares, most, 0.0) for p in (new, kept)]),
        new.symmetry,
        new.micrograph,
        new.provenance,
    )


def _widened(values: NDArray[np.float64], width: int, fill: float) -> NDArray[np.float64]:
    """Add columns (axis 1) until there are as many as wanted."""
    missing = np.full((len(values), width - values.shape[1], *values.shape[2:]), fill)
    return np.concatenate([values, missing], axis=1)


def _tables(folder: Path | None) -> set[str]:
    """Names of the micrographs that have a table in a folder."""
    if folder is None:
        return set()
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {n.removesuffix(".csv") for n in names if n.endswith(".csv") and n[0] != "."}


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.csv"
