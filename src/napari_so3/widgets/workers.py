"""Workers of napari that leave Python's warnings as they were."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker

if TYPE_CHECKING:
    from collections.abc import Callable


class _Warnings:
    """Puts back what shows warnings once no worker runs.

    Each worker of superqt puts a function of its own there, and puts back what it has found. Of two
    that run at the same time, the last to end puts back that of the first, which is gone: the next
    warning, wherever it comes from, would be an error.
    """

    def __init__(self) -> None:
        self._running = 0
        self._show: Any = None

    def hold(self) -> None:
        if self._running == 0:
            self._show = warnings.showwarning
        self._running += 1

    def release(self) -> None:
        self._running -= 1
        if self._running == 0:
            warnings.showwarning = self._show


_warnings = _Warnings()


def start_worker(function: Callable[..., Any], *args: Any, **connect: Callable[..., Any]) -> Any:
    """Run a function or generator function in a thread.

    Parameters
    ----------
    function : callable
        Function.
    *args
        Its arguments.
    **connect
        Signal of the worker to what it calls: ``returned``, ``yielded``, ``errored``, ``finished``.
        Connected later, it might call too late.

    Returns
    -------
    WorkerBase
        The worker, which has been started.
    """
    _warnings.hold()
    finished = [_warnings.release, *([connect["finished"]] if "finished" in connect else ())]
    return create_worker(function, *args, _connect={**connect, "finished": finished})
