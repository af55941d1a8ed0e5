"""The dock "Micrographs": the list of a session, and how its micrographs are shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
)

from napari_so3.session.command_line import session_command
from napari_so3.session.journal import SUBFOLDER
from napari_so3.widgets.boxes import StatusLine
from napari_so3.widgets.desk import desk_of
from napari_so3.widgets.display_box import DisplayBox
from napari_so3.widgets.micrograph_table import MicrographTable
from napari_so3.widgets.opener import Opener
from napari_so3.widgets.tabs import Dock

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from qtpy.QtWidgets import (
        QWidget,
    )

WIDTH = 330  # pixels, as of the other docks
NEXT, PREVIOUS = "N", "Shift-N"  # keys of napari's canvas that napari leaves free
PATTERNS = "Micrographs (*.mrc *.mrcs *.mrc.gz *.mrc.bz2 *.tif *.tiff *.png *.jpg *.jpeg)"
EMPTY = "Open a folder of micrographs, or a session."


class MicrographsDock(Dock):
    """Open a session, and go through its micrographs.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Where they are shown.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__("Images", WIDTH, parent)
        self._viewer = napari_viewer
        self.desk = desk_of(napari_viewer)
        self.session = self.desk.session
        self.opener = Opener(self.desk)
        self._said = ""  # by the opener
        self.open_folder = QPushButton("Open folder…")
        self.open_folder.setToolTip(
            "Go on with the session of a folder of micrographs, or begin one there"
        )
        self.recent = QMenu(self)
        self.more = QToolButton()
        self.more.setToolTip("Sessions that were open lately")
        self.more.setMenu(self.recent)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setArrowType(Qt.ArrowType.DownArrow)
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.more.setFixedWidth(28)
        self.add_files = QPushButton("Add files…")
        self.add_files.setToolTip("Add micrographs to the session")
        self.table = MicrographTable(self.session)
        self.previous, self.next = QPushButton("◀ Previous"), QPushButton("Next ▶")
        self.previous.setToolTip(f"Show the micrograph above ({PREVIOUS} in the picture)")
        self.next.setToolTip(f"Show the micrograph below ({NEXT} in the picture)")
        self.summary = QLabel()
        self.display = DisplayBox(self.desk.display)
        self.copy = QPushButton("Copy as command line")
        self.copy.setToolTip("Copy the command that lists these micrographs in a terminal")
        self.status = StatusLine()
        self._lay_out()
        self._connect()
        self._show_state()

    def _lay_out(self) -> None:
        opening, steps = QHBoxLayout(), QHBoxLayout()
        opening.addWidget(self.open_folder, 1)
        opening.addWidget(self.more)
        opening.addWidget(self.add_files, 1)
        steps.addWidget(self.previous, 1)
        steps.addWidget(self.next, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(opening)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.summary)
        layout.addLayout(steps)
        for part in (self.display, self.status, self.copy):
            layout.addWidget(part)

    def _connect(self) -> None:
        self.open_folder.clicked.connect(self._choose_folder)
        self.add_files.clicked.connect(self._choose_files)
        self.recent.triggered.connect(lambda action: self.opener.open([action.data()]))
        self.previous.clicked.connect(lambda: self.table.step(-1))
        self.next.clicked.connect(lambda: self.table.step(1))
        self.copy.clicked.connect(self._copy)
        self.table.wanted.connect(self.desk.show)
        self.table.model.counted.connect(self._show_state)
        self.display.changed.connect(self.desk.set_display)
        self.opener.said.connect(self._say)
        self.opener.failed.connect(self.status.complain)
        self.opener.not_kept.connect(self._choose_place)
        self.opener.remembered.connect(self._list_recent)
        self.desk.shown.connect(self._note_shown)
        self.desk.problem.connect(self.status.complain)
        self.session.events.current.connect(self._forget_problem)
        self.desk.order = lambda: self.table.model.names
        self._viewer.bind_key(NEXT, lambda _: self.table.step(1), overwrite=True)
        self._viewer.bind_key(PREVIOUS, lambda _: self.table.step(-1), overwrite=True)

    def shut_down(self) -> None:
        """Stop all that goes on when napari takes the widget out of its dock."""
        self.opener.shut_down()
        self.table.disconnect_session()
        self.display.stop()
        self.desk.shown.disconnect(self._note_shown)
        self.desk.problem.disconnect(self.status.complain)
        self.session.events.current.disconnect(self._forget_problem)
        self.desk.order = lambda session=self.session: session.names
        for key in (NEXT, PREVIOUS):
            self._viewer.bind_key(key, None)

    # ------------------------------------------------------------------ opening

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "Open a folder of micrographs", self._here()
        )
        if folder:
            self.opener.open([Path(folder)])

    def _choose_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Add micrographs", self._here(), PATTERNS)
        if files:
            self.opener.add([Path(file) for file in files])

    def _choose_place(self, paths: Sequence[Path], reason: str) -> None:
        self.status.complain(reason)
        folder = QFileDialog.getExistingDirectory(
            self, "The session cannot be kept there: choose another folder for it", str(Path.home())
        )
        if folder:
            self.opener.open(paths, Path(folder))

    def _here(self) -> str:
        paths = self.session.paths
        return str(next(iter(paths.values())).parent if paths else Path.cwd())

    def _list_recent(self, folders: Sequence[Path]) -> None:
        self.recent.clear()
        for folder in folders:
            shown = folder.parent if folder.name == SUBFOLDER else folder
            self.recent.addAction(str(shown)).setData(folder)
        if not folders:
            self.recent.addAction("No sessions were open lately").setEnabled(False)

    # ------------------------------------------------------------------ what is shown

    def _show_state(self) -> None:
        some = bool(self.session.names)
        self.summary.setText(self.table.model.content.summary() if some else EMPTY)
        self.copy.setEnabled(self.session.folder is not None)
        for part in (self.previous, self.next):
            part.setEnabled(some)

    def _note_shown(self, name: str) -> None:
        micrograph = self.desk.micrograph
        if micrograph.pixel_size_source == "header":
            self.table.model.learn(name, micrograph.pixel_size)

    def _say(self, text: str) -> None:
        """Say how the opening goes; its end hides that, but not what went wrong."""
        if text or self.status.text() == self._said:
            self.status.say(text)
        self._said = text

    def _forget_problem(self) -> None:
        """Hide what was said about another micrograph."""
        if self.status.text() != self._said:
            self.status.say("")

    def _copy(self) -> None:
        command = session_command(self.session)
        QApplication.clipboard().setText(command)
        self.status.say(f"Copied: {command}")
