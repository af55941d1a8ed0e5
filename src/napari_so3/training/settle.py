"""After the training: what a score is worth, and which threshold to suggest."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3 import __version__
from napari_so3.picking.calibrate import fit_platt
from napari_so3.picking.evaluate import match_picks
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picks import Picks
from napari_so3.picking.score import Scorer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    import torch
    from numpy.typing import NDArray

    from napari_so3.picking.picker import Picker
    from napari_so3.training.tiles import LabelledMicrograph

MATCH_RADIUS = 0.25  # diameters


def made_now() -> dict[str, Any]:
    """Begin the record of a training: its date and the version of this package."""
    today = datetime.datetime.now(datetime.UTC).date()
    return {"date": today.isoformat(), "version": __version__}


@dataclass(frozen=True)
class Candidates:
    """All candidates of some micrographs.

    Parameters
    ----------
    logits : ndarray
        (n,) float64 log-odds.
    right : ndarray
        (n,) bool: whether a label is within a quarter of a diameter.
    per_micrograph : tuple of int
        How many each has.
    """

    logits: NDArray[np.float64]
    right: NDArray[np.bool_]
    per_micrograph: tuple[int, ...]


def find_candidates(
    picker: Picker, micrographs: Iterable[LabelledMicrograph], device: torch.device
) -> Candidates:
    """Do what `finding` does, without being asked how far it is."""
    steps = finding(picker, micrographs, device)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Candidates = end.value
            return found


def finding(
    picker: Picker, micrographs: Iterable[LabelledMicrograph], device: torch.device
) -> Generator[int, None, Candidates]:
    """Pick micrographs and compare with their labels.

    Parameters
    ----------
    picker : Picker
        Model.
    micrographs : iterable of LabelledMicrograph
        What to pick.
    device : torch.device
        Where to compute.

    Yields
    ------
    int
        How many micrographs are done, after every step of the scoring.

    Returns
    -------
    Candidates
        Of all micrographs together, up to the border.
    """
    scorer = Scorer(picker.net, device)
    logits, right = [], []
    for one in micrographs:
        settings = PickSettings(one.diameter, margin=0.0)
        for event in pick(one.micrograph, picker, settings, scorer):
            if isinstance(event, Picks):
                logits.append(event.table["logit"].to_numpy(dtype=np.float64))
                radius = MATCH_RADIUS * one.diameter / one.pixel_size
                right.append(match_picks(event, one.labels.positives, radius))
            yield len(logits)
    return Candidates(
        np.concatenate(logits), np.concatenate(right), tuple(len(part) for part in logits)
    )


def calibrate(picker: Picker, candidates: Candidates) -> Picker:
    """Make the probabilities of a picker the share of right picks, where all labels are known.

    Parameters
    ----------
    picker : Picker
        Uncalibrated (scale 1, offset 0).
    candidates : Candidates
        Of completely labelled micrographs that the training has not seen, if there are any.

    Returns
    -------
    Picker
        With the calibration of Platt's regression, and 0.5 as the threshold: above it a pick is
        more often right than wrong.
    """
    return replace(
        picker, calibration=fit_platt(candidates.logits, candidates.right), threshold=0.5
    )


def calibrate_to_number(
    picker: Picker, candidates: Candidates, number: float, scale: float = 1.0
) -> Picker:
    """Shift the log-odds so that as many picks as expected are above a probability of one half.

    Parameters
    ----------
    picker : Picker
        Uncalibrated (scale 1, offset 0).
    candidates : Candidates
        Of incompletely labelled micrographs: nobody knows which picks are right.
    number : float
        Expected particles, in all micrographs together.
    scale : float
        Scale of the calibration, taken over from the model that the training started from.

    Returns
    -------
    Picker
        With the threshold 0.5.
    """
    ranked = np.sort(candidates.logits)[::-1]
    n = min(max(round(number), 1), len(ranked))
    middle = float(ranked[n - 1 : n + 1].mean())
    return replace(picker, calibration=(scale, -scale * middle), threshold=0.5)
