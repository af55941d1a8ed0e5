"""The desk of a viewer: one micrograph of the session at a time, always in the same layers."""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, finalize, ref

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QObject, Signal
from superqt.utils import qthrottled

from napari_so3.io.micrographs import MicrographError
from napari_so3.picking.display import DisplaySettings, contrast_limits, filter_for_display
from napari_so3.picking.picks import CANDIDATES, Picks, PicksError
from napari_so3.session.pool import Candidates
from napari_so3.session.state import session_of
from napari_so3.widgets.layers import (
    ANGSTROM,
    KEY,
    fit_view,
    image_layer_data,
    set_shown,
    show_no_picks,
    show_picks,
)
from napari_so3.widgets.settings import session_defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import napari
    from napari.layers import Image, Points
    from numpy.typing import NDArray

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.session.state import Session

PAGE = 4096  # bytes
KEPT = 3  # micrographs that are kept ready
REFRESH_MS = 30


@dataclass(frozen=True, eq=False)
class Ready:
    """A micrograph with all that its layers need.

    Parameters
    ----------
    name : str
        Name.
    micrograph : Micrograph
        As in its file.
    data : ndarray
        What is displayed.
    arguments : dict
        Of the Image layer.
    displayed : tuple
        What the displayed pixels depend on.
    picks : Picks or None
        All its candidates in the run, if there are any.
    candidates : Candidates or None
        The same as the session has them.
    problem : str
        A sentence on picks that cannot be read.
    """

    name: str
    micrograph: Micrograph
    data: NDArray[Any]
    arguments: dict[str, Any]
    displayed: tuple[Any, ...]
    picks: Picks | None
    candidates: Candidates | None
    problem: str = ""


