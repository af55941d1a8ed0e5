"""Let a window work while it is measured."""

import time
from collections.abc import Callable
from typing import Any

from measure import Cost
from qtpy.QtWidgets import QApplication


def work_until(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Let Qt work, without a pause that would blur what is measured."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        QApplication.processEvents()


def work_for(seconds: float) -> None:
    """Let Qt work for a while."""
    end = time.monotonic() + seconds
    work_until(lambda: time.monotonic() > end)


def timed(work: Callable[[], None]) -> Cost:
    """Tell how long some work takes."""
    begin = time.perf_counter()
    work()
    return Cost(time.perf_counter() - begin)


def draw(viewer: Any) -> None:
    """Draw the canvas now, and wait for it."""
    viewer.screenshot(flash=False)


class Canvas:
    """Counts how often the canvas of a viewer is drawn; napari has no public way to know."""

    def __init__(self, viewer: Any) -> None:
        self._scene = viewer.window._qt_viewer.canvas._scene_canvas
        self._drawn = 0
        self._scene.events.draw.connect(self._count)

    def _count(self, _event: Any) -> None:
        self._drawn += 1

    def draw(self, change: Callable[[], None] | None = None) -> None:
        """Change something, or nothing, and let Qt work until that is on the screen."""
        before = self._drawn
        (change or self._scene.update)()
        work_until(lambda: self._drawn > before, seconds=10.0)
