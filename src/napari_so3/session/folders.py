"""Where sessions lie: beside their micrographs, and those that were open lately."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_state_path

from napari_so3.io.files import atomic_path
from napari_so3.session.journal import FILE, SUBFOLDER
from napari_so3.session.state import Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIST = "sessions.json"  # of those that were open lately, in the folder of the user's state
REMEMBERED = 10


def find_session(folder: Path) -> Path | None:
    """Find the folder of a session: this one, or the one in which its micrographs are worked on.

    Parameters
    ----------
    folder : Path
        Folder of a session or of micrographs.

    Returns
    -------
    Path or None
        None where there is no session yet.
    """
    for place in (folder, folder / SUBFOLDER):
        if (place / FILE).is_file():
            return place
    return None


def begin_session(
    folder: Path, micrographs: Sequence[Path], fields: Mapping[str, Any]
) -> list[Path]:
    """Write a new session, which can then be opened.

    Parameters
    ----------
    folder : Path
        Its folder; made where it is missing.
    micrographs : sequence of Path
        Its micrographs.
    fields : mapping
        Fields of the `Session`.

    Returns
    -------
    list of Path
        Files that are left out, since another one has their name.

    Raises
    ------
    SessionError
        If there is a session in the folder, or it cannot be written.
    """
    session = Session(**fields)
    left_out = session.add_micrographs(micrographs)
    session.save_in(folder)
    session.close()
    return left_out


def recent_sessions() -> list[Path]:
    """List the folders of the sessions that were open lately and are still there, latest first."""
    try:
        listed = json.loads(_list_file().read_text(encoding="utf-8"))
        folders = [Path(folder) for folder in listed]
    except (OSError, TypeError, ValueError):
        return []
    return [folder for folder in folders if (folder / FILE).is_file()]


def remember_session(folder: Path) -> list[Path]:
    """Put a folder at the beginning of `recent_sessions`.

    Returns
    -------
    list of Path
        The list, also where it cannot be kept: nothing is lost by that.
    """
    folder = Path(os.path.abspath(folder))
    folders = [folder, *(known for known in recent_sessions() if known != folder)][:REMEMBERED]
    file = _list_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            temporary.write_text(json.dumps([str(f) for f in folders]), encoding="utf-8")
    except OSError:
        pass
    return folders


def _list_file() -> Path:
    return user_state_path("napari-so3", appauthor=False) / LIST
