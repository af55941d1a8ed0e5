"""The button that runs and cancels, and how far the run is."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_so3.picking.picks import Picks
from napari_so3.widgets.engine import Note, Problem, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


SHORTCUT = "Ctrl+Return"


class RunBar(QWidget):
    """Runs an engine's picking in a thread, one run at a time."""

    clicked = Signal()  # to run
    picked = Signal(object)  # Picks
    noted = Signal(str)  # a sentence on how it goes
    failed = Signal(str)  # a sentence

    def __init__(self) -> None:
        super().__init__()
        self._worker: Any = None
        self._run = 0
        self._begin = 0.0
        self.button = QPushButton("Pick")
        self.button.setToolTip(f"Pick the particles of the micrograph ({SHORTCUT})")
        self.progress = QProgressBar()
        self.progress.setVisible(False)
        self.progress.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.progress)
        self.button.clicked.connect(self._click)
        QShortcut(QKeySequence(SHORTCUT), self).activated.connect(self.button.click)

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._worker is not None

    def start(self, function: Callable[..., Iterator[Any]], *args: Any) -> None:
        """Run in a thread.

        Parameters
        ----------
        function : callable
            `Engine.pick`.
        *args
            Its arguments.
        """
        self._run += 1
        self.button.setText("Cancel")
        self.progress.setRange(0, 0)
        self.progress.setVisible(True)
        self._worker = create_worker(
            _picking,
            self._run,
            function,
            args,
            _connect={"yielded": self._show, "errored": self._crash},
        )

    def cancel(self, reason: str = "Cancelled.") -> None:
        """Stop: at once as far as one sees, and after the step at hand in the thread."""
        if self._worker is not None:
            self._worker.quit()
            self._stop()
            self.noted.emit(reason)

    def _click(self) -> None:
        if self.running:
            self.cancel()
        else:
            self.clicked.emit()

    def _stop(self) -> None:
        self._worker = None
        self._run += 1  # nothing is heard any more of what the thread still does
        self.button.setText("Pick")
        self.progress.setVisible(False)

    def _show(self, numbered: tuple[int, Any]) -> None:
        run, event = numbered
        if run != self._run:
            return
        if isinstance(event, Progress):
            self._show_progress(event)
        elif isinstance(event, Note):
            self._begin = 0.0
            self.progress.setRange(0, 0)
            self.noted.emit(f"{event.text}…")
        elif isinstance(event, Picks):
            self._stop()
            self.picked.emit(event)
        elif isinstance(event, Problem):
            self._stop()
            self.failed.emit(event.sentence)

    def _show_progress(self, event: Progress) -> None:
        now = time.monotonic()
        if not self._begin:
            self._begin, self._done_before = now, event.done
        tile, rotation = divmod(event.done - 1, event.rotations)
        tiles = event.total // event.rotations
        words = f"rotation {rotation + 1} of {event.rotations}"
        if tiles > 1:
            words += f", tile {tile + 1} of {tiles}"
        if event.done > self._done_before and now - self._begin > 0.5:
            each = (now - self._begin) / (event.done - self._done_before)
            words += f", {each * (event.total - event.done):.0f} s left"
        self.progress.setRange(0, event.total)
        self.progress.setValue(event.done)
        self.progress.setFormat(words)
        self.noted.emit(event.note)

    def _crash(self, error: Exception) -> None:
        """Show an error that nobody foresaw; napari shows it too, with its traceback."""
        if self.running:
            self._stop()
            self.failed.emit(f"{type(error).__name__}: {error}")


def _picking(
    run: int, function: Callable[..., Iterator[Any]], args: tuple[Any, ...]
) -> Iterator[tuple[int, Any]]:
    """Tell the events of a run from those of one that was cancelled."""
    with closing(function(*args)) as events:
        for event in events:
            yield run, event
