"""The table of micrographs for Qt: which rows are shown, in which order, and what has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, Qt, Signal
from superqt.utils import qthrottled

from napari_so3.widgets.micrograph_rows import ALL, COLUMNS, HINTS, NAME, STATE, MicrographRows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from qtpy.QtCore import QModelIndex

    from napari_so3.session.state import Session

THROTTLE_MS = 150  # between two counts while a threshold moves
FEW = 20  # rows that are redrawn one by one
MANY = 500  # rows from which on it is faster to count all
_DISPLAY = Qt.ItemDataRole.DisplayRole
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_CENTRE = Qt.AlignmentFlag.AlignCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class MicrographModel(QAbstractTableModel):
    """Follows a session.

    It sorts and filters by itself: Qt's proxy asks for every pair of cells that it compares, which
    takes seconds for thousands of rows. Numbers that change do not move their rows.

    Parameters
    ----------
    session : Session
        Whose micrographs.
    """

    counted = Signal()  # numbers, states or the list are new

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.content = MicrographRows(session)
        self._rows = list(range(len(session.names)))  # of the content, as they are shown
        self._sorting = (-1, False)
        self._filter = ("", ALL)
        self._changed: set[str] = set()
        self._all_changed = False
        self._later = qthrottled(self._count, timeout=THROTTLE_MS, leading=False)
        events = session.events
        self._connections = (
            (session.signals.micrographs, self._read),
            (session.signals.override, self._change_one),
            (session.signals.failed, self._change_one),
            (session.marks.changed, self._change_one),
            (session.pool.changed, self._change_one),
            (events.pixel_size, self._change_every_one),
            *((events[name], self._change_all) for name in ("threshold", "suggested")),
            *((events[name], self._change_filters) for name in ("margin", "diameter")),
            *((events[name], self._change_filters) for name in ("hidden_views", "in_plane")),
        )
        for signal, slot in self._connections:
            signal.connect(slot)

    def disconnect_session(self) -> None:
        """Stop following the session."""
        self._later.cancel()
        for signal, slot in self._connections:
            signal.disconnect(slot)

    @property
    def names(self) -> list[str]:
        """Names of the rows, from above."""
        return [self.content.names[row] for row in self._rows]

    def row_of(self, name: str) -> int:
        """Row of a micrograph; -1 where it is not shown."""
        names = self.names
        return names.index(name) if name in names else -1

    def learn(self, name: str, pixel_size: float) -> None:
        """Take the pixel size in Å that the file of a micrograph tells."""
        self.content.learn(name, pixel_size)
        self._tell({name})

    def filter(self, text: str, choice: str) -> None:
        """Show the rows whose name contains a text, and that are of one of `CHOICES`."""
        self._filter = (text.casefold(), choice)
        self._arrange()

    # ------------------------------------------------------------------ what Qt asks

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, or as in the session where it is -1."""
        self._sorting = (column, order == Qt.SortOrder.DescendingOrder)
        self._arrange()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Give the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Give the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        """Give what a header says."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.ToolTipRole:
            return HINTS.get(section)
        return COLUMNS[section] if role == _DISPLAY else None

    def data(self, index: QModelIndex, role: int = _DISPLAY) -> Any:
        """Give what a cell says."""
        row, column = self._rows[index.row()], index.column()
        if role == _DISPLAY:
            return self.content.text(row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.content.hint(row, column)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return {NAME: _LEFT, STATE: _CENTRE}.get(column, _RIGHT)
        return None

    # ------------------------------------------------------------------ changes

    def _arrange(self) -> None:
        """Sort and filter; what is selected stays so where it is still shown."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        names = [self.content.names[self._rows[index.row()]] for index in before]
        self._rows = self._arranged()
        after = [
            self.index(self.row_of(name), index.column())
            for name, index in zip(names, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _arranged(self) -> list[int]:
        return self._fitting(self.content.sorted(*self._sorting))

    def _fitting(self, rows: Iterable[int]) -> list[int]:
        return [row for row in rows if self.content.fits(row, *self._filter)]

    def _read(self) -> None:
        """Show the list of the session anew."""
        self._later.cancel()
        self._changed.clear()
        self._all_changed = False
        self.beginResetModel()
        self.content.read()
        self._rows = self._arranged()
        self.endResetModel()
        self.counted.emit()

    def _change_filters(self) -> None:
        self.content.tally.forget_scores()
        self._change_all()

    def _change_all(self) -> None:
        self._all_changed = True
        self._later()

    def _change_every_one(self) -> None:
        self._changed.update(self.content.names)
        self._change_all()

    def _change_one(self, name: str) -> None:
        self.content.tally.forget_scores()
        self._changed.add(name)
        self._all_changed |= not name
        self._later()

    def _count(self) -> None:
        """Count what has changed, and have it drawn."""
        if self.content.names != self._session.names:
            return  # while a session is being opened
        changed, tally = self._changed, self.content.tally
        if self._all_changed or len(changed) > MANY:
            counts, means = tally.counts, tally.means
            tally.count()
            other = (counts != tally.counts) | ~((means == tally.means) | np.isnan(means))
            changed = changed | {self.content.names[row] for row in np.flatnonzero(other)}
        else:
            for name in changed:
                tally.count_one(name)
        self._changed, self._all_changed = set(), False
        self._tell(changed)
        if set(self._rows) != set(self._fitting(range(len(tally.counts)))):
            self._arrange()
        self.counted.emit()

    def _tell(self, names: Collection[str]) -> None:
        """Have the rows of some micrographs drawn anew."""
        rows = [at for at, name in enumerate(self.names) if name in names]
        spans = [(row, row) for row in rows] if len(rows) <= FEW else [(rows[0], rows[-1])]
        for first, last in spans:
            self.dataChanged.emit(self.index(first, 0), self.index(last, len(COLUMNS) - 1))
