"""Opening a session by its file, such as by dropping it on the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.utils.notifications import show_error

from napari_so3.session.journal import FILE

if TYPE_CHECKING:
    from collections.abc import Callable


def get_reader(path: str | list[str]) -> Callable[[str], list[tuple[Any, ...]]] | None:
    """Tell napari whether a file is a session, by its name alone.

    Parameters
    ----------
    path : str or list of str
        File.

    Returns
    -------
    callable or None
        `read`, or None where the name is another.
    """
    return read if isinstance(path, str) and Path(path).name == FILE else None


def read(path: str) -> list[tuple[Any, ...]]:
    """Open a session in the current viewer, with the dock "Micrographs".

    Parameters
    ----------
    path : str
        File.

    Returns
    -------
    list of tuple
        napari's "nothing to add": the dock shows the session once it is read.
    """
    viewer = napari.current_viewer()
    if viewer is None:
        show_error(f"{path}: a session can only be opened in a window of napari.")
    else:
        _, dock = viewer.window.add_plugin_dock_widget("napari-so3", "Micrographs")
        dock.opener.open([Path(path).parent])
    return [(None,)]
