"""Model, diameter and device of a pick, with what they imply in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QWidget

from napari_so3.widgets.boxes import NumberBox, hint

if TYPE_CHECKING:
    from napari_so3.picking.picker import Picker
    from napari_so3.session.state import Session
    from napari_so3.widgets.engine import Setup

OPEN = "Open file…"


class SettingsForm(QWidget):
    """Shows and changes the settings of a session.

    Parameters
    ----------
    session : Session
        The settings.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._setup: Setup | None = None
        self.diameter = NumberBox(10.0, 5000.0, 5.0, " Å", 1)
        self.diameter.setToolTip("Longest diameter of the particle.")
        self.model = QComboBox()
        self.device = QComboBox()
        self.device.addItem("looking for devices…", session.device)
        self.device.setEnabled(False)
        for box in (self.model, self.device):
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
        self._scale, self.rotations = hint("\n\n"), hint("")
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Diameter", self.diameter)
        form.addRow(self._scale)
        form.addRow("Model", self.model)
        form.addRow(self.rotations)
        form.addRow("Device", self.device)
        self.diameter.valueChanged.connect(self._set_diameter)
        self.model.activated.connect(self._choose_model)
        self.device.activated.connect(self._choose_device)
        for event in (session.events.model, session.events.diameter):
            event.connect(self._show)
        self._show()

    def disconnect_session(self) -> None:
        """Stop showing the session."""
        for event in (self._session.events.model, self._session.events.diameter):
            event.disconnect(self._show)

    @property
    def picker(self) -> Picker | None:
        """The model that is chosen, once it is loaded."""
        setup, session = self._setup, self._session
        if setup is None or (setup.model, setup.rotations) != (session.model, session.rotations):
            return None
        return setup.picker

    def show_setup(self, setup: Setup) -> None:
        """Show what there is to choose from."""
        self._setup = setup
        self.device.clear()
        for name, words in setup.devices:
            self.device.addItem(words, name)
        self.device.setCurrentIndex(self.device.findData(setup.device))
        self.device.setEnabled(len(setup.devices) > 1)
        self._show()

    def _show(self) -> None:
        blocked = self.diameter.blockSignals(True)
        self.diameter.setValue(self._session.diameter)
        self.diameter.blockSignals(blocked)
        self._list_models()
        self._explain()

    def _list_models(self) -> None:
        names = list(self._setup.models) if self._setup else []
        known = [self.model.itemData(i) for i in range(self.model.count())]
        for name in (*known, self._session.model):
            if name and name not in names:
                names.append(name)
        self.model.clear()
        for name in names:
            self.model.addItem(Path(name).name, name)
        self.model.addItem(OPEN, None)
        self.model.setCurrentIndex(names.index(self._session.model))
        self.model.setToolTip(self._session.model)

    def _explain(self) -> None:
        if self._setup is None or self._setup.picker is None:
            return
        picker, own = self._setup.picker, self._setup.own
        from napari_so3.picking.pick import PickSettings  # needs torch, which is there by now

        settings, rotations = PickSettings(self._session.diameter), picker.net.config.grid
        self._scale.setText(
            f"{picker.pixels_per_diameter:g} pixels wide to the network, "
            f"{picker.working_pixel_size(settings.diameter):.3g} Å each.\n"
            f"Picks are at least {settings.distance_angstrom:.4g} Å apart and\n"
            f"{settings.margin_angstrom:.4g} Å from the border."
        )
        self.rotations.setText(
            f"{len(rotations)} rotations: {rotations.n_directions} views × "
            f"{rotations.n_psi} in plane"
            + ("." if len(rotations) == own else f"\n(the model's own: {own}).")
        )

    def _set_diameter(self, diameter: float) -> None:
        self._session.diameter = diameter

    def _choose_device(self) -> None:
        self._session.device = self.device.currentData()

    def _choose_model(self) -> None:
        name = self.model.currentData()
        if name is None:
            name, _ = QFileDialog.getOpenFileName(
                self, "Open a model", "", "Models (*.safetensors)"
            )
        if name and name != self._session.model:
            self._session.threshold = self._session.rotations = None
            self._session.model = name
        self._show()
