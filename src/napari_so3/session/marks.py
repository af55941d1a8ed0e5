"""Hand-placed labels of all micrographs, with undo and redo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from psygnal import Signal

from napari_so3.training.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

Kind = Literal["positive", "negative", "ignored"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DECIMALS = 2  # of coordinates in pixels; rounded once, so that a mark equals itself for ever


class Mark(NamedTuple):
    """One label: what it says and where, pixels of the micrograph."""

    kind: Kind
    y: float
    x: float


Area = tuple[tuple[float, float], ...]  # corners (y, x), pixels of the micrograph


@dataclass(frozen=True)
class Marks:
    """All labels of one micrograph.

    Parameters
    ----------
    marks : tuple of Mark
        Particles, non-particles and single places to leave alone, in the order they came.
    areas : tuple of Area
        Polygons where nothing is picked and nothing is learnt from.
    complete : bool
        Whether (nearly) every particle is marked.
    """

    marks: tuple[Mark, ...] = ()
    areas: tuple[Area, ...] = ()
    complete: bool = False

    def points(self, kind: Kind | None = None) -> NDArray[np.float64]:
        """Positions of the marks, (n, 2) y and x; of one kind, or of all."""
        chosen = [(m.y, m.x) for m in self.marks if kind in (None, m.kind)]
        return np.array(chosen, dtype=np.float64).reshape(-1, 2)

    def count(self, kind: Kind) -> int:
        """Count the marks of a kind."""
        return sum(m.kind == kind for m in self.marks)

    def to_labels(self, radius: float) -> Labels:
        """Say the same to a training.

        Parameters
        ----------
        radius : float
            Of the places that are ignored, pixels: that of a particle.
        """
        ignored = self.points("ignored")
        return Labels(
            self.points("positive"),
            self.points("negative"),
            np.column_stack([ignored, np.full(len(ignored), radius)]),
            tuple(np.array(area) for area in self.areas),
            self.complete,
        )


@dataclass(frozen=True)
class Edit:
    """What one action did to one micrograph; it can be taken back.

    Parameters
    ----------
    micrograph : str
        Name.
    removed, added : tuple of Mark
        Marks.
    areas_removed, areas_added : tuple of Area
        Areas.
    """

    micrograph: str
    removed: tuple[Mark, ...] = ()
    added: tuple[Mark, ...] = ()
    areas_removed: tuple[Area, ...] = ()
    areas_added: tuple[Area, ...] = ()

    def inverse(self) -> Edit:
        """Make the edit that takes this one back."""
        return Edit(self.micrograph, self.added, self.removed, self.areas_added, self.areas_removed)

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.areas_removed or self.areas_added)

    def to_record(self) -> dict[str, Any]:
        """Write as JSON-ready values, without what is empty."""
        parts = {
            "remove": self.removed,
            "add": self.added,
            "remove_areas": self.areas_removed,
            "add_areas": self.areas_added,
        }
        return {"edit": self.micrograph} | {name: part for name, part in parts.items() if part}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Edit:
        """Read what `to_record` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is none.
        """
        return cls(
            str(record["edit"]),
            _marks(record.get("remove", ())),
            _marks(record.get("add", ())),
            _areas(record.get("remove_areas", ())),
            _areas(record.get("add_areas", ())),
        )


def _marks(values: Iterable[Any]) -> tuple[Mark, ...]:
    marks = tuple(Mark(kind, float(y), float(x)) for kind, y, x in values)
    for mark in marks:
        if mark.kind not in KINDS:
            raise ValueError(f"{mark.kind!r} is no kind of label")
    return marks


def _areas(values: Iterable[Any]) -> tuple[Area, ...]:
    return tuple(tuple((float(y), float(x)) for y, x in area) for area in values)


def make_area(corners: ArrayLike) -> Area:
    """Round the corners (n, 2) of a polygon as marks are rounded."""
    return _areas([np.round(np.asarray(corners, dtype=np.float64), DECIMALS)])[0]


@dataclass
class MarkStore:
    """The labels of a session's micrographs.

    Every change goes through `apply`, which tells ``edited`` (for the file) and ``changed`` (for
    what is shown), and can be undone without end.
    """

    edited = Signal(Edit)
    completed = Signal(str, bool)  # micrograph, whether it is completely labelled
    changed = Signal(str)  # micrograph

    _marks: dict[str, Marks] = field(default_factory=dict)
    _undo: list[Edit] = field(default_factory=list)
    _redo: list[Edit] = field(default_factory=list)

    def of(self, micrograph: str) -> Marks:
        """Give the labels of a micrograph; none where nobody has labelled."""
        return self._marks.get(micrograph, Marks())

    @property
    def all(self) -> Mapping[str, Marks]:
        """Labels of the micrographs that have some, in the order they got them."""
        return self._marks

    def __iter__(self) -> Iterator[str]:
        """Go through the micrographs with labels, in the order they got them."""
        return iter(self._marks)

    def take(self, other: MarkStore) -> None:
        """Have the labels of another store; what could be undone is forgotten."""
        self._marks = dict(other._marks)
        self._undo.clear()
        self._redo.clear()

    def apply(self, edit: Edit) -> None:
        """Do an edit that can be undone; an empty one is none."""
        if edit:
            self._undo.append(edit)
            self._redo.clear()
            self._do(edit)

    def undo(self) -> str | None:
        """Take the last edit back; tell the micrograph it was on."""
        if not self._undo:
            return None
        edit = self._undo.pop()
        self._redo.append(edit)
        self._do(edit.inverse())
        return edit.micrograph

    def redo(self) -> str | None:
        """Do again what was undone last; tell the micrograph it is on."""
        if not self._redo:
            return None
        edit = self._redo.pop()
        self._undo.append(edit)
        self._do(edit)
        return edit.micrograph

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return bool(self._redo)

    def set_complete(self, micrograph: str, complete: bool) -> None:
        """Say whether (nearly) every particle of a micrograph is marked."""
        if complete != self.of(micrograph).complete:
            self.restore_complete(micrograph, complete)
            self.completed.emit(micrograph, complete)
            self.changed.emit(micrograph)

    def mark(self, micrograph: str, kind: Kind, points: ArrayLike, near: float) -> None:
        """Put marks of a kind; they replace the marks nearby, of whatever kind.

        Parameters
        ----------
        micrograph : str
            Name.
        kind : {"positive", "negative", "ignored"}
            Kind.
        points : array_like
            (n, 2) y and x, pixels.
        near : float
            Distance in pixels within which two marks are of one object.
        """
        points = np.round(np.asarray(points, dtype=np.float64).reshape(-1, 2), DECIMALS)
        added = tuple(Mark(kind, float(y), float(x)) for y, x in points)
        removed = self._near(micrograph, points, near)
        self.apply(
            Edit(
                micrograph,
                tuple(m for m in removed if m not in added),
                tuple(m for m in added if m not in removed),
            )
        )

    def erase(self, micrograph: str, points: ArrayLike, near: float) -> None:
        """Remove the marks within a distance in pixels of any of the points (n, 2)."""
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        self.apply(Edit(micrograph, self._near(micrograph, points, near)))

    def set_areas(self, micrograph: str, areas: Iterable[Area]) -> None:
        """Give a micrograph these areas where nothing is picked or learnt from."""
        before, after = self.of(micrograph).areas, tuple(areas)
        self.apply(
            Edit(
                micrograph,
                areas_removed=tuple(a for a in before if a not in after),
                areas_added=tuple(a for a in after if a not in before),
            )
        )

    def _near(self, micrograph: str, points: NDArray[np.float64], near: float) -> tuple[Mark, ...]:
        marks = self.of(micrograph).marks
        if not marks or not len(points):
            return ()
        away = np.linalg.norm(self.of(micrograph).points()[:, None] - points[None], axis=-1).min(
            axis=1
        )
        return tuple(mark for mark, d in zip(marks, away, strict=True) if d <= near)

    def restore(self, edit: Edit) -> None:
        """Do an edit that was done before, without telling anybody."""
        before = self.of(edit.micrograph)
        gone, gone_areas = set(edit.removed), set(edit.areas_removed)
        self._marks[edit.micrograph] = Marks(
            tuple(m for m in before.marks if m not in gone) + edit.added,
            tuple(a for a in before.areas if a not in gone_areas) + edit.areas_added,
            before.complete,
        )

    def restore_complete(self, micrograph: str, complete: bool) -> None:
        """Likewise for `set_complete`."""
        before = self.of(micrograph)
        self._marks[micrograph] = Marks(before.marks, before.areas, complete)

    def _do(self, edit: Edit) -> None:
        self.restore(edit)
        self.edited.emit(edit)
        self.changed.emit(edit.micrograph)
