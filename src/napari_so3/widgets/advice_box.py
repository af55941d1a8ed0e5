"""Advice on the labels of a session, while one labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel, QScrollArea

from napari_so3.training.advice import Advice, check_labels
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.teach_engine import labelled

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_so3.session.marks import Marks
    from napari_so3.training.labels import Labels
    from napari_so3.widgets.desk import Desk

DELAY_MS = 150  # after a change of the labels
HEIGHT = 96  # pixels
SIGNS = {"stop": ("✖", "#e05050"), "warn": ("▲", "#e0a030"), "info": ("●", "#60a0d0")}
NO_SESSION = Advice("stop", "Open micrographs and label some particles first.")


class AdviceBox(QScrollArea):
    """Says what the labels are good for; it rests while nobody sees it.

    Parameters
    ----------
    desk : Desk
        Shows the micrographs of the session.
    """

    changed = Signal()  # whether a training can begin, perhaps

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk, self._session = desk, desk.session
        self._converted: dict[str, tuple[Marks, Labels]] = {}
        self.advice: list[Advice] = [NO_SESSION]
        self.text = QLabel()
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setWordWrap(True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setWidget(self.text)
        self.setWidgetResizable(True)
        self.setFixedHeight(HEIGHT)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(DELAY_MS)
        self._later.timeout.connect(self.advise)
        self._listening = Listening(self)
        session = self._session
        for signal in (
            session.marks.changed,
            session.events.diameter,
            session.events.pixel_size,
            session.events.folder,
            session.signals.micrographs,
            session.signals.opened,
        ):
            self._listening.to(signal, self._advise_soon)
        self.advise()

    def shut_down(self) -> None:
        """Leave the session alone from now on."""
        self._later.stop()
        self._listening.stop()

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from."""
        return all(advice.level != "stop" for advice in self.advice)

    def showEvent(self, event: QShowEvent) -> None:
        """Take in what has changed meanwhile."""
        super().showEvent(event)
        self.advise()

    def _advise_soon(self) -> None:
        if self.isVisible():
            self._later.start()

    def advise(self) -> None:
        """Look at the labels and say what there is to say."""
        if self._session.folder is None:
            self.advice = [NO_SESSION]
        else:
            found, paths = labelled(self._session), self._session.paths
            labels = {paths[name].name: self._labels(name, found[name]) for name in found}
            sizes = {paths[name].name: self._pixel_size(name) for name in found}
            known = {file: size for file, size in sizes.items() if size}
            self.advice = check_labels(labels, self._session.diameter, known)
        self.text.setText("".join(map(_html, self.advice)))
        self.changed.emit()

    def _labels(self, name: str, marks: Marks) -> Labels:
        """Convert marks once; the size of what is ignored does not matter here."""
        known = self._converted.get(name)
        if known is None or known[0] is not marks:
            known = self._converted[name] = (marks, marks.to_labels(0.0))
        return known[1]

    def _pixel_size(self, name: str) -> float | None:
        """Å, where it is known without reading the file."""
        if self._session.pixel_size is not None:
            return self._session.pixel_size
        candidates, shown = self._session.pool.get(name), self._desk.micrograph
        if candidates is not None:
            return candidates.pixel_size
        return shown.pixel_size if shown is not None and name == self._desk.name else None


def _html(advice: Advice) -> str:
    sign, colour = SIGNS[advice.level]
    return (
        f'<p style="margin: 0 0 3px 0"><span style="color: {colour}">{sign}</span> '
        f"{advice.text}</p>"
    )
