"""Histogram of the scores, with a line that one drags to the threshold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QPalette
from scipy.special import logit
from superqt.utils import qthrottled

from napari_so3.widgets.plots import Plot
from napari_so3.widgets.threshold_box import HIGHEST, LOWEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEIGHT = 120  # pixels
BINS = 100
DRAG_MS = 25  # between two thresholds while one drags
GREEN, GREY = (90, 200, 120, 200), (128, 128, 128, 150)
_TICKS = (1e-3, 0.01, 0.1, 0.5, 0.9, 0.99)  # probabilities
_TAILS = (3, 6, 9, 12, 16, 24, 32, 48, 64)  # k of the probabilities 1 - 10^-k
_APART = 0.17  # of the width, between two ticks


class ScoreHistogram(Plot):
    """Bars over log-odds, whose heights are logarithms of numbers; green from the threshold on."""

    moved = Signal(float)  # threshold, log-odds, by the user

    def __init__(self) -> None:
        self._counts = np.zeros(BINS)
        self._edges = np.linspace(LOWEST, HIGHEST, BINS + 1)
        super().__init__(HEIGHT)
        self.setToolTip(
            "How many candidates have which score; the height is the logarithm of the number.\n"
            "Drag the line to move the threshold."
        )
        self._below = _bars(self, GREY)
        self._above = _bars(self, GREEN)
        self.line = pg.InfiniteLine(0.0, angle=90, movable=True)
        self.addItem(self.line)
        self._set_up()
        self.line.sigDragged.connect(qthrottled(self._tell, timeout=DRAG_MS))
        self.line.sigPositionChangeFinished.connect(self._tell)

    def _set_up(self) -> None:
        plot = self.getPlotItem()
        plot.hideAxis("left")
        plot.getViewBox().setDefaultPadding(0.0)
        plot.disableAutoRange()
        self.set_scores(np.zeros(0, np.float32), HIGHEST)
        self._take_colours()

    def set_scores(self, scores: NDArray[np.floating], highest: float) -> None:
        """Show other scores.

        Parameters
        ----------
        scores : ndarray
            (n,) log-odds; those that are not finite have no bar.
        highest : float
            End of the axis.
        """
        self._edges = np.linspace(LOWEST, highest, BINS + 1)
        step = self._edges[1] - LOWEST
        found = scores[np.isfinite(scores)]
        bins = np.clip((found - LOWEST) / step, 0, BINS - 1).astype(np.intp)
        self._counts = np.log10(1.0 + np.bincount(bins, minlength=BINS))
        self._below.setData(self._edges, self._counts)
        self.setXRange(LOWEST, highest)
        self.setYRange(0.0, max(1.0, 1.05 * self._counts.max()))
        self.getAxis("bottom").setTicks([_ticks(LOWEST, highest)])
        self.line.setBounds((LOWEST, highest))
        self._colour()

    def set_threshold(self, value: float) -> None:
        """Move the line, log-odds."""
        self.line.setValue(value)
        self._colour()

    def sizeHint(self) -> QSize:
        """Be content with little."""
        return QSize(200, HEIGHT)

    def _take_colours(self) -> None:
        super()._take_colours()
        text = self.palette().color(QPalette.ColorRole.WindowText)
        self.line.setPen(pg.mkPen(text, width=2))
        self.line.setHoverPen(pg.mkPen("#e0a030", width=3))

    def _tell(self) -> None:
        self._colour()
        self.moved.emit(float(self.line.value()))

    def _colour(self) -> None:
        """Draw the bars from the line on."""
        value = float(np.clip(self.line.value(), self._edges[0], self._edges[-1]))
        first = min(int(np.searchsorted(self._edges, value, side="right")) - 1, BINS - 1)
        edges = self._edges[first:].copy()
        edges[0] = value
        self._above.setData(edges, self._counts[first:])


def _bars(widget: pg.PlotWidget, colour: tuple[int, ...]) -> pg.PlotCurveItem:
    item = pg.PlotCurveItem(
        [0.0, 1.0], [0.0], stepMode="center", fillLevel=0.0, brush=colour, pen=None
    )
    widget.addItem(item)
    return item


def _ticks(lowest: float, highest: float) -> list[tuple[float, str]]:
    """Choose probabilities to be written below a range of log-odds, where there is room."""
    known = [(float(logit(p)), f"{p:g}") for p in _TICKS]
    known += [(k * math.log(10.0), f"1−10{_superscript(-k)}") for k in _TAILS]
    chosen = [(0.0, "0.5")]
    room = _APART * (highest - lowest)
    for value, text in known:
        inside = lowest + room / 2 < value < highest - room / 2
        if inside and all(abs(value - other) >= room for other, _ in chosen):
            chosen.append((value, text))
    return chosen


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
