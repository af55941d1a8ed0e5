"""Kept picks and time against the number of rotations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_so3.widgets.plots import TwinPlot, dotted_line

if TYPE_CHECKING:
    from napari_so3.insight.budget import Budget

HEIGHT = 150  # pixels
KEPT, TIME = (90, 160, 230), (230, 150, 50)


class BudgetPlot(TwinPlot):
    """The share of the picks that is kept on the left axis, the time on the right one."""

    def __init__(self) -> None:
        super().__init__(HEIGHT, KEPT, TIME)
        self._kept, self._time = dotted_line(KEPT), dotted_line(TIME)
        plot = self.getPlotItem()
        plot.addItem(self._kept)
        self.right.addItem(self._time)
        plot.setLabel("left", "kept, %")
        plot.setLabel("right", "time, s")
        plot.setLabel("bottom", "rotations")

    def show_budget(self, budget: Budget) -> None:
        """Draw a budget, also one that is not complete."""
        places = [math.log2(row.rotations) for row in budget.rows]
        ticks = [(x, str(row.rotations)) for x, row in zip(places, budget.rows, strict=True)]
        self.getAxis("bottom").setTicks([ticks])
        self._kept.setData(places, [100 * row.kept for row in budget.rows])
        self._time.setData(places, [row.seconds for row in budget.rows])
        self.setXRange(places[0], places[-1], padding=0.06)
        self.setYRange(min(100 * row.kept for row in budget.rows), 100, padding=0.06)
        self.right.setYRange(0, max(row.seconds for row in budget.rows), padding=0.06)
