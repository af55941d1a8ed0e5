"""All views of a particle in one picture, as an ellipse, to be looked at and clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_so3.insight.globe import angles_of, graticule
from napari_so3.poses.mollweide import brightest, from_ellipse, outlines, project_line, to_ellipse

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from qtpy.QtGui import QMouseEvent, QPaintEvent, QResizeEvent

    from napari_so3.poses.coverage import Coverage

RADIUS = 15.0  # degrees around a view that is chosen
COLOURS = "inferno"
_WIDE, _SMALL = 240, 160  # pixels: what it likes, and what it needs
_MARGIN = 3  # pixels around the ellipse
_BAR, _TEXT = 8, 15  # pixels, height of the colour bar and of its numbers
_RING, _GREY = QColor("#4fc3f7"), QColor(160, 160, 160, 70)


def colour_table() -> NDArray[np.uint8]:
    """Make the colours of densities from none to the brightest: (256, 4) uint8."""
    table: NDArray[np.float64] = ensure_colormap(COLOURS).map(np.linspace(0, 1, 256))
    return np.round(255 * table).astype(np.uint8)


class Mollweide(QWidget):
    """Shows how many picks there are of every view: tilt 0 on top, rot grows to the right.

    A click chooses the view that is there, told by `chosen`; one into its circle gives it up.
    """

    chosen = Signal(object)  # unit vector (3,), by the mouse; None for no view any more

    def __init__(self) -> None:
        super().__init__()
        self._coverage: Coverage | None = None
        self._image = QImage()
        self._lines = [_polygon(part) for line in graticule() for part in project_line(line)]
        self._rings: list[QPolygonF] = []
        self.direction: NDArray[np.float64] | None = None  # that is chosen
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(_SMALL)
        self.setMouseTracking(True)
        self.setAccessibleName("All views, with the number of picks")

    def sizeHint(self) -> QSize:
        """Be twice as wide as high, with a colour bar below."""
        return QSize(_WIDE, _height_for(_WIDE))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the shape of the ellipse."""
        super().resizeEvent(event)
        self.setFixedHeight(_height_for(self.width()))

    def show_coverage(self, coverage: Coverage, picture: NDArray[np.floating]) -> None:
        """Show other picks.

        Parameters
        ----------
        coverage : Coverage
            Of the picks.
        picture : ndarray
            (h, 2 h) its density drawn by `poses.mollweide.draw`.
        """
        self._coverage = coverage
        levels = np.nan_to_num(picture) * (255 / brightest(coverage.density))
        pixels = colour_table()[np.clip(np.rint(levels), 0, 255).astype(np.intp)]
        pixels[np.isnan(picture)] = 0
        height, width = picture.shape
        raw = np.ascontiguousarray(pixels).tobytes()
        self._image = QImage(raw, width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
        self.choose(self.direction)

    def choose(self, direction: ArrayLike | None) -> None:
        """Draw a circle around a view (3,) and around its symmetric copies, or none."""
        self.direction = None if direction is None else np.asarray(direction, dtype=np.float64)
        self._rings = []
        if self.direction is not None and self._coverage is not None:
            copies = self.direction @ self._coverage.group
            self._rings = [_polygon(line) for line in outlines(copies, RADIUS)]
        self.update()

    def place_of(self, direction: ArrayLike) -> QPointF:
        """Find a view in the widget, pixels."""
        x, y = to_ellipse(direction)
        ellipse = self._ellipse
        return ellipse.center() + QPointF(x * ellipse.width() / 4, -y * ellipse.height() / 2)

    # ------------------------------------------------------------------ mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose the view that is there, or give it up."""
        view = self._view_at(event.position())
        if view is None or event.button() != Qt.MouseButton.LeftButton:
            return
        self.choose(None if self._is_in_ring(view) else view)
        self.chosen.emit(self.direction)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show what can be clicked."""
        over = self._view_at(event.position()) is not None
        self.setCursor(Qt.CursorShape.CrossCursor if over else Qt.CursorShape.ArrowCursor)

    def event(self, event: QEvent) -> bool:
        """Tell of the view under the mouse."""
        if event.type() == QEvent.Type.ToolTip:
            view = self._view_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), self.describe(view), self)
            return True
        return super().event(event)

    def describe(self, view: NDArray[np.float64] | None) -> str:
        """Write what a tooltip says of a view, or of the picture."""
        if view is None or self._coverage is None:
            return (
                "Every view of the particle: tilt 0° on top, rot 0° in the middle. Bright views "
                "are frequent.\nClick one to choose its picks"
            )
        (rot, tilt), density = angles_of(view), float(self._coverage.at(view))
        return (
            f"rot {rot:.0f}°, tilt {tilt:.0f}°: {density:.1f} times as many picks as if all views "
            f"were even.\nClick to choose the picks within {RADIUS:.0f}°"
        )

    def _view_at(self, at: QPointF) -> NDArray[np.float64] | None:
        ellipse = self._ellipse
        way = at - ellipse.center()
        view = from_ellipse(4 * way.x() / ellipse.width(), -2 * way.y() / ellipse.height())
        return None if self._coverage is None or np.isnan(view[0]) else view

    def _is_in_ring(self, view: NDArray[np.float64]) -> bool:
        if self.direction is None:
            return False
        nearest = (self._coverage.group @ view @ self.direction).max()
        return bool(nearest >= np.cos(np.radians(RADIUS)))

    # ------------------------------------------------------------------ drawing

    @property
    def _ellipse(self) -> QRectF:
        room = self.height() - _BAR - _TEXT - 2 * _MARGIN
        height = min(room, (self.width() - 2 * _MARGIN) / 2)
        return QRectF(self.width() / 2 - height, _MARGIN, 2 * height, height)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the density, lines every 30 degrees, what is chosen, and the colours."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        text, ellipse = self.palette().color(QPalette.ColorRole.WindowText), self._ellipse
        if self._coverage is not None:
            painter.drawImage(ellipse, self._image)
            self._paint_bar(painter, text)
        painter.save()
        painter.translate(ellipse.center())
        painter.scale(ellipse.width() / 4, -ellipse.height() / 2)
        for lines, colour, width in ((self._lines, _GREY, 1), (self._rings, _RING, 2)):
            pen = QPen(colour, width)
            pen.setCosmetic(True)  # its width is not scaled
            painter.setPen(pen)
            for line in lines:
                painter.drawPolyline(line)
        painter.restore()
        painter.setPen(QPen(text, 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(ellipse)

    def _paint_bar(self, painter: QPainter, text: QColor) -> None:
        ellipse, top = self._ellipse, brightest(self._coverage.density)
        bar = QRectF(ellipse.left(), ellipse.bottom() + _MARGIN, ellipse.width(), _BAR)
        table = np.ascontiguousarray(colour_table())
        image = QImage(table.tobytes(), 256, 1, 1024, QImage.Format.Format_RGBA8888).copy()
        painter.drawImage(bar, image)
        painter.setPen(text)
        even = bar.left() + bar.width() / top
        painter.drawLine(QPointF(even, bar.top()), QPointF(even, bar.bottom() + 5))
        row = QRectF(bar.left(), bar.bottom() + 1, bar.width(), _TEXT)
        painter.drawText(row, Qt.AlignmentFlag.AlignRight, f"{top:.1f} ×")
        row.setLeft(even + 3)
        painter.drawText(row, Qt.AlignmentFlag.AlignLeft, "even")


def _height_for(width: int) -> int:
    return width // 2 + _BAR + _TEXT + _MARGIN


def _polygon(line: NDArray[np.float64]) -> QPolygonF:
    return QPolygonF([QPointF(x, y) for x, y in line.tolist()])
