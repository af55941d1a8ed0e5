"""Arrows that go through the picks of the micrograph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_so3.widgets.listening import Listening

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.widgets.desk import Desk

IN_SIGHT = 0.45  # of the smaller edge of the canvas, from its middle
_SAME = 0.5  # pixels


class PickStepper(QWidget):
    """Goes through the picks of the micrograph that is shown, the best first.

    Parameters
    ----------
    desk : Desk
        Knows the picks.
    """

    stepped = Signal(object)  # y and x of a pick, (2,) pixels

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._place: NDArray[np.float64] | None = None
        self._listening = Listening(self)
        self.before, self.number, self.after = QPushButton("◀"), QLabel(), QPushButton("▶")
        self.before.setToolTip("The pick with the next higher score in this micrograph")
        self.after.setToolTip("The pick with the next lower score in this micrograph")
        self.number.setAlignment(Qt.AlignmentFlag.AlignCenter)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for part in (self.before, self.number, self.after):
            row.addWidget(part, part is self.number)
        for button, by in ((self.before, -1), (self.after, 1)):
            button.setFixedWidth(44)
            button.clicked.connect(lambda _on, by=by: self._step(by))
        session = desk.session
        for signal in (
            session.events.threshold,
            session.signals.override,
            session.pool.changed,
            session.marks.changed,
        ):
            self._listening.to(signal, self._count)
        self._count()

    @property
    def n(self) -> int:
        """Number of picks."""
        return len(self._places())

    def close_down(self) -> None:
        """Follow the session no more."""
        self._listening.stop()

    def go_to(self, place: NDArray[np.float64] | None) -> None:
        """Stand at the pick of a place, pixels, or before the first one."""
        self._place = place
        self._count()

    def _step(self, by: int) -> None:
        places = self._places()
        here = self._index(places)
        index = 0 if here is None else here + by
        if 0 <= index < len(places):
            self.stepped.emit(places[index])

    def _places(self) -> NDArray[np.float64]:
        """Places of the picks, (n, 2) pixels, the best first."""
        found = self._desk.session.picks_of(self._desk.name)
        if found is None:
            return np.zeros((0, 2))
        candidates, chosen = found
        return np.column_stack([candidates.y[chosen], candidates.x[chosen]]).astype(np.float64)

    def _index(self, places: NDArray[np.float64]) -> int | None:
        if self._place is None or len(places) == 0:
            return None
        away = np.linalg.norm(places - self._place, axis=1)
        return int(away.argmin()) if away.min() < _SAME else None

    def _count(self, *_changed: Any) -> None:
        places = self._places()
        here, n = self._index(places), len(places)
        picks = f"{n:,} pick{'s' if n != 1 else ''}"
        self.number.setText(picks if here is None else f"{here + 1:,} of {picks}")
        self.before.setEnabled(here is not None and here > 0)
        self.after.setEnabled(n > 0 and here != n - 1)


def show_place(desk: Desk, place: NDArray[np.float64]) -> None:
    """Bring a place of the micrograph, pixels, to the middle of the picture if it is not in sight.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph.
    place : ndarray
        (2,) y and x.
    """
    viewer = desk.viewer
    target = place * ((desk.micrograph and desk.micrograph.pixel_size) or 1.0)
    camera = viewer.scene.camera
    away = np.abs(target - camera.center[-2:]).max() * camera.zoom
    if away > IN_SIGHT * min(viewer.canvas.size):
        camera.center = (*camera.center[:-2], *target)
