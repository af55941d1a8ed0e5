"""Figures of checks: fewer rotations, and turned micrographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_so3.insight import figures_style as style
from napari_so3.insight.budget import ENOUGH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_so3.insight.budget import Budget
    from napari_so3.insight.self_check import SelfCheck


def budget_figure(budget: Budget) -> Figure:
    """Draw what fewer rotations cost and save.

    Parameters
    ----------
    budget : Budget
        Of `survey_budget`.

    Returns
    -------
    Figure
        Share of the picks that are kept, and seconds per micrograph, against the rotations.
    """
    figure = style.new_figure(9.0, 3.5)
    left, right = figure.subplots(1, 2)
    rows, best = budget.rows, budget.smallest()
    n = [row.rotations for row in rows]
    kept = [100 * row.kept for row in rows]
    at_threshold = [100 * row.kept_at_threshold for row in rows]
    left.plot(n, kept, "o-", color=style.SECOND, label="as many picks")
    left.plot(n, at_threshold, "s--", color=style.ACCENT, label="the same threshold", mfc="white")
    left.axhline(100 * ENOUGH, color=style.FAINT, lw=0.8, ls=":")
    left.set_ylabel(f"picks of {rows[-1].rotations} rotations that are kept, %")
    left.legend(fontsize=style.TEXT, frameon=False, loc="lower right")
    words = f"{best.rotations} rotations keep {100 * best.kept:.1f} % of the picks"
    if best is budget.reference:
        words = f"Fewer rotations keep less than {100 * ENOUGH:.0f} % of the picks"
    style.title(left, words)
    right.plot(n, [row.seconds for row in rows], "o-", color=style.SECOND)
    right.set_ylim(bottom=0)
    right.set_ylabel("seconds per micrograph")
    count = f"{budget.micrographs} micrograph{'s' if budget.micrographs > 1 else ''}"
    style.title(right, f"Time on this computer, {count}")
    labels = [f"{row.rotations}\n{row.views} × {row.in_plane}" for row in rows]
    for ax in (left, right):
        ax.axvline(best.rotations, color=style.FAINT, lw=6, alpha=0.25, zorder=0)
        ax.set_xscale("log")
        ax.set_xticks(n, labels)
        ax.set_xticks([], minor=True)
        ax.set_xlabel("rotations (views × in-plane angles)")
        style.plain(ax)
    return figure


def self_check_figure(check: SelfCheck) -> Figure:
    """Draw whether a picker sees the same when the micrograph is turned or mirrored.

    Parameters
    ----------
    check : SelfCheck
        Of `self_check`.

    Returns
    -------
    Figure
        Shares of the picks that moved as they should, and the sentences.
    """
    figure = style.new_figure(9.0, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    at, height = np.arange(len(check.rows)), 0.38
    shares = (
        ([row.moved for row in check.rows], f"moved with the picture (within {check.match:.0f} Å)"),
        ([row.rotation_kept for row in check.rows], "of these: matched rotation as expected"),
    )
    for i, (values, words) in enumerate(shares):
        colour = (style.SECOND, style.COLOURS[4])[i]
        percent = 100 * np.nan_to_num(values)
        bars = left.barh(at + (i - 0.5) * height, percent, height, color=colour, label=words)
        left.bar_label(bars, fmt="%.0f", fontsize=style.TEXT - 1, padding=2)
    left.set_yticks(at, [row.words.replace(" (", "\n(") for row in check.rows])
    left.invert_yaxis()
    left.set_xlim(0, 112)
    left.set_xlabel("share of the picks, %")
    left.legend(
        fontsize=style.TEXT - 1, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2)
    )
    style.title(left, "The micrograph, picked again")
    style.plain(left)
    style.sentences(right, check.sentences())
    return figure
