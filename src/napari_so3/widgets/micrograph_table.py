"""The searchable table of all micrographs of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QTableView,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qdebounced

from napari_so3.widgets.micrograph_model import MicrographModel
from napari_so3.widgets.micrograph_rows import CHOICES, COLUMNS, NAME

if TYPE_CHECKING:
    from qtpy.QtCore import QModelIndex

    from napari_so3.session.state import Session

QUIET_MS = 100  # between two rows that are gone to, from which on the second is shown
WIDEST = ("", "0.8285", "Picks", "+99 −99", "Score", "★")  # cells, for the widths of columns


class MicrographTable(QWidget):
    """Shows the micrographs of a session; one of them is selected.

    Parameters
    ----------
    session : Session
        The session.
    """

    wanted = Signal(str)  # micrograph that is gone to, once one does not go on at once

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search")
        self.search.setClearButtonEnabled(True)
        self.choice = QComboBox()
        self.choice.addItems(CHOICES)
        self.model = MicrographModel(session)
        self.view = QTableView()
        self._set_up_view()
        row = QHBoxLayout()
        row.addWidget(self.search, 1)
        row.addWidget(self.choice)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.view, 1)
        self._tell = qdebounced(self._tell_now, timeout=QUIET_MS, leading=True)
        self._connect()
        self.select(session.current)

    def _set_up_view(self) -> None:
        view, header = self.view, self.view.horizontalHeader()
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        header.setSortIndicatorClearable(True)
        view.setModel(self.model)
        view.setSortingEnabled(True)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        view.setTabKeyNavigation(False)
        view.setWordWrap(False)
        view.setTextElideMode(Qt.TextElideMode.ElideLeft)
        view.setShowGrid(False)
        view.verticalHeader().hide()
        metrics = view.fontMetrics()
        view.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        view.verticalHeader().setDefaultSectionSize(metrics.height() + 6)
        header.setHighlightSections(False)
        for column in range(len(COLUMNS)):
            header.resizeSection(column, metrics.horizontalAdvance(WIDEST[column]) + 9)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)

    def _connect(self) -> None:
        self.search.textChanged.connect(self._filter)
        self.choice.currentTextChanged.connect(self._filter)
        self.view.selectionModel().currentRowChanged.connect(self._go_to)
        self.view.activated.connect(self._tell_now)
        self.model.modelReset.connect(self._select_current)
        self._session.events.current.connect(self.select)

    def disconnect_session(self) -> None:
        """Stop following the session."""
        self._tell.cancel()
        self._session.events.current.disconnect(self.select)
        self.model.disconnect_session()

    @property
    def selected(self) -> str:
        """Name of the selected micrograph; empty if none is."""
        index = self.view.currentIndex()
        return self.model.names[index.row()] if index.isValid() else ""

    def select(self, name: str) -> None:
        """Select a micrograph without going to it."""
        row = self.model.row_of(name)
        if row != self.view.currentIndex().row():
            selection = self.view.selectionModel()
            blocked = selection.blockSignals(True)
            self.view.setCurrentIndex(self.model.index(row, NAME))
            selection.blockSignals(blocked)
            self.view.viewport().update()

    def step(self, by: int) -> None:
        """Go to the row that lies so many below; at the ends stay there."""
        last = self.model.rowCount() - 1
        if last >= 0:
            row = self.view.currentIndex().row()  # -1 if none is selected
            target = 0 if row < 0 else min(max(row + by, 0), last)
            self.view.setCurrentIndex(self.model.index(target, NAME))

    def _filter(self) -> None:
        self.model.filter(self.search.text(), self.choice.currentText())
        self._select_current()

    def _select_current(self) -> None:
        self.select(self._session.current)

    def _go_to(self, current: QModelIndex) -> None:
        if current.isValid() and self.selected != self._session.current:
            self._tell()

    def _tell_now(self) -> None:
        if self.selected:
            self.wanted.emit(self.selected)
