"""All docks of the picking desk at once.

Usage: ``python -m napari_so3.widgets.desk_docks [FOLDER]`` opens napari with them, and the session
of a folder of micrographs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import napari

from napari_so3.widgets.tabs import join_tabs

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

TITLES = (
    "Import and export",
    "Label and train",
    "Pick particles",
    "Micrographs",
)  # the last on top


def open_desk(viewer: napari.viewer.Viewer) -> dict[str, QWidget]:
    """Open the docks, or find those that are open.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.

    Returns
    -------
    dict
        Their widgets, by title.
    """
    docks = {}
    for title in TITLES:
        _, docks[title] = viewer.window.add_plugin_dock_widget("napari-so3", title)
        join_tabs(docks[title])  # before the next one would make the window higher
    return docks


def main(folders: list[str]) -> None:
    """Run napari."""
    viewer = napari.Viewer(title="napari-so3")
    micrographs = open_desk(viewer)["Micrographs"]
    if folders:
        micrographs.opener.open([Path(folder) for folder in folders])
    napari.run()


if __name__ == "__main__":
    main(sys.argv[1:])
