"""MRC files: one image, memory-mapped where it is not compressed.

The header is checked against the file before any pixel is touched, so that a damaged one costs
nothing. Only the layout of the header comes from mrcfile: its readers refuse packed 4-bit images
and allocate what a header asks for.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from napari_so3.io.raw import RawImage, UnreadableError, check_shape

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HEADER_SIZE = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_PACKED_4_BIT = 101
_COMPLEX = (3, 4)
_LARGEST_SIDE = 2**24  # a larger one means the wrong byte order, or no MRC file
_IMOD_STAMP = 1146047817
_IMOD_SIGNED_BYTES = 1
_CHUNK = 2**24
_OTHER_FORMATS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"\x89HDF": "an HDF5 file",
    b"PK\x03\x04": "a ZIP archive",
}


class _Layout(NamedTuple):
    """Where the pixels of an image lie in its file."""

    shape: tuple[int, int]  # (ny, nx)
    dtype: np.dtype[Any]  # of the stored items; two pixels each where packed
    stored: tuple[int, int]  # (ny, items per row)
    offset: int  # bytes

    @property
    def end(self) -> int:
        return self.offset + self.stored[0] * self.stored[1] * self.dtype.itemsize

    @property
    def packed(self) -> bool:
        return self.stored != self.shape


def read_mrc(path: Path) -> RawImage:
    """Read the single image of an MRC file, plain or compressed with gzip or bzip2.

    Pixels stay in the order of the file whatever mapc, mapr and maps say, as in RELION and mrcfile.

    Parameters
    ----------
    path : Path
        File; what it holds decides about compression and byte order, not its name or its stamp.

    Returns
    -------
    RawImage
        Data (ny, nx), read-only, in the file's dtype and byte order; 4-bit pixels become uint8.

    Raises
    ------
    UnreadableError
        The file is not one real-space image, or is truncated or damaged.
    OSError
        The file cannot be opened.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        with gzip.open(path, "rb") as stream:
            header, data = _read_stream(stream, path)
    elif magic[:3] == b"BZh":
        with bz2.open(path, "rb") as stream:
            header, data = _read_stream(stream, path)
    else:
        header, data = _map(path)
    pixel_size, pixel_size_warnings = _pixel_size(header)
    return RawImage(data, pixel_size, _axes_warning(header), pixel_size_warnings)


def _map(path: Path) -> tuple[np.void, NDArray[Any]]:
    """Header and memory-mapped data of an uncompressed file."""
    with path.open("rb") as file:
        header = _parse_header(file.read(HEADER_SIZE))
    layout = _layout(header, path)
    size = path.stat().st_size
    if size < layout.end:
        raise _truncated(layout.end - size, layout.end)
    mapped = np.memmap(path, layout.dtype, "r", layout.offset, layout.stored)
    return header, _unpack(mapped, layout)


def _read_stream(stream: gzip.GzipFile | bz2.BZ2File, path: Path) -> tuple[np.void, NDArray[Any]]:
    """Header and data of a compressed file, of which never more is read than the image needs."""
    content = bytearray()
    try:
        content += stream.read(HEADER_SIZE)
        header = _parse_header(bytes(content))
        layout = _layout(header, path)
        while len(content) < layout.end:
            chunk = stream.read(min(_CHUNK, layout.end - len(content)))
            if not chunk:
                raise _truncated(layout.end - len(content), layout.end)
            content += chunk
        stream.read(1)  # at its end the stream compares its checksum
    except (EOFError, OSError, zlib.error) as error:
        raise UnreadableError(f"its compressed data is truncated or damaged ({error}).") from error
    items = np.frombuffer(content, layout.dtype, offset=layout.offset)
    return header, _unpack(items.reshape(layout.stored), layout)


def _truncated(missing: int, needed: int) -> UnreadableError:
    return UnreadableError(
        f"it is truncated or its header is damaged: {missing} of {needed} bytes are missing."
    )


def _parse_header(raw: bytes) -> np.void:
    """Header in the byte order in which it makes sense."""
    for magic, what in _OTHER_FORMATS.items():
        if raw.startswith(magic):
            raise UnreadableError(f"it is {what}, not an MRC file; correct its ending.")
    if not raw:
        raise UnreadableError("it is empty (0 bytes); copy it again.")
    if len(raw) < HEADER_SIZE:
        raise UnreadableError(
            f"its header is truncated: {len(raw)} of {HEADER_SIZE} bytes are there; copy it again."
        )
    for order in "<>":
        header: np.void = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0]
        sides = (abs(int(header[side])) for side in ("nx", "ny", "nz"))
        if 0 <= header["mode"] < 256 and max(sides) < _LARGEST_SIDE:
            return header
    raise UnreadableError("it is not an MRC file: its header makes no sense in any byte order.")


