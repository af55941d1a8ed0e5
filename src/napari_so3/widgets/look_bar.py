"""The button "Look": it computes the maps of the micrograph that is shown, and keeps the last."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal

from napari_so3.widgets.job_bar import JobBar
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.see_engine import SeeJob

if TYPE_CHECKING:
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.see_engine import SeeEngine, Seen

KEPT = 2  # micrographs whose maps are kept
_DECIDING = ("model", "rotations", "diameter", "pixel_size")  # fields of the session


class LookBar(JobBar):
    """Looks at a micrograph in a thread, and tells what is known of the one that is shown.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph.
    engine : SeeEngine
        Computes.
    """

    seen = Signal(object)  # Seen of the micrograph that is shown, or None

    def __init__(self, desk: Desk, engine: SeeEngine) -> None:
        super().__init__("Look")
        self._desk, self._engine = desk, engine
        self._kept: OrderedDict[SeeJob, Seen] = OrderedDict()
        self._job: SeeJob | None = None  # that is computed
        self._listening = Listening(self)
        self.button.setToolTip(
            "Score the micrograph with every rotation of the model, and keep the maps"
        )
        self.clicked.connect(self.look)
        self.told.connect(self._keep)
        self._desk.shown.connect(self.refresh)
        for name in _DECIDING:
            self._listening.to(self._desk.session.events[name], self._follow)

    def close_down(self) -> None:
        """Stop computing, and follow the session no more."""
        self.cancel()
        self._listening.stop()
        self._desk.shown.disconnect(self.refresh)
        self._kept.clear()

    def look(self) -> None:
        """Look at the micrograph that is shown, if that is not under way."""
        job = SeeJob.of(self._desk)
        if job is not None and not self.running:
            self._job = job
            self.start(self._engine.look, job)

    def refresh(self) -> None:
        """Tell what is known of the micrograph that is shown, with the settings of now."""
        job = SeeJob.of(self._desk)
        if self.running and job != self._job:
            self.cancel()
        self.status.say("")
        self.button.setEnabled(job is not None)
        if job in self._kept:
            self._kept.move_to_end(job)
        self.seen.emit(self._kept.get(job))

    def _follow(self, _value: object) -> None:
        self.refresh()

    def _keep(self, seen: Seen) -> None:
        assert self._job is not None
        self._kept[self._job] = seen
        self._kept.move_to_end(self._job)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self.seen.emit(seen)
