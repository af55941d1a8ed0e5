"""What labelling means: which object a place is about, and what becomes of its label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_so3.session.choice import SAME, inside

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_so3.session.marks import Kind
    from napari_so3.widgets.desk import Desk

Tool = Literal["positive", "negative", "ignored", "erase"]


class Labeller(QObject):
    """Labels the micrograph that is shown; the canvas, the keys and the buttons all use it.

    Parameters
    ----------
    desk : Desk
        Knows the micrograph.

    Attributes
    ----------
    tool : str
        Kind of label that is put, or ``"erase"``.
    """

    changed = Signal(str)  # another tool
    said = Signal(str)  # a sentence

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._marks = desk.session.marks
        self.tool: Tool = "positive"

    def set_tool(self, tool: Tool) -> None:
        """Choose what a click does."""
        if tool != self.tool:
            self.tool = tool
            self.changed.emit(tool)

    @property
    def pixel_size(self) -> float:
        """Å, of the micrograph that is shown; 1 where it is unknown."""
        micrograph = self._desk.micrograph
        return (micrograph and micrograph.pixel_size) or 1.0

    @property
    def radius(self) -> float:
        """Of a particle, pixels."""
        return self._desk.session.diameter / 2 / self.pixel_size

    @property
    def near(self) -> float:
        """Distance within which a click, a label and a pick are about one object, pixels."""
        return SAME * 2 * self.radius

    def click(self, point: ArrayLike) -> None:
        """Put a label; one of the same kind that is there is removed."""
        if self.tool == "erase":
            self.erase(point)
            return
        place, kind = self._find(point)
        if kind == self.tool:
            self._marks.erase(self._desk.name, place, 0.0)
        else:
            self._put(self.tool, place)

    def label(self, kind: Kind, point: ArrayLike) -> None:
        """Put a label; one that is there becomes of that kind."""
        place, before = self._find(point)
        if kind != before:
            self._put(kind, place)

    def label_candidate(self, tool: Tool, micrograph: str, point: ArrayLike) -> None:
        """Label a candidate of any micrograph, or erase its label."""
        candidates = self._desk.session.pool.get(micrograph)
        size = self.pixel_size if candidates is None else candidates.pixel_size
        near = SAME * self._desk.session.diameter / size
        if tool == "erase":
            self._marks.erase(micrograph, point, near)
        else:
            self._marks.mark(micrograph, tool, point, near)

    def erase(self, point: ArrayLike) -> None:
        """Remove the label that is nearest to a place, if it is near."""
        place, kind = self._find(point)
        if kind is not None:
            self._marks.erase(self._desk.name, place, 0.0)

    def lasso(self, path: ArrayLike, erase: bool) -> None:
        """Label the shown picks inside a closed line (n, 2), or remove the labels inside."""
        name = self._desk.name
        if erase or self.tool == "erase":
            places = self._marks.of(name).points()
        else:
            places = self.shown_picks()
        places = places[inside([tuple(map(tuple, np.asarray(path)))], *places.T)]
        if len(places) == 0:
            what = "label" if erase or self.tool == "erase" else "shown pick"
            self.said.emit(f"There is no {what} inside the line.")
        elif erase or self.tool == "erase":
            self._marks.erase(name, places, 0.0)
        else:
            self._marks.mark(name, self.tool, places, self.near)

    def shown_picks(self) -> NDArray[np.float64]:
        """Places of the picks of the micrograph, (n, 2)."""
        found = self._desk.session.picks_of(self._desk.name)
        if found is None:
            return np.zeros((0, 2))
        candidates, chosen = found
        return np.column_stack([candidates.y[chosen], candidates.x[chosen]]).astype(np.float64)

    def unlabelled_picks(self) -> NDArray[np.float64]:
        """Places of those without a label, (n, 2): one never overwrites labels wholesale."""
        picks, marks = self.shown_picks(), self._marks.of(self._desk.name).points()
        if len(marks) and len(picks):
            away = np.linalg.norm(picks[:, None] - marks[None], axis=-1).min(axis=1)
            picks = picks[away > self.near]
        return picks

    def label_picks(self, kind: Kind) -> None:
        """Label all shown picks that have no label; undone at once."""
        self._marks.mark(self._desk.name, kind, self.unlabelled_picks(), 0.0)

    def undo(self) -> None:
        """Take the last change back, and show where it was."""
        self._go(self._marks.undo(), "There is nothing to undo.")

    def redo(self) -> None:
        """Do again what was undone last, and show where."""
        self._go(self._marks.redo(), "There is nothing to redo.")

    def _go(self, name: str | None, nothing: str) -> None:
        if name is None:
            self.said.emit(nothing)
        elif name != self._desk.session.current:
            self._desk.show(name)

    def _put(self, kind: Kind, place: NDArray[np.float64]) -> None:
        if self._is_on_micrograph(place):
            self._marks.mark(self._desk.name, kind, place, self.near)

    def _is_on_micrograph(self, place: NDArray[np.float64]) -> bool:
        micrograph = self._desk.micrograph
        if micrograph is None or not self._desk.name:
            return False
        return bool(
            np.all(place >= -0.5) and np.all(place <= np.array(micrograph.data.shape) - 0.5)
        )

    def _find(self, point: ArrayLike) -> tuple[NDArray[np.float64], Kind | None]:
        """Find the label near a place, and its kind; or else the pick; or else the place itself."""
        here = np.asarray(point, dtype=np.float64)
        marks = self._marks.of(self._desk.name).marks
        found = self._nearest(np.array([(m.y, m.x) for m in marks]).reshape(-1, 2), here)
        if found is not None:
            return np.array([[marks[found].y, marks[found].x]]), marks[found].kind
        picks = self.shown_picks()
        found = self._nearest(picks, here)
        return (here[None] if found is None else picks[found][None]), None

    def _nearest(self, places: NDArray[np.float64], here: NDArray[np.float64]) -> int | None:
        away = np.linalg.norm(places - here, axis=1)
        return int(away.argmin()) if len(away) and away.min() <= self.near else None
