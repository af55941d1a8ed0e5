"""A filter in 3D and its projection, turned together: by a slider, the mouse or the globe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QLabel,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_so3.widgets.filter_canvas import (
    LEVEL,
    SIZE,
    STYLES,
    FilterCanvas,
    ProjectionPicture,
    zoom_of,
)
from napari_so3.widgets.globe import Globe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.insight.filters import FilterBank

PERCENT = 100
OVERSAMPLE = 3  # voxels that are drawn per voxel of a filter, at most
DRAWN = 64  # voxels per axis, at most: without a graphics card more take seconds


class FilterView(QWidget):
    """The canvas, the projection, and what turns them; the globe is for the dock to place.

    Attributes
    ----------
    rotation : ndarray
        (3, 3) under which the filter is shown.
    index : int
        Of that rotation in the grid; -1 if it was turned by hand.
    """

    turned = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._bank: FilterBank | None = None
        self._where = (0, 0, 0)
        self.rotation: NDArray[np.float64] = np.eye(3)
        self.index = -1
        self.canvas = FilterCanvas()
        self.projection = ProjectionPicture()
        self.globe = Globe()
        self.style, self.level, self.slider = QComboBox(), _slider(), _slider()
        self.name = QLabel()
        self._lay_out()
        self.style.currentTextChanged.connect(self._set_style)
        self.level.valueChanged.connect(self._set_level)
        self.slider.valueChanged.connect(self.turn_to)
        self.globe.chosen.connect(self._turn_to_view)
        self.canvas.turned.connect(self._turn_by_hand)

    def _lay_out(self) -> None:
        self.style.addItems(STYLES)
        self.style.setToolTip(
            "Surfaces: orange where brighter pixels raise the score, blue where darker ones do"
        )
        self.level.setRange(5, 95)
        self.level.setValue(round(LEVEL * PERCENT))
        self.level.setToolTip("Where the surfaces are, in percent of the strongest weight")
        self.slider.setToolTip("Go through the rotations of the model")
        self.projection.setToolTip(
            "What the network compares the micrograph with: the filter, turned and projected\n"
            "along z. Orange: brighter pixels raise the score, blue: darker ones do."
        )
        pictures, controls = QGridLayout(), QGridLayout()
        for column, (text, part) in enumerate(
            (("3D filter (drag to turn)", self.canvas), ("Its projection", self.projection))
        ):
            pictures.addWidget(QLabel(text), 0, column, Qt.AlignmentFlag.AlignHCenter)
            pictures.addWidget(part, 1, column, Qt.AlignmentFlag.AlignHCenter)
        pictures.setVerticalSpacing(2)
        controls.addWidget(self.style, 0, 0)
        controls.addWidget(self.level, 0, 1)
        controls.addWidget(QLabel("Rotation"), 1, 0)
        controls.addWidget(self.slider, 1, 1)
        controls.addWidget(self.name, 2, 0, 1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(pictures)
        layout.addLayout(controls)

    def sizeHint(self) -> QSize:
        """Two pictures wide."""
        return QSize(2 * SIZE + 8, super().sizeHint().height())

    def show_filter(self, bank: FilterBank, where: tuple[int, int, int]) -> None:
        """Show a filter (layer, output and input channel) of a model under the rotation of now."""
        if bank is not self._bank:
            self._take(bank)
        self._where = where
        size = bank.layers[where[0]].size
        finer = min(OVERSAMPLE, max(1, DRAWN // size))
        self.canvas.show_volume(bank.volume(*where, finer), zoom_of(size) / finer)
        self._project()

    def turn_to(self, index: int) -> None:
        """Turn to a rotation of the model."""
        if self._bank is None:
            return
        self.index, self.rotation = index, self._bank.matrices[index]
        blocked = self.slider.blockSignals(True)
        self.slider.setValue(index)
        self.slider.blockSignals(blocked)
        self.globe.choose(index // self._bank.rotations.n_psi)
        self.canvas.turn(self.rotation)
        self._project()

    def _take(self, bank: FilterBank) -> None:
        self._bank = bank
        blocked = self.slider.blockSignals(True)
        self.slider.setRange(0, len(bank.rotations) - 1)
        self.slider.blockSignals(blocked)
        self.globe.set_views(bank.rotations.directions)
        index = self.index if 0 <= self.index < len(bank.rotations) else 0
        self.index, self.rotation = index, bank.matrices[index]
        self.globe.choose(index // bank.rotations.n_psi)
        self.canvas.turn(self.rotation)

    def _turn_to_view(self, view: int) -> None:
        n_psi = self._bank.rotations.n_psi
        self.turn_to(view * n_psi + max(self.index, 0) % n_psi)

    def _turn_by_hand(self, rotation: NDArray[np.float64]) -> None:
        if self._bank is None:
            return
        self.index, self.rotation = -1, rotation
        self.globe.show_direction(rotation[2])
        self._project()

    def _project(self) -> None:
        bank = self._bank
        image = bank.projections(*self._where, self.rotation[None])[0]
        self.projection.show_image(image)
        name = bank.name(self.rotation)
        by = "Turned by hand" if self.index < 0 else f"{self.index + 1} of {len(bank.rotations)}"
        self.name.setText(f"{by}: {name}")
        self.turned.emit()

    def _set_style(self, style: str) -> None:
        self.canvas.set_style(style)
        self.level.setEnabled(style == STYLES[0])

    def _set_level(self, percent: int) -> None:
        self.canvas.set_level(percent / PERCENT)

    def close_down(self) -> None:
        """Close the canvas."""
        self.canvas.close_down()


def _slider() -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setMinimumWidth(60)
    return slider
