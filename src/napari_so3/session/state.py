"""The session of a viewer: settings, micrographs, picks and marks, kept as they change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from psygnal import EventedModel, Signal
from pydantic import PositiveInt, PrivateAttr  # noqa: TC002 - pydantic looks for it

from napari_so3.io.micrographs import micrograph_name, read_micrograph
from napari_so3.session.choice import SAME, Choice
from napari_so3.session.journal import FILE, Journal, SessionError, read_journal
from napari_so3.session.marks import MarkStore
from napari_so3.session.pool import CandidatePool
from napari_so3.session.poses import PoseStore
from napari_so3.session.replay import records_of, relative, replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.session.journal import Record
    from napari_so3.session.marks import Edit
    from napari_so3.session.pool import Candidates
    from napari_so3.session.replay import Loaded

PICKS = "picks"  # folder of the runs, in the folder of a session
LABELS = "labels.json"  # what the last training learnt from
MODELS = "models"  # folder of the models that were trained in a session
_KEPT = (  # fields that the file holds
    *("model", "rotations", "diameter", "threshold", "device", "pixel_size"),
    *("suggested", "margin", "hidden_views", "in_plane", "run", "current"),
    *("pose_model", "pose_run"),
)


class Session(EventedModel):
    """What one works on; every change of a field emits ``events.<name>``.

    Parameters
    ----------
    model : str
        Name of a bundled model, or path of a model file.
    rotations : tuple of int, or None
        Views and in-plane angles that it is used with; None stands for its own.
    diameter : float
        Longest diameter of the particle, Å.
    threshold : float or None
        Smallest AL1 log-odds of a pick; None stands for what the model suggests.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    pixel_size : float or None
        Å, of all micrographs; None stands for what each file says.
    suggested : float
        Log-odds that the model suggests.
    margin : float
        Picks closer to the border are left out, Å.
    hidden_views : tuple of int
        Views of the model's grid whose picks are left out.
    in_plane : int
        Rotations per view of the grid.
    run : str
        Folder of picks that is shown, in the folder `PICKS`; empty if nothing was picked.
    pose_model : str or None
        Name of a bundled pose model, path of its file, or ``"matcher"`` for the picker itself;
        None stands for the first that there is.
    pose_run : str
        Folder of poses that is shown, in the folder `poses.POSES`; empty if there are no poses.
    current : str
        Name of the micrograph that is looked at.
    folder : Path or None
        Where the session is kept; None if it is not.
    """

    model: str = "general"
    rotations: tuple[PositiveInt, PositiveInt] | None = None
    diameter: float = 150.0
    threshold: float | None = None
    device: str = "auto"
    pixel_size: float | None = None
    suggested: float = 0.0
    margin: float = 0.0
    hidden_views: tuple[int, ...] = ()
    in_plane: int = 1
    run: str = ""
    pose_model: str | None = None
    pose_run: str = ""
    current: str = ""
    folder: Path | None = None

    _paths: dict[str, Path] = PrivateAttr(default_factory=dict)
    _overrides: dict[str, float] = PrivateAttr(default_factory=dict)
    _failed: dict[str, str] = PrivateAttr(default_factory=dict)
    _marks: MarkStore = PrivateAttr(default_factory=MarkStore)
    _pool: CandidatePool = PrivateAttr(default_factory=CandidatePool)
    _poses: PoseStore = PrivateAttr(default_factory=PoseStore)
    _signals: Signals = PrivateAttr(default_factory=lambda: Signals())
    _journal: Journal | None = PrivateAttr(default=None)

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self._marks.edited.connect(self._keep_edit)
        self._marks.completed.connect(self._keep_complete)
        for event in (self.events.folder, self.events.pose_run):
            event.connect(self._use_poses)
        for name in _KEPT:
            self.events[name].connect(lambda value, name=name: self._keep({"set": {name: value}}))

    # ------------------------------------------------------------------ what there is

    @property
    def signals(self) -> Signals:
        """What is told beside the fields."""
        return self._signals

    @property
    def marks(self) -> MarkStore:
        """Labels of all micrographs."""
        return self._marks

    @property
    def pool(self) -> CandidatePool:
        """Candidates of all micrographs that are picked."""
        return self._pool

    @property
    def poses(self) -> PoseStore:
        """Poses of the picks, of the run that is shown."""
        return self._poses

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the micrographs, in their order."""
        return tuple(self._paths)

    @property
    def paths(self) -> Mapping[str, Path]:
        """Files of the micrographs, by name."""
        return self._paths

    @property
    def overrides(self) -> Mapping[str, float]:
        """Thresholds of single micrographs, log-odds."""
        return self._overrides

    @property
    def failed(self) -> Mapping[str, str]:
        """Micrographs that could not be picked, and why in a sentence."""
        return self._failed

    @property
    def run_folder(self) -> Path | None:
        """Folder of the picks that are shown; None if there are none, or they are not kept."""
        return self.folder / PICKS / self.run if self.folder and self.run else None

    def limit(self, name: str | None = None) -> float:
        """Threshold that is in force, log-odds: that of a micrograph, or that of the session."""
        general = self.suggested if self.threshold is None else self.threshold
        return general if name is None else self._overrides.get(name, general)

    def choice(self) -> Choice:
        """Collect what makes a candidate a pick now."""
        return Choice(
            self.limit(),
            dict(self._overrides),
            self.margin,
            frozenset(self.hidden_views),
            self.in_plane,
            SAME * self.diameter,
        )

    def picks_of(self, name: str) -> tuple[Candidates, NDArray[np.bool_]] | None:
        """Candidates of a micrograph, and which of them are picks; None if it is not picked."""
        candidates = self._pool.get(name)
        if candidates is None:
            return None
        return candidates, self.choice().of(name, candidates, self._marks.of(name))

    def read(self, name: str) -> Micrograph:
        """Open a micrograph, with the pixel size of the session.

        Raises
        ------
        MicrographError
            If it cannot be read.
        """
        return read_micrograph(self._paths[name], self.pixel_size)

    # ------------------------------------------------------------------ changes

    def add_micrographs(self, paths: Sequence[Path]) -> list[Path]:
        """Add micrographs at the end.

        Parameters
        ----------
        paths : sequence of Path
            Files; those that are there already are left alone.

        Returns
        -------
        list of Path
            Files that cannot be added, since another one has their name.
        """
        new: dict[str, Path] = {}
        clashing = []
        for path in paths:
            path, name = Path(os.path.abspath(path)), micrograph_name(path)
            known = self._paths.get(name) or new.get(name)
            if known is None:
                new[name] = path
            elif known != path:
                clashing.append(path)
        if new:
            self._paths.update(new)
            self._pool.set_names(self.names)
            self._keep({"micrographs": [relative(self.folder, path) for path in new.values()]})
            self._signals.micrographs.emit()
        return clashing

    def override(self, name: str, threshold: float | None) -> None:
        """Give a micrograph a threshold of its own, log-odds, or none any more."""
        if self._overrides.get(name) == threshold:
            return
        if threshold is None:
            del self._overrides[name]
        else:
            self._overrides[name] = threshold
        self._keep({"override": name, "threshold": threshold})
        self._signals.override.emit(name)

    def fail(self, name: str, reason: str | None) -> None:
        """Say that a micrograph could not be picked, or that this is over."""
        if self._failed.get(name) == reason:
            return
        if reason is None:
            del self._failed[name]
        else:
            self._failed[name] = reason
        self._keep({"failed": name, "reason": reason})
        self._signals.failed.emit(name)

    def set_run(self, run: str) -> None:
        """Show another run of picks; its candidates are to be loaded into the pool.

        What was said of the picks of single micrographs, failures and thresholds, is forgotten.
        """
        if run != self.run:
            for name in list(self._failed):
                self.fail(name, None)
            for name in list(self._overrides):
                self.override(name, None)
            self._pool.replace({})
            self.run = run

    # ------------------------------------------------------------------ the file

    def save_in(self, folder: Path) -> None:
        """Keep the session in a folder from now on.

        Raises
        ------
        SessionError
            If it holds a session already, or cannot be written.
        """
        folder = Path(os.path.abspath(folder))
        if (folder / FILE).exists():
            raise SessionError(f"{folder / FILE}: exists; open it, or choose another folder.")
        journal = Journal(folder)
        self.close()
        self.folder = folder
        journal.rewrite(self._records())
        self._journal = journal

    def open(self, folder: Path) -> None:
        """Go on with a session that is kept in a folder; that of before is closed.

        Raises
        ------
        SessionError
            If it cannot be opened; then nothing is changed.
        """
        self.take(Session.prepare(folder))

    @classmethod
    def prepare(cls, folder: Path) -> Session:
        """Open the session in a folder for `take`; this part reads and writes, in any thread.

        Raises
        ------
        SessionError
            If it cannot be opened.
        """
        folder = Path(os.path.abspath(folder))
        journal = Journal(folder)
        try:
            made = cls.look_at(folder)
            journal.rewrite(made._records())  # shorter: what was undone and replaced is left out
        except SessionError:
            journal.close()
            raise
        made._journal = journal
        return made

    def take(self, other: Session) -> None:
        """Become another session, which is of no use any more; that of before is closed."""
        journal, other._journal = other._journal, None
        self.close()
        self._pool.replace({})
        self._marks.take(other._marks)
        for name in ("_paths", "_overrides", "_failed"):
            held = getattr(self, name)
            held.clear()
            held.update(getattr(other, name))
        self._pool.set_names(self.names)
        self.folder = other.folder
        self.update({name: getattr(other, name) for name in _KEPT})
        self._journal = journal
        self._signals.micrographs.emit()
        self._signals.opened.emit()

    @classmethod
    def look_at(cls, folder: Path) -> Session:
        """Read the session that is kept in a folder, also while napari has it open.

        Returns
        -------
        Session
            What is changed in it is not kept. Its candidates are not loaded.

        Raises
        ------
        SessionError
            If it cannot be read.
        """
        folder = Path(os.path.abspath(folder))
        session = cls()
        session._restore(folder, _load(folder / FILE))
        return session

    def close(self) -> None:
        """Let others open the session; what is changed from now on is not kept."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            self.folder = None

    def _restore(self, folder: Path, loaded: Loaded) -> None:
        self.folder = folder
        for path in loaded.micrographs:
            full = Path(os.path.normpath(os.path.join(folder, path)))
            self._paths[micrograph_name(full)] = full
        self._pool.set_names(self.names)
        for edit in loaded.edits:
            self._marks.restore(edit)
        for name, complete in loaded.complete.items():
            self._marks.restore_complete(name, complete)
        self._overrides.update(loaded.overrides)
        self._failed.update(loaded.failed)
        self.update(loaded.fields)

    def _records(self) -> Iterator[Record]:
        """Everything that the file has to say."""
        assert self.folder is not None
        return records_of(
            {name: getattr(self, name) for name in _KEPT},
            [relative(self.folder, path) for path in self._paths.values()],
            self._marks.all,
            self._overrides,
            self._failed,
        )

    def _keep(self, record: Record) -> None:
        if self._journal is not None:
            try:
                self._journal.append(record)
            except SessionError as error:
                self._signals.problem.emit(str(error))

    def _use_poses(self) -> None:
        self._poses.use(self.folder, self.pose_run)

    def _keep_edit(self, edit: Edit) -> None:
        self._keep(edit.to_record())

    def _keep_complete(self, name: str, complete: bool) -> None:
        self._keep({"complete": name, "value": complete})


class Signals:
    """What a session tells beside its fields."""

    micrographs = Signal()  # the list is another one
    override = Signal(str)  # micrograph with another threshold
    failed = Signal(str)  # micrograph that could (not) be picked
    opened = Signal()  # everything is another one
    problem = Signal(str)  # a sentence: something was not kept


def _load(path: Path) -> Loaded:
    loaded = replay(read_journal(path), path)
    try:
        valid = Session(**{k: v for k, v in loaded.fields.items() if k in _KEPT})
    except ValueError as error:
        detail = " ".join(str(error).split())
        raise SessionError(f"{path}: a setting cannot be used ({detail}).") from error
    loaded.fields = {k: getattr(valid, k) for k in loaded.fields if k in _KEPT}
    return loaded


_sessions: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()


def session_of(viewer: Any, **defaults: Any) -> Session:
    """Find the session of a viewer; the first call makes it.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer, or napari's proxy of it; the session lives as long as the viewer.
    **defaults
        Fields of a session that is made.

    Returns
    -------
    Session
        The same one for every call.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)  # proxies are short-lived
    if viewer not in _sessions:
        _sessions[viewer] = Session(**defaults)
    return _sessions[viewer]
