"""Which model gives the poses, and of which picks: the upper part of the dock "Poses"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QWidget,
)

from napari_so3.widgets.job_bar import JobBar
from napari_so3.widgets.pose_models import MATCHER
from napari_so3.widgets.settings_form import OPEN

if TYPE_CHECKING:
    from napari_so3.session.state import Session
    from napari_so3.widgets.posing import Posing

HERE, ALL, SELECTED = "This micrograph", "All", "Selected"
PICKER = "the picker (a map)"
NONE = "none yet"
DRAWINGS = (("nothing", ""), ("arrows along z", "arrows"), ("projections", "projections"))
_SHORT = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon


class PoseForm(QWidget):
    """Shows and changes the pose model of a session, and what is drawn.

    Parameters
    ----------
    session : Session
        The settings.
    posing : Posing
        Knows the models.
    """

    drawing_changed = Signal()

    def __init__(self, session: Session, posing: Posing) -> None:
        super().__init__()
        self._session, self._posing = session, posing
        self.model, self.drawing = QComboBox(), QComboBox()
        self.refine = QCheckBox("Refine")
        self.refine.setToolTip(
            "Turn the map until it fits best: finer than the network's own rotations, and slower"
        )
        self.refine.setChecked(posing.refine)
        for words, key in DRAWINGS:
            self.drawing.addItem(words, key)
        self.drawing.setToolTip("What is drawn at every pick that has a pose")
        for box in (self.model, self.drawing):
            box.setSizeAdjustPolicy(_SHORT)
            box.setMinimumContentsLength(12)
        self.drawing.setCurrentIndex(1)
        row = QHBoxLayout()
        row.addWidget(self.model, 1)
        row.addWidget(self.refine)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Model", row)
        form.addRow("Draw", self.drawing)
        self.model.activated.connect(self._choose_model)
        self.refine.toggled.connect(posing.set_refine)
        self.drawing.currentIndexChanged.connect(self.drawing_changed)
        posing.model_changed.connect(self.show_models)
        self.show_models()

    def show_models(self) -> None:
        """List what can be chosen, and show what is."""
        posing, chosen = self._posing, self._session.pose_model
        known = [self.model.itemData(i) for i in range(self.model.count())]
        opened = [name for name in (*known, chosen) if name and name not in posing.offered]
        names = list(dict.fromkeys((*posing.offered, *(n for n in opened if n != MATCHER))))
        shown = posing.model.model if posing.model is not None else chosen
        if shown == MATCHER and MATCHER not in names:
            names.append(MATCHER)
        self.model.clear()
        if not names:
            self.model.addItem(NONE, "")
        for name in names:
            self.model.addItem(PICKER if name == MATCHER else Path(name).name, name)
        self.model.addItem(OPEN, None)
        self.model.setCurrentIndex(names.index(shown) if shown in names else 0)
        self.model.setToolTip("" if posing.model is None else self._describe())
        # a matcher has no finer rotations, and without a map there is nothing to refine against
        self.refine.setEnabled(
            posing.model is not None and posing.model.model != MATCHER and posing.model.has_map
        )

    def _describe(self) -> str:
        model = self._posing.model
        assert model is not None
        return (
            f"{model.name}: symmetry {model.symmetry}, images of {model.box} pixels of "
            f"{model.pixel_size:.3g} Å"
        )

    def _choose_model(self) -> None:
        name = self.model.currentData()
        if name is None:
            name, _ = QFileDialog.getOpenFileName(
                self, "Open a pose model", "", "Models (*.safetensors)"
            )
        if name:
            self._session.pose_model = name
        self.show_models()


class PoseBar(JobBar):
    """Estimates poses of the micrograph that is shown, of all, or of picks that are selected."""

    asked = Signal(str)  # HERE, ALL or SELECTED

    def __init__(self) -> None:
        super().__init__(HERE)
        self.button.setToolTip("Estimate the poses of all picks of the micrograph that is shown")
        self.all, self.selected = QPushButton(ALL), QPushButton(SELECTED)
        self.all.setToolTip("Estimate the poses of the picks of all micrographs that have none")
        self.selected.setToolTip(
            "Estimate the poses of the picks that are selected in the layer, or that is looked at"
        )
        row = QHBoxLayout()
        row.addWidget(self.button, 2)
        row.addWidget(self.all, 1)
        row.addWidget(self.selected, 1)
        self.layout().insertLayout(0, row)
        self.clicked.connect(lambda: self.asked.emit(HERE))
        self.all.clicked.connect(lambda: self.asked.emit(ALL))
        self.selected.clicked.connect(lambda: self.asked.emit(SELECTED))
        self._ready = (False, False, False)

    def set_ready(self, here: bool, everywhere: bool, selected: bool) -> None:
        """Say of which picks poses can be estimated."""
        self._ready = here, everywhere, selected
        self.show_ready()

    def show_ready(self) -> None:
        """Let one run at a time be started; the first button then cancels it."""
        here, everywhere, selected = self._ready
        self.button.setEnabled(here or self.running)
        self.all.setEnabled(everywhere and not self.running)
        self.selected.setEnabled(selected and not self.running)

    def _stop(self) -> None:
        super()._stop()
        self.show_ready()
