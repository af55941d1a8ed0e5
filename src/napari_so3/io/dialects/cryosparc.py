"""The .cs files of cryoSPARC: numpy tables with places as fractions of the micrograph.

cryoSPARC counts y from the lower edge: x = fraction * nx, y = (1 - fraction) * ny.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.io.dialects.common import CoordinateError, NoCoordinatesError, make_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
_NEEDED = ("center_x_frac", "center_y_frac", "micrograph_shape", "micrograph_path")
_SCORE = "pick_stats/ncc_score"


def is_cs(path: Path) -> bool:
    """Tell a file of cryoSPARC by its ending or its first bytes."""
    if path.suffix.lower() == ".cs":
        return True
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False  # reading it as text will say why


def read_cs(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the locations of a cryoSPARC file.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    table : DataFrame
        x, y, micrograph, and score (pick_stats/ncc_score) where it has one.
    notes : tuple of str
        What was done.

    Raises
    ------
    CoordinateError
        The file cannot be opened, or a location is not finite.
    NoCoordinatesError
        It is no table of numpy, or has no locations.
    """
    return locations_of(load_rows(path), path)


def locations_of(rows: NDArray[Any], path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Find the locations in the rows of a file, as `read_cs` does.

    Parameters
    ----------
    rows : ndarray
        (n,) structured, of `load_rows`.
    path : Path
        File, for messages.

    Returns
    -------
    table : DataFrame
        As of `read_cs`.
    notes : tuple of str
        What was done.

    Raises
    ------
    CoordinateError
        A location is not finite. `NoCoordinatesError` where there are none.
    """
    names = rows.dtype.names or ()
    if any(f"location/{name}" not in names for name in _NEEDED):
        raise NoCoordinatesError(
            f"{path.name}: it holds no locations (location/center_x_frac ...); give the passthrough"
            " file of the same job (..._passthrough_particles.cs) or the particles of the job that "
            "picked or extracted them."
        )
    x, y, shape, micrographs = (rows[f"location/{name}"] for name in _NEEDED)
    ny, nx = shape.reshape(-1, 2).astype(np.float64).T
    columns, lines = x.astype(np.float64) * nx, (1.0 - y.astype(np.float64)) * ny
    if not (np.isfinite(columns).all() and np.isfinite(lines).all()):
        raise CoordinateError(f"{path.name}: a location of a particle is not finite.")
    table = make_table(
        columns,
        lines,
        rows[_SCORE] if _SCORE in names else None,
        [decoded(name) for name in micrographs],
    )
    return table, ("y was counted from the lower edge in cryoSPARC and is turned",)


def load_rows(path: Path) -> NDArray[Any]:
    """Read the rows of a cryoSPARC file, which never are unpickled.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    ndarray
        (n,) structured.

    Raises
    ------
    CoordinateError
        The file cannot be opened, or is damaged. `NoCoordinatesError` where it is no table.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise NoCoordinatesError(
                    f"{path.name}: it is no table of numpy, as .cs files are; export the particles "
                    "from cryoSPARC as .cs or STAR again."
                )
        rows: NDArray[Any] = np.load(path, allow_pickle=False)
    except OSError as error:
        raise CoordinateError(
            f"{path.name}: it cannot be opened ({error.strerror or error})."
        ) from error
    except (EOFError, ValueError) as error:
        if isinstance(error, CoordinateError):
            raise
        raise CoordinateError(
            f"{path.name}: it is damaged or holds Python objects, which are not read."
        ) from error
    return rows


def decoded(name: Any) -> str:
    """Name as text, without the mark of paths inside of the project."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return text.lstrip(">")