class Desk(QObject):
    """Shows the current micrograph of a session and its picks.

    Parameters
    ----------
    viewer : napari.Viewer
        Where; only a weak reference is kept.
    session : Session
        What.

    Attributes
    ----------
    image, picks : Image or None, Points or None
        The layers, while they are there.
    order : callable
        Gives the names in the order in which `step` goes through them.
    """

    shown = Signal(str)  # micrograph whose image and picks are there now
    problem = Signal(str)  # a sentence
    _loaded = Signal(object, object)  # key, future; from a thread

    def __init__(self, viewer: napari.Viewer, session: Session) -> None:
        super().__init__()
        self._viewer = ref(viewer)
        self.session = session
        self.image: Image | None = None
        self.picks: Points | None = None
        self.micrograph: Micrograph | None = None
        self.display = DisplaySettings()
        self.order: Callable[[], Sequence[str]] = lambda: session.names
        self._candidates: Candidates | None = None
        self._displayed: tuple[Any, ...] = ()
        self._wanted: tuple[Any, ...] | None = None
        self._ready: OrderedDict[tuple[Any, ...], Future[Ready]] = OrderedDict()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="so3-desk")
        finalize(viewer, _close_quietly, session)
        # napari's first layer with units waits half a second for them: now, and not with a picture
        Layer.create(np.zeros((2, 2)), {"units": ANGSTROM}, "image")
        finalize(viewer, self._threads.shutdown, wait=False, cancel_futures=True)
        self._connect(viewer)

    def _connect(self, viewer: napari.Viewer) -> None:
        self._refresh = qthrottled(self._refresh_now, timeout=REFRESH_MS)
        session = self.session
        self._loaded.connect(self._take)
        viewer.layers.events.removed.connect(self._forget_layer)
        for name in ("threshold", "suggested", "margin", "hidden_views", "in_plane", "diameter"):
            session.events[name].connect(lambda _value: self._refresh())
        session.signals.override.connect(self._refresh_if_current)
        session.marks.changed.connect(self._refresh_if_current)
        session.pool.changed.connect(self._reload_if_current)
        session.events.run.connect(lambda _run: self.reload())
        session.events.pixel_size.connect(lambda _size: self.reload())
        session.signals.problem.connect(self.problem.emit)

    @property
    def viewer(self) -> napari.Viewer:
        """The viewer."""
        viewer = self._viewer()
        assert viewer is not None
        return viewer

    @property
    def name(self) -> str:
        """Name of the micrograph whose layers are there; empty if none is."""
        return "" if self.image is None else self.image.metadata[KEY]["name"]

    # ------------------------------------------------------------------ going through micrographs

    def show(self, name: str) -> None:
        """Show a micrograph of the session; at once if it is ready, or else as soon as it is."""
        if name not in self.session.paths:
            return
        self._wanted = self._key(name)
        self.session.current = name
        self._start(self._wanted)

    def step(self, by: int) -> None:
        """Show the micrograph that comes so many after the current one; at the ends stay there."""
        names = list(self.order()) or list(self.session.names)
        if not names:
            return
        here = names.index(self.session.current) if self.session.current in names else -max(by, 0)
        target = names[min(max(here + by, 0), len(names) - 1)]
        if target != self.session.current or self.image is None:
            self.show(target)

    def reload(self) -> None:
        """Read the current micrograph and its picks anew."""
        self._ready.clear()
        if self.session.current:
            self.show(self.session.current)

    def set_display(self, settings: DisplaySettings) -> None:
        """Show micrographs filtered; the files, and what is picked on, stay as they are."""
        if settings != self.display:
            self.display = settings
            self.reload()

    def _key(self, name: str) -> tuple[Any, ...]:
        """Everything that decides what is shown of a micrograph."""
        session = self.session
        path = session.paths[name]
        return name, path, session.run_folder, session.pixel_size, self.display

    def _start(self, key: tuple[Any, ...]) -> None:
        future = self._ready.get(key)
        if future is None:
            name, _, run_folder, pixel_size, display = key
            future = self._threads.submit(load, self.session, name, pixel_size, run_folder, display)
            self._ready[key] = future
        self._ready.move_to_end(key)
        while len(self._ready) > KEPT:
            _, old = self._ready.popitem(last=False)
            old.cancel()
        if future.done():
            self._take(key, future)
        else:
            future.add_done_callback(lambda done: self._tell(key, done))

    def _tell(self, key: tuple[Any, ...], future: Future[Ready]) -> None:
        with suppress(RuntimeError):  # the desk is gone
            self._loaded.emit(key, future)

    def _take(self, key: tuple[Any, ...], future: Future[Ready]) -> None:
        if key != self._wanted or self._viewer() is None:
            return
        self._wanted = None
        try:
            ready = future.result()
        except CancelledError:
            return
        except (MicrographError, OSError, MemoryError) as error:
            self._ready.pop(key, None)
            self.problem.emit(str(error) or f"{key[0]} does not fit into memory.")
            return
        self._show(ready)
        self._prefetch(key[0])

    def _prefetch(self, name: str) -> None:
        names = list(self.order())
        if name in names and names.index(name) + 1 < len(names):
            key = self._key(names[names.index(name) + 1])
            if key not in self._ready:
                self._start(key)
                self._ready.move_to_end(self._key(name))

    # ------------------------------------------------------------------ layers

    def _show(self, ready: Ready) -> None:
        viewer, selection = self.viewer, self.viewer.layers.selection
        before = selection.active
        self.micrograph = ready.micrograph
        if self.image is None:
            self.image = Layer.create(ready.data, ready.arguments, "image")
            viewer.layers.insert(0, self.image)
            fit_view(viewer, self.image)
        elif ready.displayed != self._displayed:
            self._replace_image(ready.data, ready.arguments)
        self._displayed = ready.displayed
        self._candidates = ready.candidates
        self._show_picks(ready.picks)
        # napari selects what is new
        selection.active = before if before in viewer.layers else self.image
        if ready.problem:
            self.problem.emit(ready.problem)
        self.shown.emit(ready.name)

    def _replace_image(self, data: NDArray[Any], arguments: dict[str, Any]) -> None:
        image = self.image
        assert image is not None
        before = image.extent.world
        image.data = data
        image.scale, image.units = arguments["scale"], arguments["units"]
        low, high = arguments["contrast_limits"]
        image.contrast_limits_range = (2 * low - high, 2 * high - low)
        image.contrast_limits = (low, high)
        image.name = arguments["name"]
        image.metadata[KEY] = arguments["metadata"][KEY]
        if not np.allclose(image.extent.world, before, rtol=0.05):
            fit_view(self.viewer, image)

    def _show_picks(self, picks: Picks | None) -> None:
        assert self.image is not None
        if picks is not None:
            self.picks = show_picks(self.viewer, self.image, picks, self._mask())
        else:
            self.picks = show_no_picks(self.viewer, self.image)
        self.picks.editable = False  # it is labels that correct the picks

    def _mask(self) -> NDArray[np.bool_]:
        assert self._candidates is not None
        name = self.name
        return self.session.choice().of(name, self._candidates, self.session.marks.of(name))

    def _refresh_if_current(self, name: str) -> None:
        if name == self.name:
            self._refresh()

    def _reload_if_current(self, name: str) -> None:
        for key in [key for key in self._ready if key[0] == name]:
            del self._ready[key]  # read before there were these picks
        if name and name == self.session.current:
            self.reload()

    def _refresh_now(self) -> None:
        if self.picks is not None and self._candidates is not None and self.image is not None:
            set_shown(self.picks, self._mask())

    def _forget_layer(self, event: Any) -> None:
        if event.value is self.image:
            self.image = None
            self._wanted = None  # such as when napari is being closed
        elif event.value is self.picks:
            self.picks = None


