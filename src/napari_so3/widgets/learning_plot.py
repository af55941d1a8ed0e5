"""How a training goes: the loss of every step, and the validation of every epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyqtgraph as pg
from superqt.utils import qthrottled

from napari_so3.widgets.plots import TwinPlot, dotted_line

if TYPE_CHECKING:
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


class LearningPlot(TwinPlot):
    """Loss on the left axis, validation AUPRC on the right one."""

    def __init__(self) -> None:
        self.curves = Curves()
        super().__init__(HEIGHT, LOSS, AUPRC)
        self.setToolTip("Loss of every step (faint) and smoothed; validation AUPRC of every epoch")
        self._raw = self.plot(pen=pg.mkPen(RAW))
        self._smooth = self.plot(pen=pg.mkPen(LOSS, width=2))
        self._validation = dotted_line(AUPRC)
        self.right.addItem(self._validation)
        self.right.setYRange(0.0, 1.0, padding=0.05)
        plot = self.getPlotItem()
        plot.setLabel("left", "loss")
        plot.setLabel("right", "AUPRC")
        plot.setLabel("bottom", "step")
        self.begin(1)
        self._draw_soon = qthrottled(self.draw, timeout=DRAW_MS)

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
