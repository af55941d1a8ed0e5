"""TIFF, PNG and JPEG images."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from napari_so3.io.raw import RawImage, UnreadableError, check_shape

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

_ANGSTROM_PER_UNIT = {2: 2.54e8, 3: 1e8}  # TIFF ResolutionUnit: inch, centimetre
_BEST_COMPRESSION = 1100  # no codec of TIFF shrinks further: a header that says so lies
_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "F")
_MOVIE = "motion-correct it first and pick on the sum"


def read_tiff(path: Path, reverse_rows: bool = True) -> RawImage:
    """Read the single greyscale image of a TIFF file.

    Parameters
    ----------
    path : Path
        File.
    reverse_rows : bool
        Put the last stored row first. EM programs (IMOD, EMAN2, SerialEM, MotionCor2, RELION) store
        TIFF upside down, so that only the reversed rows agree with MRC files and coordinates.

    Returns
    -------
    RawImage
        Data (ny, nx), read-only. The pixel size comes from the resolution tags where these have a
        unit and are of the order of an EM image.

    Raises
    ------
    UnreadableError
        The file is not one greyscale image, or is truncated, damaged, or of an unknown compression.
    OSError
        The file cannot be opened.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = _only_page(tiff)
            _check_tiff_size(page, path.stat().st_size)
            data = page.asarray()
            pixel_size = _tiff_pixel_size(page)
    except (UnreadableError, OSError):
        raise
    except Exception as error:  # tifffile and its codecs raise anything on damaged files
        raise UnreadableError(_tiff_failure(error)) from error
    notes: tuple[str, ...] = ()
    if reverse_rows:
        data = data[::-1]
        notes = (
            "The rows of this TIFF are reversed on reading, as EM programs do: coordinates agree "
            "with RELION's, and with those of the same image as MRC.",
        )
    return RawImage(_read_only(data), pixel_size, notes)


def _only_page(tiff: tifffile.TiffFile) -> Any:
    """Give the only page of a TIFF, checked to be greyscale."""
    pages = len(tiff.pages)
    if pages == 1 and len(tiff.series[0].shape) > 2 and tiff.pages.first.samplesperpixel == 1:
        pages = int(tiff.series[0].shape[0])
    if pages > 1:
        raise UnreadableError(f"it is a movie or stack of {pages} images; {_MOVIE}.")
    page = tiff.pages.first
    colour = page.photometric not in (0, 1)  # white or black is zero
    if page.samplesperpixel > 1 or colour or len(page.shape) != 2:
        raise UnreadableError("it is a colour image; save the micrograph in greyscale.")
    if page.dtype is None or page.dtype.kind not in "biuf":
        raise UnreadableError("its pixels are not real numbers; save it as float32.")
    return page


def _check_tiff_size(page: Any, file_size: int) -> None:
    check_shape(*page.shape)
    spans = zip(page.dataoffsets, page.databytecounts, strict=False)
    missing = max((offset + count for offset, count in spans), default=0) - file_size
    if missing > 0:
        raise UnreadableError(f"it is truncated: {missing} bytes are missing; copy it again.")
    if page.nbytes > _BEST_COMPRESSION * file_size:
        raise UnreadableError(
            f"the header is damaged: it gives {page.shape[1]} x {page.shape[0]} pixels "
            f"in a file of {file_size} bytes."
        )


def _tiff_pixel_size(page: Any) -> float | None:
    """Å/px from the resolution tags, or None where they mean a printer or screen."""
    unit = page.tags.valueof(296)
    resolution = page.tags.valueof(282)
    if unit not in _ANGSTROM_PER_UNIT or not resolution or not all(resolution):
        return None
    size = _ANGSTROM_PER_UNIT[unit] * resolution[1] / resolution[0]
    return float(size) if 0.1 <= size <= 100 else None


def _tiff_failure(error: Exception) -> str:
    if "imagecodecs" in str(error):
        return (
            "its compression needs the package imagecodecs; install it (pip install imagecodecs) "
            "or save the image uncompressed."
        )
    if isinstance(error, tifffile.TiffFileError) and "not a TIFF" in str(error):
        return "it is not a TIFF file; correct its ending."
    detail = " ".join(str(error).split())
    return f"it is a damaged TIFF, or of a kind that cannot be read ({detail})."


def read_picture(path: Path) -> RawImage:
    """Read a PNG or JPEG image, as row 0 first; colours become grey with a warning.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    RawImage
        Data (ny, nx), read-only; the pixel size is never known.

    Raises
    ------
    UnreadableError
        The file is not one PNG or JPEG image, or is truncated or damaged.
    OSError
        The file cannot be opened.
    """
    with path.open("rb") as file:
        try:
            data, mode = _decode(file)
        except UnreadableError:
            raise
        except UnidentifiedImageError as error:
            raise UnreadableError("it is not a PNG or JPEG image; correct its ending.") from error
        except Exception as error:  # Pillow's decoders raise anything on damaged files
            detail = " ".join(str(error).split())
            raise UnreadableError(f"it is truncated or damaged ({detail}).") from error
    notes = () if mode in _GREY_MODES else ("The colours of this picture are turned to grey.",)
    return RawImage(_read_only(data), None, notes)


def _decode(file: IO[bytes]) -> tuple[NDArray[Any], str]:
    """Grey pixels (ny, nx) of a PNG or JPEG, and Pillow's name of what the file has."""
    with (
        warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        Image.open(file, formats=("PNG", "JPEG")) as image,
    ):
        check_shape(image.height, image.width)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise UnreadableError(f"it holds {frames} images; save one of them.")
        grey = image if image.mode in _GREY_MODES else image.convert("L")
        return np.asarray(grey), image.mode


def _read_only(data: NDArray[Any]) -> NDArray[Any]:
    data = np.ascontiguousarray(data)
    data.setflags(write=False)
    return data
