"""The tab "Maps": look at a micrograph with all rotations, and turn through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_so3.insight.evidence import evidence_at
from napari_so3.insight.order import order_rotations
from napari_so3.insight.stack import maxima
from napari_so3.widgets.boxes import hint
from napari_so3.widgets.dial import Dial
from napari_so3.widgets.evidence_panel import EvidencePanel
from napari_so3.widgets.globe import Globe
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.look_bar import LookBar
from napari_so3.widgets.pointer import Pointer
from napari_so3.widgets.rotation_layers import RotationLayers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.see_engine import Seen
    from napari_so3.widgets.seeing import Seeing

PICTURES = (
    ("nothing", ""),
    ("map of this rotation", "rotation"),
    ("P of all together (AL1)", "al1"),
    ("P of the best one alone", "best"),
    ("colour of in-plane angle", "in-plane"),
    ("colour of the view", "view"),
)
ORDERS = (
    ("neighbouring views", "sphere"),
    ("strongest in the micrograph first", "maximum"),
    ("strongest at the held place first", "cursor"),
)
OPACITY = 100  # percent, at first
SPACING = 3  # pixels
EMPTY = "Look scores this micrograph with every rotation\nand shows which of them answer where."
NO_MICROGRAPH = "Open a folder of micrographs first, in the\ndock Micrographs."
MATCHED = "Matched rotation, in the model's own frame"
OF_MAP = "Pose of the map that the model was made of"
_SHORT = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon


class MapsPanel(QWidget):
    """Shows the score maps of the rotations; globe, dial and napari's slider go together.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph.
    seeing : Seeing
        Is told what is seen, and which rotation is looked at.
    """

    def __init__(self, desk: Desk, seeing: Seeing) -> None:
        super().__init__()
        self._desk, self._seeing = desk, seeing
        self._seen: Seen | None = None
        self._order: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._shares: NDArray[np.float64] | None = None  # of the evidence at the place
        self._listening = Listening(self)
        self.look = LookBar(desk, seeing.engine)
        self.layers = RotationLayers(desk)
        self.pointer = Pointer(desk, seeing)
        self.globe, self.dial = Globe(), Dial()
        self.name, self.meaning = QLabel(), hint("")
        self.picture, self.order = QComboBox(), QComboBox()
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.evidence = EvidencePanel(desk, seeing, self.pointer)
        self._lay_out()
        self._connect()
        self.look.refresh()

    def _lay_out(self) -> None:
        for box, entries in ((self.picture, PICTURES), (self.order, ORDERS)):
            for words, key in entries:
                box.addItem(words, key)
            box.setSizeAdjustPolicy(_SHORT)
            box.setMinimumContentsLength(12)
        self.picture.setCurrentIndex(1)
        self.order.setToolTip("Order in which napari's slider goes through the rotations")
        self.opacity.setRange(0, 100)
        self.opacity.setFixedWidth(60)
        self.opacity.setValue(OPACITY)
        self.opacity.setToolTip("Opacity of what is drawn over the micrograph")
        self.picture.setToolTip("What is drawn over the micrograph")
        self.name.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.meaning.setAlignment(Qt.AlignmentFlag.AlignCenter)
        turning, drawn, form = QHBoxLayout(), QHBoxLayout(), QFormLayout()
        turning.addWidget(self.globe, 3)
        turning.addWidget(self.dial, 2)
        drawn.addWidget(self.picture, 1)
        drawn.addWidget(self.opacity)
        form.addRow("Draw", drawn)
        form.addRow("Order", self.order)
        self.parts = QWidget()
        inner = QVBoxLayout(self.parts)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(SPACING)
        inner.addLayout(turning)
        inner.addWidget(self.name)
        inner.addWidget(self.meaning)
        inner.addLayout(form)
        inner.addWidget(self.evidence)
        layout = QVBoxLayout(self)
        layout.addWidget(self.look)
        self.empty = hint(EMPTY)
        layout.addWidget(self.empty)
        layout.addWidget(self.parts)
        layout.addStretch()

    def _connect(self) -> None:
        seeing = self._seeing
        self.look.seen.connect(self._take)
        self.globe.chosen.connect(self._choose_view)
        self.dial.chosen.connect(self._choose_psi)
        self.layers.turned.connect(seeing.turn_to)
        self.layers.removed.connect(self._take_removal)
        self.picture.currentIndexChanged.connect(self._draw)
        self.order.currentIndexChanged.connect(self._sort)
        self.opacity.valueChanged.connect(lambda percent: self.layers.set_opacity(percent / 100))
        self.pointer.held.connect(self._sort_at_place)
        seeing.rotation_changed.connect(self._turn)
        seeing.place_changed.connect(self._weigh)
        self._listening.to(self._desk.session.events.current, self._leave)

    def close_down(self) -> None:
        """Take the layers away, and follow the viewer and the session no more."""
        self._listening.stop()
        self.look.close_down()
        self.pointer.close_down()
        self.layers.close_down()

    def showEvent(self, event: QShowEvent) -> None:
        """Follow the mouse while the tab is in front."""
        super().showEvent(event)
        self.pointer.switch(self._seen is not None)

    def hideEvent(self, event: QHideEvent) -> None:
        """Leave the mouse to others."""
        super().hideEvent(event)
        self.pointer.switch(False)

    # ------------------------------------------------------------------ what is seen

    def _take(self, seen: Seen | None) -> None:
        """Show the maps of the micrograph, or that there are none."""
        fresh = seen is not None and len(seen.walk) != len(self._order)
        self._seen = seen
        self._seeing.take(None if seen is None else seen.maps)
        self.parts.setVisible(seen is not None)
        self.empty.setVisible(seen is None)
        self.empty.setText(EMPTY if self._desk.name else NO_MICROGRAPH)
        if seen is not None:
            rotations = seen.maps.rotations
            self.meaning.setText(OF_MAP if rotations.is_map else MATCHED)
            self._order = self._sorted()
            self._weigh()
            if fresh:
                self._seeing.turn_to(int(np.argmax(maxima(seen.maps.stack)[0])))
            self._turn(self._seeing.rotation)
        self.evidence.show_seen(seen)
        self.pointer.switch(seen is not None and self.isVisible())
        self._draw()

    def _leave(self, name: str) -> None:
        """Take the layer away before another micrograph comes, which may be of another size."""
        if name != self._desk.name:
            self.layers.show(None, "", self._order, self._seeing.rotation)

    def _take_removal(self) -> None:
        """Follow a person who has removed the layer."""
        self.picture.setCurrentIndex(0)

    def _draw(self) -> None:
        picture = self.picture.currentData()
        self.order.setEnabled(picture == "rotation")
        self.layers.show(self._seen, picture, self._order, self._seeing.rotation)

    # ------------------------------------------------------------------ turning

    def _choose_view(self, view: int) -> None:
        n_psi = self._seen.maps.rotations.n_psi
        self._seeing.turn_to(view * n_psi + self._seeing.rotation % n_psi)

    def _choose_psi(self, psi: int) -> None:
        n_psi = self._seen.maps.rotations.n_psi
        self._seeing.turn_to(self._seeing.rotation // n_psi * n_psi + psi)

    def _turn(self, rotation: int) -> None:
        """Let everything show a rotation."""
        if self._seen is None:
            return
        rotations = self._seen.maps.rotations
        self.globe.choose(rotation // rotations.n_psi)
        self.dial.choose(rotation % rotations.n_psi)
        self.name.setText(f"<b>{rotations.name(rotation)}</b>")
        self.name.setToolTip(f"Rotation {rotation + 1} of {len(rotations)}")
        self._weigh_psi()
        self.layers.turn_to(rotation)

    # ------------------------------------------------------------------ order and shares

    def _sorted(self) -> NDArray[np.intp]:
        seen, by = self._seen, self.order.currentData()
        if by == "maximum":
            return order_rotations(seen.maps, by)
        if by == "cursor" and self._seeing.place is not None:
            return order_rotations(seen.maps, by, self._seeing.place)
        return seen.walk

    def _sort(self) -> None:
        if self._seen is not None:
            self._order = self._sorted()
            self._draw()

    def _sort_at_place(self) -> None:
        if self.order.currentData() == "cursor" and self.pointer.holding:
            self._sort()

    def _weigh(self) -> None:
        """Let globe and dial show how the evidence at the place is shared."""
        if self._seen is None:
            return
        maps, place = self._seen.maps, self._seeing.place
        self._shares = None if place is None else evidence_at(maps, *place).shares
        by_view = None
        if self._shares is not None:
            by_view = self._shares.reshape(-1, maps.rotations.n_psi).sum(axis=1)
        self.globe.set_views(maps.rotations.directions, by_view)
        self._weigh_psi()

    def _weigh_psi(self) -> None:
        rotations: Any = self._seen.maps.rotations
        view = self._seeing.rotation // rotations.n_psi
        of_view = slice(view * rotations.n_psi, (view + 1) * rotations.n_psi)
        shares = None if self._shares is None else self._shares[of_view]
        self.dial.set_angles(rotations.angles[of_view, 2], shares)
