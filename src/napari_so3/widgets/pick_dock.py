"""The dock "Pick particles": it composes its parts and connects them to the session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.qt.threading import create_worker
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget
from scipy.special import logit

from napari_so3.io.micrographs import micrograph_name
from napari_so3.io.star import StarError
from napari_so3.session import session_of
from napari_so3.widgets.engine import Engine
from napari_so3.widgets.layers import (
    KEY,
    LayerError,
    apply_threshold,
    find_picks_layer,
    picks_layers,
    show_picks,
)
from napari_so3.widgets.micrograph_box import MicrographBox
from napari_so3.widgets.run_bar import RunBar
from napari_so3.widgets.settings import session_defaults
from napari_so3.widgets.settings_form import SettingsForm
from napari_so3.widgets.threshold_box import LOWEST, ThresholdBox
from napari_so3.widgets.writer import save_picks

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Points

    from napari_so3.picking.picks import Picks
    from napari_so3.widgets.engine import Setup

WIDTH = 330  # pixels; it does not change while one works, or the picture would jump
ERROR_STYLE = "background: #8f1d1d; color: white; padding: 4px; border-radius: 3px;"


class PickDock(QWidget):
    """Pick the particles of the selected micrograph, and choose among the candidates.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose micrographs.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = napari_viewer
        self.session = session_of(napari_viewer, **session_defaults())
        self.engine = Engine()
        self._suggested = 0.0  # threshold of the model, log-odds
        self._picking: Image | None = None
        self._looked_at: Image | None = None
        self.micrograph = MicrographBox(napari_viewer)
        self.form = SettingsForm(self.session)
        self.bar = RunBar()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.threshold = ThresholdBox()
        self.count = QLabel()
        self.save = QPushButton("Save picks…")
        self.save.setToolTip("Write the shown picks as a STAR file of RELION")
        self._lay_out()
        self._connect()
        self._look_up()
        self._show_state()

    def _lay_out(self) -> None:
        self.setMinimumWidth(WIDTH)
        layout = QVBoxLayout(self)
        for part in (
            self.micrograph,
            self.form,
            self.bar,
            self.status,
            self.threshold,
            self.count,
            self.save,
        ):
            layout.addWidget(part)
        layout.addStretch()
        self.status.hide()

    def _connect(self) -> None:
        self.micrograph.changed.connect(self._change_micrograph)
        self.micrograph.pixel_size.valueChanged.connect(self._clear_status)
        self.bar.clicked.connect(self.run)
        self.bar.picked.connect(self._show_picks)
        self.bar.noted.connect(self._say)
        self.bar.failed.connect(self._complain)
        self.threshold.changed.connect(self._set_threshold)
        self.save.clicked.connect(self._save)
        self.session.events.model.connect(self._look_up)
        self.session.events.threshold.connect(self._apply_threshold)

    def event(self, event: QEvent) -> bool:
        """Stop all that goes on when napari takes the widget out of its dock."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._shut_down()
        return super().event(event)

    def _shut_down(self) -> None:
        self.bar.cancel()
        self.micrograph.disconnect_viewer()
        self.form.disconnect_session()
        self.session.events.model.disconnect(self._look_up)
        self.session.events.threshold.disconnect(self._apply_threshold)

    def run(self) -> None:
        """Pick the micrograph in a thread, with the settings of the session."""
        try:
            micrograph = self.micrograph.micrograph()
        except LayerError as error:
            self._complain(str(error))
            return
        self._picking = self.micrograph.image
        session = self.session
        self.bar.start(
            self.engine.pick, micrograph, session.model, session.diameter, session.device
        )

    def _show_picks(self, picks: Picks) -> None:
        selection = self._viewer.layers.selection
        before, looked_at = selection.active, self.micrograph.image == self._picking
        layer = show_picks(self._viewer, self._picking, picks, self._threshold())
        selection.active = layer if looked_at else before  # napari selects what is new
        self._picking = None
        self._say("" if len(picks) else "Nothing on it looks like a particle to this model.")
        self._show_state()

    def _look_up(self) -> None:
        """Find out in a thread what the model suggests and which devices there are."""
        self._clear_status()
        create_worker(
            self.engine.look_up,
            self.session.model,
            self.session.device,
            _connect={"returned": self._show_setup},
        )

    def _show_setup(self, setup: Setup) -> None:
        if setup.model != self.session.model:
            return
        self.form.show_setup(setup)
        if setup.problem:
            self._complain(setup.problem)
        if setup.picker is not None:
            self._suggested = float(logit(setup.picker.threshold))
        self._apply_threshold()

    def _threshold(self) -> float:
        """Threshold that is in force, log-odds."""
        chosen = self.session.threshold
        return self._suggested if chosen is None else chosen

    def _set_threshold(self, value: float) -> None:
        self.session.threshold = value

    def _apply_threshold(self) -> None:
        for layer in picks_layers(self._viewer):
            apply_threshold(layer, self._threshold())
        self._show_state()

    def _change_micrograph(self) -> None:
        if self._picking is not None and self._picking not in self._viewer.layers:
            self._picking = None
            self.bar.cancel("Cancelled: the micrograph was removed.")
        elif self.micrograph.image != self._looked_at:
            self._clear_status()
        self._looked_at = self.micrograph.image
        self._show_state()

    def _layer(self) -> Points | None:
        """Layer of the picks of the micrograph."""
        image = self.micrograph.image
        return None if image is None else find_picks_layer(self._viewer, image)

    def _show_state(self) -> None:
        """Show the threshold, and how many candidates of the micrograph reach it."""
        layer = self._layer()
        for part in (self.threshold, self.save):
            part.setVisible(layer is not None)
        score = layer.features["score"] if layer is not None else ()
        if len(score):
            self.threshold.set_range(LOWEST, score.max())
        self.threshold.set_value(self._threshold())
        self.count.setText(
            f"{layer.shown.sum()} of {len(score)} candidates shown"
            if layer is not None
            else "No picks on this micrograph yet."
        )

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
            self._complain(f"The picks are not saved: {error}")
        else:
            self._say(f"Wrote {n} picks to {file}.")

    def _say(self, text: str) -> None:
        self.status.setStyleSheet("")
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def _clear_status(self) -> None:
        if not self.bar.running:
            self._say("")

    def _complain(self, text: str) -> None:
        self.status.setStyleSheet(ERROR_STYLE)
        self.status.setText(text)
        self.status.show()
