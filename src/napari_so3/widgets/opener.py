"""Opening sessions: files are looked for and read in threads, and one is told how it goes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_so3.io.micrographs import MicrographError, find_micrographs
from napari_so3.session.folders import (
    begin_session,
    find_session,
    recent_sessions,
    remember_session,
)
from napari_so3.session.journal import FILE, SUBFOLDER, SessionError
from napari_so3.session.pool import load_run, save_cache
from napari_so3.session.state import Session
from napari_so3.widgets.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_so3.session.pool import Candidates, Loading
    from napari_so3.widgets.desk import Desk

_KEPT = ("model", "diameter", "threshold", "suggested", "device")  # by a new session


@dataclass(frozen=True)
class Prepared:
    """A session that can be taken over.

    Parameters
    ----------
    files : tuple of Path
        Micrographs that are to be in it.
    session : Session or None
        Of a folder; None if it is the one that is open.
    """

    files: tuple[Path, ...] = ()
    session: Session | None = None


@dataclass(frozen=True)
class Refused:
    """A sentence that says why there is no session; and what for, if it cannot be kept there."""

    sentence: str
    paths: tuple[Path, ...] = ()


class Opener(QObject):
    """Opens sessions on a desk, and reads their candidates.

    Parameters
    ----------
    desk : Desk
        Where.
    """

    said = Signal(str)  # a sentence on how it goes; empty at the end
    failed = Signal(str)  # a sentence
    not_kept = Signal(object, str)  # micrographs for whose session another folder is needed, why
    remembered = Signal(object)  # folders of the sessions that were open lately

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk, self._session = desk, desk.session
        self._opening, self._loading, self._remembering = Runner(), Runner(), Runner()
        self._problems: list[str] = []
        self._opening.told.connect(self._open_prepared)
        self._loading.told.connect(self._take)
        self._loading.ended.connect(self._finish)
        self._remembering.told.connect(self.remembered)
        for runner in (self._opening, self._loading):
            runner.crashed.connect(self.failed)
        self._session.events.run.connect(self._loading.cancel)  # whoever changes it loads it
        self._remembering.start(_recall)
        self._load()

    def shut_down(self) -> None:
        """Stop whatever is under way."""
        self._session.events.run.disconnect(self._loading.cancel)
        for runner in (self._opening, self._loading, self._remembering):
            runner.cancel()

    def open(self, paths: Sequence[Path], place: Path | None = None) -> None:
        """Open the session of a folder or of micrographs; make it where there is none.

        Parameters
        ----------
        paths : sequence of Path
            One folder, of micrographs or of a session; or files.
        place : Path, optional
            Folder for the session, if not that of the micrographs.
        """
        self.said.emit("Looking for micrographs…")
        fields = {name: getattr(self._session, name) for name in _KEPT}
        files = tuple(Path(os.path.abspath(path)) for path in paths)
        self._opening.start(_prepare, files, place, fields, self._session.folder)

    def add(self, files: Sequence[Path]) -> None:
        """Add micrographs to the session that is open; where none is, open one."""
        if self._session.folder is None:
            self.open(files)
        else:
            self._opening.start(_check, tuple(files))

    def _open_prepared(self, found: Prepared | Refused) -> None:
        self.said.emit("")
        if isinstance(found, Refused):
            if found.paths:
                self.not_kept.emit(found.paths, found.sentence)
            else:
                self.failed.emit(found.sentence)
            return
        if found.session is not None:
            self._session.take(found.session)
            self._remembering.start(_recall, self._session.folder)
        left_out = self._session.add_micrographs(found.files)
        self._show()
        self._load()
        if left_out:
            self.failed.emit(_clash(left_out))

    def _show(self) -> None:
        """Show the micrograph that was looked at last, or the first one."""
        names = self._session.names
        if self._session.current not in names and names:
            self._session.current = names[0]
        self._desk.reload()

    # ------------------------------------------------------------------ candidates

    def _load(self) -> None:
        """Read the candidates of the run that is shown."""
        self._problems = []
        if self._session.run_folder is not None:
            self._loading.start(_load, self._session.run_folder, self._session.names)

    def _take(self, event: Loading) -> None:
        pool = self._session.pool
        if len(pool) == 0:
            pool.replace(event.items)
        else:
            for name, candidates in event.items.items():
                if name not in pool:  # or else it was picked meanwhile
                    pool.put(name, candidates)
        self._problems += event.problems
        self.said.emit(f"Reading picks: {event.done} of {event.total} micrographs…")

    def _finish(self) -> None:
        self.said.emit("")
        if self._problems:
            others = len(self._problems) - 1
            self.failed.emit(self._problems[0] + (f" So are {others} others." if others else ""))


def _prepare(
    paths: tuple[Path, ...], place: Path | None, fields: Mapping[str, Any], current: Path | None
) -> Iterator[Prepared | Refused]:
    """Open the session of micrographs, or make a new one; in a thread."""
    whole = len(paths) == 1 and paths[0].is_dir()
    home = place or (paths[0] if whole else paths[0].parent)
    folder = find_session(home)
    found: Prepared | Refused = Prepared()
    if folder is None or not whole:
        found = next(_check(paths))
    if isinstance(found, Refused):
        yield found
        return
    try:
        if folder is None:
            folder = home / SUBFOLDER
            begin_session(folder, found.files, fields)
        session = None if folder == current else Session.prepare(folder)
        yield Prepared(found.files, session)
    except SessionError as error:
        yield Refused(str(error), () if (folder / FILE).exists() else paths)


def _check(paths: tuple[Path, ...]) -> Iterator[Prepared | Refused]:
    """Find the micrographs that paths name; in a thread."""
    try:
        yield Prepared(tuple(find_micrographs(paths)))
    except MicrographError as error:
        yield Refused(str(error))
    except OSError as error:
        yield Refused(f"{error.filename}: cannot be read ({error.strerror}).")


def _load(folder: Path, names: Sequence[str]) -> Iterator[Loading]:
    """Read candidates, and keep them in one file for the next time; in a thread."""
    items: dict[str, Candidates] = {}
    known = -1
    for event in load_run(folder, names):
        known = len(event.items) if known < 0 else known
        items |= event.items
        yield event
    if len(items) > known:
        with suppress(OSError):
            save_cache(folder, items)


def _recall(folder: Path | None = None) -> Iterator[list[Path]]:
    """List the sessions that were open lately, with a new one; in a thread."""
    yield recent_sessions() if folder is None else remember_session(folder)


def _clash(files: Sequence[Path]) -> str:
    words = ", ".join(str(file) for file in files[:3]) + (", …" if len(files) > 3 else "")
    return f"{len(files)} files are left out, since others have their names: {words}"