def load(
    session: Session,
    name: str,
    pixel_size: float | None,
    run_folder: Path | None,
    display: DisplaySettings,
) -> Ready:
    """Read what is shown of a micrograph; in a thread.

    Parameters
    ----------
    session : Session
        Knows the file.
    name : str
        Micrograph.
    pixel_size : float or None
        Å, if not that of the file.
    run_folder : Path or None
        Folder of picks.
    display : DisplaySettings
        How it is filtered.

    Returns
    -------
    Ready
        What the layers need.

    Raises
    ------
    MicrographError, OSError, MemoryError
        If the micrograph cannot be read.
    """
    micrograph = session.read(name)
    data, arguments, _ = image_layer_data(micrograph)
    shape, step = list(data.shape), (1.0, 1.0)
    size = micrograph.pixel_size or 1.0
    if display.filters:
        data, step = filter_for_display(micrograph.to_float32(), size, display)
    else:
        _touch(data)
    arguments |= {
        "contrast_limits": contrast_limits(data, display),
        "scale": (size * step[0], size * step[1]),
    }
    arguments["metadata"][KEY] |= {"session": True, "name": name, "shape": shape}
    picks, problem = None, ""
    table = run_folder / CANDIDATES / f"{name}.csv" if run_folder else None
    if table is not None and os.path.exists(table):
        try:
            picks = Picks.read_csv(table)
        except PicksError as error:
            problem = f"{error} Pick that micrograph anew."
    candidates = None if picks is None else Candidates.of(picks)
    displayed = (micrograph.path, micrograph.pixel_size, display)
    return Ready(name, micrograph, data, arguments, displayed, picks, candidates, problem)


def _touch(data: NDArray[Any]) -> None:
    """Bring all pages of a memory-mapped file into memory, so that the GUI does not wait for it."""
    if data.flags.c_contiguous:
        np.count_nonzero(data.reshape(-1)[:: max(1, PAGE // data.itemsize)])


def _close_quietly(session: Session) -> None:
    """Close the session of a viewer that is gone; the docks that would be told are gone too."""
    with session.events.blocked():
        session.close()


_desks: WeakKeyDictionary[Any, Desk] = WeakKeyDictionary()


def desk_of(viewer: Any) -> Desk:
    """Find the desk of a viewer; the first call makes it.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer, or napari's proxy of it.

    Returns
    -------
    Desk
        The same one for every call.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _desks:
        _desks[viewer] = Desk(viewer, session_of(viewer, **session_defaults()))
    return _desks[viewer]
