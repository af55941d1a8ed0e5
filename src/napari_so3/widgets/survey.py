"""How many picks there are: here, in all, by view; quick enough to follow a threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.session.choice import reaches
from napari_so3.widgets.threshold_box import HIGHEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.session.choice import Choice
    from napari_so3.session.state import Session


class Survey:
    """The candidates of a session as they are when this is made; only the threshold may change.

    Parameters
    ----------
    session : Session
        The session.
    name : str
        Micrograph that is looked at; it need not be picked.

    Attributes
    ----------
    highest : float
        Largest log-odds, or `HIGHEST`.
    micrographs : int
        Micrographs that are picked.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._flat, self._names = session.pool.flat, session.names
        self._marks = dict(session.marks.all)
        self._scores = self._scores_of(session.choice())
        finite = self._scores[np.isfinite(self._scores)]
        self.highest = float(finite.max(initial=HIGHEST))
        self.micrographs = len(session.pool)
        self.look_at(name)

    def look_at(self, name: str) -> None:
        """Mean another micrograph by "here"; it need not be picked."""
        there = name in self._session.pool and name in self._names
        self._index = self._names.index(name) if there else None

    def _scores_of(self, choice: Choice) -> NDArray[np.float32]:
        return choice.scores(self._flat, self._names, self._marks)

    def _part(self, here: bool) -> slice:
        """Candidates of the micrograph, or all."""
        if not here:
            return slice(None)
        if self._index is None:
            return slice(0)
        return slice(*self._flat.start[self._index : self._index + 2])

    def scores(self, here: bool) -> NDArray[np.float32]:
        """Log-odds that the threshold is compared with, as `Choice.scores`; here or of all."""
        return self._scores[self._part(here)]

    def counts(self) -> tuple[int, int]:
        """Count the picks here and in all."""
        counts = self._session.choice().counts(self._flat, self._names, self._scores)
        return 0 if self._index is None else int(counts[self._index]), int(counts.sum())

    def views(self, here: bool) -> NDArray[np.int64]:
        """Count the picks that every view has won, (V,), as if none were hidden."""
        choice, part = self._session.choice(), self._part(here)
        scores = self._scores
        if choice.hidden_views:
            scores = self._scores_of(replace(choice, hidden_views=frozenset()))
        limits = np.array([choice.limit(name) for name in self._names], dtype=np.float32)
        owner, view = self._flat.owner[part], self._flat.rotation[part] // choice.in_plane
        last = int(self._flat.rotation.max(initial=-1)) // choice.in_plane
        return np.bincount(view[reaches(scores[part], limits[owner])], minlength=last + 1)
