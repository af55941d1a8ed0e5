"""Saving picks: napari's File > Save, and the button of the dock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error

from napari_so3.io.files import shown_path
from napari_so3.io.star import StarError, write_picks_star
from napari_so3.widgets.layers import KEY

if TYPE_CHECKING:
    from napari.layers import Points
    from numpy.typing import NDArray

NO_SCORE = -999.0  # what RELION and crYOLO write for coordinates that nothing scored


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
    try:
        _write(Path(path), data, attributes)
    except (OSError, StarError) as error:
        show_error(str(error))
        return []
    return [path]


def save_picks(layer: Points, path: Path) -> int:
    """Write the shown picks of a layer.

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
    return _write(path, layer.data, {name: getattr(layer, name) for name in names})


def _write(path: Path, data: NDArray[Any], attributes: dict[str, Any]) -> int:
    if data.ndim != 2 or data.shape[1] != 2:
        raise StarError(
            f"{path.name}: the points have {data.shape[-1]} dimensions; "
            "coordinates of a micrograph have two."
        )
    shown = np.broadcast_to(attributes.get("shown", True), len(data))
    features = attributes.get("features", {})
    score = np.asarray(features.get("score", np.full(len(data), np.nan)), dtype=np.float64)
    score = np.where(np.isfinite(score), score, NO_SCORE)
    note = attributes.get("metadata", {}).get(KEY, {})
    micrograph = note.get("micrograph") or attributes.get("name", path.stem)
    if Path(micrograph).is_absolute():
        micrograph = shown_path(Path(micrograph))
    y, x = data[shown].T
    write_picks_star(path, micrograph, x, y, score[shown])
    return int(shown.sum())
