"""How micrographs are shown: low-pass, binning and contrast; files and picking do without."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget
from superqt.utils import qdebounced

from napari_so3.picking.display import BINS, DisplaySettings
from napari_so3.widgets.boxes import NumberBox

QUIET_MS = 200


class DisplayBox(QWidget):
    """Changes `DisplaySettings`.

    Parameters
    ----------
    settings : DisplaySettings
        To begin with.
    """

    changed = Signal(object)  # DisplaySettings, by the user

    def __init__(self, settings: DisplaySettings) -> None:
        super().__init__()
        self.lowpass = NumberBox(0.0, 500.0, 5.0, " Å", 1)
        self.lowpass.setSpecialValueText("off")
        self.lowpass.setValue(settings.lowpass)
        self.lowpass.setToolTip("Low-pass: nothing finer than this is shown.")
        self.bin = QComboBox()
        for factor in BINS:
            self.bin.addItem(f"bin {factor}", factor)
        self.bin.setCurrentIndex(BINS.index(settings.bin))
        self.bin.setToolTip("Pixels of the micrograph per pixel that is shown.")
        self.contrast = NumberBox(0.5, 50.0, 0.5, " σ", 2)
        self.contrast.setValue(settings.contrast)
        self.contrast.setToolTip(
            "Contrast: standard deviations from grey to black, and from grey to white."
        )
        self.setToolTip("Only what you see is changed, neither the files nor what is picked.")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.addWidget(QLabel("Low-pass"), 0, 0)
        grid.addWidget(self.lowpass, 0, 1)
        grid.addWidget(self.bin, 0, 2)
        grid.addWidget(QLabel("Contrast ±"), 1, 0)
        grid.addWidget(self.contrast, 1, 1)
        self._tell = qdebounced(self._tell_now, timeout=QUIET_MS)
        self.lowpass.valueChanged.connect(self._tell)
        self.bin.activated.connect(self._tell)
        self.contrast.valueChanged.connect(self._tell)

    def stop(self) -> None:
        """Tell nothing any more."""
        self._tell.cancel()

    def _tell_now(self) -> None:
        self.changed.emit(
            DisplaySettings(self.lowpass.value(), self.bin.currentData(), self.contrast.value())
        )
