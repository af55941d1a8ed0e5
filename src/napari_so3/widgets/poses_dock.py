"""The dock "Poses": which way the picked particles are turned, and whether all views are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QTabWidget, QVBoxLayout

from napari_so3.widgets.coverage_panel import CoveragePanel
from napari_so3.widgets.desk import desk_of
from napari_so3.widgets.pose_compare_panel import PoseComparePanel
from napari_so3.widgets.pose_panel import PosePanel
from napari_so3.widgets.pose_views import PoseViews
from napari_so3.widgets.posing import Posing
from napari_so3.widgets.tabs import Dock, scrolled

if TYPE_CHECKING:
    import napari
    from qtpy.QtGui import QPaintEvent
    from qtpy.QtWidgets import QWidget

WIDTH = 365  # pixels; two pictures beside each other need it
TABS = ("Picks", "Views", "Compare")


class PosesDock(Dock):
    """Gives poses to picks and shows them.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose session.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__("Poses", WIDTH, parent)
        self.desk = desk_of(napari_viewer)
        self.posing = Posing(self.desk)
        self.picks = PosePanel(self.desk, self.posing)
        self.coverage, self.compare = CoveragePanel(), PoseComparePanel(self.desk, self.posing)
        self.views = PoseViews(self.desk, self.posing, self.coverage, self.picks)
        self.tabs = QTabWidget()
        for panel, title in zip((self.picks, self.coverage, self.compare), TABS, strict=True):
            self.tabs.addTab(scrolled(panel), title)
        self.tabs.currentChanged.connect(self.views.refresh)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)

    def sizeHint(self) -> QSize:
        """Leave the room to the picture."""
        return QSize(WIDTH, super().sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Begin when somebody looks, which is later than when a dock behind others is shown."""
        super().paintEvent(event)
        self.posing.wake()

    def shut_down(self) -> None:
        """Stop all that goes on when napari takes the widget out of its dock."""
        self.views.close_down()
        self.compare.close_down()
        self.picks.close_down()
        self.posing.close_down()
