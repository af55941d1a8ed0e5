"""Bars of the rotations that say most at a place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QEvent, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QMouseEvent, QPaintEvent

ROW = 17  # pixels
SWATCH = 10
PERCENT = "100 %"


class Bar(NamedTuple):
    """A rotation and what it says.

    Parameters
    ----------
    rotation : int
        Index.
    name : str
        Its angles.
    colour : tuple of int
        Of its view, red, green and blue.
    share : float
        Of the evidence, 0 to 1.
    probability : float
        That the network gives this rotation.
    """

    rotation: int
    name: str
    colour: tuple[int, int, int]
    share: float
    probability: float


class Bars(QWidget):
    """Shows a bar for each rotation; a click turns to it.

    Parameters
    ----------
    rows : int
        For which there is always room.
    """

    chosen = Signal(int)  # rotation

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.bars: Sequence[Bar] = ()
        self._rotation = -1
        self._rows = rows
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:
        """Take room for all rows."""
        return QSize(200, self._rows * ROW)

    def show_bars(self, bars: Sequence[Bar]) -> None:
        """Show other bars."""
        self.bars = bars
        self.update()

    def choose(self, rotation: int) -> None:
        """Mark the rotation that is looked at."""
        self._rotation = rotation
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Turn to the rotation that is clicked."""
        bar = self._at(event.position().y())
        if bar is not None and event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit(bar.rotation)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show what can be clicked."""
        over = self._at(event.position().y()) is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if over else Qt.CursorShape.ArrowCursor)

    def event(self, event: QEvent) -> bool:
        """Tell what the network gives the rotation under the mouse."""
        if event.type() == QEvent.Type.ToolTip:
            bar = self._at(event.pos().y())
            words = "" if bar is None else (
                f"{bar.name}: {100 * bar.share:.1f} % of the evidence; the network gives this "
                f"rotation P = {bar.probability:.2g}. Click to turn to it."
            )  # fmt: skip
            QToolTip.showText(event.globalPos(), words, self)
            return True
        return super().event(event)

    def _at(self, y: float) -> Bar | None:
        row = int(y // ROW)
        return self.bars[row] if 0 <= row < len(self.bars) else None

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw colour, angles, bar and share of each."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        metrics = painter.fontMetrics()
        name = 8 + SWATCH + max((metrics.horizontalAdvance(b.name) for b in self.bars), default=0)
        percent = metrics.horizontalAdvance(PERCENT) + 4
        room = max(self.width() - name - percent - 12, 10)
        for row, bar in enumerate(self.bars):
            top, colour = row * ROW, QColor(*bar.colour)
            if bar.rotation == self._rotation:
                painter.setPen(QPen(text, 1))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(QRectF(0.5, top + 0.5, self.width() - 1, ROW - 1))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawEllipse(QRectF(4, top + (ROW - SWATCH) / 2, SWATCH, SWATCH))
            length = bar.share / max(self.bars[0].share, 1e-12) * room
            painter.drawRect(QRectF(name + 6, top + 4, max(length, 1.0), ROW - 8))
            painter.setPen(text)
            middle = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(8 + SWATCH, top, name, ROW), middle, bar.name)
            share = QRectF(self.width() - percent - 4, top, percent, ROW)
            painter.drawText(
                share, middle | Qt.AlignmentFlag.AlignRight, f"{100 * bar.share:.0f} %"
            )
