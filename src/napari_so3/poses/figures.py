"""Figures of poses for notebooks and papers; they belong to no window.

All return a `matplotlib.figure.Figure`; write it with ``savefig``.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.insight import figures_style as style
from napari_so3.insight.globe import camera, graticule
from napari_so3.poses.cells import interpolate
from napari_so3.poses.coverage_words import words
from napari_so3.poses.mollweide import brightest, draw, project_line, to_ellipse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_so3.poses.coverage import Coverage

ROWS = 300  # pixels of the picture of all views
SEEN_FROM = ((30.0, 60.0), (210.0, 120.0))  # rot and tilt, of two opposite sides of the globe
LINE = 110  # characters of a line of words
CMAP = "inferno"
BINS = 20  # of confidences
COLUMNS = 3  # particles side by side


def coverage_figure(coverage: Coverage, name: str = "") -> Figure:
    """Draw which views picks show.

    Parameters
    ----------
    coverage : Coverage
        Of the picks.
    name : str
        Whose picks they are.

    Returns
    -------
    Figure
        All views as an ellipse (Mollweide's projection), the sphere from two opposite sides, the
        in-plane angles, and what it means in words.
    """
    figure = style.new_figure(9.6, 6.4)
    picks = "1 pick" if coverage.n == 1 else f"{coverage.n:,} picks"
    said = textwrap.fill(words(coverage), LINE)
    figure.suptitle(
        f"{name + ': ' if name else ''}views of {picks}\n{said}",
        fontsize=style.TITLE, color=style.INK,
    )  # fmt: skip
    above, below = style.split(figure, 1.5, 1, stacked=True)
    top = brightest(coverage.density)
    ax = above.subplots()
    shown = _ellipse(ax, coverage, top)
    style.colour_bar(above, shown, ax, "picks, relative to even views")
    globes, histogram = style.split(below, 1.2, 1)
    for ax, side in zip(globes.subplots(1, 2), SEEN_FROM, strict=True):
        _globe(ax, coverage, side, top)
    _in_plane(histogram.subplots(), coverage.in_plane)
    return figure


def _ellipse(ax: Axes, coverage: Coverage, top: float) -> Any:
    from matplotlib.patches import Ellipse

    shown = ax.imshow(
        draw(coverage.density, ROWS), cmap=CMAP, vmin=0, vmax=top, extent=(-2, 2, -1, 1)
    )
    for line in graticule():
        for part in project_line(line):
            ax.plot(*part.T, color="white", lw=0.4, alpha=0.4)
    ax.add_patch(Ellipse((0, 0), 4, 2, fill=False, ec=style.INK, lw=0.8))
    ax.set_xlim(-2.3, 2.05)
    ax.set_ylim(-1.14, 1.14)
    ax.set_axis_off()
    _name_angles(ax)
    return shown


def _name_angles(ax: Axes) -> None:
    from matplotlib.patheffects import withStroke

    for tilt in (30, 60, 90, 120, 150):
        x, y = to_ellipse([-np.sin(np.radians(tilt)), -1e-9, np.cos(np.radians(tilt))])
        ax.text(x - 0.03, y, f"tilt {tilt}°", ha="right", va="center", fontsize=style.TEXT)
    ax.text(0, 1.02, "tilt 0°", ha="center", va="bottom", fontsize=style.TEXT)
    ax.text(0, -1.02, "tilt 180°", ha="center", va="top", fontsize=style.TEXT)
    outline = [withStroke(linewidth=2, foreground="black")]
    for rot in (-90, 0, 90):
        x, y = to_ellipse([np.cos(np.radians(rot)), np.sin(np.radians(rot)), 0])
        ax.text(
            x, y, f"rot {rot % 360}°", ha="center", va="center",
            fontsize=style.TEXT, color="white", path_effects=outline,
        )  # fmt: skip


def _globe(ax: Axes, coverage: Coverage, side: tuple[float, float], top: float) -> None:
    """Draw the sphere as one sees it from a side: +z on top, rot grows to the right."""
    seen = camera(*side)
    steps = np.linspace(-1, 1, ROWS)
    right, up = np.meshgrid(steps, steps[::-1])
    towards = np.sqrt(np.maximum(0, 1 - right**2 - up**2))
    inside = right**2 + up**2 <= 1
    picture = np.full(inside.shape, np.nan)
    views = np.stack([right, up, towards], axis=-1)[inside] @ seen
    picture[inside] = interpolate(coverage.density, views)
    ax.imshow(picture, cmap=CMAP, vmin=0, vmax=top, extent=(-1, 1, -1, 1))
    for line in graticule():
        x, y, z = seen @ line.T
        ax.plot(np.where(z > 0, x, np.nan), y, color="white", lw=0.4, alpha=0.4)
    for label, axis in (("x", (1, 0, 0)), ("y", (0, 1, 0)), ("z", (0, 0, 1))):
        for sign, name in ((1, f"+{label}"), (-1, f"−{label}")):
            x, y, z = sign * (seen @ axis)
            if z > 0.3:
                ax.plot(x, y, ".", color="white", ms=3)
                ax.annotate(
                    name, (x, y), (3, 3), textcoords="offset points",
                    fontsize=style.TEXT - 1, color="white",
                )  # fmt: skip
    ax.set_xlim(-1.05, 1.05)
    ax.set_ylim(-1.05, 1.05)
    ax.set_axis_off()
    style.title(ax, f"seen from rot {side[0]:.0f}°, tilt {side[1]:.0f}°")


def _in_plane(ax: Axes, counts: NDArray[np.float64]) -> None:
    step = 360 / len(counts)
    ax.bar((np.arange(len(counts)) + 0.5) * step, counts, 0.9 * step, color=style.SECOND)
    ax.axhline(counts.mean(), color=style.FAINT, lw=0.8, ls="--")
    ax.set_xlim(0, 360)
    ax.set_xticks(range(0, 361, 90), [f"{angle}°" for angle in range(0, 361, 90)])
    ax.set_xlabel("in-plane angle psi")
    ax.set_ylabel(f"picks per {step:.0f}°")
    style.plain(ax)


def poses_figure(
    crops: NDArray[np.floating],
    projections: NDArray[np.floating],
    pixel_size: float,
    correlations: Sequence[float],
    captions: Sequence[str],
) -> Figure:
    """Draw particles beside the map in their poses.

    Parameters
    ----------
    crops, projections : ndarray
        (n, k, k) particles, and projections of the map in the poses that they were given.
    pixel_size : float
        Å per pixel.
    correlations : sequence of float
        n correlations of the two.
    captions : sequence of str
        n lines, as the angles of the poses.

    Returns
    -------
    Figure
        A pair of pictures for every particle.
    """
    columns = min(COLUMNS, len(crops))
    rows = -(-len(crops) // columns)
    figure = style.new_figure(3.1 * columns, 2.1 * rows)
    parts = np.ravel(figure.subfigures(rows, columns, squeeze=False))
    for i, (part, crop) in enumerate(zip(parts, crops, strict=False)):
        left, right = part.subplots(1, 2)
        style.picture(left, crop, pixel_size)
        style.picture(right, projections[i], pixel_size, bar=False)
        style.title(left, "particle")
        style.title(right, f"map, correlation {correlations[i]:.2f}")
        part.supxlabel(captions[i], fontsize=style.TEXT)
    return figure


def confidence_figure(confidence: NDArray[np.floating]) -> Figure:
    """Draw how sure an estimator is of its poses.

    Parameters
    ----------
    confidence : ndarray
        (n,) probabilities that the poses are right within 15 degrees; NaN is left out.

    Returns
    -------
    Figure
        A histogram, and how many are right to be expected.
    """
    known = np.asarray(confidence)[np.isfinite(confidence)]
    figure = style.new_figure(4.8, 3.2)
    ax = figure.subplots()
    ax.hist(100 * known, BINS, range=(0, 100), color=style.SECOND, rwidth=0.9)
    ax.set_xlim(0, 100)
    ax.set_xlabel("confidence, %")
    ax.set_ylabel("picks")
    right = f", {known.sum():,.0f} of {len(known):,} to be expected" if len(known) else ""
    style.title(ax, f"Poses that are right within 15°{right}")
    style.plain(ax)
    return figure
