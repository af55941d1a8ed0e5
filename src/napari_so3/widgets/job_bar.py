"""A button that starts and cancels something in a thread, how far it is, and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_so3.widgets.boxes import StatusLine
from napari_so3.widgets.engine import Note, Problem, Progress
from napari_so3.widgets.run_bar import Clock
from napari_so3.widgets.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class JobBar(QWidget):
    """Runs one generator at a time, and shows its notes, its progress and its problem.

    Parameters
    ----------
    title : str
        Of the button.
    """

    clicked = Signal()  # to start
    told = Signal(object)  # what comes of it
    failed = Signal(str)  # a sentence

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._runner, self._clock = Runner(), Clock()
        self.button = QPushButton(title)
        self.progress = QProgressBar()
        self.progress.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.progress.hide()
        self.status = StatusLine()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.button, self.progress, self.status):
            layout.addWidget(part)
        self.button.clicked.connect(self._click)
        self._runner.told.connect(self._take)
        self._runner.crashed.connect(self._fail)
        self._runner.ended.connect(self._stop)

    @property
    def running(self) -> bool:
        """Whether something is under way."""
        return self._runner.running

    def start(self, function: Callable[..., Iterator[Any]], *args: Any) -> None:
        """Run a generator function in a thread; what it yields beside the usual is told."""
        self.status.say("")
        self._clock = Clock()
        self.progress.setRange(0, 0)
        self.progress.setFormat("")
        self.progress.show()
        self.button.setText("Cancel")
        self._runner.start(function, *args)

    def cancel(self, reason: str = "") -> None:
        """Stop: at once as far as one sees, and after the step at hand in the thread."""
        if self.running:
            self._runner.cancel()
            self._stop()
            self.status.say(reason)

    def _click(self) -> None:
        if self.running:
            self.cancel("Cancelled.")
        else:
            self.clicked.emit()

    def _stop(self) -> None:
        self.button.setText(self._title)
        self.progress.hide()

    def _fail(self, sentence: str) -> None:
        self.status.complain(sentence)
        self.failed.emit(sentence)

    def _take(self, event: Any) -> None:
        if isinstance(event, Progress):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
            share = f"{100 * event.done // event.total} %"
            self.progress.setFormat(share + self._clock.left(event.done, event.total))
            self.status.say(event.note)
        elif isinstance(event, Note):
            self.status.say(f"{event.text}…")
        elif isinstance(event, Problem):
            self._fail(event.sentence)
        else:
            self.status.say("")
            self.told.emit(event)
