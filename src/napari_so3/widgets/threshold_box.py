"""The live threshold: a slider on log-odds that says the probability too."""

from __future__ import annotations

import math
import re

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QVBoxLayout, QWidget
from scipy.special import expit, logit
from superqt import QDoubleSlider

from napari_so3.widgets.boxes import NumberBox

LOWEST, HIGHEST = -6.0, 6.0  # log-odds without picks; candidates below the lowest are not kept
_STEP = 0.1


class ThresholdBox(QWidget):
    """Slider, probability and log-odds of one threshold.

    AL1 probabilities crowd at 0 and 1, so that the slider is linear in log-odds.
    """

    changed = Signal(float)  # log-odds, by the user

    def __init__(self) -> None:
        super().__init__()
        self._value = 0.0
        self.slider = QDoubleSlider(Qt.Orientation.Horizontal)
        self.slider.setSingleStep(_STEP)
        self.slider.setToolTip("Smallest score of a pick, linear in log-odds.")
        self.probability = QLineEdit()
        self.probability.setToolTip("Smallest AL1 probability of a pick, as 0.95 or 1 - 1e-9.")
        self.log_odds = NumberBox(-1000.0, 1000.0, _STEP, decimals=2)
        self.log_odds.setToolTip("The same as log-odds: log(P / (1 - P)).")
        row = QHBoxLayout()
        row.addWidget(QLabel("P ≥"))
        row.addWidget(self.probability, 1)
        row.addWidget(QLabel("log-odds"))
        row.addWidget(self.log_odds, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Smallest score of a pick"))
        layout.addWidget(self.slider)
        layout.addLayout(row)
        self.slider.valueChanged.connect(self._change)
        self.log_odds.valueChanged.connect(self._change)
        self.probability.editingFinished.connect(self._read_probability)
        self.set_range(LOWEST, HIGHEST)

    @property
    def value(self) -> float:
        """Threshold, log-odds."""
        return self._value

    def set_range(self, lowest: float, highest: float) -> None:
        """Set the log-odds at the ends of the slider."""
        blocked = self.slider.blockSignals(True)
        self.slider.setRange(min(lowest, LOWEST), max(highest, HIGHEST))
        self.slider.blockSignals(blocked)
        self.set_value(self._value)

    def set_value(self, value: float) -> None:
        """Show a threshold, log-odds."""
        self._value = value
        for box in (self.slider, self.log_odds):
            blocked = box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(blocked)
        self.probability.setText(probability_text(value))

    def _change(self, value: float) -> None:
        self.set_value(value)
        self.changed.emit(value)

    def _read_probability(self) -> None:
        text = self.probability.text()
        if text == probability_text(self._value):
            return
        value = parse_probability(text)
        if value is None:
            self.set_value(self._value)
        else:
            self._change(value)


def probability_text(log_odds: float) -> str:
    """Write the probability of log-odds so that it differs from 0 and 1.

    Parameters
    ----------
    log_odds : float
        Any.

    Returns
    -------
    str
        Such as ``0.953`` or ``1 - 2.1e-09``.
    """
    rest = float(expit(-log_odds))
    if rest < 1e-4:
        return f"1 - {rest:.1e}"
    digits = max(3, math.ceil(-math.log10(rest)) + 1)
    probability = float(expit(log_odds))
    return f"{probability:.{digits}f}" if probability >= 0.01 else f"{probability:.1e}"


def parse_probability(text: str) -> float | None:
    """Read what `probability_text` writes.

    Parameters
    ----------
    text : str
        A probability.

    Returns
    -------
    float or None
        Log-odds; None where it is no probability between 0 and 1.
    """
    match = re.fullmatch(r"\s*(1\s*[-−]\s*)?([0-9.eE+-]+)\s*", text)
    try:
        number = float(match[2]) if match else math.nan
    except ValueError:
        return None
    if not 0.0 < number < 1.0:
        return None
    value = float(logit(number))
    return -value if match and match[1] else value
