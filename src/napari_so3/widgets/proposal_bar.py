"""Proposals one after another: each is shown, a key answers it and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_so3.session.proposals import Question, propose
from napari_so3.widgets.canvas_keys import CanvasKeys
from napari_so3.widgets.workers import start_worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_so3.session.proposals import Proposal
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.labeller import Labeller, Tool
    from napari_so3.widgets.mark_layers import MarkLayers

HOW_MANY = 20
NEXT, PREVIOUS, END = ".", ",", "Escape"


class ProposalBar(QWidget):
    """The button "Propose", and how far one is.

    Parameters
    ----------
    desk : Desk
        Knows the session.
    labeller : Labeller
        Puts the labels.
    layers : MarkLayers
        Goes to a place.
    keys : mapping
        Kind of label to its key.
    """

    found = Signal(object)  # list of Proposal
    moved = Signal(int)  # to a proposal

    def __init__(
        self, desk: Desk, labeller: Labeller, layers: MarkLayers, keys: Mapping[Tool, str]
    ) -> None:
        super().__init__()
        self._desk, self._labeller, self._layers = desk, labeller, layers
        self._proposals: list[Proposal] = []
        self._at = 0
        self._keys: CanvasKeys | None = None
        self._closed = False
        self.button = QPushButton(f"Propose {HOW_MANY}")
        self.button.setToolTip(
            "Look for the candidates whose labels would teach most: uncertain ones, of rare views"
        )
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.back, self.skip, self.end = QPushButton("‹"), QPushButton("Skip"), QPushButton("End")
        answers = [f"{key} {tool}" for tool, key in keys.items()]
        parts = [*answers, f"“{NEXT}” skip", f"“{PREVIOUS}” back", "Esc end"]
        self._help = " · ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
        for button, key in ((self.back, PREVIOUS), (self.skip, NEXT), (self.end, "Esc")):
            button.setToolTip(f"Key: {key}")
        self._lay_out()
        self.button.clicked.connect(self.ask)
        self.back.clicked.connect(lambda: self.step(-1))
        self.skip.clicked.connect(lambda: self.step(1))
        self.end.clicked.connect(self.stop)
        self._show()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        for button in (self.back, self.skip, self.end):
            row.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.text)
        layout.addLayout(row)

    @property
    def active(self) -> bool:
        """Whether a proposal is waiting for its answer."""
        return bool(self._proposals)

    def close_down(self) -> None:
        """Give the keys back."""
        self._closed = True
        self.stop()

    def ask(self) -> None:
        """Look for proposals in a thread."""
        self.button.setEnabled(False)
        start_worker(
            propose,
            Question.of(self._desk.session),
            HOW_MANY,
            returned=self._begin,
            finished=lambda: self.button.setEnabled(True),
        )

    def _begin(self, proposals: list[Proposal]) -> None:
        if self._closed:
            return
        self.stop()
        self.found.emit(proposals)
        if not proposals:
            self._say("Nothing to propose: pick first, or everything is labelled.")
            return
        self._proposals, self._at = proposals, 0
        self._keys = CanvasKeys(
            self._desk.viewer,
            {NEXT: lambda: self.step(1), PREVIOUS: lambda: self.step(-1), END: self.stop},
        )
        self._go()

    def answer(self, tool: Tool) -> None:
        """Label the proposal that is shown, and go on to the next."""
        proposal = self._proposals[self._at]
        self._labeller.label_candidate(tool, proposal.micrograph, (proposal.y, proposal.x))
        if tool != "erase":
            self.step(1)

    def step(self, by: int) -> None:
        """Go to another proposal; the end is behind the last one."""
        if not self.active:
            return
        n = len(self._proposals)
        self._at = max(self._at + by, 0)
        if self._at < n:
            self._go()
        else:
            self.stop()
            self._say(f"That were all {n} proposals. Train on the labels, or ask for more.")

    def stop(self) -> None:
        """Leave the rest unanswered."""
        if self._keys is not None:
            self._keys.close()
            self._keys = None
            self._layers.look_at(None)
        self._proposals = []
        self._show()

    def _go(self) -> None:
        proposal = self._proposals[self._at]
        self._layers.go_to(proposal.micrograph, (proposal.y, proposal.x))
        self._show()
        self.moved.emit(self._at)

    def _show(self) -> None:
        for button in (self.back, self.skip, self.end):
            button.setVisible(self.active)
        if self.active:
            proposal = self._proposals[self._at]
            self._say(
                f"Proposal {self._at + 1} of {len(self._proposals)}: is it a particle?\n"
                f"{proposal.why}\n{self._help}"
            )
        else:
            self._say("")

    def _say(self, text: str) -> None:
        self.text.setText(text)
        self.text.setVisible(bool(text))
