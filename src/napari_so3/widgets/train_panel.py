"""The panel "Train": advice on the labels, a training, and what has become of the model."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QRegularExpression
from qtpy.QtGui import QGuiApplication, QKeySequence, QRegularExpressionValidator, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_so3.widgets.advice_box import AdviceBox
from napari_so3.widgets.boxes import StatusLine
from napari_so3.widgets.engine import Note, Problem
from napari_so3.widgets.learning_plot import LearningPlot
from napari_so3.widgets.listening import Listening
from napari_so3.widgets.made_box import MadeBox, model_name
from napari_so3.widgets.runner import Runner
from napari_so3.widgets.teach_engine import (
    Command,
    Made,
    TeachJob,
    labelled,
    teach_session,
    until,
    write_command,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_so3.training.fit import FitProgress
    from napari_so3.widgets.desk import Desk

SHORTCUT = "Ctrl+L"  # learn; Ctrl+T is napari's
NAME = r"\w[\w.+-]{0,60}"
SCRATCH = "random weights (from scratch)"


class TrainPanel(QWidget):
    """Teaches a model with the labels of a session.

    Parameters
    ----------
    desk : Desk
        Shows the micrographs of the session.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._session = desk.session
        self._runner = Runner()
        self._job: TeachJob | None = None  # the training that is under way
        self._steps = 0  # of it, so far
        self._cancelled = Event()
        self._listening = Listening(self)
        self.name = QLineEdit("trained")
        self.name.setToolTip("Name of the new model; a number is added where it is taken")
        self.name.setValidator(QRegularExpressionValidator(QRegularExpression(NAME), self))
        self.start = QComboBox()
        self.start.addItems(["", SCRATCH])
        self.advice = AdviceBox(desk)
        self.train = QPushButton("Train")
        self.train.setToolTip(f"Teach the model with the labels ({SHORTCUT})")
        self.stop = QPushButton("Stop and keep the best")
        self.stop.setToolTip("End after this step, and make the model of the best weights so far")
        self.cancel = QPushButton("Cancel")
        self.plot = LearningPlot()
        self.progress, self.status = StatusLine(), StatusLine()
        self.made = MadeBox(desk)
        self.copy = QPushButton("Copy as command line")
        self.copy.setToolTip("Write the labels, and copy the command that does the same training")
        self._lay_out()
        self._connect()
        self._show_model()
        self._show_state()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("New model", self.name)
        form.addRow("Start from", self.start)
        ends = QHBoxLayout()
        ends.addWidget(self.stop, 2)
        ends.addWidget(self.cancel, 1)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.advice)
        layout.addWidget(self.train)
        layout.addLayout(ends)
        for part in (self.plot, self.progress, self.status, self.made, self.copy):
            layout.addWidget(part)
        layout.addStretch()

    def _connect(self) -> None:
        self.train.clicked.connect(self._train)
        self.stop.clicked.connect(self._stop)
        self.cancel.clicked.connect(self._cancel)
        self.copy.clicked.connect(self._copy)
        self.name.textChanged.connect(self._show_state)
        self.advice.changed.connect(self._show_state)
        self.made.said.connect(self.status.say)
        self.made.failed.connect(self.status.complain)
        QShortcut(QKeySequence(SHORTCUT), self).activated.connect(self.train.click)
        self._runner.told.connect(self._take)
        self._runner.ended.connect(self._end)
        self._runner.crashed.connect(self.status.complain)
        self._listening.to(self._session.events.model, self._show_model)

    def event(self, event: QEvent) -> bool:
        """Stop all that goes on when napari takes the widget out of its dock."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.shut_down()
        return super().event(event)

    def shut_down(self) -> None:
        """Stop for ever; what was begun can be gone on with."""
        self._cancelled.set()
        self._listening.stop()
        self.advice.shut_down()
        self.made.cancel()

    # ------------------------------------------------------------------ what the buttons do

    @property
    def running(self) -> bool:
        """Whether something is computed."""
        return self._runner.running

    @property
    def ready(self) -> bool:
        """Whether a training can begin."""
        return not self.running and self.advice.ready and self.name.hasAcceptableInput()

    def _train(self) -> None:
        self.advice.advise()  # the labels of this moment
        if self.ready:
            self._job, self._steps = self._make_job(), 0
            self.plot.begin(1)
            self.progress.say("")
            self._run(teach_session, self._job)

    def _copy(self) -> None:
        self.advice.advise()
        if self.ready:
            self._run(write_command, self._make_job(), self._session)

    def _make_job(self) -> TeachJob:
        session = self._session
        marks = labelled(session)
        return TeachJob(
            folder=session.folder,
            paths={name: session.paths[name] for name in marks},
            marks=marks,
            model=session.model,
            diameter=session.diameter,
            pixel_size=session.pixel_size,
            device=session.device,
            name=self.name.text(),
            from_scratch=self.start.currentText() == SCRATCH,
            enough=Event(),
        )

    def _run(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._cancelled = Event()
        self.destroyed.connect(self._cancelled.set)
        self._runner.start(until, self._cancelled, function, *arguments)
        self._show_state()

    def _stop(self) -> None:
        if self._job is not None:
            self._job.enough.set()
            self.status.say("Ending after this step…")
            self._show_state()

    def _cancel(self) -> None:
        self._cancelled.set()
        self.status.say("Cancelling after this step…")
        self._show_state()

    # ------------------------------------------------------------------ what comes of it

    def _take(self, event: Any) -> None:
        if isinstance(event, Made):
            self._show_made(event)
        elif self._cancelled.is_set():
            return
        elif isinstance(event, Note):
            self.status.say(f"{event.text}…")
        elif isinstance(event, Problem):
            self.status.complain(event.sentence)
        elif isinstance(event, Command):
            QGuiApplication.clipboard().setText(event.text)
            self.status.say(f"Copied, and the labels are written: {event.text}")
        else:
            self._show_step(event)

    def _show_step(self, progress: FitProgress) -> None:
        if self._steps == 0:
            self.plot.begin(progress.steps)
            before = progress.step - 1
            self.status.say(f"Going on from step {before}." if before else "")
        self._steps += 1
        self.plot.add(progress)
        self.progress.say(self.plot.curves.describe(progress))
        self._show_state()

    def _show_made(self, made: Made) -> None:
        job = self._job
        assert job is not None
        self.made.show_made(job.model, made)
        words = f"Made {made.path.stem}"
        if "stopped" in made.training:
            words += f", stopped {made.training['stopped']}"
        if "validation AUPRC" in made.training:
            words += f", validation AUPRC {made.training['validation AUPRC']:.2f}"
        if self._session.folder == job.folder:
            self._session.model = str(made.path)
            words += "; it is chosen for the next picks"
        self.status.say(f"{words}.")

    def _end(self) -> None:
        if self._cancelled.is_set():
            self.status.say(
                "Cancelled." if self._job is None else "Cancelled; Train goes on from there."
            )
        self._job = None
        self.plot.draw()
        self._show_state()

    # ------------------------------------------------------------------ what is seen

    def _show_model(self) -> None:
        self.start.setItemText(0, model_name(self._session.model))

    def _show_state(self) -> None:
        job, cancelled = self._job, self._cancelled.is_set()
        self.train.setEnabled(self.ready)
        self.train.setText("Train" if job is None else "Training…")
        self.stop.setEnabled(
            job is not None and self._steps > 0 and not (cancelled or job.enough.is_set())
        )
        self.cancel.setEnabled(self.running and not cancelled)
        self.copy.setEnabled(self.ready)
        self.made.block(self.running)
