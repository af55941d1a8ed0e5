"""All docks of the picking desk at once.

Usage: ``python -m napari_so3.widgets.desk_docks [FOLDER]`` opens napari with them, and the session
of a folder of micrographs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QTimer

from napari_so3.widgets.tabs import join_tabs, to_front

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

TITLES = (  # of the tabs from left to right
    "Micrographs",
    "Pick particles",
    "Label and train",
    "Rotations and score maps",
    "3D filters",
    "Poses",
    "Import and export",
)


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
    first = docks[TITLES[0]]
    QTimer.singleShot(0, lambda: to_front(first))  # after each has come to the front by itself
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
