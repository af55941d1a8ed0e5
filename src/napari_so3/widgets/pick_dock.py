"""The dock "Pick particles": it composes its parts and connects them to the session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from scipy.special import logit

from napari_so3.io.micrographs import micrograph_name
from napari_so3.io.star import StarError
from napari_so3.picking.picks import Picks
from napari_so3.session.command_line import pick_command
from napari_so3.widgets.boxes import StatusLine
from napari_so3.widgets.choice_box import ChoiceBox
from napari_so3.widgets.desk import desk_of
from napari_so3.widgets.engine import Engine, run_name
from napari_so3.widgets.filters_box import FiltersBox
from napari_so3.widgets.layers import (
    KEY,
    LayerError,
    apply_threshold,
    find_layer,
    find_picks_layer,
    in_session,
    picks_layers,
    show_picks,
)
from napari_so3.widgets.micrograph_box import MicrographBox
from napari_so3.widgets.run_bar import RunBar
from napari_so3.widgets.session_picking import SessionPicking
from napari_so3.widgets.settings_form import SettingsForm
from napari_so3.widgets.tabs import Dock
from napari_so3.widgets.workers import start_worker
from napari_so3.widgets.writer import save_picks

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Points

    from napari_so3.widgets.engine import Setup

WIDTH = 350  # pixels; it does not change while one works, or the picture would jump
LABELLING = "Label and train"  # the dock that keeps the layer of excluded areas


class PickDock(Dock):
    """Pick the particles of micrographs, and choose among the candidates.

    It works on the micrograph of the session that the desk shows, or on an image layer that was
    opened without a session, whichever is selected.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose micrographs.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__("Pick", WIDTH, parent)
        self._viewer = napari_viewer
        self.desk = desk_of(napari_viewer)
        self.session = self.desk.session
        self.engine = Engine()
        self._suggested = 0.0  # threshold of the model, log-odds, for images without a session
        self._picking: Image | None = None
        self._looked_at: object = None
        self.micrograph = MicrographBox(napari_viewer, self.desk)
        self.form = SettingsForm(self.session)
        self.bar = RunBar()
        self.picking = SessionPicking(self.desk, self.engine, self.bar)
        self.ahead = QCheckBox("Pick ahead")
        self.ahead.setToolTip("Pick the next micrograph while you look at this one.")
        self._ahead_note = QLabel()
        self.status = StatusLine()
        self.choice = ChoiceBox(self.session)
        self.threshold, self.count = self.choice.threshold, self.choice.count
        self.filters = FiltersBox(self.session, self.choice)
        self.save = QPushButton("Save picks…")
        self.save.setToolTip("Write the shown picks as a STAR file of RELION")
        self.copy = QPushButton("Copy as command line")
        self.copy.setToolTip("Copy the command that picks all micrographs of the session")
        self._lay_out()
        self._fill_menu()
        self._connect()
        self._look_up()
        self._show_state()

    def _lay_out(self) -> None:
        ahead, below = QHBoxLayout(), QHBoxLayout()
        ahead.addWidget(self.ahead)
        ahead.addWidget(self._ahead_note, 1)
        below.addWidget(self.save)
        below.addWidget(self.copy)
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.micrograph)
        layout.addWidget(self.form)
        layout.addWidget(self.bar)
        layout.addLayout(ahead)
        for part in (self.status, self.choice, self.filters):
            layout.addWidget(part)
        layout.addStretch()
        area = QScrollArea()
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidgetResizable(True)
        area.setWidget(body)
        outer = QVBoxLayout(self)
        outer.addWidget(area)
        outer.addLayout(below)

    def _fill_menu(self) -> None:
        menu = self.bar.menu
        menu.addAction("This micrograph").triggered.connect(self.run)
        self._unpicked = menu.addAction("")
        self._unpicked.triggered.connect(self._pick_unpicked)
        self._again = menu.addAction("")
        self._again.triggered.connect(self._pick_all_again)
        menu.aboutToShow.connect(self._count_menu)

    def _connect(self) -> None:
        session = self.session
        self.micrograph.changed.connect(self._change_micrograph)
        self.micrograph.pixel_size.valueChanged.connect(self._clear_status)
        self.bar.clicked.connect(self.run)
        self.bar.told.connect(self._take)
        for teller in (self.bar, self.picking, self.desk):
            signal = teller.problem if teller is self.desk else teller.failed
            signal.connect(self.status.complain)
        self.bar.noted.connect(self.status.say)
        self.picking.said.connect(self.status.say)
        self.picking.looked_ahead.connect(self._show_ahead)
        self.ahead.toggled.connect(self.picking.set_ahead)
        self.choice.counted.connect(self._show_buttons)
        self.filters.area_asked.connect(self._draw_area)
        self.save.clicked.connect(self._save)
        self.copy.clicked.connect(self._copy)
        for event in (session.events.model, session.events.rotations):
            event.connect(self._look_up)
        session.events.threshold.connect(self._apply_threshold)
        session.signals.micrographs.connect(self._show_state)
        session.signals.opened.connect(self._change_session)

    def shut_down(self) -> None:
        """Stop all that goes on when napari takes the widget out of its dock."""
        session = self.session
        self.picking.shut_down()
        for part in (self.choice, self.filters, self.form):
            part.disconnect_session()
        self.micrograph.disconnect_viewer()
        self.desk.problem.disconnect(self.status.complain)
        for event in (session.events.model, session.events.rotations):
            event.disconnect(self._look_up)
        session.events.threshold.disconnect(self._apply_threshold)
        session.signals.micrographs.disconnect(self._show_state)
        session.signals.opened.disconnect(self._change_session)

    @property
    def _on_session(self) -> bool:
        """Whether the dock is about a micrograph of the session."""
        image = self.micrograph.image
        return bool(self.session.names) and (image is None or in_session(image))

    # ------------------------------------------------------------------ picking

    def run(self) -> None:
        """Pick the micrograph in a thread, with the settings of the session."""
        if self._on_session:
            self._pick_this()
            return
        try:
            micrograph = self.micrograph.micrograph()
        except LayerError as error:
            self.status.complain(str(error))
            return
        self._picking = self.micrograph.image
        session = self.session
        self.bar.start(
            self.engine.pick,
            micrograph,
            session.model,
            session.diameter,
            session.device,
            session.rotations,
        )

    def _pick_this(self) -> None:
        self.picking.run("these", [self.session.current or self.session.names[0]])

    def _pick_unpicked(self) -> None:
        self.picking.run("unpicked", self.session.names)

    def _pick_all_again(self) -> None:
        self.picking.run("again", self.session.names)

    def _count_menu(self) -> None:
        self._unpicked.setText(
            f"All that are not picked yet ({len(self.picking.unpicked):,} with this model)"
        )
        self._again.setText(f"All ({len(self.session.names):,}), again")

    def _take(self, event: Any) -> None:
        if isinstance(event, Picks):
            self._show_picks(event)

    def _show_picks(self, picks: Picks) -> None:
        selection = self._viewer.layers.selection
        before, looked_at = selection.active, self.micrograph.image == self._picking
        shown = picks.table["logit"].to_numpy() >= self._threshold()
        layer = show_picks(self._viewer, self._picking, picks, shown)
        selection.active = layer if looked_at else before  # napari selects what is new
        self._picking = None
        self.status.say("" if len(picks) else "Nothing on it looks like a particle to this model.")
        self._show_state()

    def _show_ahead(self, name: str) -> None:
        self._ahead_note.setText(f"picking ahead: {name}" if name else "")

    # ------------------------------------------------------------------ what there is

    def _look_up(self) -> None:
        """Find out in a thread what the model suggests and what there is to choose from."""
        self._clear_status()
        session = self.session
        start_worker(
            self.engine.look_up,
            session.model,
            session.device,
            session.folder,
            session.rotations,
            returned=self._show_setup,
        )

    def _show_setup(self, setup: Setup) -> None:
        if (setup.model, setup.rotations) != (self.session.model, self.session.rotations):
            return
        self.form.show_setup(setup)
        if setup.problem:
            self.status.complain(setup.problem)
        if setup.picker is not None:
            self._suggested = float(logit(setup.picker.threshold))
            if not self.session.run:
                self.session.suggested = self._suggested
        self._apply_threshold()

    def _threshold(self) -> float:
        """Threshold of images without a session, log-odds."""
        chosen = self.session.threshold
        return self._suggested if chosen is None else chosen

    def _apply_threshold(self) -> None:
        for layer in picks_layers(self._viewer):
            if not in_session(layer):
                apply_threshold(layer, self._threshold())
        if not self._on_session:
            self._show_state()

    def _change_micrograph(self) -> None:
        looked_at = self.session.current if self._on_session else self.micrograph.image
        if self._picking is not None and self._picking not in self._viewer.layers:
            self._picking = None
            self.bar.cancel("Cancelled: the micrograph was removed.")
        elif looked_at != self._looked_at:
            self._clear_status()
        self._looked_at = looked_at
        self._show_state()

    def _change_session(self) -> None:
        self.picking.cancel("Cancelled: another session was opened.")
        self._look_up()
        self._show_state()

    def _layer(self) -> Points | None:
        """Layer of the picks of the micrograph."""
        image = self.micrograph.image
        return None if image is None else find_picks_layer(self._viewer, image)

    def _show_state(self) -> None:
        """Show what belongs to the micrograph."""
        on_session = self._on_session
        self.bar.set_many(on_session)
        for part in (self.ahead, self._ahead_note, self.filters, self.copy):
            part.setVisible(on_session)
        if on_session:
            self.choice.show_micrograph(self.session.current or self.session.names[0])
        else:
            self.choice.show_layer(self._layer(), self._suggested)

    def _show_buttons(self) -> None:
        layer = self._layer()
        self.save.setVisible(layer is not None and len(layer.data) > 0)

    # ------------------------------------------------------------------ hand on

    def _draw_area(self) -> None:
        """Let a click begin a polygon in the layer of excluded areas."""
        layer = find_layer(self._viewer, "excluded areas")
        if layer is None:
            self._viewer.window.add_plugin_dock_widget("napari-so3", LABELLING)
            layer = find_layer(self._viewer, "excluded areas")
        self._viewer.layers.selection.active = layer
        layer.mode = "add_polygon"
        self.status.say("Click the corners of the area in the picture; Esc ends it.")

    def _copy(self) -> None:
        picker = self.form.picker
        run = "" if picker is None else run_name(picker, self.session)
        QApplication.clipboard().setText(pick_command(self.session, run=run))
        self.status.say("Copied the command that picks all micrographs of the session.")

    def _save(self) -> None:
        layer = self._layer()
        assert layer is not None
        name = f"{micrograph_name(layer.metadata[KEY]['micrograph'])}_autopick.star"
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the shown picks", str(Path.cwd() / name), "RELION STAR (*.star)"
        )
        if not path:
            return
        file = Path(path) if Path(path).suffix else Path(path).with_suffix(".star")
        try:
            n = save_picks(layer, file)
        except (OSError, StarError) as error:
            self.status.complain(f"The picks are not saved: {error}")
        else:
            self.status.say(f"Wrote {n} picks to {file}.")

    def _clear_status(self) -> None:
        if not self.bar.running:
            self.status.say("")
