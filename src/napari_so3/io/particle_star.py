"""STAR files of particles, as RELION 3.1 to 5 write them: optics and particles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import starfile

from napari_so3.io.dialects.common import NO_SCORE
from napari_so3.io.star import StarError, checked_name, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

# Columns of a table of particles that are written where they are there, by name in the file.
POSES = {"rot": "rlnAngleRot", "tilt": "rlnAngleTilt", "psi": "rlnAnglePsi"}
SHIFTS = {"dx": "rlnOriginXAngst", "dy": "rlnOriginYAngst"}
OPTIONAL = {**POSES, **SHIFTS, "confidence": "rlnParticleFigureOfMerit", "image": "rlnImageName"}
_FIGURE = "rlnAutopickFigureOfMerit"
_COLUMNS = ["rlnCoordinateX", "rlnCoordinateY", _FIGURE, "rlnOpticsGroup", "rlnMicrographName"]


def write_particles_star(
    path: str | Path, tables: Mapping[str, pd.DataFrame], pixel_size: float, box: int
) -> None:
    """Write the picks of many micrographs, with their poses and images where they have them.

    cryoSPARC's Import Particles takes it, with the micrographs as its source exposures; voltage,
    Cs and amplitude contrast are not in it.

    Parameters
    ----------
    path : str or Path
        File; replaced as a whole.
    tables : mapping of str to DataFrame
        Micrograph, as in `write_picks_star`, to x, y (pixels) and score, kept to 1e-6; NaN stands
        for no score. And on request, in every table: ``rot``, ``tilt``, ``psi`` (RELION angles,
        degrees); ``dx``, ``dy`` (Å from x and y to the centre of the particle, written with
        RELION's sign: centre = coordinate - origin / pixel size); ``confidence``, written as
        rlnParticleFigureOfMerit; ``image`` (image of the particle, as `image_names` gives).
    pixel_size : float
        Å per pixel of the micrographs, and of the images.
    box : int
        Edge of the boxes, pixels.

    Raises
    ------
    StarError
        A name cannot be written in a STAR file, a pose or shift is not finite, or some tables have
        columns that others have not.
    """
    path = Path(path)
    columns = _common_columns(tables, path)
    parts = [_particles(name, table, columns, path) for name, table in tables.items()]
    particles = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)
    if len(particles) and (particles[_FIGURE] == NO_SCORE).all():
        particles = particles.drop(columns=_FIGURE)
    size = float(pixel_size)
    sizes = {"rlnMicrographPixelSize": size, "rlnImagePixelSize": size, "rlnImageSize": box}
    _write(path, sizes, particles)


def image_names(stack: str, count: int, path: str | Path) -> list[str]:
    """Name the images of a stack as RELION does, 000001@STACK the first.

    Parameters
    ----------
    stack : str
        Path of the MRCS file, relative to the RELION project; a name as in `write_picks_star`.
    count : int
        Number of images.
    path : str or Path
        STAR file to be written, for messages.

    Returns
    -------
    list of str
        A name for each image.

    Raises
    ------
    StarError
        The name of the stack cannot be written in a STAR file.
    """
    checked_name(stack, Path(path))
    return [f"{i + 1:06d}@{stack}" for i in range(count)]


def write_projections_star(
    path: str | Path, stack: str, angles: ArrayLike, pixel_size: float, box: int
) -> None:
    """Write which rotation every image of a stack is the projection of.

    Parameters
    ----------
    path : str or Path
        File; replaced as a whole.
    stack : str
        Path of the MRCS file, relative to the RELION project; a name as in `write_picks_star`.
    angles : array_like
        (n, 3) rot, tilt and psi in degrees of the images, in their order.
    pixel_size : float
        Å per pixel of the images.
    box : int
        Their edge, pixels.

    Raises
    ------
    StarError
        The name cannot be written in a STAR file.
    """
    path = Path(path)
    each = np.asarray(angles, dtype=np.float64).reshape(-1, 3)
    particles = pd.DataFrame({"rlnImageName": image_names(stack, len(each), path)})
    particles[list(POSES.values())] = each
    particles["rlnOpticsGroup"] = 1
    _write(path, {"rlnImagePixelSize": float(pixel_size), "rlnImageSize": box}, particles)


def _common_columns(tables: Mapping[str, pd.DataFrame], path: Path) -> list[str]:
    """Find the optional columns, which all tables have or none."""
    kinds = {tuple(name for name in OPTIONAL if name in table) for table in tables.values()}
    if len(kinds) > 1:
        some = sorted({name for kind in kinds for name in kind})
        raise StarError(
            f"{path.name}: some micrographs have {', '.join(some)} and others have not; write them "
            "into two files."
        )
    columns = list(kinds.pop()) if kinds else []
    for whole in (POSES, SHIFTS):
        if 0 < len(set(whole) & set(columns)) < len(whole):
            raise StarError(f"{path.name}: {', '.join(whole)} are written together or not at all.")
    return columns


def _particles(name: str, table: pd.DataFrame, columns: list[str], path: Path) -> pd.DataFrame:
    checked = checked_name(name, path)
    numbers = [column for column in columns if column != "image"]
    if not np.isfinite(table[numbers].to_numpy(dtype=np.float64)).all():
        raise StarError(f"{path.name}: a pose, shift or confidence in {name} is not finite.")
    particles = pd.DataFrame(
        {
            "rlnCoordinateX": table["x"],
            "rlnCoordinateY": table["y"],
            _FIGURE: table["score"].fillna(NO_SCORE),
            **{OPTIONAL[c]: -table[c] if c in SHIFTS else table[c] for c in numbers},
            "rlnOpticsGroup": 1,
        }
    )
    if "image" in columns:
        particles[OPTIONAL["image"]] = table["image"]
    particles["rlnMicrographName"] = pd.Series(checked, index=table.index, dtype=object)
    return particles


def _write(path: Path, sizes: dict[str, float], particles: pd.DataFrame) -> None:
    """Write particles of one optics group."""
    group = {"rlnOpticsGroupName": "opticsGroup1", "rlnOpticsGroup": 1}
    optics = pd.DataFrame([{**group, **sizes, "rlnImageDimensionality": 2}])
    text = starfile.to_string({"optics": optics, "particles": particles}, float_format="%.6f")
    write_text(path, text)
