"""Opening micrographs in napari."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_warning

from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.widgets.layers import image_layer_data

if TYPE_CHECKING:
    from collections.abc import Callable

PATTERNS = ("*.mrc", "*.mrcs", "*.mrc.gz", "*.mrc.bz2", "*.tif", "*.tiff")


def get_reader(path: str | list[str]) -> Callable[[str], list[tuple[Any, ...]]] | None:
    """Tell napari whether files are micrographs, by their ending alone.

    Parameters
    ----------
    path : str or list of str
        File; a list is to become one stack, which a micrograph is not.

    Returns
    -------
    callable or None
        `read`, or None where the ending is another.
    """
    if isinstance(path, list) or not any(fnmatch.fnmatch(path.lower(), p) for p in PATTERNS):
        return None
    return read


def read(path: str) -> list[tuple[Any, ...]]:
    """Open a micrograph as an Image layer (see docs/layers.md).

    Parameters
    ----------
    path : str
        File.

    Returns
    -------
    list of tuple
        The layer; napari's "nothing to add" where the file is no micrograph, with a notification
        of one sentence, since what a reader raises is shown with a traceback.
    """
    try:
        micrograph = read_micrograph(path)
        layer = image_layer_data(micrograph)
    except MicrographError as error:
        show_error(str(error))
        return [(None,)]
    for warning in micrograph.header_warnings:
        show_warning(f"{micrograph.path.name}: {warning}")
    return [layer]
