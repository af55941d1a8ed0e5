"""What the rotations say at a place: shares, probabilities and their surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_so3.insight.evidence import evidence_at
from napari_so3.insight.orientation_map import colours
from napari_so3.widgets.boxes import hint
from napari_so3.widgets.crops import cut
from napari_so3.widgets.evidence_bars import Bar, Bars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.insight.evidence import Evidence
    from napari_so3.insight.rotation_maps import RotationMaps
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.pointer import Pointer
    from napari_so3.widgets.see_engine import Seen
    from napari_so3.widgets.seeing import Seeing

TOP = 8  # rotations
EDGE = 80  # pixels of a picture
SPACING = 3  # pixels
WINDOW = 2.0  # diameters that a picture shows
NOWHERE = "Move the mouse over the micrograph."
_INFERNO = np.round(255 * ensure_colormap("inferno").map(np.linspace(0, 1, 256)))[:, :3]


class EvidencePanel(QWidget):
    """Shows the evidence where `Seeing` points.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph.
    seeing : Seeing
        Knows the maps, the place and the rotation.
    pointer : Pointer
        Knows whether the place is held.
    """

    def __init__(self, desk: Desk, seeing: Seeing, pointer: Pointer) -> None:
        super().__init__()
        self._desk, self._seeing, self._pointer = desk, seeing, pointer
        self._seen: Seen | None = None
        self.where = QLabel(NOWHERE)
        self.pictures = [QLabel() for _ in range(3)]
        self.captions = [QLabel() for _ in range(3)]
        self.bars = Bars(TOP)
        self.number = QLabel()
        self.bias = hint("")
        self._lay_out()
        self.bars.chosen.connect(seeing.turn_to)
        seeing.rotation_changed.connect(self.bars.choose)
        seeing.place_changed.connect(self.refresh)
        pointer.held.connect(self.refresh)

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(6)
        for column, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            picture.setFixedSize(EDGE, EDGE)
            for label in (picture, caption):
                label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            grid.addWidget(picture, 0, column, Qt.AlignmentFlag.AlignHCenter)
            grid.addWidget(caption, 1, column)
        self.pictures[1].setToolTip("Probability of a particle from all rotations together")
        self.pictures[2].setToolTip("Probability of a particle from the best rotation alone")
        self.where.setToolTip("Pixels of the micrograph, from its first one")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.where)
        layout.addLayout(grid)
        for part in (self.number, self.bars, self.bias):
            layout.addWidget(part)

    def show_seen(self, seen: Seen | None) -> None:
        """Look at another micrograph, or at none."""
        self._seen = seen
        self.setVisible(seen is not None)
        self.refresh()

    def refresh(self) -> None:
        """Show the evidence at the place of now."""
        seen, place = self._seen, self._seeing.place
        if seen is None or place is None:
            self._clear()
            return
        evidence = evidence_at(seen.maps, *place)
        self.where.setText(self._name_place(place))
        self._show_pictures(seen, place, evidence)
        self.bars.show_bars(make_bars(seen.maps, evidence))
        self.bars.choose(self._seeing.rotation)
        number = f"{float(evidence.effective_number):.1f} of {len(seen.maps.rotations)}"
        self.number.setText(f"<b>{number}</b> rotations share the evidence.")
        self.bias.setText(describe_bias(seen.maps, evidence.bias))

    def _clear(self) -> None:
        self.where.setText(NOWHERE)
        for label in (*self.pictures, *self.captions, self.number, self.bias):
            label.clear()
        self.bars.show_bars(())

    def _name_place(self, place: tuple[float, float]) -> str:
        at = f"x {place[1]:.0f}, y {place[0]:.0f}"
        if not self._pointer.holding:
            return f"At the mouse: {at} (click to hold)"
        what = "place" if self._pointer.pick is None else "pick"
        return f"Held: {what} at {at} (click it to let go)"

    def _show_pictures(self, seen: Seen, place: tuple[float, float], evidence: Evidence) -> None:
        maps = seen.maps
        edge = WINDOW * self._desk.session.diameter / maps.pixel_size  # micrograph pixels
        self.pictures[0].setPixmap(self._micrograph_at(place, maps, edge))
        for label, p in zip(self.pictures[1:], (seen.p_al1, seen.p_best), strict=True):
            window = window_at(p, maps, place, edge)
            label.setPixmap(to_pixmap(_INFERNO[np.rint(255 * window).astype(int)]))
        self.captions[0].setText("micrograph\n")
        self.captions[1].setText(f"all together\nP = {float(evidence.probability):.2f}")
        self.captions[2].setText(f"best one alone\nP = {float(evidence.probability_of_best):.2f}")

    def _micrograph_at(
        self, place: tuple[float, float], maps: RotationMaps, edge: float
    ) -> QPixmap:
        image = self._desk.image
        if image is None:
            return QPixmap()
        step = float(image.scale[-1]) / maps.pixel_size  # what is displayed may be binned
        grey = cut(image.data, place[0] / step, place[1] / step, max(round(edge / step), 4))
        return to_pixmap(np.repeat(grey[..., None], 3, axis=-1))


def make_bars(maps: RotationMaps, evidence: Evidence) -> list[Bar]:
    """List the strongest rotations, the strongest first."""
    table = colours(maps.rotations, "view")
    return [
        Bar(
            int(r),
            maps.rotations.name(int(r)),
            (int(table[r, 0]), int(table[r, 1]), int(table[r, 2])),
            float(evidence.shares[r]),
            float(evidence.probabilities[r]),
        )
        for r in evidence.top(TOP)
    ]


def describe_bias(maps: RotationMaps, bias: float) -> str:
    """Say what the bias is for."""
    n, number = len(maps.rotations), f"{bias:.1f}".replace("-", "−")
    if maps.aggregation == "max":
        return "This model takes the best rotation alone; no bias is added."
    if maps.aggregation == "lse":
        return f"Bias {number} per rotation: P is of the mean of the\nodds of {n} rotations."
    return (
        f"Bias {number} per rotation (AL1): where none\nof the {n} says anything, they give "
        f"P = {maps.prior:.2g}\ntogether, before calibration."
    )


def window_at(
    values: NDArray[np.float32], maps: RotationMaps, place: tuple[float, float], edge: float
) -> NDArray[np.float32]:
    """Cut a window out of a map.

    Parameters
    ----------
    values : ndarray
        (h, w).
    maps : RotationMaps
        Knows how it lies on the micrograph.
    place : tuple of float
        Middle of the window, micrograph pixels.
    edge : float
        Of the window, micrograph pixels.

    Returns
    -------
    ndarray
        (n, n) float32, n odd; 0 outside of the map.
    """
    row, column = maps.pixel(*place)
    half = max(round(edge / 2 / maps.scale[0]), 1)
    out = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    top, left = row - half, column - half
    part = values[max(top, 0) : row + half + 1, max(left, 0) : column + half + 1]
    begin = max(-top, 0), max(-left, 0)
    out[begin[0] : begin[0] + part.shape[0], begin[1] : begin[1] + part.shape[1]] = part
    return out


def to_pixmap(colour: NDArray[np.generic]) -> QPixmap:
    """Draw a small picture (n, m, 3) at the size of the panel, with its middle marked."""
    pixels = np.ascontiguousarray(colour, dtype=np.uint8)
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    picture = QPixmap.fromImage(image).scaled(
        EDGE,
        EDGE,
        Qt.AspectRatioMode.IgnoreAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    painter = QPainter(picture)
    painter.setPen(QPen(Qt.GlobalColor.white, 1))
    middle = EDGE // 2
    for away in (-8, 4):
        painter.drawLine(middle + away, middle, middle + away + 4, middle)
        painter.drawLine(middle, middle + away, middle, middle + away + 4)
    return picture
