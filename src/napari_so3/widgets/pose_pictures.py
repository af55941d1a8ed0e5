"""A pick beside the map in its pose, in two and three dimensions, and the poses it may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QGridLayout, QHeaderView, QLabel, QWidget

from napari_so3.poses.poses import matrices_to_angles
from napari_so3.widgets.filter_canvas import SIZE, FilterCanvas
from napari_so3.widgets.pictures import Picture
from napari_so3.widgets.result_table import ResultTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.widgets.pose_look import Looked

COLUMNS = (
    ("rot", "RELION's angle of the pose, degrees"),
    ("tilt", "RELION's angle of the pose, degrees: 0 is a view along z, from the top"),
    ("psi", "RELION's angle of the pose, degrees: in plane"),
    ("%", "Probability of this pose, within 15 degrees"),
    ("r", "Correlation of the particle with the projection of the map in this pose"),
)
LEVEL = 0.3  # of the highest density, where the surface is
UNKNOWN = "—"


class PosePictures(QWidget):
    """Shows a pick, the projection of the map beside it, the map itself, and other poses."""

    chosen = Signal(int)  # pose, by the mouse

    def __init__(self) -> None:
        super().__init__()
        self.crop, self.projection = Picture(SIZE), Picture(SIZE)
        self.canvas: FilterCanvas | None = None  # made when there is something to be seen
        self.caption = QLabel("map in 3D (drag to turn)")
        self.table = _make_table()
        self._looked: Looked | None = None
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(5)
        top, middle = Qt.AlignmentFlag.AlignTop, Qt.AlignmentFlag.AlignHCenter
        self._grid.addWidget(self.crop, 0, 0, top)
        self._grid.addWidget(self.projection, 0, 1, top)
        self._grid.addWidget(self.caption, 2, 0, middle)
        self._grid.addWidget(self.table, 1, 1, top)
        self._grid.setColumnStretch(2, 1)
        font = self.crop.caption.font()
        self.caption.setFont(font)
        self.crop.setToolTip("The particle as the network sees it, bright")
        self.projection.setToolTip("The projection of the map in this pose")
        self.table.cellClicked.connect(lambda row, _column: self.chosen.emit(row))

    def show_map(self, volume: NDArray[np.float32] | None) -> None:
        """Show a map (n, n, n) [z, y, x] in 3D, or none."""
        self.caption.setVisible(volume is not None)
        if volume is None:
            if self.canvas is not None:
                self.canvas.hide()
            return
        if self.canvas is None:
            self.canvas = FilterCanvas()
            self._grid.addWidget(self.canvas, 1, 0, Qt.AlignmentFlag.AlignTop)
        self.canvas.set_level(LEVEL)
        self.canvas.show_volume(volume, SIZE / len(volume))
        self.canvas.show()

    def show_looked(self, looked: Looked, shares: NDArray[np.float64], voxel_size: float) -> None:
        """Show another pick in its likeliest pose.

        Parameters
        ----------
        looked : Looked
            The pick and the projections.
        shares : ndarray
            (k,) probability of each pose; NaN where that is not known.
        voxel_size : float
            Å, of the map that is shown in 3D.
        """
        self._looked = looked
        if self.canvas is not None:
            width = looked.step * looked.crop.shape[1]  # both are shown at the same scale
            self.canvas.viewer.scene.camera.zoom = SIZE / width * voxel_size
        self.crop.show_array(looked.crop, looked.step)
        self.crop.caption.setText("particle")
        # three digits and no sign, for want of room
        angles = matrices_to_angles(looked.job.matrices).round() % 360
        self.table.fill(
            [
                (*(f"{a:.0f}" for a in pose), _percent(share), _two_digits(r))
                for pose, share, r in zip(angles, shares, looked.correlations, strict=True)
            ]
        )
        self.choose(0)

    def choose(self, number: int) -> None:
        """Show one of the poses of the pick."""
        looked = self._looked
        if looked is None or number >= len(looked.job.matrices):
            return
        self.table.selectRow(number)
        if looked.projections is None:
            self.projection.show_nothing("the model\nhas no map")
            self.projection.caption.setText("")
        else:
            self.projection.show_array(looked.projections[number], looked.step)
            r = looked.correlations[number]
            self.projection.caption.setText(f"map in this pose, r = {r:.2f}")
        if self.canvas is not None:
            self.canvas.turn(looked.job.matrices[number])

    def close_down(self) -> None:
        """Close the canvas."""
        if self.canvas is not None:
            self.canvas.close_down()
            self.canvas.setParent(None)
            self.canvas = None


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if np.isfinite(share) else UNKNOWN


def _two_digits(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".") if np.isfinite(value) else UNKNOWN


def _make_table() -> ResultTable:
    table = ResultTable(COLUMNS)
    table.setFixedWidth(SIZE)
    table.verticalHeader().hide()
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.horizontalHeader().setMinimumSectionSize(20)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    return table
