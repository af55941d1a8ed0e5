"""The place that one looks at: under the mouse, or held by a click or by selecting a pick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from qtpy.QtCore import QObject, Signal
from superqt.utils import qthrottled

from napari_so3.session.choice import SAME
from napari_so3.widgets.layers import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.seeing import Seeing

THROTTLE_MS = 30
STILL = 5  # pixels of the screen that the mouse may move in a click
PLACE = "place"  # kind and name of the layer with a ring where the place is held
RING = 1.35  # diameters: around that of the pick
_LOOK = {
    "symbol": "disc",
    "face_color": "transparent",
    "border_color": "#f0e442",
    "border_width": 0.08,
}


class Pointer(QObject):
    """Tells `Seeing` where one looks, while it is switched on.

    A click holds the place, or the pick that is there, until one clicks it again; so the mouse can
    go to the dock.

    Parameters
    ----------
    desk : Desk
        Knows the micrograph and the viewer.
    seeing : Seeing
        Is told.

    Attributes
    ----------
    pick : int or None
        Index of the pick among the candidates that is held, if it is one.
    """

    held = Signal()  # a place, or none any more

    def __init__(self, desk: Desk, seeing: Seeing) -> None:
        super().__init__()
        self._desk, self._seeing = desk, seeing
        self._on = self.holding = False
        self.pick: int | None = None
        self._ring: Points | None = None
        self._selection: Any = None
        self._follow_soon = qthrottled(self._follow, timeout=THROTTLE_MS)
        desk.viewer.layers.events.removed.connect(self._forget)
        desk.shown.connect(self._start_anew)

    def close_down(self) -> None:
        """Follow the viewer no more."""
        self.switch(False)
        self._desk.viewer.layers.events.removed.disconnect(self._forget)
        self._desk.shown.disconnect(self._start_anew)

    def switch(self, on: bool) -> None:
        """Follow the mouse, or leave it alone; then nothing is held."""
        if on == self._on:
            return
        self._on = on
        viewer = self._desk.viewer
        if on:
            viewer.mouse_drag_callbacks.append(self._press)
            viewer.cursor.events.position.connect(self._follow_soon)
            self._listen_to_picks()
        else:
            viewer.mouse_drag_callbacks.remove(self._press)
            viewer.cursor.events.position.disconnect(self._follow_soon)
            self._follow_soon.cancel()
            self._listen_to_picks()
            self.release()

    def release(self) -> None:
        """Follow the mouse again."""
        if self.holding:
            self.holding, self.pick = False, None
            self._remove_ring()
            self.held.emit()

    def hold(self, point: NDArray[np.float64]) -> None:
        """Stay at a place, or at the pick that is there; y and x, pixels of the micrograph."""
        self.pick, place = self._find(point)
        self.holding = True
        self._draw_ring(place)
        self._seeing.point_at((float(place[0]), float(place[1])))
        self.held.emit()

    def _start_anew(self) -> None:
        self._listen_to_picks()
        self._seeing.point_at(None)
        self.release()

    # ------------------------------------------------------------------ the mouse

    def _to_pixels(self, position: Any) -> NDArray[np.float64] | None:
        """Turn a place in the canvas into pixels; None outside of the micrograph."""
        micrograph = self._desk.micrograph
        if micrograph is None or not self._desk.name:
            return None
        size = micrograph.pixel_size or 1.0
        point = np.asarray(position, dtype=np.float64)[-2:] / size
        inside = np.all(point >= -0.5) and np.all(point <= np.array(micrograph.data.shape) - 0.5)
        return point if inside else None

    def _follow(self) -> None:
        viewer = self._desk.viewer
        if not self._on or self.holding or not viewer.mouse_over_canvas:
            return
        point = self._to_pixels(viewer.cursor.position)
        if point is not None:
            self._seeing.point_at((float(point[0]), float(point[1])))

    def _press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Hold the place of a click, or let go of what is held there."""
        active = viewer.layers.selection.active
        if event.button != 1 or (active is not None and str(active.mode) != "pan_zoom"):
            return
        start, point, moved = np.array(event.pos), self._to_pixels(event.position), False
        yield
        while event.type == "mouse_move":
            moved = moved or bool(np.abs(event.pos - start).max() > STILL)
            yield
        if moved or point is None:
            return
        held = self._seeing.place if self.holding else None
        if held is not None and np.linalg.norm(np.subtract(held, point)) <= self._near:
            self.release()
        else:
            self.hold(point)

    # ------------------------------------------------------------------ picks

    @property
    def _near(self) -> float:
        """Distance within which a click is about a pick, pixels."""
        size = (self._desk.micrograph and self._desk.micrograph.pixel_size) or 1.0
        return SAME * self._desk.session.diameter / size

    def _find(self, point: NDArray[np.float64]) -> tuple[int | None, NDArray[np.float64]]:
        """Find the shown pick near a place; else there is the place itself."""
        found = self._desk.session.picks_of(self._desk.name)
        if found is None:
            return None, point
        candidates, chosen = found
        places = np.column_stack([candidates.y, candidates.x]).astype(np.float64)
        away = np.linalg.norm(places - point, axis=1)
        away[~chosen] = np.inf
        if len(away) == 0 or away.min() > self._near:
            return None, point
        return int(away.argmin()), places[away.argmin()]

    def _listen_to_picks(self) -> None:
        """Follow what is selected in the layer of picks."""
        if self._selection is not None:
            self._selection.disconnect(self._take_selection)
            self._selection = None
        picks = self._desk.picks
        if self._on and picks is not None:
            self._selection = picks.selected_data.events.items_changed
            self._selection.connect(self._take_selection)

    def _take_selection(self) -> None:
        picks = self._desk.picks
        if picks is not None and len(picks.selected_data) == 1:
            self.hold(np.asarray(picks.data[next(iter(picks.selected_data))]))

    # ------------------------------------------------------------------ the ring

    def _draw_ring(self, place: NDArray[np.float64]) -> None:
        size = (self._desk.micrograph and self._desk.micrograph.pixel_size) or 1.0
        if self._ring is None:
            self._ring = Points(
                ndim=2,
                name=PLACE,
                **_LOOK,
                scale=(size, size),
                units=self._desk.image.units,
                axis_labels=("y", "x"),
                metadata={KEY: {"kind": PLACE, "session": True}},
            )
            layers = self._desk.viewer.layers
            before = layers.selection.active
            layers.append(self._ring)
            layers.selection.active = self._desk.image if before is None else before
            self._ring.editable = False
        self._ring.data = place[None]
        self._ring.size = RING * self._desk.session.diameter / size
        self._ring.scale = (size, size)
        for name, value in _LOOK.items():  # napari gives new points what its controls say
            setattr(self._ring, name, value)

    def _remove_ring(self) -> None:
        layers = self._desk.viewer.layers
        if self._ring is not None and self._ring in layers:
            layers.remove(self._ring)
        self._ring = None

    def _forget(self, event: Any) -> None:
        if event.value is self._ring:
            self._ring = None
            self.release()
