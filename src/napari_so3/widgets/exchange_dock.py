"""The dock "Import and export": coordinates of other programs in, the picks out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)
from superqt.utils import qdebounced

from napari_so3.io.coordinates import EACH, ENDINGS, WRITERS, CoordinateError
from napari_so3.io.micrographs import MicrographError
from napari_so3.picking.orientation import READINGS
from napari_so3.poses.boxes import BoxError
from napari_so3.poses.poses import PosesError
from napari_so3.poses.writing import WritingError
from napari_so3.session.command_line import export_command
from napari_so3.session.export import PARTICLES, Exported, Exporting, count_by_hand, export
from napari_so3.session.importing import (
    Importing,
    ImportPlan,
    plan_import,
    use_as_labels,
    use_as_picks,
)
from napari_so3.session.journal import SessionError
from napari_so3.session.tally import NOT_PICKED, Tally
from napari_so3.widgets.boxes import NumberBox, StatusLine, hint
from napari_so3.widgets.desk import desk_of
from napari_so3.widgets.runner import Runner
from napari_so3.widgets.tabs import Dock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari
    from qtpy.QtWidgets import (
        QWidget,
    )

WIDTH = 330
RECOUNT_MS = 300  # after the last change
SHORT = {
    "star": "RELION STAR",
    "particles": "Particles STAR",
    "box": "EMAN .box",
    "json": "EMAN2 JSON",
    "cbox": "crYOLO CBOX",
    "topaz": "Topaz table",
    "csv": "CSV",
}
ENDING = {"particles": ".star", "topaz": ".txt", "csv": ".csv"}  # of formats that are one file


class ExchangeDock(Dock):
    """Read coordinates into the session after showing what they are, and write its picks.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose session.
    parent : QWidget, optional
        Qt's parent.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__("Exchange", WIDTH, parent)
        self.desk = desk_of(napari_viewer)
        self.session = self.desk.session
        self.plan: ImportPlan | None = None
        self.runner = Runner()
        self._recount = qdebounced(self._show_counts, timeout=RECOUNT_MS)
        self.status = StatusLine()
        self.progress = QProgressBar()
        self.cancel = QPushButton("Cancel")
        self._lay_out()
        self._connect()
        self._show_plan(None)
        self._show_counts()
        self._explain()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.addWidget(self._make_import())
        layout.addWidget(self._make_export())
        row = QHBoxLayout()
        row.addWidget(self.progress, 1)
        row.addWidget(self.cancel)
        layout.addLayout(row)
        layout.addWidget(self.status)
        layout.addStretch()
        self.progress.hide()
        self.cancel.hide()

    def _make_import(self) -> QWidget:
        group = QGroupBox("Import coordinates")
        self.open_file, self.open_folder = QPushButton("File…"), QPushButton("Folder…")
        self.open_file.setToolTip("STAR, .box, .cbox, .cs, JSON, CSV or text, of any program")
        self.open_folder.setToolTip("All files of coordinates in a folder and those below it")
        self.report = QLabel()
        self.report.setWordWrap(True)
        self.report.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.reading = QComboBox()
        for key, words in READINGS.items():
            self.reading.addItem(words, key)
        self.reading.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.reading.setToolTip("How the coordinates are understood")
        self.as_labels, self.as_picks = QPushButton("Use as labels"), QPushButton("Use as picks")
        self.as_labels.setToolTip("Mark them as particles to learn from; undo with Ctrl+Z")
        self.as_picks.setToolTip("Show them as the picks of a run of their own")
        layout = QVBoxLayout(group)
        layout.addLayout(_row(self.open_file, self.open_folder))
        layout.addWidget(self.report)
        layout.addWidget(self.reading)
        layout.addLayout(_row(self.as_labels, self.as_picks))
        return group

    def _make_export(self) -> QWidget:
        group = QGroupBox("Export picks")
        self.count = QLabel()
        self.count.setWordWrap(True)
        self.form = QComboBox()
        for key, words in WRITERS.items():
            self.form.addItem(SHORT[key], key)
            self.form.setItemData(
                self.form.count() - 1, f"Writes {words}", Qt.ItemDataRole.ToolTipRole
            )
        self.what = hint("")
        self.what.setWordWrap(True)
        self.box = NumberBox(0, 10_000, 2, " px", 0)
        self.box.setSpecialValueText("1.5 diameters")
        self.box.setToolTip("Edge of a box, for formats that have boxes")
        self.by_hand = QCheckBox("with particles marked by hand")
        self.by_hand.setChecked(True)
        self.by_hand.setToolTip("Also those that were marked where the model found nothing")
        self.poses = QCheckBox("poses")
        self.poses.setToolTip("Angles, origins and confidence; picks without a pose are left out")
        self.images = QCheckBox("boxes (MRCS)")
        self.images.setToolTip("Cut the boxes too, a stack for each micrograph beside the file")
        self.export = QPushButton("Export…")
        self.copy = QPushButton("Copy as command line")
        layout = QFormLayout(group)
        layout.addRow(self.count)
        layout.addRow("Format", self.form)
        layout.addRow(self.what)
        layout.addRow("Box", self.box)
        layout.addRow(self.by_hand)
        layout.addRow(_row(self.poses, self.images))
        layout.addRow(_row(self.export, self.copy))
        return group

    def _connect(self) -> None:
        self.open_file.clicked.connect(self._choose_file)
        self.open_folder.clicked.connect(self._choose_folder)
        self.as_labels.clicked.connect(self._use_as_labels)
        self.as_picks.clicked.connect(self._use_as_picks)
        self.form.currentIndexChanged.connect(self._explain)
        self.export.clicked.connect(self._export)
        self.copy.clicked.connect(self._copy)
        self.cancel.clicked.connect(self._cancel)
        self.runner.told.connect(self._hear)
        self.runner.ended.connect(self._end)
        self.runner.crashed.connect(self.status.complain)
        for signal in self._changes():
            signal.connect(self._recount)

    def _changes(self) -> tuple[Any, ...]:
        """Signals of all that decides what is a pick."""
        session = self.session
        fields = ("threshold", "suggested", "margin", "hidden_views", "run", "diameter")
        others = (session.signals.override, session.marks.changed, session.pool.changed)
        return (*(session.events[name] for name in fields), *others)

    def shut_down(self) -> None:
        """Stop all that goes on when napari takes the widget out of its dock."""
        self.runner.cancel()
        for signal in self._changes():
            signal.disconnect(self._recount)

    # ------------------------------------------------------------------ in

    def read(self, path: Path) -> None:
        """Look at a file or folder of coordinates, in a thread."""
        if not self.session.names:
            self.status.complain("Open the micrographs first: coordinates are matched by name.")
            return
        self._show_plan(None)
        self.status.say(f"Reading {path.name}…")
        self._run(plan_import, self.session, path)

    def _choose_file(self) -> None:
        kinds = " ".join(f"*{ending}" for ending in ENDINGS)
        path, _ = QFileDialog.getOpenFileName(
            self, "Import coordinates", "", f"Coordinates ({kinds});;All files (*)"
        )
        if path:
            self.read(Path(path))

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Import all coordinates of a folder")
        if path:
            self.read(Path(path))

    def _show_plan(self, plan: ImportPlan | None) -> None:
        self.plan = plan
        self.report.setText("" if plan is None else "\n".join(plan.sentences()))
        usable = plan is not None and plan.points > 0
        for part in (self.report, self.reading, self.as_labels, self.as_picks):
            part.setVisible(plan is not None)
            part.setEnabled(usable)
        if plan is not None:
            self.reading.setCurrentIndex(self.reading.findData(plan.reading))

    def _use_as_labels(self) -> None:
        assert self.plan is not None
        n = use_as_labels(self.session, self.plan, self.reading.currentData())
        self.status.say(f"Marked {n} particles of {self.plan.path.name}.")
        self._show_plan(None)

    def _use_as_picks(self) -> None:
        assert self.plan is not None
        try:
            use_as_picks(self.session, self.plan, self.reading.currentData())
        except SessionError as error:
            self.status.complain(str(error))
            return
        self.status.say(f"The picks of {self.plan.path.name} are shown.")
        self._show_plan(None)

    # ------------------------------------------------------------------ out

    def _show_counts(self) -> None:
        counts = Tally(self.session).counts
        picked = counts[counts != NOT_PICKED]
        self.count.setText(f"{picked.sum():,} picks in {len(picked):,} micrographs, as shown now")
        by_hand = count_by_hand(self.session)
        self.by_hand.setText(f"with {by_hand:,} particles marked by hand")
        self.by_hand.setEnabled(by_hand > 0)

    def _explain(self) -> None:
        form = self.form.currentData()
        self.what.setText(f"Writes {WRITERS[form]}.")
        for part in (self.poses, self.images):
            part.setVisible(form == PARTICLES)

    def _choose_output(self) -> Path | None:
        form = self.form.currentData()
        start = Path.cwd()
        if form in EACH:
            chosen = QFileDialog.getExistingDirectory(self, "Folder to write in", str(start))
            return Path(chosen) if chosen else None
        name = str(start / f"picks{ENDING[form]}")
        chosen, _ = QFileDialog.getSaveFileName(self, "Export picks", name, f"(*{ENDING[form]})")
        if not chosen:
            return None
        return Path(chosen) if Path(chosen).suffix else Path(chosen).with_suffix(ENDING[form])

    def _export(self) -> None:
        output = self._choose_output()
        if output is not None:
            self._run(export, self.session, output, *self._settings())

    def _settings(self) -> tuple[str, int | None, bool, bool, bool]:
        form = self.form.currentData()
        asked = (part.isChecked() and form == PARTICLES for part in (self.poses, self.images))
        return form, int(self.box.value()) or None, self.by_hand.isChecked(), *asked

    def _copy(self) -> None:
        if self.session.folder is None:
            self.status.complain("There is no session: open the micrographs first.")
            return
        form = self.form.currentData()
        output = Path("picks") if form in EACH else Path(f"picks{ENDING[form]}")
        QApplication.clipboard().setText(export_command(self.session, output, *self._settings()))
        self.status.say("Copied: paste it in a terminal.")

    # ------------------------------------------------------------------ work

    def _run(self, function: Callable[..., Iterator[Any]], *args: Any) -> None:
        self.progress.setRange(0, 0)
        self.progress.show()
        self.cancel.show()
        self.runner.start(_in_sentences, function, args)

    def _cancel(self) -> None:
        self.runner.cancel()
        self._end()
        self.status.say("Cancelled.")

    def _end(self) -> None:
        self.progress.hide()
        self.cancel.hide()

    def _hear(self, event: Any) -> None:
        if isinstance(event, Importing | Exporting):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
        elif isinstance(event, ImportPlan):
            self.status.say("")
            self._show_plan(event)
        elif isinstance(event, Exported):
            by_hand = f", {event.by_hand} of them marked by hand," if event.by_hand else ""
            self.status.say(
                f"Wrote {event.picks:,} picks{by_hand} of {event.micrographs:,} micrographs to "
                f"{event.path}."
                + (
                    f" {event.without_pose:,} without a pose are left out."
                    * bool(event.without_pose)
                )
            )
        else:
            self.status.complain(event)


_MENDABLE = (BoxError, CoordinateError, MicrographError, PosesError, SessionError, WritingError)


def _in_sentences(function: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> Iterator[Any]:
    """Go through a generator; what a user can mend ends it with a sentence."""
    try:
        yield from function(*args)
    except _MENDABLE as error:
        yield str(error)
    except OSError as error:
        yield f"{error.filename}: {error.strerror}."


def _row(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget, 1)
    return row
