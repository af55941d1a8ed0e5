"""Norms of the filters of a layer, the spectrum of one, or its likeness to a map, as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt, Signal

from napari_so3.widgets.plots import Plot

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QMouseEvent

HEIGHT = 150  # pixels
LINE, CHOSEN, DEAD = (90, 160, 230), (255, 184, 64), (220, 70, 70)


class FilterPlot(Plot):
    """One of three plots; a click on a bar of the norms chooses that filter."""

    chosen = Signal(int)  # number of a filter of the layer, from 0

    def __init__(self) -> None:
        super().__init__(HEIGHT, narrowest=120, widest=400)
        self._bars = 0

    def show_norms(self, norms: NDArray[np.float32], dead: NDArray[np.bool_], chosen: int) -> None:
        """Show a bar for every filter of a layer.

        Parameters
        ----------
        norms, dead : ndarray
            (n,) norms, and whether a filter is dead.
        chosen : int
            Which one is looked at.
        """
        self._begin("filter", "strength")
        self._bars = len(norms)
        brushes = [DEAD if is_dead else LINE for is_dead in dead]
        brushes[chosen] = CHOSEN
        numbers = np.arange(len(norms)) + 1
        self.addItem(pg.BarGraphItem(x=numbers, height=norms, width=0.8, brushes=brushes, pen=None))
        self.setXRange(0.5, len(norms) + 0.5, padding=0.02)
        self.setYRange(0, float(norms.max()), padding=0.03)
        self.setToolTip(
            "Strength of every filter of this layer, with the batch norm that follows.\n"
            "Dead ones are red. Click a bar to see that filter."
        )

    def show_spectrum(self, spectrum: NDArray[np.float64], pixel_size: float) -> None:
        """Show the power of a filter.

        Parameters
        ----------
        spectrum : ndarray
            (m, 2) cycles per voxel, and power.
        pixel_size : float
            Å per voxel.
        """
        self._begin("1/Å", "log power")
        power = np.log10(np.maximum(spectrum[:, 1], 1e-12))
        self.plot(spectrum[:, 0] / pixel_size, power, pen=pg.mkPen(LINE, width=2))
        self.setXRange(0, 0.5 / pixel_size, padding=0.02)
        self.getPlotItem().getViewBox().enableAutoRange(axis="y")
        self.setToolTip("Power of this filter over the spatial frequency: what detail it looks at")

    def show_fsc(self, fsc: NDArray[np.float64]) -> None:
        """Show how like a map a filter is, (m, 2) frequency in 1/Å and correlation."""
        self._begin("1/Å", "FSC")
        self.addItem(pg.InfiniteLine(0.5, angle=0, pen=pg.mkPen(DEAD, style=Qt.PenStyle.DashLine)))
        self.plot(fsc[:, 0], fsc[:, 1], pen=pg.mkPen(LINE, width=2))
        self.setXRange(0, float(fsc[-1, 0]), padding=0.02)
        self.setYRange(min(0.0, float(fsc[:, 1].min())), 1.0, padding=0.03)
        self.setToolTip("Fourier shell correlation of the filter with the map; dashed: 0.5")

    def place_of(self, number: int) -> QPointF:
        """Find the foot of a bar, pixels."""
        box = self.getPlotItem().getViewBox()
        return QPointF(self.mapFromScene(box.mapViewToScene(QPointF(number + 1.0, 0.0))))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Choose the filter whose bar is clicked."""
        super().mouseReleaseEvent(event)
        box = self.getPlotItem().getViewBox()
        at = box.mapSceneToView(self.mapToScene(event.position().toPoint()))
        number = round(at.x()) - 1
        if 0 <= number < self._bars and event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit(number)

    def _begin(self, bottom: str, left: str) -> None:
        self.clear()
        self._bars = 0
        self.setLabel("bottom", bottom)
        self.setLabel("left", left)
