"""The buttons that run, pause and cancel, and how far the run is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QHBoxLayout,
    QMenu,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_so3.widgets.engine import Note, Progress
from napari_so3.widgets.pick_job import Begun
from napari_so3.widgets.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORTCUT = "Ctrl+Return"
SURE = 0.5  # seconds of work after which one can say how long the rest takes


class RunBar(QWidget):
    """Runs an engine's picking in a thread, one run at a time."""

    clicked = Signal()  # to run
    told = Signal(object)  # what the run yields beside its progress
    noted = Signal(str)  # a sentence on how it goes
    failed = Signal(str)  # a sentence
    ended = Signal()  # by itself, by an error, or cancelled

    def __init__(self) -> None:
        super().__init__()
        self.runner = Runner()
        self._one, self._all = Clock(), Clock()
        self.button = QPushButton("Pick")
        self.button.setToolTip(f"Pick the particles of the micrograph ({SHORTCUT})")
        self.menu = QMenu(self)
        self.more = QToolButton()
        self.more.setToolTip("Pick many micrographs")
        self.more.setMenu(self.menu)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setArrowType(Qt.ArrowType.DownArrow)
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.more.setFixedWidth(28)
        self.pause = QPushButton("Pause")
        self.pause.setCheckable(True)
        self.progress, self.overall = QProgressBar(), QProgressBar()
        self._lay_out()
        self.button.clicked.connect(self._click)
        self.pause.toggled.connect(self._pause)
        self.runner.told.connect(self._show)
        self.runner.crashed.connect(self.failed)
        self.runner.ended.connect(self._stop)
        QShortcut(QKeySequence(SHORTCUT), self).activated.connect(self.button.click)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.button, 1)
        row.addWidget(self.more)
        row.addWidget(self.pause)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        for bar in (self.overall, self.progress):
            bar.setAlignment(Qt.AlignmentFlag.AlignCenter)
            layout.addWidget(bar)
        for part in (self.more, self.pause, self.overall, self.progress):
            part.hide()
        self._has_many = False

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self.runner.running

    def set_many(self, many: bool) -> None:
        """Say whether there are many micrographs to be picked: then there is a menu."""
        self._has_many = many
        self.more.setVisible(many and not self.running)

    def start(self, function: Callable[..., Iterator[Any]], *args: Any) -> None:
        """Run in a thread.

        Parameters
        ----------
        function : callable
            `Engine.pick` or `Engine.pick_session`.
        *args
            Its arguments.
        """
        self.runner.start(function, *args)
        self._all = Clock()
        self.button.setText("Cancel")
        self.more.hide()
        self.pause.show()
        self.progress.setRange(0, 0)
        self.progress.show()

    def cancel(self, reason: str = "Cancelled.") -> None:
        """Stop: at once as far as one sees, and after the step at hand in the thread."""
        if self.running:
            self.runner.cancel()
            self._stop()
            self.noted.emit(reason)

    def _click(self) -> None:
        if self.running:
            self.cancel()
        else:
            self.clicked.emit()

    def _stop(self) -> None:
        self.button.setText("Pick")
        self.pause.setChecked(False)
        for part in (self.pause, self.overall, self.progress):
            part.hide()
        self.more.setVisible(self._has_many)
        self.ended.emit()

    def _pause(self, paused: bool) -> None:
        self.pause.setText("Resume" if paused else "Pause")
        self.runner.pause(paused)
        for clock in (self._one, self._all):
            clock.stop(paused)

    def _show(self, event: Any) -> None:
        if isinstance(event, Progress):
            self._show_progress(event)
        elif isinstance(event, Begun):
            self._begin_next(event)
        elif isinstance(event, Note):
            self._one = Clock()
            self.progress.setRange(0, 0)
            self.noted.emit(f"{event.text}…")
        else:
            self.told.emit(event)

    def _begin_next(self, event: Begun) -> None:
        self._one = Clock()
        self.progress.setRange(0, 0)
        self.noted.emit("")
        if event.total > 1:
            words = f"{event.index} of {event.total} micrographs"
            self.overall.setRange(0, event.total)
            self.overall.setValue(event.index)
            self.overall.setFormat(words + self._all.left(event.index, event.total))
            self.overall.show()

    def _show_progress(self, event: Progress) -> None:
        tile, rotation = divmod(event.done - 1, event.rotations)
        tiles = event.total // event.rotations
        words = f"rotation {rotation + 1} of {event.rotations}"
        if tiles > 1:
            words += f", tile {tile + 1} of {tiles}"
        self.progress.setRange(0, event.total)
        self.progress.setValue(event.done)
        self.progress.setFormat(words + self._one.left(event.done, event.total))
        self.noted.emit(event.note)


class Clock:
    """Tells how long the rest of some steps takes, from when it was first asked."""

    def __init__(self) -> None:
        self._begin: float | None = None
        self._done = 0
        self._stopped: float | None = None

    def stop(self, stopped: bool) -> None:
        """Leave out the time from now on, or go on."""
        if stopped:
            self._stopped = time.monotonic()
        elif self._stopped is not None and self._begin is not None:
            self._begin += time.monotonic() - self._stopped
            self._stopped = None

    def left(self, done: int, total: int) -> str:
        """Say it in words, after a comma; nothing as long as one cannot tell."""
        now = time.monotonic()
        if self._begin is None:
            self._begin, self._done = now, done
        spent = now - self._begin
        if done == self._done or spent < SURE:
            return ""
        return f", {duration(spent / (done - self._done) * (total - done))} left"


def duration(seconds: float) -> str:
    """Write how long something takes, with as many units as matter.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        Such as ``40 s``, ``4 min`` or ``2 h 5 min``.
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
