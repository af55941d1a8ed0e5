"""What the table of micrographs says about each of them, and how they are sorted and chosen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.session.marks import KINDS
from napari_so3.session.tally import NOT_PICKED, Tally
from napari_so3.widgets.threshold_box import probability_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_so3.session.state import Session

COLUMNS = ("Name", "Å/px", "Picks", "Labels", "Score", "")
NAME, PIXEL_SIZE, PICKS, LABELS, SCORE, STATE = range(len(COLUMNS))
HINTS = {
    PICKS: "Candidates that are picks: above the threshold, and left by all filters",
    LABELS: "Particles (+) and non-particles (−) that are marked",
    SCORE: "Mean log-odds of the picks",
    STATE: "✓ picked, ★ completely labelled, ✗ failed",
}
SIGNS = {"failed": "✗", "completely labelled": "★", "picked": "✓", "not picked": "—"}
ALL, NOT_YET, PICKED, LABELLED, FAILED = CHOICES = (
    "All",
    "Not picked",
    "Picked",
    "Labelled",
    "Failed",
)


class MicrographRows:
    """One row for every micrograph of a session, in the order of the session.

    Parameters
    ----------
    session : Session
        The session; `read` takes a list that has changed.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pixel_sizes: dict[Path, float] = {}  # of files that were read
        self.names = session.names
        self._ending = shared_ending(self.names)
        self.tally = Tally(session)

    def read(self) -> None:
        """Take the list of the session, and count anew."""
        self.names = self._session.names
        self._ending = shared_ending(self.names)
        self.tally.forget_scores()
        self.tally.count()

    def learn(self, name: str, pixel_size: float) -> None:
        """Take the pixel size in Å that the file of a micrograph tells."""
        self._pixel_sizes[self._session.paths[name]] = pixel_size

    def text(self, row: int, column: int) -> str:
        """Say what a cell shows."""
        if column == NAME:
            return self.names[row].removesuffix(self._ending)
        if column == STATE:
            return SIGNS[self._state(row)]
        if column == LABELS:
            marks = self._session.marks.of(self.names[row])
            signs = zip(KINDS, "+−", strict=False)  # places to ignore are none of both
            return " ".join(f"{sign}{n}" for kind, sign in signs if (n := marks.count(kind)))
        value = self.number(row, column)
        if np.isnan(value):
            return ""
        return f"{value:.2f}" if column == SCORE else f"{value:.5g}"

    def hint(self, row: int, column: int) -> str | None:
        """Say what a cell tells when one points at it."""
        name = self.names[row]
        if column == NAME:
            return str(self._session.paths[name])
        if column == STATE:
            return self._session.failed.get(name, self._state(row).capitalize())
        mean = self.tally.means[row]
        return None if column != SCORE or np.isnan(mean) else f"P = {probability_text(mean)}"

    def number(self, row: int, column: int) -> float:
        """Value of a cell of numbers; NaN where there is none."""
        name, count = self.names[row], self.tally.counts[row]
        if column == PICKS:
            return np.nan if count == NOT_PICKED else float(count)
        if column == SCORE:
            return float(self.tally.means[row])
        if column == LABELS:
            return float(len(self._session.marks.of(name).marks))
        size = self._session.pixel_size or self.tally.pixel_sizes[row]
        if np.isnan(size):
            size = self._pixel_sizes.get(self._session.paths[name], np.nan)
        return float(size)

    def sorted(self, column: int, falling: bool) -> list[int]:
        """Sort all rows by a column; those without a number come last whichever way.

        Parameters
        ----------
        column : int
            -1 leaves the order of the session.
        falling : bool
            The largest first.

        Returns
        -------
        list of int
            Rows.
        """
        rows = range(len(self.names))
        if column == -1:
            return list(rows)
        if column in (NAME, STATE):
            words = [self._word(row, column) for row in rows]
            return sorted(rows, key=words.__getitem__, reverse=falling)
        values = np.array([self.number(row, column) for row in rows])
        return np.argsort(-values if falling else values, kind="stable").tolist()

    def fits(self, row: int, text: str, choice: str) -> bool:
        """Tell whether a name contains a text in lower case, and is of one of `CHOICES`."""
        name = self.names[row]
        if text and text not in name.casefold():
            return False
        if choice == LABELLED:
            return bool(self._session.marks.of(name).marks)
        if choice == FAILED:
            return name in self._session.failed
        if choice in (PICKED, NOT_YET):
            return (self.tally.counts[row] == NOT_PICKED) == (choice == NOT_YET)
        return True

    def summary(self) -> str:
        """Say how many micrographs are picked, and how many picks there are."""
        counts = self.tally.counts
        picked = counts != NOT_PICKED
        words = [f"{picked.sum()} of {len(counts)} picked", f"{counts[picked].sum()} picks"]
        if self._session.failed:
            words.append(f"{len(self._session.failed)} failed")
        return " · ".join(words)

    def _word(self, row: int, column: int) -> str:
        return self.names[row].casefold() if column == NAME else self._state(row)

    def _state(self, row: int) -> str:
        name = self.names[row]
        if name in self._session.failed:
            return "failed"
        if self._session.marks.of(name).complete:
            return "completely labelled"
        return "not picked" if self.tally.counts[row] == NOT_PICKED else "picked"


def shared_ending(names: Sequence[str]) -> str:
    """Find what all names end with, such as ``_fractions_DW``, which tells none from another."""
    if len(names) < 2:
        return ""
    backwards = [name[::-1] for name in names]
    pairs = enumerate(zip(min(backwards), max(backwards), strict=False))
    length = next((at for at, (a, b) in pairs if a != b), len(min(names, key=len)))
    shared = names[0][len(names[0]) - length :]
    separator = re.search(r"[._-]", shared)
    return shared[separator.start() :] if separator else ""
