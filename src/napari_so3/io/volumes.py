"""MRC files of one volume, such as the density of a particle; and all that are written."""

from __future__ import annotations

import warnings
import zlib
from typing import TYPE_CHECKING, Literal, NamedTuple

import mrcfile
import numpy as np

from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HEADER_SIZE = 1024
_COMPLEX = (3, 4)
_UNEVEN = 0.005  # relative difference between the sides of a voxel


class VolumeError(ValueError):
    """A volume that cannot be read; one sentence that names the file."""


class Volume(NamedTuple):
    """What a file holds.

    Parameters
    ----------
    values : ndarray
        (nz, ny, nx) float32, in the order of the file.
    voxel_size : float or None
        Å, where the header gives it.
    """

    values: NDArray[np.float32]
    voxel_size: float | None


def read_volume(path: Path) -> Volume:
    """Read a volume, plain or compressed with gzip or bzip2.

    Voxels stay in the order of the file whatever mapc, mapr and maps say, as in RELION.

    Parameters
    ----------
    path : Path
        File; what it holds decides about compression, not its name.

    Returns
    -------
    Volume
        Values and voxel size, the latter from the cell and the number of columns.

    Raises
    ------
    VolumeError
        The file cannot be opened, is not one volume in real space, is damaged, or its voxels are
        not cubes.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(3)[:2] in (b"\x1f\x8b", b"BZ")
    except OSError as error:
        raise VolumeError(
            f"{path}: it cannot be opened ({error.strerror or error}); give an existing map."
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what matters is checked below
            if not compressed:
                _check_size(path)
            with mrcfile.open(path, permissive=True) as mrc:
                header, data = mrc.header, mrc.data
    except (ValueError, EOFError, zlib.error, MemoryError) as error:
        raise VolumeError(f"{path.name}: it is not an MRC file, or damaged ({error}).") from error
    if header is None or data is None:
        raise VolumeError(f"{path.name}: it is truncated or not an MRC file; copy it again.")
    _check_kind(path, int(header.mode), data.shape)
    return Volume(np.ascontiguousarray(data, dtype=np.float32), _voxel_size(path, header))


def _check_size(path: Path) -> None:
    """Compare the header with the size of the file, before anything is allocated."""
    with mrcfile.open(path, permissive=True, header_only=True) as mrc:
        header = mrc.header
        voxels = int(header.nx) * int(header.ny) * int(header.nz)
    needed = HEADER_SIZE + int(header.nsymbt) + voxels  # at least a byte each
    if min(header.nx, header.ny, header.nz) < 1 or path.stat().st_size < needed:
        raise ValueError(
            f"its header gives {header.nx} x {header.ny} x {header.nz} voxels and the file has "
            f"{path.stat().st_size} bytes"
        )


def _check_kind(path: Path, mode: int, shape: tuple[int, ...]) -> None:
    if mode in _COMPLEX:
        raise VolumeError(f"{path.name}: it holds a Fourier transform; give the map itself.")
    if len(shape) != 3 or 1 in shape:
        sides = " x ".join(str(n) for n in reversed(shape))
        raise VolumeError(f"{path.name}: it is not a 3D map but has {sides} pixels; give a map.")
    if ".mrcs" in path.name.lower():
        raise VolumeError(f"{path.name}: it is a stack of images, not a 3D map; give a map.")


def _voxel_size(path: Path, header: np.recarray[tuple[int], np.dtype[np.void]]) -> float | None:
    """Voxel size from the cell and the shape, for tools that shrink maps leave mx as it was."""
    sides = [
        float(header.cella[axis]) / int(header[count])
        for axis, count in (("x", "nx"), ("y", "ny"), ("z", "nz"))
    ]
    if not all(np.isfinite(sides)) or sides[0] <= 0:
        return None
    if max(abs(side - sides[0]) for side in sides) > _UNEVEN * sides[0]:
        raise VolumeError(
            f"{path.name}: its voxels are not cubes ({' x '.join(f'{s:.4g}' for s in sides)} Å); "
            "resample it to equal sides."
        )
    return sides[0]


def write_image(path: Path, image: NDArray[np.float32], pixel_size: float) -> None:
    """Write an image as MRC, replacing what is there.

    Parameters
    ----------
    path : Path
        File.
    image : ndarray
        (ny, nx) float32, row 0 first.
    pixel_size : float
        Å.
    """
    _write(path, image, pixel_size)


def write_volume(path: Path, values: NDArray[np.float32], voxel_size: float) -> None:
    """Write a volume as MRC, replacing what is there.

    Parameters
    ----------
    path : Path
        File.
    values : ndarray
        (nz, ny, nx) float32, in the order of the file.
    voxel_size : float
        Å.
    """
    _write(path, values, voxel_size, "volume")


def write_image_stack(path: Path, images: NDArray[np.float32], pixel_size: float) -> None:
    """Write images as MRCS, replacing what is there.

    Parameters
    ----------
    path : Path
        File.
    images : ndarray
        (n, ny, nx) float32, row 0 first.
    pixel_size : float
        Å.
    """
    _write(path, images, pixel_size, "stack")


def _write(
    path: Path,
    values: NDArray[np.float32],
    size: float,
    of: Literal["image", "volume", "stack"] = "image",
) -> None:
    with atomic_path(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(np.asarray(values, dtype=np.float32))
        if of == "stack":
            mrc.set_image_stack()
        elif of == "volume":
            mrc.set_volume()
        mrc.voxel_size = size
