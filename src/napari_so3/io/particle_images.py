"""The images of particles that a table names: MRCS stacks, or MRC files."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import mrcfile
import numpy as np

from napari_so3.io.files import find_in_project
from napari_so3.io.particles import ParticleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.io.particles import ParticleTable

HEADER_SIZE = 1024
_COMPLEX = (3, 4)


def read_particle_images(
    table: ParticleTable, rows: Sequence[int] | NDArray[np.integer] | None = None
) -> NDArray[np.float32]:
    """Read images of particles.

    Stacks are looked for as RELION names them, relative to the project: from the folder of the
    table upwards, from the working folder, and beside the table.

    Parameters
    ----------
    table : ParticleTable
        With stack and index.
    rows : sequence of int, optional
        Which particles; all by default.

    Returns
    -------
    ndarray
        (n, ny, nx) float32, in the order of the rows, row 0 of each image first; contrast and
        scale as in the files.

    Raises
    ------
    ParticleError
        The table names no images, a stack is missing or damaged, or images differ in size.
    """
    if not table.has("stack", "index"):
        raise ParticleError(f"{table.path.name}: it names no images of particles.")
    chosen = table.table[["stack", "index"]]
    if rows is not None:
        chosen = chosen.iloc[list(rows)]
    chosen = chosen.reset_index(drop=True)
    images: NDArray[np.float32] | None = None
    for name, part in chosen.groupby("stack", sort=False):
        found = _read_stack(str(name), part["index"].to_numpy(), table.path)
        if images is None:
            images = np.empty((len(chosen), *found.shape[1:]), dtype=np.float32)
        if found.shape[1:] != images.shape[1:]:
            raise ParticleError(
                f"{table.path.name}: its images differ in size ({_size(images)} and {_size(found)} "
                f"pixels in {name}); read each size by itself."
            )
        images[part.index.to_numpy()] = found
    return np.empty((0, 0, 0), dtype=np.float32) if images is None else images


def _size(images: NDArray[np.float32]) -> str:
    return f"{images.shape[2]} x {images.shape[1]}"


def _read_stack(name: str, indices: NDArray[np.int64], table: Path) -> NDArray[np.float32]:
    """Read (n, ny, nx) images of a stack."""
    path = find_in_project(name, table.resolve().parent)
    if path is None:
        raise ParticleError(
            f"{table.name}: the stack {name} that it names is not there; put it where it was, "
            "relative to the RELION project, or beside the file."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what matters is checked
            stack = _map(path)
    except (OSError, ValueError) as error:
        raise ParticleError(
            f"{path.name}: it is no stack of images, or damaged ({error})."
        ) from error
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(stack):
        raise ParticleError(
            f"{table.name}: it names image {indices.max() + 1} of {path.name}, which has "
            f"{len(stack)}."
        )
    return np.asarray(stack[indices], dtype=np.float32)


def _map(path: Path) -> NDArray[np.generic]:
    """Map (n, ny, nx) images into memory, once the header agrees with the file."""
    with mrcfile.open(path, permissive=True, header_only=True) as mrc:
        sides = [int(mrc.header[side]) for side in ("nz", "ny", "nx")]
        needed = HEADER_SIZE + int(mrc.header.nsymbt) + int(np.prod(sides, dtype=np.int64))
        if int(mrc.header.mode) in _COMPLEX:
            raise ValueError("it holds Fourier transforms")
    if min(sides) < 1 or path.stat().st_size < needed:  # at least a byte each
        raise ValueError(f"its header gives {' x '.join(map(str, reversed(sides)))} pixels")
    with mrcfile.mmap(path, permissive=True) as mrc:
        if mrc.data is None:
            raise ValueError("it is truncated")
        stack: NDArray[np.generic] = mrc.data.reshape(-1, *sides[1:])
    return stack
