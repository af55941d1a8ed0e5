"""Small widgets that several parts of a dock are made of."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDoubleSpinBox, QLabel


class NumberBox(QDoubleSpinBox):
    """A spin box without trailing zeros, which tells of a number when it is complete.

    Parameters
    ----------
    minimum, maximum : float
        Range.
    step : float
        Step of the arrows.
    suffix : str
        Unit.
    decimals : int
        Digits after the point that are kept.
    """

    def __init__(
        self, minimum: float, maximum: float, step: float, suffix: str = "", decimals: int = 4
    ) -> None:
        super().__init__()
        self.setDecimals(decimals)
        self.setRange(minimum, maximum)
        self.setSingleStep(step)
        self.setSuffix(suffix)
        self.setKeyboardTracking(False)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)

    def textFromValue(self, value: float) -> str:
        """Write a number, such as 150 or 7.894."""
        return self.locale().toString(value, "g", 6)


def hint(text: str) -> QLabel:
    """Make a label that explains; its lines are short, since those that Qt wraps may be cut."""
    label = QLabel(text)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    font = label.font()
    font.setItalic(True)
    label.setFont(font)
    return label


class StatusLine(QLabel):
    """What goes on, or went wrong, in a sentence; hidden where there is nothing to say."""

    ERROR = "background: #8f1d1d; color: white; padding: 4px; border-radius: 3px;"

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

    def say(self, text: str) -> None:
        """Show a sentence; nothing hides the line."""
        self._show(text, "")

    def complain(self, text: str) -> None:
        """Show what went wrong."""
        self._show(text, self.ERROR)

    def _show(self, text: str, style: str) -> None:
        self.setStyleSheet(style)
        self.setText(text)
        self.setVisible(bool(text))
