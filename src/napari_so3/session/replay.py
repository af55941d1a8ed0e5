"""What a session has to say in the lines of its file, and what such lines say in the end."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_so3.session.journal import SessionError
from napari_so3.session.marks import Edit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_so3.session.journal import Record
    from napari_so3.session.marks import Marks


class Loaded:
    """A session as its file has it; each line adds to it or changes it."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.micrographs: list[str] = []
        self.edits: list[Edit] = []
        self.complete: dict[str, bool] = {}
        self.overrides: dict[str, float] = {}
        self.failed: dict[str, str] = {}

    def read(self, record: Record) -> None:
        """Take one line; those of a kind that is not known are left alone.

        Raises
        ------
        AttributeError, KeyError, TypeError, ValueError
            If the line is no such statement.
        """
        if "set" in record:
            self.fields.update(record["set"])
        elif "micrographs" in record:
            self.micrographs += [str(path) for path in record["micrographs"]]
        elif "edit" in record:
            self.edits.append(Edit.from_record(record))
        elif "complete" in record:
            self.complete[record["complete"]] = bool(record["value"])
        elif "override" in record:
            _set_or_drop(self.overrides, record["override"], record["threshold"])
        elif "failed" in record:
            _set_or_drop(self.failed, record["failed"], record["reason"])


def _set_or_drop(items: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        items.pop(name, None)
    else:
        items[name] = value


def replay(records: Sequence[Record], path: Path) -> Loaded:
    """Read the lines one after another.

    Parameters
    ----------
    records : sequence of dict
        Of `read_journal`.
    path : Path
        File, named in errors.

    Returns
    -------
    Loaded
        The session.

    Raises
    ------
    SessionError
        If a line cannot be understood.
    """
    loaded = Loaded()
    for number, record in enumerate(records, start=2):
        try:
            loaded.read(record)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SessionError(
                f"{path}: line {number} cannot be understood ({error!r}); mend or delete it."
            ) from error
    return loaded


def records_of(
    fields: Mapping[str, Any],
    micrographs: Sequence[str],
    marks: Mapping[str, Marks],
    overrides: Mapping[str, float],
    failed: Mapping[str, str],
) -> Iterator[Record]:
    """Say everything in as few lines as possible.

    Parameters
    ----------
    fields : mapping
        Of the `Session`.
    micrographs : sequence of str
        Files.
    marks, overrides, failed : mapping
        By micrograph.

    Yields
    ------
    dict
        Line.
    """
    yield {"set": dict(fields)}
    yield {"micrographs": list(micrographs)}
    for name, here in marks.items():
        edit = Edit(name, added=here.marks, areas_added=here.areas)
        if edit:
            yield edit.to_record()
        if here.complete:
            yield {"complete": name, "value": True}
    for name, threshold in overrides.items():
        yield {"override": name, "threshold": threshold}
    for name, reason in failed.items():
        yield {"failed": name, "reason": reason}


def relative(folder: Path | None, path: Path) -> str:
    """Write a path from the folder of a session, so that both can be moved together.

    Parameters
    ----------
    folder : Path or None
        Folder of the session, if it has one.
    path : Path
        File.

    Returns
    -------
    str
        The path as it is where there is no way from the folder, such as on another drive.
    """
    if folder is None:
        return str(path)
    parent, name = os.path.split(path)
    try:
        return f"{_way(str(folder), parent)}/{name}"
    except ValueError:
        return str(path)


@lru_cache(maxsize=16)  # most micrographs lie in the same folder
def _way(start: str, folder: str) -> str:
    return Path(os.path.relpath(folder, start)).as_posix()
