"""A table of results: it is as high as its rows, and nothing in it can be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from collections.abc import Sequence

ROW = 22  # pixels


class ResultTable(QTableWidget):
    """Numbers in rows.

    Parameters
    ----------
    columns : sequence of (str, str)
        Title of every column, and what it means.
    """

    def __init__(self, columns: Sequence[tuple[str, str]]) -> None:
        super().__init__(0, len(columns))
        self.setHorizontalHeaderLabels([title for title, _ in columns])
        for column, (_, words) in enumerate(columns):
            self.horizontalHeaderItem(column).setToolTip(words)
        self.verticalHeader().setDefaultSectionSize(ROW)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def fill(
        self, rows: Sequence[Sequence[str]], left: int = 0, bold: Sequence[bool] | None = None
    ) -> None:
        """Show other rows.

        Parameters
        ----------
        rows : sequence of sequence of str
            Texts.
        left : int
            So many columns are written from the left, the others to the right.
        bold : sequence of bool, optional
            Which rows stand out.
        """
        self.setRowCount(len(rows))
        for i, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                if column >= left:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                font = item.font()
                font.setBold(bold is not None and bold[i])
                item.setFont(font)
                self.setItem(i, column, item)
        header = self.horizontalHeader().height()
        self.setFixedHeight(header + self.verticalHeader().length() + 4)
