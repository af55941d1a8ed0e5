"""What the docks share: their place, as tabs, since stacked none of them would have room."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QMainWindow,
    QScrollArea,
    QSizePolicy,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_ours: list[ref[Dock]] = []  # in the order in which they were made


class Dock(QWidget):
    """A widget that takes one place with the others of this package when it is first shown.

    Parameters
    ----------
    title : str
        Of its tab: a word, since there is no room for more.
    width : int
        At least, pixels; it does not change while one works, or the picture would jump.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, title: str, width: int, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.tab_title = title
        self._joined = False
        self.setMinimumWidth(width)
        policy = self.sizePolicy()
        policy.setVerticalPolicy(QSizePolicy.Policy.Expanding)  # or else napari adds a stretch
        self.setSizePolicy(policy)
        mine = ref(self)
        _ours[:] = [*(known for known in _ours if known() is not None), mine]
        self.destroyed.connect(lambda: _ours.remove(mine) if mine in _ours else None)

    def event(self, event: QEvent) -> bool:
        """Join the tabs once, and stop all that goes on when napari takes the widget out."""
        if event.type() == QEvent.Type.Show and not self._joined:
            self._joined = True  # later it stays where a user puts it
            QTimer.singleShot(0, self._join)
        elif event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.shut_down()
        return super().event(event)

    def shut_down(self) -> None:
        """Stop all that goes on; each dock says what that is."""
        raise NotImplementedError

    def _join(self) -> None:
        join_tabs(self)


def join_tabs(widget: Dock) -> None:
    """Put the dock of a widget behind the tabs of the others, and to the front of them.

    Parameters
    ----------
    widget : Dock
        What napari has put into a dock; nothing is done while that floats, or is alone.
    """
    dock = _dock_of(widget)
    if dock is None or dock.isFloating():
        return
    dock.setWindowTitle(widget.tab_title)  # napari's own title bar keeps the whole name
    oldest = next(_neighbours(widget, dock), None)
    if oldest is not None:
        dock.window().tabifyDockWidget(oldest, dock)
    dock.show()
    dock.raise_()


def to_front(widget: Dock) -> None:
    """Show the tab of a widget."""
    dock = _dock_of(widget)
    if dock is not None:
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


def scrolled(widget: QWidget) -> QScrollArea:
    """Put a widget that may be too high for its dock into one that scrolls up and down."""
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidgetResizable(True)
    area.setWidget(widget)
    return area
