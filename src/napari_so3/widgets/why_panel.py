"""The tab "Why": why the network takes a pick for a particle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_so3.widgets.boxes import StatusLine, hint
from napari_so3.widgets.engine import Note, Problem, Progress
from napari_so3.widgets.evidence_bars import Bars
from napari_so3.widgets.evidence_panel import TOP, make_bars
from napari_so3.widgets.layers import KEY
from napari_so3.widgets.pick_stepper import PickStepper, show_place
from napari_so3.widgets.pointer import Pointer
from napari_so3.widgets.runner import Runner
from napari_so3.widgets.see_engine import SeeJob
from napari_so3.widgets.why_engine import (
    Explained,
    NotWritten,
    WhyEngine,
    WhyJob,
    Written,
    picks_of_session,
    python_lines,
    write_figure,
)
from napari_so3.widgets.why_pictures import WhyPictures

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.seeing import Seeing

EMPTY = "Click a pick in the micrograph, or go through\nthem with the arrows, the best first."
NO_PICKS = "This micrograph has no picks: pick it first."
NO_PICK_HERE = "There is no pick here: click one of the rings."
OTHER_MODEL = "The picks were made with another model: none are averaged."
LOOKING = "Looking at the micrograph with every rotation first; the tab Maps shows how far it is."
FORMATS = "Picture (*.png);;PDF (*.pdf);;SVG (*.svg)"
ENDINGS = (".png", ".pdf", ".svg")


class WhyPanel(QWidget):
    """Explains one pick at a time.

    Parameters
    ----------
    desk : Desk
        Shows the micrograph and its picks.
    seeing : Seeing
        Knows the maps, and is told which rotation won the pick.
    """

    wanted = Signal()  # the maps of the micrograph that is shown

    def __init__(self, desk: Desk, seeing: Seeing) -> None:
        super().__init__()
        self._desk, self._seeing = desk, seeing
        self._engine = WhyEngine(seeing.engine)
        self._runner, self._writer = Runner(), Runner()
        self._place: NDArray[np.float64] | None = None  # of the pick, pixels
        self._shown: Explained | None = None
        self.pointer = Pointer(desk, seeing)
        self.stepper = PickStepper(desk)
        self.sentence, self.empty = QLabel(), hint(EMPTY)
        self.pictures, self.bars = WhyPictures(), Bars(TOP)
        self.save, self.copy = QPushButton("Save figure…"), QPushButton("Copy as Python")
        self.progress, self.status = QProgressBar(), StatusLine()
        self._lay_out()
        self._connect()
        self._clear()

    def _lay_out(self) -> None:
        self.copy.setToolTip("Copy the lines that make this figure in a notebook")
        self.sentence.setWordWrap(True)
        self.progress.setFixedHeight(8)
        self.progress.setTextVisible(False)
        ends = QHBoxLayout()
        ends.addWidget(self.save)
        ends.addWidget(self.copy)
        self.parts = QWidget()
        inner = QVBoxLayout(self.parts)
        inner.setContentsMargins(0, 0, 0, 0)
        for part in (self.sentence, self.pictures, self.bars):
            inner.addWidget(part)
        inner.addLayout(ends)
        layout = QVBoxLayout(self)
        for part in (self.stepper, self.progress, self.status, self.empty, self.parts):
            layout.addWidget(part)
        layout.addStretch()

    def _connect(self) -> None:
        self.stepper.stepped.connect(self._hold)
        self.save.clicked.connect(self._save)
        self.copy.clicked.connect(self._copy)
        self.bars.chosen.connect(self._seeing.turn_to)
        self.pointer.held.connect(self._follow_pointer)
        self._seeing.maps_changed.connect(self._follow_maps)
        self._seeing.rotation_changed.connect(self.bars.choose)
        self._desk.shown.connect(self._clear)
        for runner in (self._runner, self._writer):
            runner.told.connect(self._take)
            runner.crashed.connect(self.status.complain)
        self._runner.ended.connect(self.progress.hide)

    def close_down(self) -> None:
        """Stop what is computed, and follow the viewer and the session no more."""
        self._runner.cancel()
        self.stepper.close_down()
        self._desk.shown.disconnect(self._clear)
        self.pointer.close_down()

    def tell(self, sentence: str) -> None:
        """Say why the maps that were wanted do not come."""
        if self._place is not None and self._seeing.maps is None:
            self.status.complain(sentence)

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

    # ------------------------------------------------------------------ which pick

    def _follow_pointer(self) -> None:
        if not self.pointer.holding:
            return
        place = np.array(self._seeing.place)
        if self.pointer.pick is None:
            self.status.say(NO_PICK_HERE if self.stepper.n else NO_PICKS)
            return
        fresh = self._place is None or not np.array_equal(place, self._place)
        self._place = place
        self.stepper.go_to(place)
        if fresh or self._shown is None:
            self._explain()

    def _hold(self, place: NDArray[np.float64]) -> None:
        self.pointer.hold(place)
        show_place(self._desk, place)

    # ------------------------------------------------------------------ why

    def _explain(self) -> None:
        see, maps = SeeJob.of(self._desk), self._seeing.maps
        self.status.say("")
        if see is None or self._place is None:
            return
        if maps is None:
            self.status.say(LOOKING)
            self.wanted.emit()
            return
        place = float(self._place[0]), float(self._place[1])
        # rotations of another model, or of none, have other numbers
        same = self._fingerprint() == maps.fingerprint
        job = WhyJob(see, maps, place, picks_of_session(self._desk.session) if same else ())
        self.progress.setRange(0, 0)
        self.progress.show()
        self._runner.start(self._engine.explain, job)

    def _fingerprint(self) -> str | None:
        """Digest of the model that made the picks; None if that is unknown."""
        picks = self._desk.picks
        return None if picks is None else picks.metadata[KEY].get("fingerprint")

    def _take(self, event: Any) -> None:
        if isinstance(event, Progress):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
        elif isinstance(event, Explained):
            self._show(event)
        elif isinstance(event, (NotWritten, Problem)):
            self.status.complain(event.sentence)
        elif isinstance(event, Written):
            self.status.say(f"Saved {event.path.name}.")
        elif isinstance(event, Note) and self._shown is None:
            self.status.say(f"{event.text}…")

    def _show(self, event: Explained) -> None:
        explanation = event.explanation
        self._shown = event
        self.status.say("" if event.job.others else OTHER_MODEL)
        self.sentence.setText(explanation.sentence())
        self.pictures.show_explanation(explanation)
        self.bars.show_bars(make_bars(event.job.maps, explanation.evidence))
        self._seeing.turn_to(explanation.rotation)
        self.bars.choose(self._seeing.rotation)
        self.empty.hide()
        self.parts.show()

    def _follow_maps(self) -> None:
        """Explain the pick with other maps: of another model, or the first ones."""
        if self._seeing.maps is not None and self._place is not None and self.isVisible():
            self._explain()
        else:
            self._clear()

    def _clear(self, *_changed: Any) -> None:
        """Forget the pick: it is one of another micrograph, or of another model."""
        self._runner.cancel()
        self._place = self._shown = None
        self.progress.hide()
        self.parts.hide()
        self.empty.show()
        self.status.say("")
        self.stepper.go_to(None)

    # ------------------------------------------------------------------ what is taken along

    def _save(self) -> None:
        if self._shown is None:
            return
        name, shown = f"{self._desk.name}_pick.png", self._shown
        path, kind = QFileDialog.getSaveFileName(self, "Save figure", name, FORMATS)
        if not path:
            return
        target = Path(path)
        if target.suffix.lower() not in ENDINGS:
            target = target.with_name(f"{target.name}{kind[-5:-1]}")
        self.status.say("Drawing…")
        self._writer.start(write_figure, shown.explanation, target)

    def _copy(self) -> None:
        if self._shown is not None:
            session = self._desk.session
            lines = python_lines(self._shown.job, session.limit(), session.run_folder)
            QGuiApplication.clipboard().setText(lines)
            self.status.say("Copied.")
