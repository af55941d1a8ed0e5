"""The tab "Picks": give poses to picks, and see them in the micrograph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget
from superqt.utils import qthrottled

from napari_so3.widgets.listening import Listening
from napari_so3.widgets.pose_engine import Estimated, PoseJob, Summary, Todo, estimate
from napari_so3.widgets.pose_form import ALL, SELECTED, PoseBar, PoseForm
from napari_so3.widgets.pose_layers import PoseLayers
from napari_so3.widgets.pose_look import Rendered, render
from napari_so3.widgets.pose_pick import NO_PICKS, PosePick
from napari_so3.widgets.runner import Runner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.posing import Posing

NO_MODEL = (
    "There is no pose model: open a file, train one with\n"
    "napari-so3 pose train, or pick with a model that is\nmade of a map."
)
CHANGED = "Cancelled: something else is chosen."
DRAW_MS = 60  # between two drawings while the threshold moves


class PosePanel(QWidget):
    """Estimates poses, draws them, and shows below what there is of one pick.

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
        self._rendering = Runner()
        self._rendered: Rendered | None = None
        self._listening = Listening(self)
        self.form, self.bar = PoseForm(self._session, posing), PoseBar()
        self.layers, self.count = PoseLayers(desk), QLabel()
        self.pick = PosePick(desk, posing)
        self._draw_soon = qthrottled(self._draw, timeout=DRAW_MS)
        layout = QVBoxLayout(self)
        for part in (self.form, self.bar, self.count, self.pick):
            layout.addWidget(part)
        layout.addStretch()
        self._connect()
        self._show_model()

    def _connect(self) -> None:
        posing, session = self._posing, self._session
        self.form.drawing_changed.connect(self._draw)
        self.bar.asked.connect(self._estimate)
        self.bar.told.connect(self._take)
        self.layers.removed.connect(lambda: self.form.drawing.setCurrentIndex(0))
        self.pick.held.connect(self._follow_choice)
        posing.model_changed.connect(self._show_model)
        posing.poses_changed.connect(self._show_poses)
        for part in (posing, self.pick):
            part.said.connect(self.bar.status.say)
            part.failed.connect(self.bar.status.complain)
        self._rendering.told.connect(self._take)
        self._rendering.crashed.connect(self.bar.status.complain)
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
        self._rendering.cancel()
        self._draw_soon.cancel()
        self._listening.stop()
        self._desk.shown.disconnect(self._follow_desk)
        self.pick.close_down()
        self.layers.write_features(None)
        self.layers.close_down()

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
        if not rows and self.pick.pointer.pick is not None:
            rows = [self.pick.pointer.pick]
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
        elif isinstance(event, Rendered):
            self._rendered = event
            self._draw()

    def _tell(self, summary: Summary) -> None:
        if summary.problems:
            more = len(summary.problems) - 1
            rest = f" And {more} more." if more else ""
            self.bar.status.complain(f"{summary.sentence} {summary.problems[0]}{rest}")
        else:
            self.bar.status.say(summary.sentence)

    # ------------------------------------------------------------------ what there is

    def _show_model(self) -> None:
        self._stop()
        self._rendered = None
        self._show_poses()

    def _show_poses(self) -> None:
        self.layers.write_features(self._posing.matched)
        self._follow_choice()
        self._draw()

    def _follow_desk(self, _name: str) -> None:
        """Draw the poses of another micrograph, for which `Posing` has looked before."""
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
