"""Micrographs: finding them, and reading one with its pixel size and what is odd about it."""

from __future__ import annotations

import glob
import math
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_so3.io.mrc import read_mrc
from napari_so3.io.rasters import read_picture, read_tiff
from napari_so3.io.raw import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_so3.io.raw import RawImage

_SUFFIX = re.compile(
    r"\.(?:(?P<mrc>mrcs?(?:\.(?:gz|bz2))?)|(?P<tiff>tiff?)|(?P<picture>png|jpe?g))$", re.IGNORECASE
)
_SUFFIXES = ".mrc, .mrcs, .mrc.gz, .mrc.bz2, .tif, .tiff, .png, .jpg"
_USUAL_PIXEL_SIZES = (0.3, 15.0)


class MicrographError(ValueError):
    """A file that cannot be used as a micrograph; one sentence that begins with its name."""


@dataclass(frozen=True, eq=False)
class Micrograph:
    """A 2D image, read lazily, and what its file says about it.

    Attributes
    ----------
    path : Path
        File.
    data : ndarray
        (ny, nx), read-only, in the file's dtype and byte order, row 0 first; memory-mapped for
        uncompressed MRC.
    pixel_size : float or None
        Å; None where unknown.
    pixel_size_source : {'header', 'given', 'unknown'}
        Where the pixel size comes from.
    header_warnings : tuple of str
        What is odd about the file, known without reading the pixels.
    """

    path: Path
    data: NDArray[Any]
    pixel_size: float | None
    pixel_size_source: Literal["header", "given", "unknown"]
    header_warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """File name without the ending of its format."""
        return micrograph_name(self.path)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """All that is odd about the file and its pixels; the first use reads all pixels."""
        return self.header_warnings + _pixel_warnings(self.data)

    def to_float32(self) -> NDArray[np.float32]:
        """Read the image into memory.

        Returns
        -------
        ndarray
            (ny, nx) float32, C-contiguous, native byte order, writable; NaN and infinities stay.
        """
        with np.errstate(over="ignore"):
            return np.array(self.data, dtype=np.float32, order="C", subok=False)


def micrograph_name(path: str | Path) -> str:
    """Name of a micrograph: its file name without the ending of its format.

    Parameters
    ----------
    path : str or Path
        File; it need not exist.

    Returns
    -------
    str
        Other dots in the name are kept.
    """
    return _SUFFIX.sub("", Path(path).name)


def read_micrograph(
    path: str | Path, pixel_size: float | None = None, *, reverse_tiff_rows: bool = True
) -> Micrograph:
    """Open a micrograph: MRC (plain, gzip, bzip2), TIFF, PNG or JPEG.

    Parameters
    ----------
    path : str or Path
        File; its ending tells the format.
    pixel_size : float, optional
        Å; it overrides what the file says.
    reverse_tiff_rows : bool
        Put the last row of a TIFF first, as EM programs do; has no effect on other formats.

    Returns
    -------
    Micrograph
        The pixel size of a header is rounded to five digits, since headers store float32 cells; 0
        and 1 Å mean unknown.

    Raises
    ------
    MicrographError
        The file cannot be read or is no single image, or `pixel_size` is no positive number.
    """
    path = Path(path)
    if pixel_size is not None and not (math.isfinite(pixel_size) and pixel_size > 0):
        raise MicrographError(
            f"{path.name}: the given pixel size {pixel_size} is no positive number of Å."
        )
    try:
        image = _read(path, reverse_tiff_rows)
    except UnreadableError as error:
        raise MicrographError(f"{path.name}: {error}") from error
    except OSError as error:
        raise MicrographError(
            f"{path.name}: it cannot be opened ({error.strerror or error})."
        ) from error
    size, source, size_warnings = _choose_pixel_size(image, pixel_size)
    return Micrograph(path, image.data, size, source, image.warnings + size_warnings)


def _read(path: Path, reverse_tiff_rows: bool) -> RawImage:
    match = _SUFFIX.search(path.name)
    if match is None:
        raise UnreadableError(f"its ending is none that is known ({_SUFFIXES}).")
    if match["mrc"]:
        return read_mrc(path)
    if match["tiff"]:
        return read_tiff(path, reverse_tiff_rows)
    return read_picture(path)


def _choose_pixel_size(
    image: RawImage, given: float | None
) -> tuple[float | None, Literal["header", "given", "unknown"], tuple[str, ...]]:
    """Pixel size, where it is from, and what is odd about it."""
    notes: tuple[str, ...] = ()
    source: Literal["header", "given"] = "given"
    size = given
    if size is None and image.pixel_size is not None:
        source, notes = "header", image.pixel_size_warnings
        size = float(f"{image.pixel_size:.5g}")
    if size is None or (source == "header" and size == 1.0):
        return None, "unknown", ()
    smallest, largest = _USUAL_PIXEL_SIZES
    if not smallest <= size <= largest:
        notes += (
            f"The pixel size is {size:g} Å, outside the usual {smallest:g} to {largest:g} Å: "
            "check it.",
        )
    return size, source, notes


def _pixel_warnings(data: NDArray[Any]) -> tuple[str, ...]:
    """Sentences on pixels that are no numbers, and on images without contrast."""
    finite = np.isfinite(data)
    bad = data.size - int(np.count_nonzero(finite))
    if bad == data.size:
        return ("All pixels are NaN or infinite: nothing can be picked.",)
    notes: tuple[str, ...] = ()
    if bad:
        notes = (
            f"{bad} of {data.size} pixels are NaN or infinite; they are replaced before picking.",
        )
        data = data[finite]
    if data.min() == data.max():
        notes += ("The image is constant: nothing can be picked.",)
    return notes


def find_micrographs(paths: Iterable[str | Path]) -> list[Path]:
    """Find the micrographs that files, folders and glob patterns name.

    Parameters
    ----------
    paths : iterable of str or Path
        Files; folders, of which every file with a known ending is taken but hidden ones and
        subfolders are not; glob patterns, where ** goes through folders.

    Returns
    -------
    list of Path
        Sorted, each file once. Symbolic links are not followed: two names are two micrographs.

    Raises
    ------
    MicrographError
        A path does not exist, has an ending that is not known, or names no micrograph.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for file in _expand(Path(path)):
            found.setdefault(os.path.abspath(file), file)
    return sorted(found.values())


def _expand(path: Path) -> list[Path]:
    """Micrographs that one path or pattern names."""
    if path.is_dir():
        files = [file for file in path.iterdir() if _is_micrograph(file)]
        problem = f"the folder holds no micrograph ({_SUFFIXES})."
    elif path.exists():
        files = [path] if _SUFFIX.search(path.name) else []
        problem = f"its ending is none that is known ({_SUFFIXES})."
    elif glob.has_magic(str(path)):
        matches = (Path(match) for match in glob.glob(str(path), recursive=True))
        files = [file for file in matches if _is_micrograph(file)]
        problem = f"the pattern matches no micrograph ({_SUFFIXES})."
    else:
        files, problem = [], "there is no such file or folder."
    if not files:
        raise MicrographError(f"{path.name or path}: {problem}")
    return files


def _is_micrograph(file: Path) -> bool:
    return bool(_SUFFIX.search(file.name) and not file.name.startswith(".") and file.is_file())
