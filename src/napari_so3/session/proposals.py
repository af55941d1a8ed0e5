"""Which candidates are worth a label: the uncertain ones, of views that are rare so far.

A candidate with log-odds l on a micrograph with the threshold t is worth ``H(l - t) * r``:

- H is the binary entropy of the probability that l - t stands for. The threshold is where one
  changes from no to yes, so that an answer there tells most, and far from it nothing.
- r says how rare its view is. With n labelled particles and m picks, over V views, those of the
  view being n_v and m_v, it is ``sqrt((n / V + 1) / (n_v + 1) * (m / V + 1) / (m_v + 1))``: the
  inverse of the share of the view, smoothed by one particle per view, in the labels (what the
  network was told) and in the picks (what it finds by itself), and 1 where all views are alike. It
  is kept between 1/4 and 4, or views that only noise has would come first.

The best one is taken, counted as labelled, and the next one looked for, so that the proposals are
not all of one view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_so3.session.choice import Choice
    from napari_so3.session.marks import Marks
    from napari_so3.session.pool import Flat
    from napari_so3.session.state import Session

RAREST = 4.0  # a view counts at most this much more, and at least this much less
PER_MICROGRAPH = 3  # proposals, where there are micrographs enough
_FIRST_LOOK = 4096  # candidates among which one looks first


@dataclass(frozen=True)
class Proposal:
    """A candidate that is worth a label.

    Parameters
    ----------
    micrograph : str
        Name.
    index : int
        Of the candidate among those of the micrograph, best first.
    y, x : float
        Pixels of the micrograph.
    logit : float
        AL1 log-odds.
    view : int
        View of the model's grid.
    why : str
        A sentence.
    """

    micrograph: str
    index: int
    y: float
    x: float
    logit: float
    view: int
    why: str


@dataclass(frozen=True, eq=False)
class Question:
    """All that proposals depend on; it stays as it is while a thread works on it.

    Parameters
    ----------
    flat : Flat
        Candidates.
    names : tuple of str
        Micrographs, in the order of the candidates.
    choice : Choice
        What makes a candidate a pick.
    marks : mapping
        Micrograph to its labels, for those that have some.
    """

    flat: Flat
    names: tuple[str, ...]
    choice: Choice
    marks: Mapping[str, Marks]

    @classmethod
    def of(cls, session: Session) -> Question:
        """Take what a session knows now."""
        marks = dict(session.marks.all)
        return cls(session.pool.flat, session.names, session.choice(), marks)


def propose(question: Question, n: int = 20) -> list[Proposal]:
    """Choose the candidates whose labels would teach most.

    Parameters
    ----------
    question : Question
        Where things stand.
    n : int
        Proposals.

    Returns
    -------
    list of Proposal
        Fewer where there are no more candidates without a label; those of a micrograph follow each
        other, and the micrograph with the best one comes first. There are at most `PER_MICROGRAPH`
        of each, or as many more as it takes to find n. Nothing is proposed in excluded areas,
        hidden views, the margin, near a label, or where every particle is labelled.
    """
    flat, choice, names = question.flat, question.choice, question.names
    scores = choice.scores(flat, names, question.marks)
    limits = np.array([choice.limit(name) for name in names], dtype=np.float32)
    excess = scores - np.repeat(limits, np.diff(flat.start))
    view = flat.rotation // choice.in_plane
    n_views = int(view.max(initial=0)) + 1
    labelled = np.bincount(view[np.isposinf(scores)], minlength=n_views)
    found = np.bincount(view[excess >= 0], minlength=n_views)
    for index, name in enumerate(names):
        if name in question.marks and question.marks[name].complete:
            excess[flat.start[index] : flat.start[index + 1]] = np.inf
    log_rarity = np.log(_rarity(labelled, found))[view].astype(np.float32)
    worth = _log_entropy(excess) + log_rarity  # -inf where a label or an area has decided
    listed = _shortlist(flat.owner, worth, n)
    order = _choose(flat.owner[listed], view[listed], excess[listed], labelled, found, n)
    chosen = _by_micrograph([int(listed[k]) for k in order], flat.owner)
    return [_tell(question, i, view, labelled) for i in chosen]


def _log_entropy(excess: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithm of the binary entropy, in nats, of the probability of log-odds; -inf at ±inf."""
    away = np.abs(excess)
    rest = np.exp(-np.minimum(away, 80))
    # H = log(1 + e^-a) + a e^-a / (1 + e^-a); e^-a is taken out, or it would vanish far away.
    finite = np.minimum(away, np.finfo(np.float32).max)
    scaled = np.log1p(rest) / rest + finite / (1 + rest)
    return np.asarray(np.log(scaled) - away, dtype=np.float32)


def _rarity(labelled: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of every view, (V,)."""
    weight = np.ones(len(labelled))
    for count in (labelled, found):
        weight *= (count.mean() + 1) / (count + 1)
    return np.clip(np.sqrt(weight), 1 / RAREST, RAREST)


def _shortlist(owner: NDArray[np.int32], worth: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Find the best candidates, of enough micrographs that n can be taken from them."""
    size = _FIRST_LOOK
    while size < len(worth):
        best = np.argpartition(-worth, size)[:size]
        best = best[worth[best] > -np.inf]
        if np.minimum(np.bincount(owner[best]), PER_MICROGRAPH).sum() >= 2 * n:
            return np.asarray(best)
        size *= 8
    return np.flatnonzero(worth > -np.inf)


def _choose(
    owner: NDArray[np.int32],
    view: NDArray[np.int32],
    excess: NDArray[np.float32],
    labelled: NDArray[np.int64],
    found: NDArray[np.int64],
    n: int,
) -> list[int]:
    """Take the best of the listed ones, count it as labelled, and so on; give their indices."""
    entropy, labelled, cap = _log_entropy(excess), labelled.copy(), PER_MICROGRAPH
    of_micrograph = np.zeros(int(owner.max(initial=0)) + 1, dtype=np.int64)
    open_ = np.ones(len(owner), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(n, len(owner)):
        worth = entropy + np.log(_rarity(labelled, found))[view]
        worth[~open_ | (of_micrograph[owner] >= cap)] = -np.inf
        best = int(np.argmax(worth))
        if worth[best] == -np.inf:
            cap += 1
            continue
        open_[best] = False
        of_micrograph[owner[best]] += 1
        labelled[view[best]] += 1
        chosen.append(best)
    return chosen


def _by_micrograph(chosen: Sequence[int], owner: NDArray[np.int32]) -> list[int]:
    """Let those of a micrograph follow each other: one looks at it once."""
    owners = [int(owner[i]) for i in chosen]
    first = {each: owners.index(each) for each in owners}
    return [chosen[k] for k in sorted(range(len(chosen)), key=lambda k: (first[owners[k]], k))]


def _tell(
    question: Question, i: int, view: NDArray[np.int32], labelled: NDArray[np.int64]
) -> Proposal:
    flat = question.flat
    owner, its_view, logit = int(flat.owner[i]), int(view[i]), float(flat.logit[i])
    name = question.names[owner]
    return Proposal(
        name,
        int(i - flat.start[owner]),
        float(flat.y[i]),
        float(flat.x[i]),
        logit,
        its_view,
        f"P {expit(logit):.3g} near the threshold {expit(question.choice.limit(name)):.3g}; "
        f"{labelled[its_view]} of {labelled.sum()} labelled particles have its view ({its_view}).",
    )
