"""Plots in a dock: they take the colours of the window, and leave the mouse and the wheel alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import QEvent
from qtpy.QtGui import QPalette

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtGui import QShowEvent, QWheelEvent

    Colour = tuple[int, int, int]

DESCENT = 5  # pixels below a label, or else its descenders are cut


class Plot(pg.PlotWidget):
    """A plot that is only looked at.

    Parameters
    ----------
    height, narrowest, widest : int
        Pixels.
    colours : mapping, optional
        Colour of the texts of an axis, ``"left"`` or ``"right"``, if not that of the window.
    """

    def __init__(
        self,
        height: int,
        narrowest: int = 150,
        widest: int = 800,
        colours: Mapping[str, Colour] | None = None,
    ) -> None:
        self._colours = colours or {}
        super().__init__(background=None)
        self.setFixedHeight(height)
        self.setMinimumWidth(narrowest)
        self.setMaximumWidth(widest)
        plot = self.getPlotItem()
        plot.hideButtons()
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.layout.setContentsMargins(1, 1, 1, DESCENT)
        for name in ("left", "right", "bottom"):
            plot.getAxis(name).enableAutoSIPrefix(False)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to what scrolls the dock."""
        event.ignore()

    def showEvent(self, event: QShowEvent) -> None:
        """Take the colours of the window that it is in."""
        super().showEvent(event)
        self._take_colours()

    def changeEvent(self, event: QEvent) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._take_colours()

    def _take_colours(self) -> None:
        self.resetCachedContent()  # or else the background of before stays
        text = self.palette().color(QPalette.ColorRole.WindowText)
        for name in ("bottom", "left", "right"):
            axis = self.getAxis(name)
            axis.setPen(text)
            axis.setTextPen(pg.mkColor(self._colours.get(name, text)))


class TwinPlot(Plot):
    """A plot with another scale on the right.

    Parameters
    ----------
    height : int
        Pixels.
    left, right : tuple of int
        Colours of the curves, red, green and blue.
    """

    def __init__(self, height: int, left: Colour, right: Colour) -> None:
        super().__init__(height, colours={"left": left, "right": right})
        self.right = pg.ViewBox(enableMouse=False, enableMenu=False)
        plot = self.getPlotItem()
        plot.showAxis("right")
        plot.scene().addItem(self.right)
        plot.getAxis("right").linkToView(self.right)
        self.right.setXLink(plot)
        plot.getViewBox().sigResized.connect(self._follow)

    def _follow(self) -> None:
        """Keep the right axis over the left one."""
        self.right.setGeometry(self.getPlotItem().getViewBox().sceneBoundingRect())


def dotted_line(colour: Colour) -> pg.PlotDataItem:
    """Make a curve with a dot at every point."""
    return pg.PlotDataItem(
        pen=pg.mkPen(colour, width=2),
        symbol="o",
        symbolSize=6,
        symbolBrush=colour,
        symbolPen=None,
    )
