"""The tab "Label": kinds of labels, their keys and numbers, and what is done to many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.settings import get_plugin_settings
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_so3.session.marks import KINDS
from napari_so3.widgets.boxes import StatusLine, hint
from napari_so3.widgets.canvas_keys import CanvasKeys
from napari_so3.widgets.canvas_tool import CanvasTool
from napari_so3.widgets.mark_layers import COLOURS
from napari_so3.widgets.proposal_bar import ProposalBar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_so3.session.marks import Kind
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.labeller import Labeller, Tool
    from napari_so3.widgets.mark_layers import MarkLayers

DEFAULT_KEYS: dict[Tool, str] = {"positive": "x", "negative": "z", "ignored": "c"}
_TITLES = {"positive": "Positive", "negative": "Negative", "ignored": "Ignored", "erase": "Erase"}
_MEANINGS = {
    "positive": "A particle",
    "negative": "No particle, though it may look like one",
    "ignored": "Neither: nothing is learnt from this place",
    "erase": "Take labels away",
}
LASSO_HINT = (
    "Shift + drag: label the shown picks inside a line;\nwith Ctrl too: erase the labels inside"
)
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_CHOOSING = ("threshold", "suggested", "margin", "hidden_views", "in_plane", "diameter")
_THROTTLE_MS = 60


def label_keys() -> tuple[dict[Tool, str], str]:
    """Read the keys from napari's preferences.

    Returns
    -------
    keys : dict
        Kind of label to its key.
    problem : str
        A sentence if they cannot be used; then the keys are the usual ones.
    """
    page = get_plugin_settings("napari-so3").labelling
    keys: dict[Tool, str] = {
        "positive": page.key_positive.lower(),
        "negative": page.key_negative.lower(),
        "ignored": page.key_ignored.lower(),
    }
    single = all(len(key) == 1 and key.isascii() and key.isalnum() for key in keys.values())
    if single and len(set(keys.values())) == len(keys):
        return keys, ""
    return DEFAULT_KEYS, (
        "The keys of labels in the preferences must be three different letters or digits: x, z and "
        "c are used."
    )


class LabelPanel(QWidget):
    """Labels the micrograph that is shown.

    Parameters
    ----------
    desk : Desk
        Knows the micrograph.
    labeller : Labeller
        Puts the labels.
    layers : MarkLayers
        Shows them.
    keys : mapping
        Kind of label to its key.
    """

    def __init__(
        self, desk: Desk, labeller: Labeller, layers: MarkLayers, keys: Mapping[Tool, str]
    ) -> None:
        super().__init__()
        self._desk, self._labeller = desk, labeller
        self._numbers: dict[str, tuple[int, ...]] = {}  # of the labels of every micrograph
        self.tool = CanvasTool(desk, labeller, layers)
        self.clicks = QCheckBox("Label by clicks in the canvas")
        self.buttons: dict[Tool, QPushButton] = {}
        self.counts: dict[Kind, tuple[QLabel, QLabel]] = {}
        self.accept, self.reject = QPushButton(), QPushButton()
        self.complete = QCheckBox("Every particle here is labelled")
        self.undo, self.redo = QPushButton("Undo"), QPushButton("Redo")
        self.proposals = ProposalBar(desk, labeller, layers, keys)
        self.status = StatusLine()
        self._lay_out(keys)
        self._explain()
        self._keys = CanvasKeys(desk.viewer, self._key_actions(keys))
        self._later = QTimer(self, singleShot=True, interval=_THROTTLE_MS)
        self._connect()
        self._count_all()

    def _lay_out(self, keys: Mapping[Tool, str]) -> None:
        layout, row = QVBoxLayout(self), QHBoxLayout()
        row.addWidget(self.undo)
        row.addWidget(self.redo)
        layout.addWidget(self.clicks)
        layout.addLayout(self._make_table(keys))
        layout.addWidget(hint(LASSO_HINT))
        layout.addLayout(row)
        for part in (self.accept, self.reject, self.complete, self.proposals, self.status):
            layout.addWidget(part)
        layout.addStretch()

    def _make_table(self, keys: Mapping[Tool, str]) -> QGridLayout:
        table = QGridLayout()
        table.setColumnStretch(0, 1)
        for column, title in ((1, "here"), (2, "all")):
            table.addWidget(QLabel(title), 0, column, _RIGHT)
        group = QButtonGroup(self)
        for row, (tool, title) in enumerate(_TITLES.items(), start=1):
            button = QPushButton(f"{title}   {keys.get(tool, 'Del')}")
            button.setCheckable(True)
            button.setChecked(tool == self._labeller.tool)
            button.setIcon(_icon(COLOURS.get(tool, "transparent")))
            button.clicked.connect(lambda _on, tool=tool: self._labeller.set_tool(tool))
            group.addButton(button)
            table.addWidget(button, row, 0)
            self.buttons[tool] = button
            if tool in KINDS:
                self.counts[tool] = QLabel(), QLabel()
                for column, label in enumerate(self.counts[tool], start=1):
                    label.setMinimumWidth(label.fontMetrics().horizontalAdvance("00,000"))
                    label.setAlignment(_RIGHT)
                    table.addWidget(label, row, column)
        return table

    def _explain(self) -> None:
        self.clicks.setToolTip(
            "A click puts the kind that is chosen, or takes away a label of that kind. The mouse "
            "moves and zooms as usual. A tool of napari, such as drawing a polygon, comes first."
        )
        for tool, button in self.buttons.items():
            button.setToolTip(
                f"{_MEANINGS[tool]}. The key does it to what is under the mouse, or chooses it "
                "where the mouse is not over the canvas."
            )
        for button in (self.accept, self.reject):
            button.setToolTip("Those that have a label keep it. It is undone at once.")
        self.complete.setToolTip(
            "What has no label is background, not merely unlabelled: the training learns from it."
        )
        self.undo.setToolTip("Ctrl+Z; also on other micrographs, which are then shown")
        self.redo.setToolTip("Ctrl+Shift+Z or Ctrl+Y")

    def _key_actions(self, keys: Mapping[Tool, str]) -> dict[str, Any]:
        actions: dict[str, Any] = {
            key: lambda tool=tool: self._press_key(tool) for tool, key in keys.items()
        }
        actions |= dict.fromkeys(("Delete", "Backspace"), lambda: self._press_key("erase"))
        actions |= dict.fromkeys(("Ctrl+Shift+Z", "Ctrl+Y"), self._labeller.redo)
        return actions | {"Ctrl+Z": self._labeller.undo}

    def _connect(self) -> None:
        session, labeller = self._desk.session, self._labeller
        self.clicks.toggled.connect(self._switch)
        self.accept.clicked.connect(lambda: labeller.label_picks("positive"))
        self.reject.clicked.connect(lambda: labeller.label_picks("negative"))
        self.complete.clicked.connect(self._set_complete)
        self.undo.clicked.connect(labeller.undo)
        self.redo.clicked.connect(labeller.redo)
        labeller.changed.connect(lambda tool: self.buttons[tool].setChecked(True))
        labeller.said.connect(self.status.say)
        self._later.timeout.connect(self._show)
        self._desk.shown.connect(self._show)
        for name in _CHOOSING:
            session.events[name].connect(self._show_later)
        session.pool.changed.connect(self._show_later)
        session.signals.override.connect(self._show_later)
        session.signals.opened.connect(self._count_all)
        session.marks.changed.connect(self._count)

    def close_down(self) -> None:
        """Leave the canvas, the keys and the session alone."""
        session = self._desk.session
        self._later.stop()
        self._desk.shown.disconnect(self._show)
        for name in _CHOOSING:
            session.events[name].disconnect(self._show_later)
        session.pool.changed.disconnect(self._show_later)
        session.signals.override.disconnect(self._show_later)
        session.signals.opened.disconnect(self._count_all)
        session.marks.changed.disconnect(self._count)
        self.tool.switch(False)
        self.proposals.close_down()
        self._keys.close()

    def _switch(self, on: bool) -> None:
        active = self._desk.viewer.layers.selection.active
        if on and active is not None:
            active.mode = "pan_zoom"
        self.tool.switch(on)

    def _press_key(self, tool: Tool) -> None:
        if self.proposals.active:
            self.proposals.answer(tool)
        elif tool == "erase":
            self.tool.erase()
        elif self._desk.viewer.mouse_over_canvas:
            self.tool.label(tool)
        else:
            self._labeller.set_tool(tool)

    def _set_complete(self, complete: bool) -> None:
        self._desk.session.marks.set_complete(self._desk.name, complete)

    # ------------------------------------------------------------------ numbers

    def _count_all(self) -> None:
        marks = self._desk.session.marks
        self._numbers = {name: tuple(map(marks.of(name).count, KINDS)) for name in marks}
        self._show()

    def _count(self, name: str) -> None:
        self._numbers[name] = tuple(map(self._desk.session.marks.of(name).count, KINDS))
        self.status.say("")
        self._show()

    def _show_later(self, *_changed: Any) -> None:
        if not self._later.isActive():
            self._later.start()

    def _show(self, *_changed: Any) -> None:
        name, marks = self._desk.name, self._desk.session.marks
        here = self._numbers.get(name, (0,) * len(KINDS))
        for i, kind in enumerate(KINDS):
            for label, number in zip(
                self.counts[kind], (here[i], sum(n[i] for n in self._numbers.values())), strict=True
            ):
                label.setText(f"{number:,}")
        n = len(self._labeller.unlabelled_picks())
        self.accept.setText(f"Accept {n:,} shown picks as positive")
        self.reject.setText(f"Reject {n:,} shown picks as negative")
        for part, able in (
            (self.accept, n > 0),
            (self.reject, n > 0),
            (self.complete, bool(name)),
            (self.undo, marks.can_undo),
            (self.redo, marks.can_redo),
        ):
            part.setEnabled(able)
        self.complete.setChecked(marks.of(name).complete)


def _icon(colour: str) -> QIcon:
    picture = QPixmap(12, 12)
    picture.fill(QColor(colour))
    return QIcon(picture)
