"""The tab "Budget": what fewer and more rotations of a model cost, and what they keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_so3.widgets.boxes import hint
from napari_so3.widgets.budget_plot import BudgetPlot
from napari_so3.widgets.check_engine import BudgetJob, survey
from napari_so3.widgets.job_bar import JobBar
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.result_table import ResultTable

if TYPE_CHECKING:
    from napari_so3.insight.budget import Budget, BudgetRow
    from napari_so3.widgets.desk import Desk

MOST = 10  # micrographs
AT_FIRST = 2
EXPLAINED = (
    "The same weights work with fewer or more\n"
    "rotations: fewer are faster. The largest number is\n"
    "what the others are compared with."
)
COLUMNS = (
    ("Rotations", "Views × in-plane angles; those in bold are the model's own"),
    ("Time", "To score one micrograph, here and now"),
    ("Picks", "On all these micrographs, at the threshold that is set"),
    (
        "Kept",
        "Share of the picks of the largest number that are also among as many of the best "
        "candidates here: the ranking, whatever the threshold",
    ),
    ("New", "Picks at this threshold that the largest number does not have"),
    ("ΔP", "Median change of P of the picks of the largest number"),
)
_DECIDING = ("model", "diameter", "pixel_size", "threshold")  # fields of the session


class BudgetPanel(QWidget):
    """Compares numbers of rotations, and lets the user take one.

    Parameters
    ----------
    desk : Desk
        Shows the micrographs of the session.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk, self._session = desk, desk.session
        self._budget: Budget | None = None
        self.bar = JobBar("Compare")
        self.bar.button.setToolTip("Pick a few micrographs with several numbers of rotations")
        self.number = QSpinBox()
        self.number.setRange(1, MOST)
        self.number.setValue(AT_FIRST)
        self.number.setToolTip("The one that is shown, and those that follow it")
        self.advice = QLabel()
        self.advice.setWordWrap(True)
        self.table = _make_table()
        self.plot = BudgetPlot()
        self.use = QPushButton()
        self.use.setToolTip("Pick with these rotations from now on; nothing is trained")
        self.in_use = hint("")
        self._listening = Listening(self)
        self._lay_out()
        self._connect()
        self._forget()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(QLabel("Micrographs"))
        row.addWidget(self.number)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.addWidget(hint(EXPLAINED))
        layout.addLayout(row)
        for part in (self.bar, self.advice, self.table, self.plot, self.use, self.in_use):
            layout.addWidget(part)
        layout.addStretch()

    def _connect(self) -> None:
        self.bar.clicked.connect(self._start)
        self.bar.told.connect(self._show_budget)
        self.table.itemSelectionChanged.connect(self._show_use)
        self.use.clicked.connect(self._use)
        self._desk.shown.connect(self._show_ready)
        for name in _DECIDING:
            self._listening.to(self._session.events[name], self._change)
        self._listening.to(self._session.events.rotations, self._show_in_use)

    def close_down(self) -> None:
        """Stop comparing, and follow the session no more."""
        self.bar.cancel()
        self._listening.stop()
        self._desk.shown.disconnect(self._show_ready)

    # ------------------------------------------------------------------ comparing

    def _start(self) -> None:
        order = list(self._desk.order())
        first = order.index(self._desk.name)
        names = (order[first:] + order[:first])[: self.number.value()]
        self._forget()
        self.bar.start(survey, BudgetJob.of(self._session, tuple(names)))

    def _change(self, _value: object) -> None:
        """Forget what was found with other settings."""
        self.bar.cancel("Cancelled: a setting was changed.")
        self._forget()

    def _forget(self) -> None:
        self._budget = None
        self.table.setRowCount(0)
        for part in (self.advice, self.table, self.plot, self.use):
            part.hide()
        self._show_ready()
        self._show_in_use()

    def _show_ready(self) -> None:
        self.bar.button.setEnabled(self._desk.name in self._session.paths)

    def _show_budget(self, budget: Budget) -> None:
        self._budget = budget
        own = [budget.is_own(row) for row in budget.rows]
        self.table.fill([_cells(row) for row in budget.rows], left=1, bold=own)
        self.plot.show_budget(budget)
        self.advice.setText(budget.advice())
        for part in (self.advice, self.table, self.plot):
            part.setVisible(len(budget.rows) > 1)
        self.table.selectRow(budget.rows.index(budget.suggested()))

    # ------------------------------------------------------------------ taking one

    def _chosen(self) -> BudgetRow | None:
        rows = self.table.selectionModel().selectedRows()
        return self._budget.rows[rows[0].row()] if rows and self._budget else None

    def _show_use(self) -> None:
        row = self._chosen()
        self.use.setVisible(row is not None and self.table.rowCount() > 1)
        if row is not None:
            self.use.setText(f"Use {row.rotations} rotations")

    def _use(self) -> None:
        row = self._chosen()
        if row is not None and self._budget is not None:
            own = self._budget.is_own(row)
            self._session.rotations = None if own else (row.views, row.in_plane)

    def _show_in_use(self) -> None:
        grid = self._session.rotations
        words = "the model's own" if grid is None else f"{grid[0] * grid[1]}: {grid[0]} × {grid[1]}"
        self.in_use.setText(f"Rotations in use: {words}.\nThey count when you pick or look again.")


def _make_table() -> ResultTable:
    table = ResultTable(COLUMNS)
    table.verticalHeader().hide()
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    return table


def _cells(row: BudgetRow) -> tuple[str, ...]:
    from napari_so3.insight.budget import seconds  # with torch, which is there by now

    return (
        f"{row.rotations} ({row.views} × {row.in_plane})",
        seconds(row.seconds),
        f"{row.picks:,}",
        f"{100 * row.kept:.1f} %",
        f"{row.new:,}",
        f"{row.shift:.2f}",
    )
