"""The tab "Check": does the picker see the same when the micrograph is turned or mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_so3.widgets.boxes import hint
from napari_so3.widgets.check_engine import check
from napari_so3.widgets.job_bar import JobBar
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.result_table import ResultTable
from napari_so3.widgets.see_engine import SeeJob

if TYPE_CHECKING:
    from napari_so3.insight.self_check import SelfCheck, Turned
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.seeing import Seeing

EXPLAINED = (
    "Picks the micrograph again, turned by quarters\n"
    "and mirrored. The picks should move with it, and\n"
    "their matched rotation should turn with it."
)
ROWS = ("90°", "180°", "270°", "⇅", "⇆")  # in the order of the check
COLUMNS = (
    ("Moved", "Share of the picks that are where they should be, within a quarter of the diameter"),
    ("Exactly", "The same within one pixel of the network"),
    ("ΔP", "Median change of P"),
    ("ψ +", "By how much the in-plane angle psi has grown; it should be by the turn"),
    ("Rotation", "Share of those picks whose matched rotation is just the one it should be"),
)
_DECIDING = ("model", "rotations", "diameter", "pixel_size", "threshold")  # fields of the session


class CheckPanel(QWidget):
    """Checks the picker on the micrograph that is shown.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph.
    seeing : Seeing
        Its engine keeps the network.
    """

    def __init__(self, desk: Desk, seeing: Seeing) -> None:
        super().__init__()
        self._desk, self._seeing, self._session = desk, seeing, desk.session
        self.bar = JobBar("Check")
        self.bar.button.setToolTip("Pick the micrograph six times, and compare")
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.table = _make_table()
        layout = QVBoxLayout(self)
        for part in (hint(EXPLAINED), self.bar, self.words, self.table):
            layout.addWidget(part)
        layout.addStretch()
        self.bar.clicked.connect(self._start)
        self.bar.told.connect(self._show_check)
        self._desk.shown.connect(self._change)
        self._listening = Listening(self)
        for name in _DECIDING:
            self._listening.to(self._session.events[name], self._change)
        self._change()

    def close_down(self) -> None:
        """Stop checking, and follow the session no more."""
        self.bar.cancel()
        self._listening.stop()
        self._desk.shown.disconnect(self._change)

    def _start(self) -> None:
        job = SeeJob.of(self._desk)
        if job is not None:
            self._forget()
            self.bar.start(check, self._seeing.engine, job, self._session.threshold)

    def _change(self, _value: object = None) -> None:
        """Forget what was found of another micrograph, or with other settings."""
        self.bar.cancel("Cancelled: something else is looked at.")
        self.bar.button.setEnabled(SeeJob.of(self._desk) is not None)
        self._forget()

    def _forget(self) -> None:
        self.words.hide()
        self.table.hide()

    def _show_check(self, found: SelfCheck) -> None:
        self.words.setText(
            "".join(f'<p style="margin: 0 0 4px 0">{s}</p>' for s in found.sentences())
        )
        self.table.fill([_cells(row) for row in found.rows])
        self.table.setVerticalHeaderLabels(ROWS)
        for i, row in enumerate(found.rows):
            self.table.verticalHeaderItem(i).setToolTip(row.words)
        self.words.show()
        self.table.show()


def _cells(row: Turned) -> tuple[str, ...]:
    return (
        f"{100 * row.moved:.1f} %",
        f"{100 * row.moved_closely:.1f} %",
        f"{row.shift:.3f}",
        "" if row.psi_seen is None else f"{row.psi_seen:.0f}°",
        f"{100 * row.rotation_kept:.0f} %" if row.closed else "—",
    )


def _make_table() -> ResultTable:
    table = ResultTable(COLUMNS)
    table.setMinimumWidth(0)
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    return table
