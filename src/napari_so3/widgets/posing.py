"""What the panels of the dock "Poses" share: the model, the poses, and the pick one looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_so3.session.poses import Matched, pose_run_name, rows_of
from napari_so3.widgets.engine import Note, Problem
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.pose_engine import Read, read_poses
from napari_so3.widgets.pose_models import ModelJob, Offer, PoseModel, look_up
from napari_so3.widgets.runner import Runner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.widgets.desk import Desk

REFINED = "-refined"  # ends the name of a run of refined poses
_DECIDING = ("pose_model", "model", "rotations", "diameter")  # fields of the session


class Posing(QObject):
    """The pose model of a session, and the poses of the micrograph that is shown.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph.

    Attributes
    ----------
    model : PoseModel or None
        Once it is loaded.
    offered : tuple of str
        Models that can be chosen.
    matched : Matched or None
        Poses of all candidates of the micrograph that is shown, in their order; None if it has
        none.
    refine : bool
        Whether poses are refined.
    place : tuple of float or None
        y and x of the mouse or of the pick that is held, pixels.
    """

    model_changed = Signal()
    poses_changed = Signal()
    said = Signal(str)  # a sentence on what goes on
    failed = Signal(str)  # a sentence on what went wrong

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk, self._session = desk, desk.session
        self.model: PoseModel | None = None
        self.offered: tuple[str, ...] = ()
        self.matched: Matched | None = None
        self.refine = self._session.pose_run.endswith(REFINED)
        self.place: tuple[float, float] | None = None
        self._job: ModelJob | None = None
        self._awake = False
        self._loading, self._reading = Runner(), Runner()
        self._listening = Listening(self)
        for runner in (self._loading, self._reading):
            runner.told.connect(self._take)
            runner.crashed.connect(self.failed)
        for name in _DECIDING:
            self._listening.to(self._session.events[name], self.refresh)
        self._listening.to(self._session.events.pixel_size, self._name_run)
        for signal in (self._session.poses.changed, self._session.pool.changed):
            self._listening.to(signal, self._follow_store)
        self._desk.shown.connect(self._read)

    def close_down(self) -> None:
        """Stop what goes on, and follow the session no more."""
        self._loading.cancel()
        self._reading.cancel()
        self._listening.stop()
        self._desk.shown.disconnect(self._read)

    def wake(self) -> None:
        """Begin: load the model, and read the poses."""
        if not self._awake:
            self._awake = True
            self.refresh()
            self._read()

    def point_at(self, place: tuple[float, float] | None) -> None:
        """Look at another place, y and x in pixels of the micrograph."""
        self.place = place

    # ------------------------------------------------------------------ the model

    def refresh(self, _value: object = None) -> None:
        """Load what is chosen now."""
        job = ModelJob.of(self._session)
        if not self._awake or job == self._job:
            return
        self._job, self.model = job, None
        self.model_changed.emit()
        self._loading.start(look_up, job)

    def set_refine(self, refine: bool) -> None:
        """Show and make poses that are refined, or those that are not."""
        self.refine = refine
        self._name_run()

    def _name_run(self, _value: object = None) -> None:
        """Show the poses that were made with the settings of now."""
        model, session = self.model, self._session
        if model is not None:
            session.pose_run = pose_run_name(
                model.name, model.fingerprint, session.diameter, session.pixel_size, self.refine
            )

    def _take(self, event: Any) -> None:
        if isinstance(event, Note):
            self.said.emit(f"{event.text}…")
        elif isinstance(event, Problem):
            self.failed.emit(event.sentence)
        elif isinstance(event, Offer):
            self.offered = event.models
            self.said.emit("")
            self.model_changed.emit()
        elif isinstance(event, PoseModel):
            self.model = event
            self._name_run()
            self.model_changed.emit()
            self.poses_changed.emit()
        elif isinstance(event, Read) and event.name == self._desk.name:
            self._match(event.poses)

    # ------------------------------------------------------------------ the poses

    def points(self) -> NDArray[np.float64]:
        """Places of all candidates of the micrograph that is shown, (n, 2) pixels."""
        candidates = self._session.pool.get(self._desk.name)
        if candidates is None:
            return np.zeros((0, 2))
        return np.column_stack([candidates.y, candidates.x]).astype(np.float64)

    def row_at(self, place: NDArray[np.float64] | None) -> int | None:
        """Find the row of the poses of the pick at a place; None if it has no pose."""
        if place is None or self.matched is None:
            return None
        row = int(rows_of(self.matched.poses, place)[0])
        return row if row >= 0 else None

    def _follow_store(self, name: str) -> None:
        if name in ("", self._desk.name):
            self._read()

    def _read(self, _name: str = "") -> None:
        """Show the poses of the micrograph, at once if they are in memory."""
        name, store = self._desk.name, self._session.poses
        self._reading.cancel()
        held = store.held(name)
        if held is None and name in store and self._awake:
            self._match(None)
            self._reading.start(read_poses, store, name)
        else:
            self._match(held)

    def _match(self, poses: Any) -> None:
        before = self.matched
        self.matched = None if poses is None else Matched(poses, rows_of(poses, self.points()))
        if before is not None or self.matched is not None:
            self.poses_changed.emit()
