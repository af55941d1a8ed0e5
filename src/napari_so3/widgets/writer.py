"""Saving picks: napari's File > Save in many formats, and the button of the dock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.utils.notifications import show_error

from napari_so3.io.coordinates import CoordinateError, write_coordinates
from napari_so3.io.dialects.common import NO_SCORE
from napari_so3.io.files import shown_path
from napari_so3.io.star import write_picks_star
from napari_so3.picking.orientation import BOX
from napari_so3.widgets.layers import KEY

if TYPE_CHECKING:
    from napari.layers import Points
    from numpy.typing import NDArray


def write_star(path: str, data: NDArray[Any], attributes: dict[str, Any]) -> list[str]:
    """Write the shown points of a layer as a RELION coordinate file.

    Parameters
    ----------
    path : str
        File.
    data : ndarray
        (n, 2) y and x in pixels of the micrograph.
    attributes : dict
        The layer's state; ``shown``, ``features["score"]`` and the micrograph of the metadata are
        used where they are there.

    Returns
    -------
    list of str
        Files written; none where the points are no coordinates of a micrograph, with a
        notification of one sentence.
    """
    return _save(path, "star", data, attributes)


def write_box(path: str, data: NDArray[Any], attributes: dict[str, Any]) -> list[str]:
    """Write the shown points of a layer as EMAN boxes; as `write_star`."""
    return _save(path, "box", data, attributes)


def write_cbox(path: str, data: NDArray[Any], attributes: dict[str, Any]) -> list[str]:
    """Write the shown points of a layer as CBOX of crYOLO; as `write_star`."""
    return _save(path, "cbox", data, attributes)


def write_json(path: str, data: NDArray[Any], attributes: dict[str, Any]) -> list[str]:
    """Write the shown points of a layer as boxes of EMAN2; as `write_star`."""
    return _save(path, "json", data, attributes)


def write_topaz(path: str, data: NDArray[Any], attributes: dict[str, Any]) -> list[str]:
    """Write the shown points of a layer as a Topaz table; as `write_star`."""
    return _save(path, "topaz", data, attributes)


def write_csv(path: str, data: NDArray[Any], attributes: dict[str, Any]) -> list[str]:
    """Write the shown points of a layer as x, y, score and micrograph; as `write_star`."""
    return _save(path, "csv", data, attributes)


def save_picks(layer: Points, path: Path) -> int:
    """Write the shown picks of a layer as a RELION coordinate file.

    Parameters
    ----------
    layer : Points
        Layer of picks.
    path : Path
        File.

    Returns
    -------
    int
        Number of picks written.

    Raises
    ------
    StarError, OSError
        They cannot be written.
    """
    names = ("features", "metadata", "name", "shown")
    attributes = {name: getattr(layer, name) for name in names}
    micrograph, table = _shown_points(path, layer.data, attributes)
    score = table["score"].fillna(NO_SCORE)
    write_picks_star(path, micrograph, table["x"], table["y"], score)
    return len(table)


def _save(path: str, form: str, data: NDArray[Any], attributes: dict[str, Any]) -> list[str]:
    try:
        micrograph, table = _shown_points(Path(path), data, attributes)
        box = _box(attributes, len(data))
        write_coordinates(Path(path), form, {micrograph: table}, box=box, pixel_size=None)
    except CoordinateError as error:
        show_error(str(error))
        return []
    return [path]


def _shown_points(
    path: Path, data: NDArray[Any], attributes: dict[str, Any]
) -> tuple[str, pd.DataFrame]:
    """Micrograph of a layer as it is to be written, and x, y, score of its shown points."""
    if data.ndim != 2 or data.shape[1] != 2:
        raise CoordinateError(
            f"{path.name}: the points have {data.shape[-1]} dimensions; "
            "coordinates of a micrograph have two."
        )
    shown = np.broadcast_to(attributes.get("shown", True), len(data))
    features = attributes.get("features", {})
    score = np.asarray(features.get("score", np.full(len(data), np.nan)), dtype=np.float64)
    note = attributes.get("metadata", {}).get(KEY, {})
    micrograph = note.get("micrograph") or attributes.get("name", path.stem)
    if Path(micrograph).is_absolute():
        micrograph = shown_path(Path(micrograph))
    y, x = data[shown].T
    return micrograph, pd.DataFrame({"x": x, "y": y, "score": score[shown]})


def _box(attributes: dict[str, Any], points: int) -> int:
    """Edge of the box: what the layer says, or else one and a half of what is drawn; even."""
    note = attributes.get("metadata", {}).get(KEY, {})
    sizes = np.broadcast_to(attributes.get("size", 0.0), points)
    drawn = float(np.median(sizes[sizes > 0])) if (sizes > 0).any() else 0.0  # hidden ones have 0
    return round(note.get("box") or max(2, 2 * round(BOX * drawn / 2)))
