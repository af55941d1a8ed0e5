"""Small pictures of candidates, cut from the micrographs in threads when somebody looks at them."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QImage

from napari_so3.io.micrographs import MicrographError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.session.state import Session

SIZE = 64  # pixels of a picture
BOX = 1.5  # diameters
KEPT = 1000  # pictures; 4 MB
_WAITING = 100  # pictures; of more than that, the first ones were scrolled past
_OPEN = 6  # micrographs; those that are not memory-mapped are in memory meanwhile
_SIGMAS = 3.0


class Place(NamedTuple):
    """What a picture shows.

    Parameters
    ----------
    micrograph : str
        Name.
    y, x : float
        Centre, pixels of the micrograph.
    """

    micrograph: str
    y: float
    x: float


class Crops(QObject):
    """Gives pictures at once if it has them, and cuts them in threads if not.

    Parameters
    ----------
    session : Session
        Knows the files, the pixel size and the diameter.
    """

    ready = Signal()  # there are new pictures
    _cut = Signal(object, object, object)  # number of the reading, place, picture or None

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="so3-crops")
        self._pictures: OrderedDict[Place, QImage | None] = OrderedDict()
        self._waiting: list[Place] = []
        self._working: set[Place] = set()
        self._reading = 0  # pictures of another diameter or pixel size have another number
        self._open: OrderedDict[str, Micrograph] = OrderedDict()
        self._lock = Lock()
        self._cut.connect(self._take)
        for name in ("diameter", "pixel_size"):
            session.events[name].connect(self.clear)
        session.signals.opened.connect(self.clear)

    def close(self) -> None:
        """Stop cutting."""
        self._waiting.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for name in ("diameter", "pixel_size"):
            self._session.events[name].disconnect(self.clear)
        self._session.signals.opened.disconnect(self.clear)

    def clear(self) -> None:
        """Forget all pictures."""
        self._reading += 1
        self._pictures.clear()
        self._waiting.clear()
        self._working.clear()
        with self._lock:
            self._open.clear()
        self.ready.emit()

    def get(self, place: Place) -> QImage | None:
        """Give a picture; None where there is none, or not yet: then `ready` will tell."""
        if place in self._pictures:
            self._pictures.move_to_end(place)
            return self._pictures[place]
        if place not in self._working:
            if place in self._waiting:
                self._waiting.remove(place)
            self._waiting.append(place)
            del self._waiting[:-_WAITING]
            self._go_on()
        return None

    def _go_on(self) -> None:
        """Cut next what was asked for last: that is what is looked at."""
        while self._waiting and len(self._working) < 2:
            place = self._waiting.pop()
            self._working.add(place)
            self._threads.submit(self._work, self._reading, place)

    def _work(self, reading: int, place: Place) -> None:
        try:
            micrograph = self._micrograph(place.micrograph)
            size = micrograph.pixel_size or 1.0
            box = max(round(BOX * self._session.diameter / size), 4)
            picture = _to_image(cut(micrograph.data, place.y, place.x, box))
        except (KeyError, MemoryError, MicrographError, OSError):
            picture = None  # the desk and the table of micrographs say what is wrong with the file
        with suppress(RuntimeError):  # the dock is closed
            self._cut.emit(reading, place, picture)

    def _micrograph(self, name: str) -> Micrograph:
        with self._lock:
            if name in self._open:
                self._open.move_to_end(name)
                return self._open[name]
        micrograph = self._session.read(name)
        with self._lock:
            self._open[name] = micrograph
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return micrograph

    def _take(self, reading: int, place: Place, picture: QImage | None) -> None:
        if reading != self._reading:
            return
        self._working.discard(place)
        self._pictures[place] = picture
        while len(self._pictures) > KEPT:
            self._pictures.popitem(last=False)
        self.ready.emit()
        self._go_on()


def cut(data: NDArray[np.generic], y: float, x: float, box: int) -> NDArray[np.uint8]:
    """Cut a square out of a micrograph and make it small.

    Parameters
    ----------
    data : ndarray
        (ny, nx); only what is needed is read.
    y, x : float
        Centre, pixels.
    box : int
        Edge, pixels.

    Returns
    -------
    ndarray
        (n, n) grey, n about `SIZE` or less; ± 3 standard deviations are black and white, and what
        lies outside of the micrograph is grey.
    """
    top, left = (round(c - box / 2 + 0.5) for c in (y, x))
    rows, columns = (slice(max(t, 0), max(t + box, 0)) for t in (top, left))
    found = np.asarray(data[rows, columns], dtype=np.float32)
    finite = np.isfinite(found)
    mean = found[finite].mean() if finite.any() else 0.0
    square = np.full((box, box), mean, dtype=np.float32)
    begin = rows.start - top, columns.start - left
    inside = square[begin[0] : begin[0] + found.shape[0], begin[1] : begin[1] + found.shape[1]]
    inside[...] = np.where(finite, found, mean)
    step = max(1, round(box / SIZE))
    n = box // step
    small = square[: n * step, : n * step].reshape(n, step, n, step).mean(axis=(1, 3))
    scaled = (small - small.mean()) / max(float(small.std()), 1e-12) / _SIGMAS
    return np.asarray(np.clip(127.5 + 127.5 * scaled, 0, 255), dtype=np.uint8)


def _to_image(grey: NDArray[np.uint8]) -> QImage:
    height, width = grey.shape
    image = QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
    return image.copy()  # it owns its pixels
