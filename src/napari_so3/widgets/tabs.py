"""The docks share their place as tabs: stacked, none of them would have room."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "napari-so3 tab"  # property of Qt
_ours: list[ref[QWidget]] = []  # in the order in which they were made


class Tabs(QObject):
    """Puts a widget in one place with the others of this package when it is first shown.

    Parameters
    ----------
    widget : QWidget
        What napari puts into a dock.
    title : str
        Of its tab: a word, since there is no room for more.
    """

    def __init__(self, widget: QWidget, title: str) -> None:
        super().__init__(widget)
        widget.setProperty(TITLE, title)
        policy = widget.sizePolicy()
        policy.setVerticalPolicy(QSizePolicy.Policy.Expanding)  # or else napari adds a stretch
        widget.setSizePolicy(policy)
        mine = ref(widget)
        _ours[:] = [*(known for known in _ours if known() is not None), mine]
        widget.destroyed.connect(lambda: _ours.remove(mine) if mine in _ours else None)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Wait for the first time that the widget is shown; later it stays where a user puts it."""
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget):
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self._join)
        return False

    def _join(self) -> None:
        join_tabs(self.parent())


def join_tabs(widget: QWidget) -> None:
    """Put the dock of a widget behind the tabs of the others, and to the front of them.

    Parameters
    ----------
    widget : QWidget
        What napari has put into a dock; nothing is done while that floats, or is alone.
    """
    dock = _dock_of(widget)
    if dock is None or dock.isFloating():
        return
    dock.setWindowTitle(widget.property(TITLE))  # napari's own title bar keeps the whole name
    oldest = next(_neighbours(widget, dock), None)
    if oldest is not None:
        dock.window().tabifyDockWidget(oldest, dock)
    dock.show()
    dock.raise_()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    return above


def _neighbours(widget: QWidget, dock: QDockWidget) -> Iterator[QDockWidget]:
    """Other docks of this package on the same side of the window, the oldest first."""
    window = dock.window()
    if not isinstance(window, QMainWindow):
        return
    for known in _ours:
        other = known()
        its = None if other is None or other is widget else _dock_of(other)
        if its is None or its.window() is not window or its.isFloating():
            continue
        if window.dockWidgetArea(its) == window.dockWidgetArea(dock):
            yield its
