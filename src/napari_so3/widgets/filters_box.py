"""What is left out whatever its score: picks at the border, in excluded areas, of some views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QPushButton, QToolButton, QVBoxLayout, QWidget
from superqt.utils import qdebounced

from napari_so3.widgets.boxes import NumberBox
from napari_so3.widgets.views_box import ViewsBox

if TYPE_CHECKING:
    from napari_so3.session.state import Session
    from napari_so3.widgets.choice_box import ChoiceBox

COUNT_MS = 150  # the views are counted once nothing has changed for so long


class FiltersBox(QWidget):
    """Shows and sets what a session leaves out.

    Parameters
    ----------
    session : Session
        The session.
    choice : ChoiceBox
        Knows the picks.
    """

    area_asked = Signal()  # to draw one

    def __init__(self, session: Session, choice: ChoiceBox) -> None:
        super().__init__()
        self._session, self._choice = session, choice
        self.title = QToolButton()
        self.title.setText("Leave out")
        self.title.setCheckable(True)
        self.title.setArrowType(Qt.ArrowType.RightArrow)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.margin = NumberBox(0.0, 5000.0, 10.0, " Å", 1)
        self.margin.setSpecialValueText("as the model")
        self.margin.setToolTip("Picks closer to the border are left out.")
        self.views = ViewsBox()
        self.area = QPushButton("Draw excluded area")
        self.area.setToolTip("Nothing is picked in it, and nothing is learnt from it.")
        self._body = QWidget()
        self._lay_out()
        self._connect()
        self._show_margin(session.margin)

    def _lay_out(self) -> None:
        form = QFormLayout(self._body)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Margin", self.margin)
        form.addRow(self.area)
        form.addRow(self.views)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self._body)
        self._body.hide()

    def _connect(self) -> None:
        self._count_soon = qdebounced(self.count_views, timeout=COUNT_MS)
        self.margin.valueChanged.connect(self._set_margin)
        self.views.changed.connect(self._hide_views)
        self.area.clicked.connect(self.area_asked)
        self.title.toggled.connect(self._unfold)
        self._choice.counted.connect(self._ask)
        self._session.events.margin.connect(self._show_margin)

    def disconnect_session(self) -> None:
        """Stop following the session."""
        self._session.events.margin.disconnect(self._show_margin)
        self._count_soon.cancel()

    def _ask(self) -> None:
        if self.title.isChecked():
            self._count_soon()

    def _unfold(self, unfolded: bool) -> None:
        self.title.setArrowType(Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow)
        self._body.setVisible(unfolded)
        self.count_views()

    def count_views(self) -> None:
        """Count the picks of every view, if one can see them."""
        survey = self._choice.survey
        if survey is not None and self.title.isChecked():
            counts = survey.views(self._choice.here.isChecked())
            self.views.show_views(counts, self._session.hidden_views)

    def _show_margin(self, margin: float) -> None:
        blocked = self.margin.blockSignals(True)
        self.margin.setValue(margin)
        self.margin.blockSignals(blocked)

    def _set_margin(self, margin: float) -> None:
        self._session.margin = margin

    def _hide_views(self, hidden: tuple[int, ...]) -> None:
        self._session.hidden_views = hidden
