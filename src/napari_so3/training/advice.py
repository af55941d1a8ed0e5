"""Before a training, in words: what the labels are good for, and what would help. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from napari_so3.training.labels import Labels
    from napari_so3.training.tiles import LabelledMicrograph

FEWEST_POSITIVES = 5
ENOUGH_POSITIVES = 50
ENOUGH_MICROGRAPHS = 3
FEWEST_TO_HOLD_OUT = 4  # labelled micrographs; with fewer, all are needed to learn from
HELD_OUT = 0.2
TOO_NEAR = 0.25  # diameters
MOST_NEGATIVES = 3  # for each particle
_NAMED = 3  # micrographs that are listed by name

Level = Literal["stop", "warn", "info"]


@dataclass(frozen=True)
class Advice:
    """A sentence about labels.

    Parameters
    ----------
    level : {"stop", "warn", "info"}
        Whether nothing can be learnt, something should be done first, or all is well.
    text : str
        The sentence.
    """

    level: Level
    text: str


def check_labels(
    labels: Mapping[str, Labels],
    diameter: float | None = None,
    pixel_sizes: Mapping[str, float] | None = None,
) -> list[Advice]:
    """Say in words what is known about labels, and what would help.

    Parameters
    ----------
    labels : mapping
        File name of a micrograph to its labels; no image is read.
    diameter : float, optional
        Of the particle, Å; without it, marks that are too near to each other are not looked for.
    pixel_sizes : mapping, optional
        File name to Å per pixel, of those micrographs where it is known.

    Returns
    -------
    list of Advice
        What forbids a training alone, or else what is to be known first.
    """
    total = sum(len(one.positives) for one in labels.values())
    if total < FEWEST_POSITIVES:
        return [
            Advice(
                "stop",
                f"{_count(total, 'labelled particle')} {'is' if total == 1 else 'are'} too few to "
                f"learn from; label at least {FEWEST_POSITIVES}, better {ENOUGH_POSITIVES}, in "
                "three micrographs or more.",
            )
        ]
    held = hold_out(labels)
    training = {name: one for name, one in labels.items() if name not in held}
    return [
        *_learning(training, held),
        *_numbers(training),
        *_balance(training),
        *_completeness(labels, held),
        *_twice(labels, diameter, pixel_sizes or {}),
    ]


def hold_out(labels: Mapping[str, Labels]) -> list[str]:
    """Choose the micrographs that a training is judged by.

    Parameters
    ----------
    labels : mapping
        File name of a micrograph to its labels.

    Returns
    -------
    list of str
        A fifth of those with particles; none if there are fewer than `FEWEST_TO_HOLD_OUT`.
    """
    names = sorted(name for name, one in labels.items() if len(one.positives))
    if len(names) < FEWEST_TO_HOLD_OUT:
        return []
    return split_by_micrograph(names, (1 - HELD_OUT, HELD_OUT))[1]


def divide(
    micrographs: Mapping[str, LabelledMicrograph],
) -> tuple[dict[str, LabelledMicrograph], dict[str, LabelledMicrograph]]:
    """Split labelled micrographs into those to learn from and those to judge by.

    Parameters
    ----------
    micrographs : mapping
        Name to labelled micrograph.

    Returns
    -------
    training, held_out : dict
        The second is empty where `hold_out` chooses none.
    """
    held = hold_out({name: one.labels for name, one in micrographs.items()})
    return (
        {k: m for k, m in micrographs.items() if k not in held},
        {k: micrographs[k] for k in held},
    )


def split_by_micrograph(
    names: Sequence[str], shares: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0
) -> list[list[str]]:
    """Split micrographs at random: training, validation, test (paper: 70/15/15).

    Whole micrographs, since crops of one micrograph know each other.

    Parameters
    ----------
    names : sequence of str
        Micrographs.
    shares : sequence of float
        Of each part; their sum is 1.
    seed : int
        Of the draw.

    Returns
    -------
    list of list of str
        Every part but the first has at least one micrograph if there are as many as parts.
    """
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    parts = []
    for share in reversed(shares[1:]):
        n = max(1, round(share * len(names))) if len(names) >= len(shares) else 0
        parts.append(order[:n])
        order = order[n:]
    return [order, *reversed(parts)]


def _learning(training: Mapping[str, Labels], held: Sequence[str]) -> Iterator[Advice]:
    learnt = (
        f"Learning from {_count(_positives(training), 'particle')} in "
        f"{_count(len(training), 'micrograph')}; "
    )
    if held:
        yield Advice(
            "info",
            f"{learnt}{_count(len(held), 'micrograph')} held out to choose the best weights "
            f"({_some(held)}).",
        )
    else:
        yield Advice(
            "info",
            f"{learnt}none is held out: the last weights are kept (label {FEWEST_TO_HOLD_OUT} "
            "micrographs or more to have some held out).",
        )


def _numbers(training: Mapping[str, Labels]) -> Iterator[Advice]:
    positives = _positives(training)
    if positives < ENOUGH_POSITIVES:
        yield Advice(
            "warn",
            f"{_count(positives, 'particle')} are few: {ENOUGH_POSITIVES} or more give a better "
            "model.",
        )
    if sum(len(one.positives) > 0 for one in training.values()) < ENOUGH_MICROGRAPHS:
        yield Advice(
            "warn",
            "Labels from three micrographs or more, of low and high defocus, carry further.",
        )


def _balance(training: Mapping[str, Labels]) -> Iterator[Advice]:
    """Judge the number of negatives; where all particles are marked, the rest is negative."""
    positives = _positives(training)
    negatives = sum(len(one.negatives) for one in training.values())
    if negatives > MOST_NEGATIVES * positives:
        yield Advice(
            "warn",
            f"{negatives} non-particles for {_count(positives, 'particle')}: the model may become "
            "shy; label more particles.",
        )
    elif negatives == 0 and not all(one.complete for one in training.values()):
        yield Advice(
            "info",
            "No non-particles are labelled; a few on what is picked wrongly (carbon, ice, "
            "aggregates) help.",
        )


def _completeness(labels: Mapping[str, Labels], held: Sequence[str]) -> Iterator[Advice]:
    empty = [name for name, one in labels.items() if one.complete and not len(one.positives)]
    if empty:
        yield Advice(
            "warn",
            f"Marked as complete, but without a particle: {_some(empty)}; all of "
            f"{'it' if len(empty) == 1 else 'them'} is learnt as background.",
        )
    if not all(labels[name].complete for name in held):
        yield Advice(
            "info",
            "The validation AUPRC counts unlabelled particles as wrong, so that it is a lower "
            "bound: compare it between epochs only.",
        )


def _twice(
    labels: Mapping[str, Labels], diameter: float | None, pixel_sizes: Mapping[str, float]
) -> Iterator[Advice]:
    """Find marks that are too near to another one to be of two particles."""
    if diameter is None:
        return
    found = {}
    for name, size in pixel_sizes.items():
        points = np.concatenate([labels[name].positives, labels[name].negatives])
        pairs = cKDTree(points).query_pairs(TOO_NEAR * diameter / size) if len(points) else ()
        if pairs:
            found[name] = len(pairs)
    if found:
        n = sum(found.values())
        yield Advice(
            "warn",
            f"{_count(n, 'pair')} of labels {'is' if n == 1 else 'are'} nearer than a quarter of "
            f"the diameter ({TOO_NEAR * diameter:.3g} Å), in {_some(found)}: erase one of each "
            "pair.",
        )


def _positives(labels: Mapping[str, Labels]) -> int:
    return sum(len(one.positives) for one in labels.values())


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
