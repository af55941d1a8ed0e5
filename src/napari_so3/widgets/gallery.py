"""The tab "Gallery": candidates side by side, to be labelled or looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QListView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_so3.widgets.crops import Crops
from napari_so3.widgets.gallery_model import CropDelegate, GalleryModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtGui import QKeyEvent, QShowEvent

    from napari_so3.session.proposals import Proposal
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.labeller import Labeller, Tool
    from napari_so3.widgets.mark_layers import MarkLayers

HERE, ALL, PROPOSED = range(3)
SOURCES = ("This micrograph", "All micrographs", "Proposals")
ORDERS = ("best first", "uncertain first")
_ERASE_KEYS = ("Del", "Backspace")


class GalleryView(QListView):
    """A list of pictures whose keys are those of labels; all others are left to napari."""

    pressed_key = Signal(str)  # "positive", "negative", "ignored" or "erase"

    def __init__(self, keys: Mapping[Tool, str]) -> None:
        super().__init__()
        self._tools = {QKeySequence(key).toString(): tool for tool, key in keys.items()}
        self._tools |= dict.fromkeys(_ERASE_KEYS, "erase")
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setLayoutMode(QListView.LayoutMode.Batched)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Label what is selected; move with the arrows."""
        tool = self._tools.get(QKeySequence(event.keyCombination()).toString())
        if tool is not None and self.currentIndex().isValid():
            self.pressed_key.emit(tool)
        elif event.text().strip() or event.key() == Qt.Key.Key_Escape:
            event.ignore()  # Qt would look for an item that begins with it
        else:
            super().keyPressEvent(event)


class Gallery(QWidget):
    """Shows candidates of this micrograph, of all, or those that are proposed.

    Parameters
    ----------
    desk : Desk
        Knows the session, and shows what is clicked.
    labeller : Labeller
        Puts the labels.
    layers : MarkLayers
        Goes to a place.
    keys : mapping
        Kind of label to its key.
    """

    def __init__(
        self, desk: Desk, labeller: Labeller, layers: MarkLayers, keys: Mapping[Tool, str]
    ) -> None:
        super().__init__()
        self._desk, self._labeller, self._layers = desk, labeller, layers
        self._stale = True
        self._proposals: Sequence[Proposal] = ()
        self.model = GalleryModel(desk.session)
        self.crops = Crops(desk.session)
        self.source, self.order = QComboBox(), QComboBox()
        self.source.addItems(SOURCES)
        self.order.addItems(ORDERS)
        self.refresh = QToolButton()
        self.refresh.setText("⟳")
        self.refresh.setToolTip("Sort anew, with new picks and the threshold of now")
        self.view = GalleryView(keys)
        self.view.setModel(self.model)
        self._delegate = CropDelegate(self.model, self.crops)  # the view does not keep it
        self.view.setItemDelegate(self._delegate)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self._lay_out(keys)
        self._connect()

    def _lay_out(self, keys: Mapping[Tool, str]) -> None:
        self.view.setToolTip(
            "Click: go there. Double click: put the kind of label that is chosen, or take it "
            f"away. {', '.join(keys.values())}: label what is selected; Delete: erase its label."
        )
        row = QHBoxLayout()
        row.addWidget(self.source)
        row.addWidget(self.order, 1)
        row.addWidget(self.refresh)
        layout = QVBoxLayout(self)
        layout.addLayout(row)
        layout.addWidget(self.view, 1)
        layout.addWidget(self.note)

    def _connect(self) -> None:
        desk = self._desk
        self.source.currentIndexChanged.connect(self.fill)
        self.order.currentIndexChanged.connect(self.fill)
        self.refresh.clicked.connect(self.fill)
        self.view.clicked.connect(self._go)
        self.view.doubleClicked.connect(self._toggle)
        self.view.pressed_key.connect(self._label)
        self.crops.ready.connect(self.view.viewport().update)
        self.model.rowsInserted.connect(self._tell)
        desk.shown.connect(self._follow_desk)
        desk.session.marks.changed.connect(self._follow_marks)
        desk.session.pool.changed.connect(self._follow_pool)
        desk.session.signals.opened.connect(self._follow_desk)

    def close_down(self) -> None:
        """Follow the session no more, and stop cutting pictures."""
        desk = self._desk
        desk.shown.disconnect(self._follow_desk)
        desk.session.marks.changed.disconnect(self._follow_marks)
        desk.session.pool.changed.disconnect(self._follow_pool)
        desk.session.signals.opened.disconnect(self._follow_desk)
        self.crops.close()

    def show_proposals(self, proposals: Sequence[Proposal]) -> None:
        """Show proposals; they can be left and come back to."""
        self._proposals = proposals
        self.source.setCurrentIndex(PROPOSED)
        self.fill()

    def select(self, row: int) -> None:
        """Select a row."""
        self.view.setCurrentIndex(self.model.index(row))

    def fill(self) -> None:
        """List anew."""
        source, name = self.source.currentIndex(), self._desk.session.current
        self.order.setEnabled(source != PROPOSED)
        self._stale = False
        if source == PROPOSED:
            self.model.show_proposals(self._proposals)
        elif source == HERE and name not in self._desk.session.pool:
            self.model.show_proposals(())
        else:
            self.model.show_candidates(
                name if source == HERE else "", self.order.currentIndex() == 1
            )
        self.view.scrollToTop()
        self._tell()

    def showEvent(self, event: QShowEvent) -> None:
        """List what has changed while the tab was hidden."""
        super().showEvent(event)
        if self._stale:
            self.fill()

    def _tell(self) -> None:
        source, n = self.source.currentIndex(), self.model.rowCount()
        nothing = {
            HERE: "This micrograph is not picked yet.",
            ALL: "No micrograph is picked yet.",
            PROPOSED: 'Nothing is proposed: press "Propose" in the tab Label.',
        }
        more = "; scroll for more" if self.model.canFetchMore(QModelIndex()) else ""
        self.note.setText(f"{n:,} candidates{more}" if n else nothing[source])

    def _follow_desk(self) -> None:
        if self.source.currentIndex() == HERE:
            self._refill()

    def _follow_pool(self, name: str) -> None:
        source = self.source.currentIndex()
        if not name or (source == HERE and name == self._desk.session.current):
            self._refill()
        elif source == ALL:
            self.note.setText("There are new picks: ⟳ sorts them in.")

    def _refill(self) -> None:
        self._stale = True
        if self.isVisible():
            self.fill()

    def _follow_marks(self, name: str) -> None:
        self.model.forget_labels(name)
        self.view.viewport().update()

    def _go(self, index: QModelIndex) -> None:
        place = self.model.item(index.row()).place
        self._layers.go_to(place.micrograph, (place.y, place.x))

    def _toggle(self, index: QModelIndex) -> None:
        tool = self._labeller.tool
        has = self.model.label_of(self.model.item(index.row()).place)
        self._label("erase" if has == tool else tool)

    def _label(self, tool: Tool) -> None:
        place = self.model.item(self.view.currentIndex().row()).place
        self._labeller.label_candidate(tool, place.micrograph, (place.y, place.x))
