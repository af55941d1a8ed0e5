"""The tab "Picks": give poses to picks, see them in the micrograph, and look at single ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import qthrottled

from napari_so3.poses.words import describe_pose
from napari_so3.widgets.boxes import hint
from napari_so3.widgets.engine import Problem
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.pick_stepper import PickStepper, show_place
from napari_so3.widgets.pointer import Pointer
from napari_so3.widgets.pose_engine import Estimated, PoseJob, Summary, Todo, estimate
from napari_so3.widgets.pose_form import ALL, SELECTED, PoseBar, PoseForm
from napari_so3.widgets.pose_layers import PoseLayers
from napari_so3.widgets.pose_look import (
    Looked,
    Looking,
    LookJob,
    Rendered,
    drawn_map,
    render,
    write_pick,
)
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
NO_MODEL = (
    "There is no pose model: open a file, train one with\n"
    "napari-so3 pose train, or pick with a model that is\nmade of a map."
)
NO_PICKS = "This micrograph has no picks: pick it first."
NO_PICK_HERE = "There is no pick here: click one of the rings."
NO_POSE = "This pick has no pose yet."
CHANGED = "Cancelled: something else is chosen."
DRAW_MS = 60  # between two drawings while the threshold moves


class PosePanel(QWidget):
    """Estimates poses, draws them, and shows those of one pick.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph and its picks.
    posing : Posing
        Knows the model and the poses.
    """

    counted = Signal()  # there may be other picks

    def __init__(self, desk: Desk, posing: Posing) -> None:
        super().__init__()
        self._desk, self._posing, self._session = desk, posing, desk.session
        self._looking, self._rendering, self._writer = Runner(), Runner(), Runner()
        self._looker = Looking()
        self._looked: Looked | None = None
        self._rendered: Rendered | None = None
        self._place: NDArray[np.float64] | None = None  # of the pick that is looked at, pixels
        self._voxel_size = 1.0  # Å, of the map in 3D
        self._listening = Listening(self)
        self.form, self.bar = PoseForm(self._session, posing), PoseBar()
        self.layers, self.pointer = PoseLayers(desk), Pointer(desk, posing)
        self.count, self.stepper = QLabel(), PickStepper(desk)
        self.sentence, self.empty = QLabel(), hint(EMPTY)
        self.pictures, self.save = PosePictures(), QPushButton("Save figure…")
        self._draw_soon = qthrottled(self._draw, timeout=DRAW_MS)
        self._lay_out()
        self._connect()
        self._show_model()
        self._clear()

    def _lay_out(self) -> None:
        self.sentence.setWordWrap(True)
        self.save.setToolTip("Write the particle beside the map in each of these poses")
        layout = QVBoxLayout(self)
        for part in (
            *(self.form, self.bar, self.count, self.stepper),
            *(self.empty, self.sentence, self.pictures, self.save),
        ):
            layout.addWidget(part)
        layout.addStretch()

    def _connect(self) -> None:
        posing, session = self._posing, self._session
        self.form.drawing_changed.connect(self._draw)
        self.bar.asked.connect(self._estimate)
        self.bar.told.connect(self._take)
        self.layers.removed.connect(lambda: self.form.drawing.setCurrentIndex(0))
        self.stepper.stepped.connect(self._hold)
        self.pointer.held.connect(self._follow_pointer)
        self.pictures.chosen.connect(self.pictures.choose)
        self.save.clicked.connect(self._save)
        posing.model_changed.connect(self._show_model)
        posing.poses_changed.connect(self._show_poses)
        posing.said.connect(self.bar.status.say)
        posing.failed.connect(self.bar.status.complain)
        for runner in (self._looking, self._rendering, self._writer):
            runner.told.connect(self._take)
            runner.crashed.connect(self.bar.status.complain)
        self._desk.shown.connect(self._follow_desk)
        for signal in (
            *(session.events.threshold, session.signals.override, session.pool.changed),
            *(session.marks.changed, session.events.margin, session.events.hidden_views),
        ):
            self._listening.to(signal, self._follow_choice)
        for signal in (session.events.pose_run, session.signals.opened):
            self._listening.to(signal, self._stop)
        self._listening.to(session.events.current, self._leave)

    def close_down(self) -> None:
        """Stop what is computed, and follow the viewer and the session no more."""
        self.bar.cancel()
        self._looking.cancel()
        self._rendering.cancel()
        self._writer.cancel()
        self._draw_soon.cancel()
        self._listening.stop()
        self.stepper.close_down()
        self._desk.shown.disconnect(self._follow_desk)
        self.pointer.close_down()
        self.layers.write_features(None)
        self.layers.close_down()
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

    # ------------------------------------------------------------------ what is estimated

    def _estimate(self, which: str) -> None:
        session, model = self._session, self._posing.model
        names = session.names if which == ALL else (self._desk.name,)
        todo = tuple(t for t in (self._todo(name, which) for name in names) if t is not None)
        if model is None or not todo:
            return
        job = PoseJob(
            model,
            session.poses,
            todo,
            which != ALL,
            self.form.refine.isEnabled() and self._posing.refine,
            session.diameter,
            session.pixel_size,
            session.device,
        )
        self.bar.start(estimate, job)
        self.bar.show_ready()

    def _todo(self, name: str, which: str) -> Todo | None:
        """List the picks of a micrograph that are asked for."""
        found = self._session.picks_of(name)
        if found is None:
            return None
        candidates, chosen = found
        rows = np.flatnonzero(chosen)
        if which == SELECTED:
            rows = np.intersect1d(rows, self._selected())
        points = np.column_stack([candidates.y[rows], candidates.x[rows]]).astype(np.float64)
        return Todo(name, self._session.paths[name], points, candidates.rotation[rows])

    def _selected(self) -> list[int]:
        """List the candidates that are selected in the layer, or the one that is held."""
        picks = self._desk.picks
        rows = [] if picks is None else [int(i) for i in picks.selected_data]
        if not rows and self.pointer.pick is not None:
            rows = [self.pointer.pick]
        return rows

    def refresh_selection(self) -> None:
        """Look again at which picks are selected."""
        self._follow_choice()

    def _stop(self, *_changed: Any) -> None:
        self.bar.cancel(CHANGED)
        self.bar.show_ready()

    def _take(self, event: Any) -> None:
        if isinstance(event, Estimated):
            self._session.poses.put(event.name, event.poses)
        elif isinstance(event, Summary):
            self._tell(event)
        elif isinstance(event, Looked):
            self._show_looked(event)
        elif isinstance(event, Rendered):
            self._rendered = event
            self._draw()
        elif isinstance(event, Written):
            self.bar.status.say(f"Saved {event.path.name}.")
        elif isinstance(event, (NotWritten, Problem)):
            self.bar.status.complain(event.sentence)

    def _tell(self, summary: Summary) -> None:
        if summary.problems:
            more = len(summary.problems) - 1
            rest = f" And {more} more." if more else ""
            self.bar.status.complain(f"{summary.sentence} {summary.problems[0]}{rest}")
        else:
            self.bar.status.say(summary.sentence)

    # ------------------------------------------------------------------ what there is

    def _show_model(self) -> None:
        model = self._posing.model
        self._stop()
        self._rendered = None
        if model is not None and model.has_map:
            volume, self._voxel_size = drawn_map(model)
            self.pictures.show_map(volume)
        else:
            self.pictures.show_map(None)
        self._show_poses()

    def _show_poses(self) -> None:
        self.layers.write_features(self._posing.matched)
        self._follow_choice()
        self._draw()
        self._look()

    def _follow_desk(self, _name: str) -> None:
        """Begin anew with another micrograph; `Posing` has looked for its poses before."""
        self._clear()
        self._follow_choice()
        self._draw()

    def _follow_choice(self, *_changed: Any) -> None:
        """Count the picks and the poses."""
        found = self._session.picks_of(self._desk.name)
        ready = self._posing.model is not None
        n = 0 if found is None else int(found[1].sum())
        self.bar.set_ready(
            ready and n > 0, ready and len(self._session.pool) > 0, ready and bool(self._selected())
        )
        self.count.setText(self._words(n, None if found is None else found[1]))
        self._draw_soon()
        self.counted.emit()

    def _words(self, n: int, chosen: NDArray[np.bool_] | None) -> str:
        posing = self._posing
        if posing.model is None and not posing.offered and self._session.pose_model is None:
            return NO_MODEL
        if chosen is None or n == 0:
            return NO_PICKS if self._desk.name else ""
        known = 0
        if posing.matched is not None and len(posing.matched.rows) == len(chosen):
            known = int((posing.matched.known & chosen).sum())
        return f"{known:,} of {n:,} picks of this micrograph have a pose."

    def _leave(self, name: str) -> None:
        """Take the layer away before another micrograph comes, which may be of another size."""
        if name != self._desk.name:
            self.layers.take_away()

    def _draw(self) -> None:
        """Draw the poses of the picks as they are now."""
        posing, drawing = self._posing, self.form.drawing.currentData()
        model, matched = posing.model, posing.matched
        found = self._session.picks_of(self._desk.name)
        there = None not in (model, matched, found, self._desk.image, self._desk.micrograph)
        if not (there and drawing) or len(matched.rows) != len(found[1]):
            self.layers.take_away()
        elif drawing == "arrows":
            self.layers.draw_arrows(matched, found[1], model)
        elif not model.has_map:
            self.layers.take_away()
        elif self._rendered is not None and self._rendered.poses is matched.poses:
            self.layers.draw_projections(matched, found[1], self._rendered, model)
        elif not self._rendering.running:
            self._rendering.start(render, model, matched.poses)

    # ------------------------------------------------------------------ the pick

    def _hold(self, place: NDArray[np.float64]) -> None:
        self.pointer.hold(place)
        show_place(self._desk, place)

    def _follow_pointer(self) -> None:
        self._follow_choice()
        if not self.pointer.holding or self._posing.place is None:
            return
        if self.pointer.pick is None:
            self.bar.status.say(NO_PICK_HERE if self.stepper.n else NO_PICKS)
            return
        self.bar.status.say("")
        self._place = np.array(self._posing.place)
        self.stepper.go_to(self._place)
        self._look()

    def _look(self) -> None:
        """Compare the pick with the map."""
        posing, model, row = self._posing, self._posing.model, self._posing.row_at(self._place)
        if self._place is None or model is None or row is None or posing.matched is None:
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

    def _clear(self) -> None:
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
