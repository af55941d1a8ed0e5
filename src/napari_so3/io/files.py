"""Writing files so that a crash never leaves half of one."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEFTOVER = re.compile(r"\.[0-9a-f]{16}(\.\w+)?")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary sibling of a file, which replaces the file once it is written.

    Parameters
    ----------
    path : str or Path
        The file to be written. Of a symbolic link, the file that it points at is replaced.

    Yields
    ------
    Path
        A hidden path in the same folder with the same suffix, where nothing exists yet. It is moved
        to `path` when the block ends, and removed when the block raises.

    Raises
    ------
    FileNotFoundError
        The folder of `path` does not exist, or the block has not written the temporary file.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder to write it in does not exist.")
    temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")  # as in _LEFTOVER
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `atomic_path` that a killed process has left in a folder.

    Parameters
    ----------
    folder : Path
        An existing folder that no other process writes to.
    """
    for file in folder.iterdir():
        if _LEFTOVER.fullmatch(file.name):
            file.unlink(missing_ok=True)


def shown_path(path: Path) -> str:
    """Write a path as RELION wants it: relative to the project, which is the working folder.

    Parameters
    ----------
    path : Path
        Any path.

    Returns
    -------
    str
        Relative to the working folder if it is inside, else absolute.
    """
    absolute, here = os.path.abspath(path), os.getcwd()
    inside = Path(absolute).is_relative_to(here)
    return os.path.relpath(absolute, here) if inside else absolute


def find_in_project(name: str, folder: Path) -> Path | None:
    """Find a file that another file names relative to the RELION project.

    Parameters
    ----------
    name : str
        Path as the other file gives it.
    folder : Path
        Folder of the other file, in the project or in a folder of it.

    Returns
    -------
    Path or None
        It is looked for from the folder upwards, from the working folder, and beside the other
        file.
    """
    places = [above / name for above in (folder, *folder.parents)]
    places += [Path(name), folder / Path(name).name]
    return next((place for place in places if place.is_file()), None)
