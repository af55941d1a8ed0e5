"""The dock "Label and train": what a person says about the micrographs, and what a model learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QTabWidget, QVBoxLayout

from napari_so3.widgets.desk import desk_of
from napari_so3.widgets.gallery import Gallery
from napari_so3.widgets.label_panel import LabelPanel, label_keys
from napari_so3.widgets.labeller import Labeller
from napari_so3.widgets.mark_layers import MarkLayers
from napari_so3.widgets.tabs import Dock, scrolled
from napari_so3.widgets.train_panel import TrainPanel

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

WIDTH = 365  # pixels; the curves of the training need it


class LabelDock(Dock):
    """Labels micrographs and teaches the model; the labels are kept as they are put.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose session.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__("Label", WIDTH, parent)
        self.desk = desk_of(napari_viewer)
        keys, problem = label_keys()
        self.labeller = Labeller(self.desk)
        self.layers = MarkLayers(self.desk, self.labeller)
        self.panel = LabelPanel(self.desk, self.labeller, self.layers, keys)
        self.gallery = Gallery(self.desk, self.labeller, self.layers, keys)
        self.train = TrainPanel(self.desk)
        self.tabs = QTabWidget()
        self.tabs.addTab(scrolled(self.panel), "Label")
        self.tabs.addTab(self.gallery, "Gallery")
        self.tabs.addTab(scrolled(self.train), "Train")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)
        self.panel.proposals.found.connect(self.gallery.show_proposals)
        self.panel.proposals.moved.connect(self.gallery.select)
        if problem:
            self.panel.status.complain(problem)

    def sizeHint(self) -> QSize:
        """Leave the room to the picture."""
        return QSize(WIDTH, super().sizeHint().height())

    def shut_down(self) -> None:
        """Stop all that goes on when napari takes the widget out of its dock."""
        self.panel.close_down()
        self.gallery.close_down()
        self.train.shut_down()
        self.layers.close()
