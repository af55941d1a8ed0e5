"""Keeps the tab "Views" at the poses of the picks, and selects the picks of a region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject
from superqt.utils import qdebounced

from napari_so3.session.poses import Gathered, gather
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.runner import Runner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.widgets.coverage_panel import CoveragePanel
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.pose_panel import PosePanel
    from napari_so3.widgets.posing import Posing

WAIT_MS = 250  # after the last change, before the views are counted again


class PoseViews(QObject):
    """Gives the panel its poses while it is looked at: of one micrograph, or of all.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph.
    posing : Posing
        Knows the poses of the micrograph that is shown.
    panel : CoveragePanel
        Counts the views.
    picks : PosePanel
        Tells when there are other picks.
    """

    def __init__(self, desk: Desk, posing: Posing, panel: CoveragePanel, picks: PosePanel) -> None:
        super().__init__(panel)
        self._desk, self._posing, self._panel, self._picks = desk, posing, panel, picks
        self._session = desk.session
        self._gathering = Runner()
        self._rows = np.zeros((0, 2), dtype=np.intp)  # micrograph and candidate of every pose
        self._soon = qdebounced(self._give, timeout=WAIT_MS)
        self._listening = Listening(self)
        self._gathering.told.connect(self._take)
        self._gathering.crashed.connect(panel.status.complain)
        panel.scope_changed.connect(self.refresh)
        panel.region_chosen.connect(self._select)
        picks.counted.connect(self.refresh)
        posing.poses_changed.connect(self.refresh)
        self._listening.to(self._session.poses.changed, self.refresh)

    def close_down(self) -> None:
        """Stop what goes on, and follow the session no more."""
        self._soon.cancel()
        self._gathering.cancel()
        self._listening.stop()
        self._panel.close_down()

    def refresh(self, *_changed: Any) -> None:
        """Count the views again soon, if somebody looks at them."""
        if self._panel.isVisible():
            self._soon()

    def _give(self) -> None:
        model, session = self._posing.model, self._session
        if model is None:
            return
        flat, names = session.pool.flat, session.names
        choice, marks = session.choice(), session.marks.all
        chosen = choice.chosen(flat, names, choice.scores(flat, names, marks))
        if not self._panel.of_all:
            here = names.index(self._desk.name) if self._desk.name in names else -1
            chosen = chosen & (flat.owner == here)
        picks = np.flatnonzero(chosen)
        owner = flat.owner[picks]
        self._rows = np.column_stack([owner, picks - flat.start[owner]])
        points = np.column_stack([flat.y[picks], flat.x[picks]])
        self._gathering.start(gather, session.poses, names, points, owner)

    def _take(self, event: Any) -> None:
        model = self._posing.model
        if not isinstance(event, Gathered) or model is None:
            return
        self._panel.status.say(event.problems[0] if event.problems else "")
        known = np.isfinite(event.matrices).all(axis=(1, 2))
        self._rows = self._rows[known]
        name = "" if self._panel.of_all else self._desk.name
        self._panel.set_poses(
            event.matrices[known], model.group, event.confidence[known], name=name
        )

    def _select(self, found: NDArray[np.intp]) -> None:
        """Select the picks of a region, as far as they lie on the micrograph that is shown."""
        picks, names = self._desk.picks, self._session.names
        if picks is None or self._desk.name not in names:
            return
        rows = self._rows[found[found < len(self._rows)]]
        here = rows[rows[:, 0] == names.index(self._desk.name), 1]
        picks.selected_data = {int(i) for i in here}
        self._picks.refresh_selection()
