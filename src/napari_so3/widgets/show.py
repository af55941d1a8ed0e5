"""Open napari with a micrograph, its picks and the dock.

Usage: ``python -m napari_so3.widgets.show MICROGRAPH CANDIDATES_CSV``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QApplication

from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.picking.picks import Picks, PicksError
from napari_so3.session.state import session_of
from napari_so3.widgets.layers import image_layer_data, show_picks
from napari_so3.widgets.settings import session_defaults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_so3.io.micrographs import Micrograph


def read(micrograph: Path, candidates: Path) -> tuple[Micrograph, Picks]:
    """Read a micrograph, with the pixel size that it was picked with, and its picks.

    Parameters
    ----------
    micrograph : Path
        File.
    candidates : Path
        Table that `Picks.write_csv` wrote.

    Returns
    -------
    Micrograph, Picks
        What `show` takes.

    Raises
    ------
    MicrographError, PicksError
        One of the files cannot be used.
    """
    picks = Picks.read_csv(candidates)
    given = picks.provenance["pixel_size_source"] == "given"
    return read_micrograph(micrograph, picks.provenance["pixel_size"] if given else None), picks


def show(viewer: napari.Viewer, micrograph: Micrograph, picks: Picks) -> None:
    """Show a micrograph with its picks, and the dock with the diameter they were made with.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to show them.
    micrograph : Micrograph
        The micrograph.
    picks : Picks
        Its candidates.
    """
    image = viewer.add_layer(Layer.create(*image_layer_data(micrograph)))
    session = session_of(viewer, **session_defaults())
    session.diameter, session.threshold = picks.provenance["diameter"], None
    show_picks(viewer, image, picks, np.ones(len(picks), bool))  # the dock knows the threshold
    viewer.window.add_plugin_dock_widget("napari-so3", "Pick particles")
    QApplication.processEvents()  # the dock takes its place
    viewer.reset_view()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run napari; the exit code is 2 where a file cannot be used."""
    parser = argparse.ArgumentParser(prog="napari_so3.widgets.show", description=__doc__)
    parser.add_argument("micrograph", type=Path)
    parser.add_argument("candidates", type=Path)
    files = parser.parse_args(arguments)
    try:
        micrograph, picks = read(files.micrograph, files.candidates)
    except (MicrographError, PicksError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    show(napari.Viewer(title="napari-so3"), micrograph, picks)
    napari.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
