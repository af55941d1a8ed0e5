"""The score maps of all rotations: in memory if they are small, else in a file."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

BUDGET = 200_000_000  # bytes of a stack that may stay in memory: those of two micrographs are kept
ON_DISK = Path("/var/tmp")  # /tmp is memory on many systems
ITEM = np.dtype(np.float16)


class StackError(OSError):
    """There is no room for the maps; the text is one sentence for the user."""


class RotationStack:
    """Maps of all rotations, (R, h, w) float16, read and written in parts.

    Beyond `BUDGET` bytes they are in a temporary file that has no name and vanishes with the
    stack. It is read and written, not mapped, so that nothing of it stays in the memory of the
    process.

    Indexed as an array with integers, slices of step 1 and, along the rotations, with a sequence
    of integers; the parts that come out are arrays of their own. Threads may write at once.

    Attributes
    ----------
    shape : tuple of int
        (R, h, w).
    by_rotation : ndarray
        (R,) float32, the largest value of each map.
    by_pixel : ndarray
        (h, w) float32, the largest value of all maps.
    """

    dtype = ITEM
    ndim = 3

    def __init__(self, shape: tuple[int, int, int], values: _Values) -> None:
        self.shape = shape
        self._values, self._lock = values, threading.Lock()
        self.by_rotation = np.full(shape[0], -np.inf, np.float32)
        self.by_pixel = np.full(shape[1:], -np.inf, np.float32)

    @classmethod
    def empty(cls, shape: tuple[int, int, int]) -> RotationStack:
        """Make room for maps.

        Parameters
        ----------
        shape : tuple of int
            (R, h, w).

        Raises
        ------
        StackError
            If the disk is too full.
        """
        if int(np.prod(shape)) * ITEM.itemsize <= BUDGET:
            return cls(shape, _InMemory(shape))
        return cls(shape, _InFile(shape))

    def __len__(self) -> int:
        return self.shape[0]

    def write(
        self, rotations: slice, rows: slice, cols: slice, values: NDArray[np.floating[Any]]
    ) -> None:
        """Set a part of the maps.

        Parameters
        ----------
        rotations, rows, cols : slice
            The part, steps of 1.
        values : ndarray
            (n, h, w) of the size of the part.
        """
        wide = np.asarray(values, dtype=np.float32)
        self._values.write(rotations, rows, cols, np.asarray(values, dtype=ITEM))
        with self._lock:
            most = self.by_rotation[rotations]
            np.maximum(most, wide.max(axis=(1, 2)), out=most)
            most = self.by_pixel[rows, cols]
            np.maximum(most, wide.max(axis=0), out=most)

    def __getitem__(self, key: Any) -> NDArray[np.float16]:
        rotations, rows, cols = _complete(key)
        chosen = np.arange(self.shape[0])[rotations]
        height, width = self.shape[1:]
        window = self._values.read(np.atleast_1d(chosen), _span(rows, height), _span(cols, width))
        inside = tuple(0 if isinstance(part, int) else slice(None) for part in (rows, cols))
        return window[(0 if chosen.ndim == 0 else slice(None), *inside)]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def ordered(self, order: NDArray[np.integer[Any]]) -> OrderedStack:
        """See the maps in another order, without moving them.

        Parameters
        ----------
        order : ndarray
            (n,) integers: map i of the view is map ``order[i]``.

        Returns
        -------
        OrderedStack
            What napari can show.
        """
        return OrderedStack(self, order)


class OrderedStack:
    """The maps of a stack in another order; reads what it is asked for, and no more.

    Parameters
    ----------
    stack : RotationStack or ndarray
        (R, h, w).
    order : ndarray
        (n,) integers: map i is map ``order[i]`` of the stack.
    """

    dtype = ITEM
    ndim = 3

    def __init__(
        self, stack: RotationStack | NDArray[np.float16], order: NDArray[np.integer[Any]]
    ) -> None:
        self._stack, self.order = stack, np.asarray(order)
        self.shape: tuple[int, int, int] = (len(self.order), stack.shape[1], stack.shape[2])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.float16]:
        rotations, rows, cols = _complete(key)
        chosen = self.order[rotations]
        return np.asarray(self._stack[int(chosen) if chosen.ndim == 0 else chosen, rows, cols])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


def maxima(
    stack: RotationStack | NDArray[np.float16],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the largest values of maps; those of a stack are known already.

    Parameters
    ----------
    stack : RotationStack or ndarray
        (R, h, w).

    Returns
    -------
    by_rotation : ndarray
        (R,) float32, of each map.
    by_pixel : ndarray
        (h, w) float32, of all maps.
    """
    if isinstance(stack, RotationStack):
        return stack.by_rotation, stack.by_pixel
    wide = stack.astype(np.float32)
    return wide.max(axis=(1, 2)), wide.max(axis=0)


