"""The file of a session: one line of JSON for everything that was done, appended as it is done.

A click costs one short line, whatever the size of the session. Of a process that is killed while it
writes, the last line may be torn: it is left out when the file is read, all before it is there.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedWriter
    from pathlib import Path

Record = dict[str, Any]

FILE = "session.jsonl"
SUBFOLDER = "napari-so3"  # of a folder of micrographs: where its session lies unless one says
FORMAT, VERSION = "napari-so3 session", 1


class SessionError(ValueError):
    """A session that cannot be opened or kept; one sentence for the user."""


class Journal:
    """The open file of a session; no other process can open it meanwhile.

    Parameters
    ----------
    folder : Path
        Folder of the session; made where it is missing.

    Raises
    ------
    SessionError
        If another napari has it open, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / f".{FILE}.lock", timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise SessionError(
                f"{self.path}: the session is open in another napari; close it there first."
            ) from error
        except OSError as error:
            raise SessionError(_not_written(folder, error)) from error
        self._file: BufferedWriter | None = None

    def append(self, record: Record) -> None:
        """Add a line; once this returns, a killed process does not lose it.

        Raises
        ------
        SessionError
            If it cannot be written.
        """
        try:
            if self._file is None:
                self._file = self.path.open("ab")
            self._file.write(_line(record))
            self._file.flush()
        except OSError as error:
            raise SessionError(_not_written(self.path, error)) from error

    def rewrite(self, records: Iterable[Record]) -> None:
        """Replace all lines, or none of them, by these.

        Raises
        ------
        SessionError
            If they cannot be written.
        """
        self._close_file()
        try:
            with atomic_path(self.path) as temporary, temporary.open("wb") as file:
                file.write(_line({"format": FORMAT, "version": VERSION}))
                file.writelines(_line(record) for record in records)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SessionError(_not_written(self.path, error)) from error

    def close(self) -> None:
        """Let others open it."""
        self._close_file()
        self._lock.release()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def read_journal(path: Path) -> list[Record]:
    """Read the lines of a session's file.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    list of dict
        The records, in the order in which they were written.

    Raises
    ------
    SessionError
        If the file is missing, damaged before its last line, of another kind, or of a later
        version of this package.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise SessionError(f"{path}: cannot be read ({error.strerror or error}).") from error
    torn = lines.pop()  # what follows the last end of a line: nothing, unless it was interrupted
    if not lines:
        raise SessionError(
            f"{path}: is empty or was never finished ({len(torn)} bytes); delete it to begin anew."
        )
    records = [_parse(path, number, line) for number, line in enumerate(lines, start=1)]
    head = records[0]
    if head.get("format") != FORMAT or not isinstance(head.get("version"), int):
        raise SessionError(f"{path}: this is not a session of napari-so3.")
    if head["version"] > VERSION:
        raise SessionError(
            f"{path}: was written by a later napari-so3 (version {head['version']} of the file, "
            f"here {VERSION}); update napari-so3 to open it."
        )
    return records[1:]


def _line(record: Record) -> bytes:
    return json.dumps(record, separators=(", ", ": "), ensure_ascii=False).encode() + b"\n"


def _parse(path: Path, number: int, line: bytes) -> Record:
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("no object")
    except ValueError as error:
        raise SessionError(
            f"{path}: line {number} is damaged ({error}); mend or delete that line."
        ) from error
    return record


def _not_written(path: Path, error: OSError) -> str:
    return (
        f"{path}: cannot be written ({error.strerror or error}); choose a folder that can, or make "
        "room there."
    )
