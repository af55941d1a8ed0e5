"""The views of a model on a globe, to be looked at and chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPalette, QPen, QRadialGradient
from qtpy.QtWidgets import QToolTip, QWidget

from napari_so3.insight.globe import angles_of, camera, drag, graticule, nearest
from napari_so3.insight.orientation_map import colour_of_view

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from qtpy.QtGui import QMouseEvent, QPaintEvent

SIZE = 156  # pixels
MARGIN = 15  # pixels around the globe, for the names of the axes
STILL = 4  # pixels that the mouse may move in a click
LARGEST = 7.0  # pixels, radius of a view
CHOSEN = 1.4  # how much larger the chosen one is
AXES = (("+x", (1, 0, 0)), ("+y", (0, 1, 0)), ("+z", (0, 0, 1)))
_GRATICULE = graticule()


class Globe(QWidget):
    """Shows directions on a sphere that is seen from outside: +z on top, rot grows to the right.

    Drag to turn it, click a view to choose it. What is chosen elsewhere, with `choose`, turns to
    the front; only what the mouse chooses is told by `chosen`.
    """

    chosen = Signal(int)  # view, by the mouse

    def __init__(self) -> None:
        super().__init__()
        self._directions = np.zeros((0, 3))
        self._radii = np.zeros(0)  # relative
        self._colours = np.zeros((0, 3), dtype=np.uint8)
        self._middle = (20.0, 70.0)  # rot and tilt
        self._pressed: tuple[QPointF, tuple[float, float]] | None = None
        self._dragged = False
        self._pointer: NDArray[np.float64] | None = None  # of `show_direction`
        self.view = -1  # that is chosen
        self.setMinimumSize(SIZE, SIZE)
        self.setMouseTracking(True)
        self.setAccessibleName("Globe of views")

    def sizeHint(self) -> QSize:
        """Take as little room as possible."""
        return QSize(SIZE, SIZE)

    @property
    def middle(self) -> tuple[float, float]:
        """The rot and tilt of the direction in the middle, degrees."""
        return self._middle

    def set_views(
        self,
        directions: ArrayLike,
        values: ArrayLike | None = None,
        colours: ArrayLike | None = None,
    ) -> None:
        """Show other views, or other values of them.

        Parameters
        ----------
        directions : array_like
            (S, 3) unit vectors in the frame of the model.
        values : array_like, optional
            (S,) not negative; the larger its value, the larger a view is drawn. All the same size
            without.
        colours : array_like, optional
            (S, 3) uint8; by default those in the orientation map.
        """
        self._directions = np.asarray(directions, dtype=np.float64).reshape(-1, 3)
        shares = np.ones(len(self._directions)) if values is None else np.asarray(values, float)
        self._radii = np.sqrt(np.clip(shares / max(float(shares.max(initial=0)), 1e-12), 0, 1))
        given = colour_of_view(self._directions, self._directions) if colours is None else colours
        self._colours = np.asarray(given, dtype=np.uint8).reshape(-1, 3)
        if self.view >= len(self._directions):
            self.view = -1
        self.update()

    def choose(self, index: int) -> None:
        """Choose a view, and turn it to the front unless it was chosen before."""
        if index == self.view and self._pointer is None:
            return
        self.view = index
        self._pointer = None
        if 0 <= index < len(self._directions):
            self._turn_to(self._directions[index])
        self.update()

    def show_direction(self, d: ArrayLike) -> None:
        """Turn any direction (3,) to the front and mark it."""
        self._pointer = np.asarray(d, dtype=np.float64)
        self._turn_to(self._pointer)

    def place_of(self, index: int) -> QPointF:
        """Find a view in the widget, pixels; it may be behind the globe."""
        return self._to_pixels(camera(*self._middle) @ self._directions[index])

    def _turn_to(self, direction: NDArray[np.float64]) -> None:
        rot, tilt = angles_of(direction)
        self._middle = (float(rot), float(tilt))
        self.update()

    # ------------------------------------------------------------------ mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to drag, or to click."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._dragged = (event.position(), self._middle), False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Turn the globe."""
        if self._pressed is None:
            over = self._find(event.position()) is not None
            self.setCursor(
                Qt.CursorShape.PointingHandCursor if over else Qt.CursorShape.OpenHandCursor
            )
            return
        (start, middle), radius = self._pressed, self._radius
        way = event.position() - start
        self._dragged = self._dragged or abs(way.x()) + abs(way.y()) > STILL
        if self._dragged:
            self._middle = drag(*middle, way.x() / radius, -way.y() / radius)
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Choose the view that was clicked."""
        clicked, self._pressed = self._pressed is not None and not self._dragged, None
        found = self._find(event.position()) if clicked else None
        if found is not None:
            self.view, self._pointer = found, None
            self.update()
            self.chosen.emit(found)

    def event(self, event: QEvent) -> bool:
        """Tell the angles of the view under the mouse."""
        if event.type() == QEvent.Type.ToolTip:
            found = self._find(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), self.describe(found), self)
            return True
        return super().event(event)

    def describe(self, index: int | None) -> str:
        """Write what a tooltip says of a view, or of the globe."""
        if index is None:
            return "Views of the model: drag to turn the globe, click one to choose it"
        rot, tilt = angles_of(self._directions[index])
        return f"View {index + 1} of {len(self._directions)}: rot {rot:.0f}°, tilt {tilt:.0f}°"

    def _find(self, at: QPointF) -> int | None:
        middle, radius = self.rect().toRectF().center(), self._radius
        spacing = np.sqrt(4 * np.pi / max(len(self._directions), 1)) / 2
        return nearest(
            self._directions @ camera(*self._middle).T,
            (at.x() - middle.x()) / radius,
            (middle.y() - at.y()) / radius,
            max(spacing, 8 / radius),
        )

    # ------------------------------------------------------------------ drawing

    @property
    def _radius(self) -> float:
        return min(self.width(), self.height()) / 2 - MARGIN

    def _to_pixels(self, point: NDArray[np.float64], times: float = 1.0) -> QPointF:
        middle, radius = self.rect().toRectF().center(), self._radius * times
        return QPointF(middle.x() + radius * point[0], middle.y() - radius * point[1])

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw what is behind, the globe, and what is in front."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        seen = camera(*self._middle)
        views = self._directions @ seen.T
        self._paint_axes(painter, seen, text, front=False)
        self._paint_ball(painter, text)
        self._paint_views(painter, views, text, front=False)
        self._paint_graticule(painter, seen, text)
        self._paint_axes(painter, seen, text, front=True)
        self._paint_views(painter, views, text, front=True)
        if self._pointer is not None:
            painter.setPen(QPen(text, 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(self._to_pixels(seen @ self._pointer), LARGEST, LARGEST)

    def _paint_ball(self, painter: QPainter, text: QColor) -> None:
        middle = self.rect().toRectF().center()
        light = QRadialGradient(middle - QPointF(0.4, 0.4) * self._radius, 1.6 * self._radius)
        light.setColorAt(0.0, _faint(text, 60))
        light.setColorAt(1.0, _faint(text, 15))
        painter.setPen(QPen(_faint(text, 130), 1))
        painter.setBrush(light)
        painter.drawEllipse(middle, self._radius, self._radius)

    def _paint_graticule(self, painter: QPainter, seen: NDArray[np.float64], text: QColor) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        middle, radius = self.rect().toRectF().center(), self._radius
        for number, line in enumerate(_GRATICULE):
            path, drawing = QPainterPath(), False
            for right, up, towards in (line @ seen.T * radius).tolist():
                was, drawing = drawing, towards >= 0
                if drawing and was:
                    path.lineTo(middle.x() + right, middle.y() - up)
                elif drawing:
                    path.moveTo(middle.x() + right, middle.y() - up)
            painter.setPen(QPen(_faint(text, 120 if number == 0 else 45), 1))
            painter.drawPath(path)

    def _paint_views(
        self, painter: QPainter, views: NDArray[np.float64], text: QColor, front: bool
    ) -> None:
        spacing = np.sqrt(4 * np.pi / max(len(views), 1)) * self._radius
        largest = min(LARGEST, 0.3 * spacing)
        order = [i for i in np.argsort(views[:, 2]) if (views[i, 2] >= 0) == front]
        for i in order:
            chosen = i == self.view
            radius = max(largest * self._radii[i], 2.0)
            if chosen:
                radius = CHOSEN * largest
            colour = QColor(*(int(c) for c in self._colours[i]))
            painter.setPen(QPen(text, 2) if chosen else QPen(_faint(colour.darker(170), 200), 0.7))
            painter.setBrush(colour if front else _faint(colour, 90))
            painter.drawEllipse(self._to_pixels(views[i]), radius, radius)

    def _paint_axes(
        self, painter: QPainter, seen: NDArray[np.float64], text: QColor, front: bool
    ) -> None:
        for name, axis in AXES:
            point = seen @ np.array(axis, dtype=np.float64)
            if (point[2] >= 0) != front:
                continue
            inner, outer = self._to_pixels(point), self._to_pixels(point, 1.04)
            painter.setPen(QPen(_faint(text, 255 if front else 110), 1))
            painter.drawLine(inner, outer)
            box = painter.fontMetrics().boundingRect(name)
            middle = self._to_pixels(point, 1.04 + 8 / self._radius)
            left = min(max(middle.x() - box.width() / 2, 0.0), self.width() - box.width() - 1.0)
            painter.drawText(QPointF(left, middle.y() + box.height() / 3), name)


def _faint(colour: QColor, alpha: int) -> QColor:
    return QColor(colour.red(), colour.green(), colour.blue(), alpha)