class _Values(Protocol):
    """Where the values are: in memory or in a file."""

    def read(self, rotations: NDArray[np.intp], rows: slice, cols: slice) -> NDArray[np.float16]:
        """Give the window (n, h, w) of some maps."""

    def write(
        self, rotations: slice, rows: slice, cols: slice, values: NDArray[np.float16]
    ) -> None:
        """Set the window of consecutive maps."""


class _InMemory:
    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._array = np.zeros(shape, ITEM)

    def read(self, rotations: NDArray[np.intp], rows: slice, cols: slice) -> NDArray[np.float16]:
        return self._array[rotations, rows, cols]

    def write(
        self, rotations: slice, rows: slice, cols: slice, values: NDArray[np.float16]
    ) -> None:
        self._array[rotations, rows, cols] = values


class _InFile:
    """Map after map, row after row; a window is read map by map, in one piece each."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._shape, self._lock = shape, threading.Lock()
        folder = _folder()
        size, free = int(np.prod(shape)) * ITEM.itemsize, shutil.disk_usage(folder).free
        if size > free:
            raise StackError(
                f"{folder}: the maps of {shape[0]} rotations take {size / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB are free; make room, or choose another folder with TMPDIR."
            )
        self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._file.truncate(size)

    def read(self, rotations: NDArray[np.intp], rows: slice, cols: slice) -> NDArray[np.float16]:
        width = self._shape[2]
        height, breadth = rows.stop - rows.start, cols.stop - cols.start
        out = np.empty((len(rotations), height, breadth), ITEM)
        if out.size == 0:
            return out
        # From the first pixel of the window to its last: the rest of the rows comes along.
        piece = np.empty((height, width), ITEM)
        begin, length = rows.start * width + cols.start, (height - 1) * width + breadth
        target = piece.reshape(-1)[:length].data.cast("B")
        for i, rotation in enumerate(rotations):
            with self._lock:
                self._seek(int(rotation), begin)
                self._file.readinto(target)
            out[i] = piece[:, :breadth]
        return out

    def write(
        self, rotations: slice, rows: slice, cols: slice, values: NDArray[np.float16]
    ) -> None:
        width = self._shape[2]
        whole = (cols.start, cols.stop) == (0, width)
        for rotation, one in zip(range(rotations.start, rotations.stop), values, strict=True):
            pieces = one.reshape(1, -1) if whole else one
            for row, piece in enumerate(np.ascontiguousarray(pieces), rows.start):
                with self._lock:
                    self._seek(rotation, row * width + cols.start)
                    written = self._file.write(piece.data.cast("B"))
                if written < piece.nbytes:
                    raise StackError(f"{_folder()}: the disk is full; make room and try again.")

    def _seek(self, rotation: int, pixel: int) -> None:
        self._file.seek((rotation * self._shape[1] * self._shape[2] + pixel) * ITEM.itemsize)


def _folder() -> Path:
    """Find where large temporary files belong."""
    if "TMPDIR" not in os.environ and ON_DISK.is_dir():
        return ON_DISK
    return Path(tempfile.gettempdir())


def _complete(key: Any) -> tuple[Any, Any, Any]:
    """Bring an index to three parts: integers as `int`, all others as they are."""
    parts = key if isinstance(key, tuple) else (key,)
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    if dots:
        at = dots[0]
        parts = (*parts[:at], *(slice(None),) * (4 - len(parts)), *parts[at + 1 :])
    if len(parts) > 3:
        raise IndexError(f"a stack of maps has 3 axes, not {len(parts)}")
    parts = (*parts, *(slice(None),) * (3 - len(parts)))
    first, second, third = (int(p) if isinstance(p, np.integer) else p for p in parts)
    return first, second, third


def _span(part: int | slice, length: int) -> slice:
    """Turn an index of an axis into a slice with a start and a stop."""
    if isinstance(part, int):
        if not -length <= part < length:
            raise IndexError(f"index {part} is outside an axis of {length}")
        return slice(part % length, part % length + 1)
    start, stop, step = part.indices(length)
    if step != 1:
        raise IndexError("rows and columns are read with a step of 1")
    return slice(start, max(start, stop))
