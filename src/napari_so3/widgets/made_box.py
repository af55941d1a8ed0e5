"""What there is to see of a model that was just made: its card, and what it changes."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from napari_so3.widgets.compare_engine import CompareJob, compare_models
from napari_so3.widgets.comparison import (
    COLOURS,
    Comparison,
    find_comparison,
    remove_comparison,
    show_comparison,
)
from napari_so3.widgets.engine import Note, Problem
from napari_so3.widgets.layers import KEY
from napari_so3.widgets.runner import Runner
from napari_so3.widgets.teach_engine import until

if TYPE_CHECKING:
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.teach_engine import Made

CARD_HEIGHT = 120  # pixels


class MadeBox(QWidget):
    """The card of the last model, and its picks compared with those of the model before.

    Parameters
    ----------
    desk : Desk
        Shows the micrographs of the session.
    """

    said = Signal(str)  # a sentence on how it goes
    failed = Signal(str)  # a sentence

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk, self._session = desk, desk.session
        self._runner = Runner()
        self._cancelled = Event()
        self._blocked = False
        self._made: tuple[str, Made] | None = None  # and the model that it was made from
        self._job: tuple[str, CompareJob] | None = None
        self.show_card = QPushButton("Show card")
        self.show_card.setCheckable(True)
        self.show_card.setToolTip("What the new model is, and how it was made")
        self.compare = QPushButton("Compare")
        self.compare.setToolTip(
            "Pick this micrograph with the model of before and the new one, and show the difference"
        )
        self.card = QPlainTextEdit()
        self.card.setReadOnly(True)
        self.card.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.card.setFixedHeight(CARD_HEIGHT)
        self.card.hide()
        row = QHBoxLayout()
        row.addWidget(self.show_card, 1)
        row.addWidget(self.compare, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.card)
        self.show_card.toggled.connect(self.card.setVisible)
        self.compare.clicked.connect(self._click)
        self._runner.told.connect(self._take)
        self._runner.ended.connect(self._end)
        self._runner.crashed.connect(self.failed.emit)
        desk.shown.connect(self._turn_to)
        self._show_state()

    def show_made(self, before: str, made: Made) -> None:
        """Show another model, and what it was made from."""
        self._made = before, made
        self.card.setPlainText(made.card)
        self._show_state()

    def block(self, blocked: bool) -> None:
        """Do not compare while something else computes."""
        self._blocked = blocked
        if blocked:
            self.cancel()
        self._show_state()

    def cancel(self) -> None:
        """Stop comparing after the step at hand."""
        self._cancelled.set()

    def _click(self) -> None:
        session, name = self._session, self._desk.name
        if self._runner.running:
            self.cancel()
        elif self._made is not None and name in session.paths:
            before, made = self._made
            job = CompareJob(
                path=session.paths[name],
                pixel_size=session.pixel_size,
                diameter=session.diameter,
                device=session.device,
                before=before,
                after=str(made.path),
                run=session.run,
                candidates=session.pool.get(name),
            )
            self._job, self._cancelled = (name, job), Event()
            self.destroyed.connect(self._cancelled.set)
            self._runner.start(until, self._cancelled, compare_models, job)
        self._show_state()

    def _take(self, event: Any) -> None:
        if self._cancelled.is_set():
            return
        if isinstance(event, Note):
            self.said.emit(f"{event.text}…")
        elif isinstance(event, Problem):
            self.failed.emit(event.sentence)
        elif isinstance(event, Comparison):
            self._show(event)

    def _show(self, comparison: Comparison) -> None:
        assert self._job is not None
        name, job = self._job
        words = comparison.sentence()
        for kind, colour in COLOURS.items():
            counted = f"{getattr(comparison, kind)} {kind}"
            unbroken = f"● {counted}".replace(" ", "\u00a0")
            coloured = unbroken.replace("●", f'<span style="color: {colour}">●</span>')
            words = words.replace(counted, coloured)
        self.said.emit(f"{name}: {words}")
        if self._desk.name == name:
            show_comparison(
                self._desk.viewer,
                comparison,
                {
                    "micrograph": str(job.path),
                    "before": model_name(job.before),
                    "after": model_name(job.after),
                    "diameter": job.diameter,
                    "pixel_size": comparison.pixel_size,
                },
            )

    def _end(self) -> None:
        if self._cancelled.is_set() and not self._blocked:
            self.said.emit("Cancelled.")
        self._show_state()

    def _turn_to(self, name: str) -> None:
        """Remove the comparison when another micrograph is shown."""
        layer = find_comparison(self._desk.viewer)
        path = str(self._session.paths.get(name, ""))
        if layer is not None and layer.metadata[KEY]["micrograph"] != path:
            remove_comparison(self._desk.viewer)
        self._show_state()

    def _show_state(self) -> None:
        running = self._runner.running
        shown = self._desk.name in self._session.paths
        self.show_card.setEnabled(self._made is not None)
        self.compare.setText("Cancel" if running else "Compare")
        self.compare.setEnabled(
            not self._cancelled.is_set()
            if running
            else self._made is not None and shown and not self._blocked
        )


def model_name(model: str) -> str:
    """Name a model by its bundled name, or by its file."""
    return Path(model).name.removesuffix(".safetensors")
