"""Which candidates are picks: threshold, histogram, and how many that makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QRadioButton, QVBoxLayout, QWidget
from superqt.utils import qthrottled

from napari_so3.widgets.histogram import ScoreHistogram
from napari_so3.widgets.survey import Survey
from napari_so3.widgets.threshold_box import HIGHEST, LOWEST, ThresholdBox

if TYPE_CHECKING:
    from napari.layers import Points

    from napari_so3.session.state import Session

NO_PICKS = "No picks on this micrograph yet."
REFRESH_MS = 200  # between two looks at all candidates while they change


class ChoiceBox(QWidget):
    """Shows and sets the threshold of a session, or of one of its micrographs.

    Parameters
    ----------
    session : Session
        Its candidates are counted, unless a layer of picks of its own is shown.
    """

    counted = Signal()  # the numbers may be others

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._layer: Points | None = None
        self._name, self._suggested = "", 0.0
        self.survey: Survey | None = None
        self.threshold, self.histogram = ThresholdBox(), ScoreHistogram()
        self.here, self.all = QRadioButton("this micrograph"), QRadioButton("all")
        self.here.setChecked(True)
        self.only_here = QCheckBox("Only for this micrograph")
        self.only_here.setToolTip("Give this micrograph a threshold of its own.")
        self.count = QLabel()
        self.count.setWordWrap(True)
        self._scope = QWidget()
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        row = QHBoxLayout(self._scope)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Scores of"))
        row.addWidget(self.here)
        row.addWidget(self.all)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.threshold, self._scope, self.histogram, self.only_here, self.count):
            layout.addWidget(part)

    def _connect(self) -> None:
        session = self._session
        self._refresh_soon = qthrottled(self.refresh, timeout=REFRESH_MS)
        self.threshold.changed.connect(self._set)
        self.histogram.moved.connect(self._set)
        self.here.toggled.connect(self._show_numbers)
        self.only_here.clicked.connect(self._choose_extent)
        self._changing = (
            session.pool.changed,
            session.marks.changed,
            session.signals.micrographs,
            *(session.events[name] for name in ("margin", "hidden_views", "in_plane", "diameter")),
        )
        self._moving = (
            session.events.threshold,
            session.events.suggested,
            session.signals.override,
        )
        for signal in self._changing:
            signal.connect(self._ask)
        for signal in self._moving:
            signal.connect(self.show_threshold)

    def disconnect_session(self) -> None:
        """Stop following the session."""
        for signal in self._changing:
            signal.disconnect(self._ask)
        for signal in self._moving:
            signal.disconnect(self.show_threshold)
        self._refresh_soon.cancel()

    def show_layer(self, layer: Points | None, suggested: float) -> None:
        """Show the picks of a micrograph that is in no session.

        Parameters
        ----------
        layer : Points or None
            Its layer of picks, if it has been picked.
        suggested : float
            Threshold where the session has none, log-odds.
        """
        self._layer, self._name, self.survey = layer, "", None
        self._suggested = suggested
        self.refresh()

    def show_micrograph(self, name: str) -> None:
        """Show the picks of the session, and of this micrograph in it."""
        self._layer, self._name = None, name
        if self.survey is None:
            self.refresh()
        else:
            self.survey.look_at(name)
            self._show()

    def _ask(self) -> None:
        if self._name:
            self._refresh_soon()

    def refresh(self) -> None:
        """Look at the candidates again."""
        if self._name:
            self.survey = Survey(self._session, self._name)
        self._show()

    def _show(self) -> None:
        there = self._layer is not None or bool(self.survey and self.survey.micrographs)
        for part in (self.threshold, self.histogram):
            part.setVisible(there)
        for part in (self._scope, self.only_here):
            part.setVisible(there and bool(self._name))
        self._show_numbers()

    def _show_numbers(self) -> None:
        self._show_scores()
        self.show_threshold()

    def _show_scores(self) -> None:
        scores, highest = np.zeros(0, np.float32), HIGHEST
        if self.survey is not None:
            scores, highest = self.survey.scores(self.here.isChecked()), self.survey.highest
        elif self._layer is not None:
            scores = self._layer.features["score"].to_numpy(np.float32)
            highest = float(np.nanmax(scores, initial=HIGHEST))
        self.histogram.set_scores(scores, highest)
        self.threshold.set_range(LOWEST, highest)

    def show_threshold(self) -> None:
        """Show the threshold, and how many candidates reach it."""
        session = self._session
        if self._name:
            value = session.limit(self._name)
        else:
            value = self._suggested if session.threshold is None else session.threshold
        self.threshold.set_value(value)
        self.histogram.set_threshold(value)
        self.only_here.setChecked(self._name in session.overrides)
        self.count.setText(self._count())
        self.counted.emit()

    def _count(self) -> str:
        if self.survey is None:
            if self._layer is None:
                return NO_PICKS
            return f"{self._layer.shown.sum()} of {len(self._layer.data)} candidates shown"
        if not self.survey.micrographs:
            return NO_PICKS
        here, every = self.survey.counts()
        total = f"{every:,} picks in {self.survey.micrographs:,} micrographs"
        if self._name not in self._session.pool:
            return f"{NO_PICKS[:-1]}; {total}"
        return f"{here} of {len(self.survey.scores(here=True))} candidates shown; {total}"

    def _set(self, value: float) -> None:
        if self._name in self._session.overrides:
            self._session.override(self._name, value)
        else:
            self._session.threshold = value

    def _choose_extent(self, only_here: bool) -> None:
        self._session.override(self._name, self._session.limit() if only_here else None)
