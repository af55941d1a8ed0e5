import threading
import warnings

import pytest

from napari_so3.widgets.workers import start_worker


def test_workers_that_overlap_leave_warnings_as_they_were(qtbot):
    before, go = warnings.showwarning, [threading.Event(), threading.Event()]
    workers = [start_worker(event.wait) for event in go]
    qtbot.waitUntil(lambda: all(worker.is_running for worker in workers))
    for worker, event in zip(workers, go, strict=True):  # the first one ends first
        with qtbot.waitSignal(worker.finished):
            event.set()
    qtbot.waitUntil(lambda: warnings.showwarning is before)
    with pytest.warns(UserWarning, match="as usual"):
        warnings.warn("as usual", stacklevel=1)


def test_what_a_worker_returns_is_heard(qtbot):
    heard = []
    start_worker(lambda: 3, returned=heard.append)
    qtbot.waitUntil(lambda: heard == [3])
