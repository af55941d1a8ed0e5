"""How a training goes: the loss of every step, and the validation of every epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import QEvent
from qtpy.QtGui import QPalette
from superqt.utils import qthrottled

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent, QWheelEvent

    from napari_so3.training.fit import FitProgress

HEIGHT = 160  # pixels
DRAW_MS = 100  # between two drawings
MEMORY = 0.9  # of the smoothed loss
LOSS, RAW, AUPRC = (90, 160, 230), (90, 160, 230, 90), (230, 150, 50)


@dataclass
class Curves:
    """What a training has told so far.

    Parameters
    ----------
    step, loss, smooth : list
        Of every step.
    epoch_step, validation : list
        Steps at which there was a validation, and its AUPRC.
    """

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    smooth: list[float] = field(default_factory=list)
    epoch_step: list[int] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    _sum: float = 0.0

    def add(self, progress: FitProgress) -> None:
        """Take in a step; its smoothed loss is the mean of those before, the later the heavier."""
        self._sum = MEMORY * self._sum + (1 - MEMORY) * progress.loss
        self.step.append(progress.step)
        self.loss.append(progress.loss)
        self.smooth.append(self._sum / (1 - MEMORY ** len(self.step)))
        if progress.validation is not None:
            self.epoch_step.append(progress.step)
            self.validation.append(progress.validation)

    def describe(self, progress: FitProgress) -> str:
        """Say where the training stands, such as ``step 34 of 60, 41 s left``."""
        left = duration(progress.eta_seconds)
        words = f"step {progress.step} of {progress.steps}, {left} left"
        if progress.best is not None:
            words += f", best AUPRC {progress.best:.2f}"
            if progress.best in self.validation:  # or else it is from before a resumption
                at = len(self.validation) - 1 - self.validation[::-1].index(progress.best)
                words += f" at step {self.epoch_step[at]}"
        return words


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it, such as ``41 s``, ``12 min`` or ``2.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class LearningPlot(pg.PlotWidget):
    """Loss on the left axis, validation AUPRC on the right one."""

    def __init__(self) -> None:
        self.curves = Curves()
        super().__init__(background=None)
        self.setFixedHeight(HEIGHT)
        self.setMinimumWidth(150)
        self.setMaximumWidth(800)
        self.setToolTip("Loss of every step (faint) and smoothed; validation AUPRC of every epoch")
        self._right = pg.ViewBox(enableMouse=False, enableMenu=False)
        self._raw = self.plot(pen=pg.mkPen(RAW))
        self._smooth = self.plot(pen=pg.mkPen(LOSS, width=2))
        self._validation = pg.PlotDataItem(
            pen=pg.mkPen(AUPRC, width=2), symbol="o", symbolSize=6, symbolBrush=AUPRC,
            symbolPen=None,
        )  # fmt: skip
        self._set_up()
        self._draw_soon = qthrottled(self.draw, timeout=DRAW_MS)

    def _set_up(self) -> None:
        plot = self.getPlotItem()
        plot.hideButtons()
        plot.setMenuEnabled(False)
        plot.setMouseEnabled(x=False, y=False)
        plot.showAxis("right")
        plot.scene().addItem(self._right)
        plot.getAxis("right").linkToView(self._right)
        self._right.setXLink(plot)
        self._right.addItem(self._validation)
        self._right.setYRange(0.0, 1.0, padding=0.05)
        plot.getViewBox().sigResized.connect(self._follow)
        plot.getAxis("left").enableAutoSIPrefix(False)
        plot.setLabel("left", "loss")
        plot.setLabel("right", "AUPRC")
        plot.setLabel("bottom", "step")
        self.begin(1)
        self._take_colours()

    def begin(self, steps: int) -> None:
        """Forget the curves, and make room for so many steps."""
        self.curves = Curves()
        self.setXRange(0, steps, padding=0.01)
        self.draw()

    def add(self, progress: FitProgress) -> None:
        """Take in a step."""
        self.curves.add(progress)
        self._draw_soon()

    def draw(self) -> None:
        """Draw the curves as they are now."""
        curves = self.curves
        self._raw.setData(curves.step, curves.loss)
        self._smooth.setData(curves.step, curves.smooth)
        self._validation.setData(curves.epoch_step, curves.validation)

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

    def _follow(self) -> None:
        """Keep the right axis over the left one."""
        self._right.setGeometry(self.getPlotItem().getViewBox().sceneBoundingRect())

    def _take_colours(self) -> None:
        self.resetCachedContent()  # or else the background of before stays
        text = self.palette().color(QPalette.ColorRole.WindowText)
        for name, colour in (("bottom", text), ("left", LOSS), ("right", AUPRC)):
            axis = self.getAxis(name)
            axis.setPen(text)
            axis.setTextPen(pg.mkColor(colour))
