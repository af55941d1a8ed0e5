"""What the coverage of views means, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_so3.insight.globe import angles_of
from napari_so3.poses.cells import cells
from napari_so3.poses.chance import ALARM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_so3.poses.coverage import Coverage

    _Ranges = Sequence[tuple[float, float]]

SLIGHT = 0.8  # share that is covered: above, preferred views are hardly a problem
SURE = 0.9  # power from which "no sign" is worth saying
UNSURE = 0.3  # clarity below which poses say nothing about views
BLURRED = 0.7  # clarity below which views look more even than they are
CLEARLY = 1.1  # how many times as many as if they were even is worth a word
ADVICE = "Collect tilted, or change the grid or its support."


def words(coverage: Coverage) -> str:
    """Say whether views are preferred, which ones, and what to do.

    Parameters
    ----------
    coverage : Coverage
        Of picks.

    Returns
    -------
    str
        One to three sentences.
    """
    picks, verb = ("1 pick", "is") if coverage.n == 1 else (f"{coverage.n:,} picks", "are")
    if coverage.n == 0:
        return "There are no poses yet."
    if coverage.clarity < UNSURE:
        return (
            f"The poses of {picks} are too unsure to tell whether views are preferred "
            f"({_percent(coverage.clarity)} sure)."
        )
    if coverage.is_preferred:
        return " ".join([_uneven(coverage), *_caveats(coverage)])
    if coverage.power < SURE and coverage.clarity < BLURRED:
        return f"{picks} with poses this unsure {verb} too few to tell whether views are preferred."
    if coverage.power < SURE:
        return f"{picks} {verb} too few to tell whether views are preferred."
    return " ".join([f"No sign of preferred views among {picks}.", *_caveats(coverage)])


def _uneven(coverage: Coverage) -> str:
    if coverage.share > SLIGHT:
        share = _percent(coverage.share)
        much = f"Views are slightly uneven, as if {share} of all were covered evenly."
        return f"{much} {_which(coverage)}"
    much = f"Views are uneven: half of the particles show {_percent(coverage.half)} of all views."
    return f"{much} {_which(coverage)} {ADVICE}"


def _which(coverage: Coverage) -> str:
    """Name the views that are frequent; top and side only where the symmetry has an axis."""
    rot, tilt = coverage.peak
    most = f"The most frequent ones are near rot {round(rot) % 360}°, tilt {tilt:.0f}°."
    if not coverage.has_axis:
        return most
    shares = {
        name: (share_of_tilts(coverage.density, tilts), share_of_tilts(coverage.even, tilts))
        for name, tilts in _kinds(coverage).items()
    }
    name, (share, even) = max(shares.items(), key=lambda item: item[1][0] - item[1][1])
    if share < CLEARLY * even:
        return most
    return f"{_percent(share)} are {name}; {_percent(even)} would be even."


def _kinds(coverage: Coverage) -> Mapping[str, _Ranges]:
    kinds = {"side views (tilt near 90°)": ((60, 120),), "oblique views": ((30, 60), (120, 150))}
    if np.any(coverage.group[:, 2, 2] < 0):  # both ends of the axis look the same
        return kinds | {"top views (tilt near 0° or 180°)": ((0, 30), (150, 180))}
    return kinds | {
        "top views (tilt near 0°)": ((0, 30),),
        "bottom views (tilt near 180°)": ((150, 180),),
    }


def share_of_tilts(density: NDArray[np.float64], ranges: _Ranges) -> float:
    """Tell the share of a density (N,) of views whose tilt is in ranges of degrees, 0 to 1."""
    directions, areas, _ = cells()
    tilt, mass = angles_of(directions)[:, 1], density * areas
    inside = np.any([(tilt >= low) & (tilt <= high) for low, high in ranges], axis=0)
    return float(mass[inside].sum() / mass.sum())


def _caveats(coverage: Coverage) -> list[str]:
    said = []
    if coverage.clarity < BLURRED:
        said.append("The poses are unsure, so views are less even than they look.")
    if coverage.p_in_plane < ALARM:
        said.append(
            "In-plane angles are uneven too, which nothing in the ice explains: look at the poses."
        )
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
