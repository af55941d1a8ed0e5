"""The views of the model's grid: how many picks each has won, and which are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import QListView, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_so3.widgets.boxes import hint

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

ROWS = 5  # at most, without scrolling
CELL = QSize(98, 22)


class ViewsBox(QWidget):
    """A check box for every view; one that is cleared hides its picks."""

    changed = Signal(tuple)  # views that are hidden, by the user

    def __init__(self) -> None:
        super().__init__()
        self.list = QListWidget()
        self.list.setViewMode(QListView.ViewMode.ListMode)
        self.list.setFlow(QListView.Flow.LeftToRight)
        self.list.setWrapping(True)
        self.list.setResizeMode(QListView.ResizeMode.Adjust)
        self.list.setUniformItemSizes(True)
        self.list.setGridSize(CELL)
        self.list.setToolTip("View of the model, and the number of picks it has won.")
        self._hint = hint("Views, and how many picks they have won:")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._hint)
        layout.addWidget(self.list)
        self.list.itemChanged.connect(self._change)

    def show_views(self, counts: NDArray[np.int64], hidden: Collection[int]) -> None:
        """Show the views.

        Parameters
        ----------
        counts : ndarray
            (V,) picks of every view, also of those that are hidden.
        hidden : collection of int
            Views whose box is cleared.
        """
        blocked = self.list.blockSignals(True)
        while self.list.count() > len(counts):
            self.list.takeItem(self.list.count() - 1)
        while self.list.count() < len(counts):
            self.list.addItem(QListWidgetItem())
        for view, count in enumerate(counts):
            item = self.list.item(view)
            item.setText(f"{view + 1}: {count:,}")
            checked = Qt.CheckState.Unchecked if view in hidden else Qt.CheckState.Checked
            item.setCheckState(checked)
        self.list.blockSignals(blocked)
        rows = min(ROWS, -(-len(counts) // max(1, self.width() // CELL.width())))
        self.list.setFixedHeight(rows * CELL.height() + 2 * self.list.frameWidth() + 4)

    def _change(self) -> None:
        items = (self.list.item(row) for row in range(self.list.count()))
        cleared = [row for row, item in enumerate(items) if _is_cleared(item)]
        self.changed.emit(tuple(cleared))


def _is_cleared(item: QListWidgetItem) -> bool:
    return item.checkState() == Qt.CheckState.Unchecked
