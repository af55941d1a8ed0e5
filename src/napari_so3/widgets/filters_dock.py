"""The dock "3D filters": what a network has learned to look for, turned with its projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QFrame, QGridLayout, QScrollArea, QVBoxLayout, QWidget

from napari_so3.widgets.boxes import StatusLine, hint
from napari_so3.widgets.desk import desk_of
from napari_so3.widgets.engine import Note, Problem
from napari_so3.widgets.filter_actions import FilterActions, describe_likeness
from napari_so3.widgets.filter_choice import FilterChoice
from napari_so3.widgets.filter_plot import FilterPlot
from napari_so3.widgets.filters_engine import FiltersJob, Loaded, Silent, read_filters
from napari_so3.widgets.runner import Runner
from napari_so3.widgets.tabs import Dock

if TYPE_CHECKING:
    import napari
    from qtpy.QtGui import QPaintEvent

    from napari_so3.insight.filters import FilterBank
    from napari_so3.widgets.filter_view import FilterView
    from napari_so3.widgets.filters_engine import Compared

WIDTH = 365  # pixels; two pictures beside each other need it
WAKE_MS = 200  # after which docks that open together are behind each other
NORMS, SPECTRUM, FSC = "Strengths", "Spectrum", "FSC with the map"
TEMPLATE = "A template. If it was learned, it is a filter, not a\nmap, and its hand is unknown."
FILTERS = "These are filters, not maps: their hand is unknown."
FOLLOWED = ("model", "rotations", "diameter")


class FiltersDock(Dock):
    """Shows every learned 3D filter of the model of the session.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose session.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__("Filters", WIDTH, parent)
        self.desk = desk_of(napari_viewer)
        self.session = self.desk.session
        self.bank: FilterBank | None = None
        self.view: FilterView | None = None  # made with its canvas when somebody looks
        self._job: FiltersJob | None = None
        self._looked_at: str | None = None  # micrograph that tells which channels are silent
        self._silent: Silent | None = None
        self._compared: Compared | None = None
        self.loading = Runner()
        self._waking = QTimer(self, singleShot=True, interval=WAKE_MS)
        self.note = hint("")
        self.choice = FilterChoice()
        self.plots, self.plot = QComboBox(), FilterPlot()
        self.tools = FilterActions()
        self.status = StatusLine()
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        body = QWidget()
        self._body, self._lower = QVBoxLayout(body), QGridLayout()
        self._body.setContentsMargins(0, 0, 0, 0)
        self._lower.addWidget(self.plots, 0, 1)
        self._lower.addWidget(self.plot, 1, 1)
        self._lower.setColumnStretch(1, 1)
        self._lower.setHorizontalSpacing(2)
        self._body.addWidget(self.choice)
        self._body.addLayout(self._lower)
        for part in (self.note, self.tools, self.status):
            self._body.addWidget(part)
        self._body.addStretch()
        area = QScrollArea()
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidgetResizable(True)
        area.setWidget(body)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(6, 6, 6, 6)
        outer.addWidget(area)

    def _connect(self) -> None:
        self._waking.timeout.connect(self._wake)
        self.choice.chosen.connect(self._show_filter)
        self.plots.currentTextChanged.connect(self._draw_plot)
        self.plot.chosen.connect(self._choose_bar)
        self.loading.told.connect(self._take)
        self.loading.crashed.connect(self.status.complain)
        self.tools.said.connect(self.status.say)
        self.tools.failed.connect(self.status.complain)
        self.tools.compared.connect(self._show_likeness)
        self.desk.shown.connect(self._reload)
        for name in FOLLOWED:
            self.session.events[name].connect(self._reload)

    def sizeHint(self) -> QSize:
        """Leave the room to the picture."""
        return QSize(WIDTH, super().sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Begin when somebody looks, which is later than when a dock behind others is shown."""
        super().paintEvent(event)
        if not self._waking.isActive():
            self._waking.start()

    def shut_down(self) -> None:
        """Stop all that goes on when napari takes the widget out of its dock."""
        self._waking.stop()
        self.loading.cancel()
        self.tools.cancel()
        self.desk.shown.disconnect(self._reload)
        for name in FOLLOWED:
            self.session.events[name].disconnect(self._reload)
        if self.view is not None:
            self.view.close_down()
            self.view.setParent(None)
            self.view = None

    # ------------------------------------------------------------------ the model

    @property
    def _seen(self) -> bool:
        return not self.visibleRegion().isEmpty()

    def _wake(self) -> None:
        if not self._seen:
            return
        if self.view is None:
            from napari_so3.widgets.filter_view import FilterView

            self.view = FilterView()
            self._body.insertWidget(1, self.view)
            self._lower.addWidget(self.view.globe, 0, 0, 2, 1)
        self._reload()

    def _reload(self) -> None:
        """Read the filters of another model, or look for silent ones on a first micrograph."""
        session, micrograph = self.session, self.desk.micrograph
        job = FiltersJob(session.model, session.rotations, session.diameter)
        if self.view is None or not self._seen:
            return
        usable = bool(self.desk.name) and micrograph is not None and bool(micrograph.pixel_size)
        if job == self._job and (self._looked_at is not None or not usable):
            return
        if self._job is None or job.model != self._job.model:
            self._forget_map()
        self._job, self._looked_at = job, self.desk.name if usable else None
        self.loading.start(read_filters, job, micrograph if usable else None)

    def _take(self, event: Any) -> None:
        if isinstance(event, Note):
            self.status.say(event.text)
        elif isinstance(event, Problem):
            self.status.complain(event.sentence)
        elif isinstance(event, Loaded):
            self.status.say("")
            self.bank, self._silent = event.bank, None
            self._list_plots()
            self.choice.show_bank(event.bank)
        elif isinstance(event, Silent):
            self.status.say("")
            self._silent = event
            self.choice.show_silent(event)
            self._describe()

    def _list_plots(self) -> None:
        """Offer the strengths where there are filters to be compared."""
        assert self.bank is not None
        blocked = self.plots.blockSignals(True)
        self.plots.clear()
        single = self.bank.layers[0].basis == "map"
        self.plots.addItems((SPECTRUM,) if single else (NORMS, SPECTRUM))
        if self._compared is not None:
            self.plots.addItem(FSC)
        self.plots.blockSignals(blocked)

    # ------------------------------------------------------------------ the filter

    def _show_filter(self, *where: int) -> None:
        self.view.show_filter(self.bank, where)
        self.tools.show_filter(self.bank, where, self._job)
        self._describe()
        self._draw_plot()

    def _choose_bar(self, number: int) -> None:
        layer = self.choice.now[0]
        self.choice.choose(layer, *divmod(number, self.bank.layers[layer].shape[1]))

    def _describe(self) -> None:
        """Say what these are, and how many of them are of no use."""
        layer = self.choice.now[0]
        these = self.bank.layers[layer]
        if these.basis == "map":
            self.note.setText(TEMPLATE)
            return
        n, dead = these.norms.size, int(these.dead.sum())
        weak = f"{dead} dead (under 1 % of the median)" if dead else "none dead"
        lines = [f"{these.name.capitalize()}: {n} filter{'s' if n > 1 else ''}, {weak}."]
        if self._silent is not None and self._silent.channels[layer].any():
            silent = int(self._silent.channels[layer].sum())
            lines.append(f"{silent} of {these.shape[0]} channels silent on this micrograph.")
        self.note.setText("\n".join([*lines, FILTERS]))

    def _draw_plot(self) -> None:
        if self.bank is None:
            return
        where, what = self.choice.now, self.plots.currentText()
        these = self.bank.layers[where[0]]
        if what == NORMS:
            number = where[1] * these.shape[1] + where[2]
            self.plot.show_norms(these.norms.ravel(), these.dead.ravel(), number)
        elif what == SPECTRUM:
            pixel_size = self.bank.pixel_size(where[0], self._job.diameter)
            self.plot.show_spectrum(self.bank.power_spectrum(*where), pixel_size)
        elif self._compared is not None:
            self.plot.show_fsc(self._compared.likeness.fsc)

    def _show_likeness(self, compared: Compared) -> None:
        self._compared = compared
        self.status.say(describe_likeness(compared))
        if self.plots.findText(FSC) < 0:
            self.plots.addItem(FSC)
        self.plots.setCurrentText(FSC)
        self._draw_plot()

    def _forget_map(self) -> None:
        self._compared = None
        if self.plots.findText(FSC) >= 0:
            self.plots.removeItem(self.plots.findText(FSC))
