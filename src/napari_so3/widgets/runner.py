"""One run at a time in a thread, which can be paused, and cancelled at once."""

from __future__ import annotations

from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_so3.widgets.workers import start_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


POLL = 0.1  # seconds after which a run that is paused looks whether it is cancelled


class CrashError(Exception):
    """An error that nobody foresaw, of whatever kind; superqt keeps a RuntimeError to itself."""

    def __init__(self, run: int, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.run = run


class Runner(QObject):
    """Goes through a generator in a thread and tells what it yields."""

    told = Signal(object)
    ended = Signal()  # by itself or by an error, but not by `cancel`
    crashed = Signal(str)  # a sentence

    def __init__(self) -> None:
        super().__init__()
        self._worker: Any = None
        self._run = 0
        self._going = Event()

    @property
    def running(self) -> bool:
        """Whether a run is under way; also where it is paused."""
        return self._worker is not None

    def start(self, function: Callable[..., Iterator[Any]], *args: Any) -> None:
        """Run a generator function in a thread; one that is under way is cancelled."""
        self.cancel()
        self._going = Event()
        self._going.set()
        self._worker = start_worker(
            _numbered,
            self._run,
            self._going,
            function,
            args,
            yielded=self._tell,
            errored=self._crash,
        )

    def pause(self, paused: bool) -> None:
        """Wait after the step at hand, or go on."""
        if paused:
            self._going.clear()
        else:
            self._going.set()

    def cancel(self) -> None:
        """Stop after the step at hand in the thread; nothing is told from now on."""
        if self._worker is not None:
            self._worker.quit()
            self._going.set()
            self._forget()

    def _forget(self) -> None:
        self._worker = None
        self._run += 1

    def _tell(self, numbered: tuple[int, Any]) -> None:
        run, event = numbered
        if run != self._run:
            return
        if event is _END:
            self._forget()
            self.ended.emit()
        elif event is not _WAIT:
            self.told.emit(event)

    def _crash(self, error: Exception) -> None:
        """Tell of an error that nobody foresaw; napari shows it too, with its traceback."""
        if isinstance(error, CrashError) and error.run == self._run:
            self._forget()
            self.crashed.emit(str(error))
            self.ended.emit()


_END, _WAIT = object(), object()


def _numbered(
    run: int, going: Event, function: Callable[..., Iterator[Any]], args: tuple[Any, ...]
) -> Iterator[tuple[int, Any]]:
    """Tell the events of a run from those of one that was cancelled; wait while it is paused."""
    try:
        with closing(function(*args)) as events:
            for event in events:
                yield run, event
                while not going.wait(POLL):
                    yield run, _WAIT
    except Exception as error:
        raise CrashError(run, error) from error
    yield run, _END