def _layout(header: np.void, path: Path) -> _Layout:
    """Check that a header describes one real-space image, and say where that lies."""
    nx, ny, nz, mode = (int(header[key]) for key in ("nx", "ny", "nz", "mode"))
    offset = HEADER_SIZE + int(header["nsymbt"])
    if mode in _COMPLEX:
        raise UnreadableError(
            f"it holds a Fourier transform (complex values, MRC mode {mode}); "
            "give the real-space micrograph."
        )
    if mode not in _MODES and mode != _PACKED_4_BIT:
        raise UnreadableError(f"MRC mode {mode} is unknown; save it as mode 2 (float32).")
    check_shape(ny, nx)
    if nz < 1 or offset < HEADER_SIZE:
        raise UnreadableError(
            f"the header is damaged: it gives {nz} sections and {offset - HEADER_SIZE} bytes "
            "of extended header."
        )
    if nz > 1:
        raise UnreadableError(_many_sections(header, path))
    if mode == _PACKED_4_BIT:
        return _Layout((ny, nx), np.dtype("u1"), (ny, (nx + 1) // 2), offset)
    name = "u1" if mode == 0 and _has_unsigned_bytes(header) else _MODES[mode]
    order = header.dtype["nx"].byteorder
    return _Layout((ny, nx), np.dtype(name).newbyteorder(order), (ny, nx), offset)


def _has_unsigned_bytes(header: np.void) -> bool:
    """Tell the bytes of old IMOD files, whose header says that they are unsigned."""
    order = header.dtype["nx"].byteorder
    stamp, flags = np.frombuffer(header["extra2"].tobytes(), f"{order}i4")[10:12]
    return bool(stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED_BYTES)


def _many_sections(header: np.void, path: Path) -> str:
    """Say what a file of several sections may be, and what to do with it."""
    nx, ny, nz = (int(header[key]) for key in ("nx", "ny", "nz"))
    shape = f"{nx} x {ny} x {nz}"
    integers = header["mode"] in (0, 1, 6, _PACKED_4_BIT)
    stack = ".mrcs" in path.name.lower() or header["ispg"] == 0
    if nx == ny == nz and not stack:
        return f"it is a 3D map or tomogram ({shape} voxels); pick on 2D micrographs."
    if integers:
        return f"it is a movie ({shape}); motion-correct it first and pick on the sum."
    return (
        f"it is a stack or volume ({shape}), not one micrograph; if it is a movie, motion-correct "
        "it first and pick on the sum; 3D maps, tomograms and particle stacks cannot be picked."
    )


def _unpack(items: NDArray[Any], layout: _Layout) -> NDArray[Any]:
    """Two pixels of each byte, the low four bits first; rows end at whole bytes."""
    if layout.packed:
        pixels = np.empty((layout.stored[0], 2 * layout.stored[1]), np.uint8)
        np.bitwise_and(items, 15, out=pixels[:, ::2])
        np.right_shift(items, 4, out=pixels[:, 1::2])
        items = pixels[:, : layout.shape[1]]
    items.setflags(write=False)
    return items


def _axes_warning(header: np.void) -> tuple[str, ...]:
    axes = tuple(int(header[key]) for key in ("mapc", "mapr", "maps"))
    if axes in ((1, 2, 3), (0, 0, 0)):
        return ()
    return (
        f"The header gives the axes in the order {axes[0]}, {axes[1]}, {axes[2]}; the image is "
        "used as stored (columns are x, rows are y), as RELION does.",
    )


def _pixel_size(header: np.void) -> tuple[float | None, tuple[str, ...]]:
    """Pixel size along x in Å from cella / mx, or cella / nx where they differ."""
    by_grid = _divide(header["cella"]["x"], header["mx"])
    by_width = _divide(header["cella"]["x"], header["nx"])
    if by_width is None or by_grid == 1.0:
        return None, ()
    warnings = []
    if header["mx"] != header["nx"]:
        other = "unknown" if by_grid is None else f"{by_grid:.5g} Å"
        warnings.append(
            f"The header's grid is {header['mx']} pixels wide but the image {header['nx']}, as "
            f"programs leave it that shrink images: the pixel size is taken as {by_width:.5g} Å "
            f"(cell / image), not {other} (cell / grid)."
        )
    along_y = _divide(header["cella"]["y"], header["ny"])
    if along_y is not None and abs(along_y - by_width) > 0.005 * by_width:
        warnings.append(
            f"The header's pixels are not square ({by_width:.5g} Å along x, {along_y:.5g} Å along "
            "y): the size along x is used, as in RELION."
        )
    return by_width, tuple(warnings)


def _divide(cell: np.float32, count: np.int32) -> float | None:
    """Quotient, or None where it is no positive number."""
    if not np.isfinite(cell) or cell <= 0 or count <= 0:
        return None
    return float(cell) / int(count)
