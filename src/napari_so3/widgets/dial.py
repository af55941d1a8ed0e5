"""The in-plane angles of a model on a dial, to be looked at and chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen
from qtpy.QtWidgets import QWidget

from napari_so3.insight.globe import needle, psi_at
from napari_so3.insight.orientation_map import colour_of_psi

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from qtpy.QtGui import QMouseEvent, QPaintEvent

SIZE = 116  # pixels
MARGIN = 25  # pixels around the dial, for the numbers
DOT = 5.0  # pixels, radius at most
CHOSEN = 1.3  # how much larger the chosen one is
HUB = 0.15  # of the dial: the mouse is too close to the middle to tell an angle


class Dial(QWidget):
    """Shows in-plane angles psi; the needle turns as the particle turns in the picture.

    Click or drag to choose the nearest one; only what the mouse chooses is told by `chosen`.
    """

    chosen = Signal(int)  # in-plane angle, by the mouse

    def __init__(self) -> None:
        super().__init__()
        self._psi = np.zeros(0)
        self._radii = np.zeros(0)
        self.index = 0  # that is chosen
        self.setMinimumSize(SIZE, SIZE)
        self.setAccessibleName("Dial of in-plane angles")
        self.setToolTip(
            "In-plane angle psi: the needle turns as the particle does in the picture.\n"
            "Click or drag to choose one"
        )

    def sizeHint(self) -> QSize:
        """Take as little room as possible."""
        return QSize(SIZE, SIZE)

    def set_angles(self, psi: ArrayLike, values: ArrayLike | None = None) -> None:
        """Show other angles, or other values of them.

        Parameters
        ----------
        psi : array_like
            (n,) degrees.
        values : array_like, optional
            (n,) not negative; the larger its value, the larger an angle is drawn.
        """
        self._psi = np.asarray(psi, dtype=np.float64)
        shares = np.ones(len(self._psi)) if values is None else np.asarray(values, float)
        self._radii = np.sqrt(np.clip(shares / max(float(shares.max(initial=0)), 1e-12), 0, 1))
        self.index = self.index if self.index < len(self._psi) else 0
        self.update()

    def choose(self, index: int) -> None:
        """Choose an angle."""
        self.index = index
        self.update()

    def place_of(self, index: int) -> QPointF:
        """Find an angle on the dial, pixels of the widget."""
        return self._to_pixels(needle(self._psi[index]))

    # ------------------------------------------------------------------ mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the angle that is nearest."""
        if event.buttons() & Qt.MouseButton.LeftButton and len(self._psi):
            way = event.position() - self.rect().toRectF().center()
            if np.hypot(way.x(), way.y()) < HUB * self._radius:
                return
            away = np.abs((self._psi - psi_at(way.x(), -way.y()) + 180) % 360 - 180)
            found = int(away.argmin())
            if found != self.index:
                self.choose(found)
                self.chosen.emit(found)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Choose the angle that is nearest."""
        self.mousePressEvent(event)

    # ------------------------------------------------------------------ drawing

    @property
    def _radius(self) -> float:
        return min(self.width(), self.height()) / 2 - MARGIN

    def _to_pixels(self, point: NDArray[np.float64], outwards: float = 0.0) -> QPointF:
        middle, radius = self.rect().toRectF().center(), self._radius + outwards
        return QPointF(middle.x() + radius * point[0], middle.y() - radius * point[1])

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the circle, the angles and the needle."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        middle = self.rect().toRectF().center()
        painter.setPen(QPen(text, 0.5))
        painter.drawEllipse(middle, self._radius, self._radius)
        for psi in (0, 90, 180, 270):
            name = str(psi)
            box = painter.fontMetrics().boundingRect(name)
            at = self._to_pixels(needle(psi), 16 if psi % 180 == 0 else 13)
            painter.drawText(at + QPointF(-box.width() / 2, box.height() / 3), name)
        if len(self._psi) == 0:
            return
        painter.setPen(QPen(text, 2))
        painter.drawLine(middle, self.place_of(self.index))
        largest = min(DOT, 0.3 * 2 * np.pi * self._radius / len(self._psi))
        for i, (radius, colour) in enumerate(zip(self._radii, self._colours, strict=True)):
            size = max(largest * radius, 2.0)
            chosen = i == self.index
            painter.setPen(QPen(text, 2) if chosen else Qt.PenStyle.NoPen)
            painter.setBrush(QColor(*(int(c) for c in colour)))
            if chosen:
                size = max(size, CHOSEN * largest)
            painter.drawEllipse(self.place_of(i), size, size)

    @property
    def _colours(self) -> NDArray[np.uint8]:
        return np.asarray(colour_of_psi(self._psi))
