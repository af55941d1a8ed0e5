"""A pick that is looked at: the particle beside the map in its pose, and the poses it may have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_so3.poses.words import describe_pose
from napari_so3.widgets.boxes import hint
from napari_so3.widgets.engine import Problem
from napari_so3.widgets.pick_stepper import PickStepper, show_place
from napari_so3.widgets.pointer import Pointer
from napari_so3.widgets.pose_look import Looked, Looking, LookJob, drawn_map, write_pick
from napari_so3.widgets.pose_pictures import PosePictures
from napari_so3.widgets.runner import Runner
from napari_so3.widgets.why_engine import NotWritten, Written
from napari_so3.widgets.why_panel import ENDINGS, FORMATS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.posing import Posing

EMPTY = "Click a pick in the micrograph, or go through\nthem with the arrows, the best first."
NO_PICKS = "This micrograph has no picks: pick it first."
NO_PICK_HERE = "There is no pick here: click one of the rings."
NO_POSE = "This pick has no pose yet."


class PosePick(QWidget):
    """Shows the pose of the pick that one clicks, or steps to.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph and its picks.
    posing : Posing
        Knows the model and the poses.
    """

    held = Signal()  # another pick, or none any more
    said = Signal(str)  # a sentence on what is looked at
    failed = Signal(str)  # a sentence on what went wrong

    def __init__(self, desk: Desk, posing: Posing) -> None:
        super().__init__()
        self._desk, self._posing, self._session = desk, posing, desk.session
        self._looking, self._writer = Runner(), Runner()
        self._looker = Looking()
        self._looked: Looked | None = None
        self._place: NDArray[np.float64] | None = None  # pixels
        self._voxel_size = 1.0  # Å, of the map in 3D
        self.pointer, self.stepper = Pointer(desk, posing), PickStepper(desk)
        self.sentence, self.empty = QLabel(), hint(EMPTY)
        self.pictures, self.save = PosePictures(), QPushButton("Save figure…")
        self.sentence.setWordWrap(True)
        self.save.setToolTip("Write the particle beside the map in each of these poses")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.stepper, self.empty, self.sentence, self.pictures, self.save):
            layout.addWidget(part)
        self._connect()
        self._show_model()
        self._clear()

    def _connect(self) -> None:
        self.stepper.stepped.connect(self._hold)
        self.pointer.held.connect(self._follow_pointer)
        self.pictures.chosen.connect(self.pictures.choose)
        self.save.clicked.connect(self._save)
        self._posing.model_changed.connect(self._show_model)
        self._posing.poses_changed.connect(self._look)
        self._desk.shown.connect(self._clear)
        for runner in (self._looking, self._writer):
            runner.told.connect(self._take)
            runner.crashed.connect(self.failed)

    def close_down(self) -> None:
        """Stop what is computed, and follow the viewer and the session no more."""
        self._looking.cancel()
        self._writer.cancel()
        self.stepper.close_down()
        self._desk.shown.disconnect(self._clear)
        self.pointer.close_down()
        self.pictures.close_down()

    def showEvent(self, event: QShowEvent) -> None:
        """Take the clicks while the tab is in front."""
        super().showEvent(event)
        self.pointer.switch(True)
        if self._place is not None:
            self.pointer.hold(self._place)

    def hideEvent(self, event: QHideEvent) -> None:
        """Leave the mouse to others."""
        super().hideEvent(event)
        self.pointer.switch(False)

    def _take(self, event: Any) -> None:
        if isinstance(event, Looked):
            self._show_looked(event)
        elif isinstance(event, Written):
            self.said.emit(f"Saved {event.path.name}.")
        elif isinstance(event, (NotWritten, Problem)):
            self.failed.emit(event.sentence)

    def _show_model(self) -> None:
        model = self._posing.model
        if model is not None and model.has_map:
            volume, self._voxel_size = drawn_map(model)
            self.pictures.show_map(volume)
        else:
            self.pictures.show_map(None)
        self._look()

    def _hold(self, place: NDArray[np.float64]) -> None:
        self.pointer.hold(place)
        show_place(self._desk, place)

    def _follow_pointer(self) -> None:
        self.held.emit()
        if not self.pointer.holding or self._posing.place is None:
            return
        if self.pointer.pick is None:
            self.said.emit(NO_PICK_HERE if self.stepper.n else NO_PICKS)
            return
        self.said.emit("")
        self._place = np.array(self._posing.place)
        self.stepper.go_to(self._place)
        self._look()

    def _look(self) -> None:
        """Compare the pick with the map."""
        posing, model, row = self._posing, self._posing.model, self._posing.row_at(self._place)
        if self._place is None or model is None or row is None or posing.matched is None:
            self._looking.cancel()
            self._show_parts(shown=False)
            return
        poses = posing.matched.poses
        there = np.isfinite(poses.alternatives[row]).all(axis=(1, 2))
        matrices = poses.alternatives[row][there]
        shift = poses.table.loc[row, ["dy", "dx"]].fillna(0.0).to_numpy(dtype=np.float64)
        size = (self._desk.micrograph and self._desk.micrograph.pixel_size) or 1.0
        centre = self._place + shift / size
        path = self._session.paths[self._desk.name]
        job = LookJob(
            *(model, path, self._session.pixel_size, row),
            *(tuple(self._place), tuple(centre), matrices),
        )
        confidence = float(poses.table.loc[row, "confidence"])
        shares = poses.shares[row][there]
        self.sentence.setText(
            describe_pose(matrices, shares, confidence, model.symmetry, model.group)
        )
        self._looking.start(self._looker.look, job)

    def _show_looked(self, looked: Looked) -> None:
        if self._posing.matched is None:
            return
        poses, row = self._posing.matched.poses, looked.job.row
        self._looked = looked
        shares = poses.shares[row][: len(looked.job.matrices)]
        known = np.isfinite(poses.table.loc[row, "confidence"])
        self.pictures.show_looked(
            looked, shares if known else np.full(len(shares), np.nan), self._voxel_size
        )
        self._show_parts(shown=True)

    def _show_parts(self, shown: bool) -> None:
        self.sentence.setVisible(shown)
        self.pictures.setVisible(shown)
        self.save.setVisible(
            shown and self._posing.model is not None and self._posing.model.has_map
        )
        self.empty.setVisible(not shown)
        self.empty.setText(EMPTY if self._place is None else NO_POSE)

    def _clear(self, _name: str = "") -> None:
        """Forget the pick: it is one of another micrograph."""
        self._looking.cancel()
        self._place = None
        self.stepper.go_to(None)
        self._show_parts(shown=False)

    def _save(self) -> None:
        if self._looked is None:
            return
        name = f"{self._desk.name}_pose.png"
        path, kind = QFileDialog.getSaveFileName(self, "Save figure", name, FORMATS)
        if not path:
            return
        target = Path(path)
        if target.suffix.lower() not in ENDINGS:
            target = target.with_name(f"{target.name}{kind[-5:-1]}")
        self._writer.start(write_pick, self._looked, target)
