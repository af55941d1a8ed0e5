"""The figure that explains a pick."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.insight import figures_style as style
from napari_so3.insight.figures_maps import evidence_bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_so3.insight.averages import Average
    from napari_so3.insight.explain import Explanation

NO_OTHERS = "no other pick"


def explanation_figure(explanation: Explanation) -> Figure:
    """Draw why a pick is one.

    Parameters
    ----------
    explanation : Explanation
        Of `explain`.

    Returns
    -------
    Figure
        The pick in the micrograph and as the network sees it, picks that were seen alike, the
        filters, the response, and the shares of the rotations.
    """
    e = explanation
    figure = style.new_figure(10.5, 5.6)
    y, x = e.place
    figure.suptitle(
        f"{e.micrograph.name}, pick at x {x:.0f}, y {y:.0f}\n{e.sentence()}",
        fontsize=style.TITLE, color=style.INK,
    )  # fmt: skip
    left, right = style.split(figure, 3, 1.5)
    axes = left.subplots(2, 3)
    titles = captions(e)
    style.picture(axes[0, 0], e.raw, e.raw_step)
    style.picture(axes[0, 1], e.seen, e.step)
    show_average(axes[0, 2], e.same_rotation, e.step)
    show_average(axes[1, 2], e.same_view, e.step)
    sheet = filter_sheet(e.filters)
    reach = max(float(np.abs(e.filters).max()), 1e-12)
    style.picture(axes[1, 0], sheet, e.step, (-reach, reach))
    style.picture(axes[1, 1], e.response, e.response_step, cmap="inferno")
    order = (axes[0, 0], axes[0, 1], axes[0, 2], axes[1, 0], axes[1, 1], axes[1, 2])
    for ax, words in zip(order, titles, strict=True):
        style.title(ax, words)
    ax = right.subplots()
    evidence_bars(ax, e.evidence, e.rotations)
    style.title(ax, "Rotations at this pick")
    return figure


def captions(e: Explanation) -> tuple[str, str, str, str, str, str]:
    """Say what the six pictures of an explanation are.

    Parameters
    ----------
    e : Explanation
        Of a pick.

    Returns
    -------
    tuple of str
        For the micrograph, what the network sees, the mean of the same rotation, the filters, the
        response and the mean of the same view; of two lines each.
    """
    n = len(e.filters)
    filters = "Projection of the map\nin this pose" if e.rotations.is_map else (
        f"First {n} filter{'s' if n > 1 else ''}\nat this rotation"
    )  # fmt: skip
    return (
        "Micrograph,\nas in its file",
        "As the network sees it:\nreduced, contrast inverted",
        f"Mean of the same rotation:\n{_counted(e.same_rotation)}",
        filters,
        "Score of this rotation,\nbright: a particle",
        f"Mean of the same view,\nany psi: {_counted(e.same_view)}",
    )


def show_average(ax: Axes, average: Average, step: float) -> None:
    """Draw a mean, or that there is none."""
    if average.image is None:
        style.blank(ax, NO_OTHERS)
    else:
        style.picture(ax, average.image, step)


def filter_sheet(filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay filters out in a square, one pixel apart.

    Parameters
    ----------
    filters : ndarray
        (c, k, k).

    Returns
    -------
    ndarray
        (h, w) float32, NaN between the filters.
    """
    c, k, _ = filters.shape
    across = math.ceil(math.sqrt(c))
    down = -(-c // across)
    sheet = np.full((down * (k + 1) - 1, across * (k + 1) - 1), np.nan, dtype=np.float32)
    for i, one in enumerate(filters):
        y, x = i // across * (k + 1), i % across * (k + 1)
        sheet[y : y + k, x : x + k] = one
    return sheet


def _counted(average: Average) -> str:
    if average.n == 0:
        return NO_OTHERS
    words = f"{average.total:,} other pick{'s' if average.total > 1 else ''}"
    return words if average.n == average.total else f"best {average.n:,} of {words}"
