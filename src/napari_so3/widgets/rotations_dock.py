"""The dock "See": what every rotation of the model says, and why something is a pick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QTabWidget, QVBoxLayout

from napari_so3.widgets.budget_panel import BudgetPanel
from napari_so3.widgets.check_panel import CheckPanel
from napari_so3.widgets.desk import desk_of
from napari_so3.widgets.maps_panel import MapsPanel
from napari_so3.widgets.seeing import Seeing
from napari_so3.widgets.tabs import Dock, scrolled
from napari_so3.widgets.why_panel import WhyPanel

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

WIDTH = 350  # pixels
TABS = ("Maps", "Why", "Budget", "Check")


class RotationsDock(Dock):
    """Shows what the network sees.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose session.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__("See", WIDTH, parent)
        self.desk = desk_of(napari_viewer)
        self.seeing = Seeing()
        self.maps = MapsPanel(self.desk, self.seeing)
        self.why = WhyPanel(self.desk, self.seeing)
        self.why.wanted.connect(self.maps.look.look)
        self.maps.look.failed.connect(self.why.tell)
        self.tabs = QTabWidget()
        self.budget = BudgetPanel(self.desk)
        self.check = CheckPanel(self.desk, self.seeing)
        self._panels = (self.maps, self.why, self.budget, self.check)
        for panel, title in zip(self._panels, TABS, strict=True):
            self.tabs.addTab(scrolled(panel), title)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)

    def sizeHint(self) -> QSize:
        """Leave the room to the picture."""
        return QSize(WIDTH, super().sizeHint().height())

    def shut_down(self) -> None:
        """Stop all that goes on when napari takes the widget out of its dock."""
        for panel in self._panels:
            panel.close_down()
