"""Picks with their poses, and their boxes, as one particles STAR file and MRCS stacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.io.files import shown_path
from napari_so3.io.micrographs import micrograph_name
from napari_so3.io.particle_star import image_names, write_particles_star
from napari_so3.io.volumes import write_image_stack
from napari_so3.poses.boxes import box_centres, extract_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import ArrayLike

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.poses.poses import Poses

POSE_COLUMNS = ("rot", "tilt", "psi", "dx", "dy", "confidence")
BOXES = "_boxes"  # what the folder of stacks beside PARTICLES.star adds to its name


class WritingError(ValueError):
    """Particles that cannot be written; one sentence for the user."""


@dataclass(frozen=True)
class Writing:
    """How many of the micrographs have their boxes."""

    done: int
    total: int


def particle_table(poses: Poses, score: ArrayLike) -> pd.DataFrame:
    """Give picks and their poses as particles are written.

    Parameters
    ----------
    poses : Poses
        Of n picks.
    score : array_like
        (n,) log-odds of the picks; NaN for none.

    Returns
    -------
    DataFrame
        (n,) rows of x, y, score and `POSE_COLUMNS`, for `write_particles`.
    """
    table: pd.DataFrame = poses.table[["x", "y", *POSE_COLUMNS]].reset_index(drop=True)
    table.insert(2, "score", np.asarray(score, np.float64))
    return table


def write_particles(
    output: Path,
    tables: Mapping[str, pd.DataFrame],
    pixel_size: float,
    box: int,
    open_micrograph: Callable[[str], Micrograph] | None = None,
) -> Iterator[Writing]:
    """Write particles, and if asked their images.

    Parameters
    ----------
    output : Path
        STAR file; replaced as a whole, after all images are there.
    tables : mapping of str to DataFrame
        Micrograph, as it is to be written, to x, y (pixels) and score, and in all tables or none
        `POSE_COLUMNS`.
    pixel_size : float
        Å per pixel of the micrographs.
    box : int
        Edge of the boxes, pixels; even.
    open_micrograph : callable, optional
        Opens the micrograph of a key of the tables. If it is given, the boxes are cut, their
        particles bright and their background normalised, into a stack for each micrograph in the
        folder ``STEM_boxes`` beside the file. The coordinates are then the middle pixels of the
        boxes, and shifts lead from there to where the particles are.

    Yields
    ------
    Writing
        After every micrograph whose boxes are cut. Stop iterating to cancel.

    Raises
    ------
    BoxError, MicrographError, StarError
        Something cannot be cut, read or written.
    WritingError
        A folder or file cannot be written.
    """
    written = dict(tables)
    try:
        if open_micrograph is not None:
            folder = output.with_name(output.stem + BOXES)
            folder.mkdir(parents=True, exist_ok=True)
            for done, (name, table) in enumerate(tables.items(), start=1):
                stack = folder / f"{micrograph_name(name)}.mrcs"
                images = extract_boxes(open_micrograph(name), table[["y", "x"]].to_numpy(), box)
                write_image_stack(stack, images, pixel_size)
                written[name] = _centred(table, pixel_size)
                written[name]["image"] = image_names(shown_path(stack), len(table), output)
                yield Writing(done, len(tables))
        write_particles_star(output, written, pixel_size, box)
    except OSError as error:
        raise WritingError(
            f"{error.filename or output}: cannot be written ({error.strerror or error})."
        ) from error


def _centred(table: pd.DataFrame, pixel_size: float) -> pd.DataFrame:
    """Say where particles are from the middle pixel of their boxes."""
    out = table.copy()
    out[["y", "x"]] = box_centres(table[["y", "x"]].to_numpy())
    for axis in ("y", "x"):
        beside = (table[axis] - out[axis]) * pixel_size
        out[f"d{axis}"] = beside + table.get(f"d{axis}", 0.0)
    return out
