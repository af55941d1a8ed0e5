"""The tab "Compare": how far the poses are from those of another program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QHeaderView,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_so3.poses.errors import HITS, random_errors
from napari_so3.poses.figures_errors import error_bins
from napari_so3.widgets.boxes import hint
from napari_so3.widgets.job_bar import JobBar
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.plots import Plot
from napari_so3.widgets.pose_compare_engine import (
    CompareJob,
    compare_with_file,
    write_comparison,
)
from napari_so3.widgets.result_table import ResultTable
from napari_so3.widgets.runner import Runner
from napari_so3.widgets.why_engine import NotWritten, Written
from napari_so3.widgets.why_panel import ENDINGS, FORMATS

if TYPE_CHECKING:
    from napari_so3.poses.errors import PoseErrors
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.pose_compare_engine import (
        Compared,
    )
    from napari_so3.widgets.posing import Posing

EXPLAINED = (
    "Compares the poses with those that RELION or\n"
    "cryoSPARC found for the same particles. Symmetric\n"
    "copies count as one pose."
)
FILES = "Poses (*.star *.cs *.csv);;All files (*)"
SAVED = f"{FORMATS};;Table of the errors (*.csv)"
COLUMNS = (
    ("", ""),
    ("median", "Median of the errors"),
    *((f"≤ {limit}°", f"Share of the poses that are within {limit} degrees") for limit in HITS),
)
_BARS, _GUESSED = (90, 160, 230), (170, 170, 170)


class PoseComparePanel(QWidget):
    """Compares the poses of the session with a file.

    Parameters
    ----------
    desk : Desk
        Of whose session.
    posing : Posing
        Knows the symmetry.
    """

    def __init__(self, desk: Desk, posing: Posing) -> None:
        super().__init__()
        self._desk, self._posing, self._session = desk, posing, desk.session
        self._path: Path | None = None
        self._compared: Compared | None = None
        self._writer = Runner()
        self.bar = JobBar("Compare with a file…")
        self.bar.button.setToolTip("Choose a particles STAR of RELION, a .cs file, or a table")
        self.align = QCheckBox("The map was turned or of the other hand")
        self.align.setToolTip(
            "Find the one rotation, and the hand, that brings the poses of the file to these.\n"
            "Without it, both must belong to the same map."
        )
        self.words, self.table, self.plot = QLabel(), _make_table(), Plot(130)
        self.save = QPushButton("Save figure…")
        self.save.setToolTip("Write the histogram, or with the ending .csv all errors")
        self._listening = Listening(self)
        self._lay_out()
        self._connect()
        self._forget()

    def _lay_out(self) -> None:
        self.words.setWordWrap(True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.plot.setLabel("bottom", "error, degrees")
        self.plot.setLabel("left", "picks")
        self.plot.setToolTip("Errors of the poses; the line is that of random poses")
        self.parts = QWidget()
        inner = QVBoxLayout(self.parts)
        inner.setContentsMargins(0, 0, 0, 0)
        for part in (self.words, self.table, self.plot, self.save):
            inner.addWidget(part)
        layout = QVBoxLayout(self)
        for part in (hint(EXPLAINED), self.align, self.bar, self.parts):
            layout.addWidget(part)
        layout.addStretch()

    def _connect(self) -> None:
        self.bar.clicked.connect(self._choose)
        self.bar.told.connect(self._show)
        self.align.toggled.connect(self._compare)
        self.save.clicked.connect(self._save)
        self._writer.told.connect(self._tell)
        self._writer.crashed.connect(self.bar.status.complain)
        self._listening.to(self._session.events.pose_run, self._change)
        self._listening.to(self._session.signals.opened, self._change)

    def close_down(self) -> None:
        """Stop comparing, and follow the session no more."""
        self.bar.cancel()
        self._writer.cancel()
        self._listening.stop()

    def _choose(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open poses", "", FILES)
        if path:
            self.compare_with(Path(path))

    def compare_with(self, path: Path) -> None:
        """Compare the poses of the session with those of a file."""
        self._path = path
        self._compare()

    def _compare(self, _on: object = None) -> None:
        model = self._posing.model
        if self._path is None:
            return
        self._forget()
        if model is None:
            self.bar.status.complain("There is no pose model: choose one in the tab Picks.")
            return
        job = CompareJob(
            self._session.poses,
            self._session.names,
            model.symmetry,
            self._path,
            self.align.isChecked(),
        )
        self.bar.start(compare_with_file, job)

    def _change(self, _value: object = None) -> None:
        """Forget what was found of other poses."""
        self.bar.cancel("Cancelled: something else is looked at.")
        self._forget()

    def _forget(self) -> None:
        self._compared = None
        self.parts.hide()

    def _show(self, compared: Compared) -> None:
        self._compared = compared
        errors = compared.comparison.errors
        said = (*compared.notes, *compared.comparison.sentences())
        self.words.setText("".join(f'<p style="margin: 0 0 4px 0">{s}</p>' for s in said))
        self.table.fill([_cells("poses", errors), _cells("random", random_errors(errors.symmetry))])
        self._draw(errors)
        self.parts.show()

    def _draw(self, errors: PoseErrors) -> None:
        edges, guessed = error_bins(errors)
        counts, _ = np.histogram(np.degrees(errors.angles), edges)
        middles, width = (edges[:-1] + edges[1:]) / 2, 0.9 * (edges[1] - edges[0])
        self.plot.clear()
        self.plot.addItem(
            pg.BarGraphItem(x=middles, height=counts, width=width, brush=_BARS, pen=None)
        )
        self.plot.addItem(pg.PlotDataItem(middles, guessed, pen=pg.mkPen(_GUESSED, width=1.5)))
        self.plot.setXRange(0, float(edges[-1]), padding=0.02)
        self.plot.setYRange(0, max(1.0, float(counts.max()), float(guessed.max())), padding=0.03)

    def _save(self) -> None:
        if self._compared is None:
            return
        path, kind = QFileDialog.getSaveFileName(self, "Save figure", "pose_errors.png", SAVED)
        if not path:
            return
        target = Path(path)
        if target.suffix.lower() not in (*ENDINGS, ".csv"):
            target = target.with_name(f"{target.name}{kind[-5:-1]}")
        self._writer.start(write_comparison, self._compared.comparison, target)

    def _tell(self, event: Any) -> None:
        if isinstance(event, Written):
            self.bar.status.say(f"Saved {event.path.name}.")
        elif isinstance(event, NotWritten):
            self.bar.status.complain(event.sentence)


def _cells(name: str, errors: PoseErrors) -> tuple[str, ...]:
    return (name, f"{errors.median_deg:.1f}°", *(f"{100 * h:.0f} %" for h in errors.hits.values()))


def _make_table() -> ResultTable:
    table = ResultTable(COLUMNS)
    table.verticalHeader().hide()
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.horizontalHeader().setMinimumSectionSize(30)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    return table
