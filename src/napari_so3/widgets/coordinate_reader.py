"""Opening coordinates of any program in napari, on their micrograph where it is open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning

from napari_so3.io.coordinates import (
    ENDINGS,
    CoordinateError,
    NoCoordinatesError,
    read_coordinate_file,
)
from napari_so3.io.dialects.tables import NAPARI
from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.io.names import match_names
from napari_so3.picking.collect import collect_tables
from napari_so3.picking.orientation import AS_THEY_ARE, BOX, check_orientation
from napari_so3.widgets.layers import (
    KEY,
    RINGS,
    LayerError,
    in_session,
    micrograph_id,
    micrograph_of,
)
from napari_so3.widgets.settings import session_defaults
from napari_so3.widgets.workers import start_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from napari_so3.io.coordinates import CoordinateFile
    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.orientation import OrientationCheck

PATTERNS = tuple(f"*{ending}" for ending in ENDINGS)
_GENERAL = (".json", ".txt", ".tab", ".tsv", ".csv")  # endings of other things too
_DRAWN = 0.02  # of the extent of the coordinates: the size of points whose box is not known


def get_reader(path: str | list[str]) -> Callable[[str], list[tuple[Any, ...]]] | None:
    """Tell napari whether a file holds coordinates.

    Parameters
    ----------
    path : str or list of str
        File; a list is to become one stack, which coordinates are not.

    Returns
    -------
    callable or None
        `read`; None where the ending is another, or where it is a general one and the content is
        something else, or points that napari has written, which it reads itself.
    """
    if isinstance(path, list) or Path(path).suffix.lower() not in ENDINGS:
        return None
    if Path(path).suffix.lower() in _GENERAL:
        try:
            file = read_coordinate_file(path)
        except NoCoordinatesError:
            return None
        except CoordinateError:
            return read  # which says what is wrong
        if file.format == NAPARI:
            return None
    return read


def read(path: str) -> list[tuple[Any, ...]]:
    """Open coordinates as Points layers (see docs/layers.md).

    Parameters
    ----------
    path : str
        File.

    Returns
    -------
    list of tuple
        A layer for every open micrograph that has coordinates; or else one, of the micrograph with
        most coordinates; napari's "nothing to add" where the file cannot be read. Notifications say
        what was done, what is not shown, and whether another reading would fit the image better.
    """
    try:
        file = read_coordinate_file(path)
        tables = collect_tables([file])
    except CoordinateError as error:
        show_error(str(error))
        return [(None,)]
    viewer = napari.current_viewer()
    images = [layer for layer in viewer.layers if isinstance(layer, Image)] if viewer else []
    by_id = {micrograph_id(image): image for image in images}
    pairs = match_names(by_id, tables).pairs
    for note in file.notes:
        show_info(f"{file.path.name}: {note}.")
    if not pairs:
        return [_elsewhere(file, tables, any_open=bool(images))]
    if others := len(tables) - len(pairs):
        show_info(f"{file.path.name}: coordinates of {others} other micrographs are not shown.")
    return [_on_image(file, tables[name], by_id[found]) for found, name in pairs]


def _elsewhere(
    file: CoordinateFile, tables: dict[str, pd.DataFrame], any_open: bool
) -> tuple[Any, dict[str, Any], str]:
    """Points layer of the micrograph with most coordinates, none of which is open."""
    name = max(tables, key=lambda name: len(tables[name]))
    if len(tables) > 1:
        show_warning(
            f"{file.path.name}: of {len(tables)} micrographs, {name} with most coordinates is "
            "shown; open a micrograph first to see those of it."
        )
    elif any_open:
        show_warning(
            f"{file.path.name}: no open micrograph is called {name}, so the coordinates lie in "
            "pixels."
        )
    return _layer(file, name, tables[name])


def _layer(file: CoordinateFile, name: str, table: pd.DataFrame) -> tuple[Any, dict[str, Any], str]:
    """Points layer of a micrograph that is not open."""
    data = table[["y", "x"]].to_numpy(np.float64)
    box = float(table["box"].median()) if "box" in table and len(table) else None
    extent = float(data.max(initial=0.0))
    named = "micrograph" in table and len(table) > 0
    note = {
        "kind": "coordinates",
        "micrograph": str(table["micrograph"].iloc[0]) if named else name,
        "path": os.path.abspath(file.path),
        "format": file.format,
        "box": box,
    }
    attributes: dict[str, Any] = {
        "name": f"{name} coordinates",
        "ndim": 2,
        "size": max(1.0, _DRAWN * extent if box is None else box / BOX),
        "features": {"score": table["score"].to_numpy()} if "score" in table else {},
        "metadata": {KEY: note},
        "axis_labels": ("y", "x"),
        **RINGS,
    }
    return data, attributes, "points"


def _on_image(
    file: CoordinateFile, table: pd.DataFrame, image: Image
) -> tuple[Any, dict[str, Any], str]:
    """Points layer that lies on an open micrograph."""
    data, attributes, kind = _layer(file, image.name, table)
    attributes["metadata"][KEY]["micrograph"] = micrograph_id(image)
    for name in ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"):
        attributes[name] = getattr(image, name)
    micrograph, size = _source(image)
    if in_session(image):  # what is displayed may be binned
        attributes["scale"] = (size or 1.0,) * 2
    if attributes["metadata"][KEY]["box"] is None and size:
        attributes["size"] = session_defaults()["diameter"] / size
    if micrograph is not None and (size or attributes["metadata"][KEY]["box"]):
        _check(file, table, micrograph, attributes["size"])
    return data, attributes, kind


def _source(image: Image) -> tuple[Micrograph | None, float | None]:
    """Find the micrograph of a layer, None where it is none, and its pixel size."""
    try:
        if in_session(image):
            return read_micrograph(micrograph_id(image)), image.metadata[KEY]["pixel_size"]
        micrograph = micrograph_of(image)
    except (LayerError, MicrographError):
        return None, None
    return micrograph, micrograph.pixel_size


def _check(
    file: CoordinateFile, table: pd.DataFrame, micrograph: Micrograph, diameter: float
) -> None:
    """Say so where another reading of the coordinates fits the image better; after a while."""

    def warn(check: OrientationCheck) -> None:
        if check.best != AS_THEY_ARE:
            show_warning(f"{file.path.name}: {check.sentence()}")

    def look() -> OrientationCheck:
        return check_orientation(np.asarray(micrograph.data), table, diameter)

    start_worker(look, returned=warn)
