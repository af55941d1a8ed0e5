"""A figure of the errors of poses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_so3.insight import figures_style as style
from napari_so3.poses.errors import random_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_so3.poses.errors import PoseErrors

BINS = 36


def error_bins(errors: PoseErrors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Choose bins for errors, and count what guesses would have in them.

    Parameters
    ----------
    errors : PoseErrors
        Errors.

    Returns
    -------
    edges : ndarray
        (BINS + 1,) degrees, from 0 to the largest error that the symmetry allows.
    guessed : ndarray
        (BINS,) how many of as many random poses fall into each.
    """
    guesses = np.degrees(random_errors(errors.symmetry).angles)
    edges = np.linspace(0.0, float(guesses.max()), BINS + 1)
    counts, _ = np.histogram(guesses, edges)
    return edges, counts * (len(errors) / len(guesses))


def errors_figure(errors: PoseErrors) -> Figure:
    """Draw how far poses are apart, beside random poses.

    Parameters
    ----------
    errors : PoseErrors
        Errors.

    Returns
    -------
    Figure
        A histogram, with the median and the hit rates in its title.
    """
    edges, guessed = error_bins(errors)
    figure = style.new_figure(4.8, 3.2)
    ax = figure.subplots()
    ax.hist(np.degrees(errors.angles), list(edges), color=style.SECOND, rwidth=0.9, label="poses")
    middles = (edges[:-1] + edges[1:]) / 2
    ax.plot(middles, guessed, color=style.FAINT, lw=1, label="random poses")
    ax.axvline(errors.median_deg, color=style.ACCENT, lw=1)
    ax.set_xlim(0, edges[-1])
    ax.set_xlabel(f"error under {errors.symmetry}, degrees")
    ax.set_ylabel("picks")
    ax.legend(fontsize=style.TEXT, frameon=False)
    hits = ", ".join(f"{share:.0%} ≤ {limit}°" for limit, share in errors.hits.items())
    style.title(ax, f"median {errors.median_deg:.1f}°; {hits}")
    style.plain(ax)
    return figure
