"""Picking micrographs of the session: which, what becomes of them, and the next one ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_so3.widgets.engine import Problem
from napari_so3.widgets.pick_job import Failed, Finished, Picked, PickJob, RunChosen
from napari_so3.widgets.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_so3.session.state import Session
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.engine import Engine
    from napari_so3.widgets.pick_job import Which
    from napari_so3.widgets.run_bar import RunBar


class SessionPicking(QObject):
    """Gives jobs to the engine, and to the session what comes of them.

    Parameters
    ----------
    desk : Desk
        Shows the micrographs of the session.
    engine : Engine
        Picks.
    bar : RunBar
        Runs what the user asks for.
    """

    said = Signal(str)  # a sentence on how it ended
    failed = Signal(str)  # a sentence
    looked_ahead = Signal(str)  # micrograph that is picked ahead; empty if none is

    def __init__(self, desk: Desk, engine: Engine, bar: RunBar) -> None:
        super().__init__()
        self._desk, self._engine, self._bar = desk, engine, bar
        self._ahead = False
        self._quiet = Runner()
        self._last: Picked | None = None
        self._failures: list[str] = []
        bar.told.connect(self._take)
        bar.ended.connect(self._go_ahead)
        desk.shown.connect(self._go_ahead)
        self._quiet.told.connect(self._take_quietly)
        self._quiet.ended.connect(lambda: self.looked_ahead.emit(""))

    @property
    def _session(self) -> Session:
        return self._desk.session

    @property
    def unpicked(self) -> list[str]:
        """Micrographs without candidates in the run that is shown."""
        return [name for name in self._session.names if name not in self._session.pool]

    def run(self, which: Which, names: Sequence[str]) -> None:
        """Pick micrographs, as `PickJob` says, while the bar shows how it goes."""
        self._stop_ahead()
        self._last, self._failures = None, []
        job = self._job(which, names)
        if job is None:
            self.failed.emit("The session has no folder to keep picks in; save it in one first.")
        else:
            self._bar.start(self._engine.pick_session, job)

    def set_ahead(self, ahead: bool) -> None:
        """Pick the next micrograph ahead from now on, or no more."""
        self._ahead = ahead
        if ahead:
            self._go_ahead()
        else:
            self._stop_ahead()

    def cancel(self, reason: str = "Cancelled.") -> None:
        """Stop whatever is under way."""
        self._stop_ahead()
        self._bar.cancel(reason)

    def shut_down(self) -> None:
        """Stop for ever."""
        self.set_ahead(False)
        self._bar.cancel()
        self._desk.shown.disconnect(self._go_ahead)

    def _job(self, which: Which, names: Sequence[str]) -> PickJob | None:
        session = self._session
        if session.folder is None:
            return None
        picked = frozenset(name for name in session.names if name in session.pool)
        return PickJob(
            root=session.folder,
            paths=dict(session.paths),
            names=tuple(names),
            which=which,
            run=session.run,
            picked=picked,
            model=session.model,
            diameter=session.diameter,
            pixel_size=session.pixel_size,
            threshold=session.threshold,
            device=session.device,
            rotations=session.rotations,
        )

    # ------------------------------------------------------------------ what comes of it

    def _take(self, event: Any) -> None:
        if isinstance(event, RunChosen):
            self._choose_run(event)
        elif isinstance(event, Picked):
            self._last = event
            self._session.pool.put(event.name, event.candidates)
            self._session.fail(event.name, None)
        elif isinstance(event, Failed):
            self._failures.append(event.reason)
            self._session.fail(event.name, event.reason)
        elif isinstance(event, Finished):
            self._finish(event)
        elif isinstance(event, Problem):
            self.failed.emit(event.sentence)

    def _choose_run(self, chosen: RunChosen) -> None:
        session = self._session
        if chosen.candidates is not None:
            session.set_run(chosen.run)
            session.hidden_views = ()
            session.pool.replace(chosen.candidates)
        session.suggested, session.in_plane = chosen.suggested, chosen.in_plane

    def _finish(self, event: Finished) -> None:
        if event.failed:
            picked = f"Picked {event.picked} micrographs; {event.failed} could not be picked, "
            several = event.picked + event.failed > 1
            self.failed.emit((f"{picked}such as " if several else "") + self._failures[0])
        elif event.picked == 1 and self._last is not None:
            self.said.emit(_about(self._last))
        elif event.picked:
            self.said.emit(f"Picked {event.picked} micrographs.")
        else:
            self.said.emit("All micrographs are picked already with these settings.")

    # ------------------------------------------------------------------ ahead

    def _go_ahead(self) -> None:
        """Pick the next micrograph if the current one has picks, and nothing else is under way."""
        session = self._session
        if not self._ahead or self._bar.running or self._quiet.running:
            return
        name = self._next() if session.current in session.pool else None
        job = None if name is None else self._job("ahead", [name])
        if job is not None:
            self.looked_ahead.emit(name)
            self._quiet.start(self._engine.pick_session, job)

    def _next(self) -> str | None:
        """First micrograph after the current one that has not been picked."""
        session, order = self._session, list(self._desk.order())
        here = order.index(session.current) if session.current in order else -1
        for name in order[here + 1 :]:
            if name not in session.pool and name not in session.failed:
                return name
        return None

    def _stop_ahead(self) -> None:
        self._quiet.cancel()
        self.looked_ahead.emit("")

    def _take_quietly(self, event: Any) -> None:
        if isinstance(event, Picked | Failed):
            self._take(event)


def _about(picked: Picked) -> str:
    """Say what there is to say of the one micrograph that was picked."""
    if not len(picked.candidates):
        return f"Nothing on {picked.name} looks like a particle to this model."
    return f"{picked.name} was picked before with these settings." if picked.reused else ""
