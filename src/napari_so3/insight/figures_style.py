"""What all figures share: their paper, pictures at a scale in Å, and scale bars."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.picking.preprocess import blur

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from napari_so3.insight.rotation_maps import RotationMaps
    from napari_so3.picking.preprocess import WorkingImage

TITLE, TEXT = 9, 8  # points
INK, FAINT, ACCENT, SECOND = "#222222", "#8a8a8a", "#c1440e", "#2b6cb0"
COLOURS = (  # readable on white and on grey (Okabe and Ito, without yellow and black)
    *("#d55e00", "#0072b2", "#009e73", "#cc79a7"),
    *("#e69f00", "#56b4e9", "#7a5195", "#6b8e23"),
)
RANGE = (1.0, 99.5)  # percentiles that are black and white
SMOOTHING = 9.0  # standard deviation of the blur of micrographs, Å
BAR_SHARE = 0.3  # of the width: the most that a scale bar takes
LINE = 62  # characters of a line of text beside a plot
DPI = 200  # of pictures that are written


@dataclass(frozen=True)
class Area:
    """A square of a micrograph.

    Parameters
    ----------
    y, x : float
        Centre, pixels of the micrograph.
    width : float
        Edge, Å.
    """

    y: float
    x: float
    width: float


def new_figure(width: float, height: float) -> Figure:
    """Make a white figure, inches, that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DPI, facecolor="white", layout="constrained")


def split(figure: Any, *shares: float, stacked: bool = False) -> list[Any]:
    """Divide a figure into parts side by side, or stacked, of these relative sizes."""
    if stacked:
        return list(figure.subfigures(len(shares), 1, height_ratios=shares))
    return list(figure.subfigures(1, len(shares), width_ratios=shares))


def title(ax: Axes, text: str, colour: str = INK) -> None:
    """Write above a picture."""
    ax.set_title(text, fontsize=TITLE, color=colour)


def below(ax: Axes, text: str) -> None:
    """Write below a picture without axes."""
    ax.set_xlabel(text, fontsize=TEXT, color=INK, labelpad=4)


def blank(ax: Axes, text: str = "") -> None:
    """Take the axes away, and write something in their place."""
    ax.set_axis_off()
    ax.text(
        0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, fontsize=TEXT, color=FAINT
    )


def plain(ax: Axes) -> None:
    """Make the axes of a plot light."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=TEXT, colors=INK)
    ax.xaxis.label.set_fontsize(TEXT)
    ax.yaxis.label.set_fontsize(TEXT)


def sentences(ax: Axes, lines: Sequence[str]) -> None:
    """Write sentences in the place of a plot, one paragraph each."""
    blank(ax)
    text = "\n\n".join(textwrap.fill(line, LINE) for line in lines)
    ax.text(0.0, 1.0, text, va="top", transform=ax.transAxes, fontsize=TEXT, color=INK)


def resolution_axis(ax: Axes) -> None:
    """Write resolutions in Å along the top of an axis of frequencies in 1/Å."""
    ticks = [t for t in ax.get_xticks() if t > 0 and t <= ax.get_xlim()[1]]
    above = ax.secondary_xaxis("top")
    above.set_xticks(ticks, [f"{1 / t:.0f} Å" for t in ticks])
    above.tick_params(labelsize=TEXT - 1, colors=FAINT, length=2, pad=1)
    above.spines["top"].set_visible(False)


def picture(
    ax: Axes,
    image: NDArray[Any],
    step: ArrayLike,
    limits: tuple[float, float] | None = None,
    cmap: str = "gray",
    bar: bool = True,
    first: tuple[float, float] = (0.0, 0.0),
    smooth: bool = False,
) -> Any:
    """Show an image in Å, row 0 on top.

    Parameters
    ----------
    ax : Axes
        Where; its coordinates are x and y in Å.
    image : ndarray
        (h, w), or (h, w, 3) colours.
    step : float or (float, float)
        Å per pixel along y and x.
    limits : (float, float), optional
        Values that are the darkest and the brightest; percentiles by default.
    cmap : str
        Colours.
    bar : bool
        Draw a scale bar.
    first : (float, float)
        y and x of the centre of the first pixel, Å.
    smooth : bool
        Draw between the pixels too.

    Returns
    -------
    AxesImage
        For a colour bar.
    """
    along_y, along_x = np.broadcast_to(step, 2)
    top, left = first[0] - along_y / 2, first[1] - along_x / 2
    bottom, right = top + image.shape[0] * along_y, left + image.shape[1] * along_x
    low, high = np.percentile(image, RANGE) if limits is None else limits
    shown = ax.imshow(
        image, cmap=cmap, vmin=low, vmax=high, extent=(left, right, bottom, top),
        interpolation="bicubic" if smooth else "nearest",
    )  # fmt: skip
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_linewidth(0.5)
    if bar:
        scale_bar(ax)
    return shown


def scale_bar(ax: Axes) -> None:
    """Draw a bar of a round number of Å in the lower left corner of a picture."""
    from matplotlib.patheffects import withStroke

    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    length = round_length(BAR_SHARE * (right - left))
    start, low = left + 0.05 * (right - left), bottom + 0.06 * (top - bottom)
    outline = [withStroke(linewidth=2, foreground="white")]
    thick = [withStroke(linewidth=3.5, foreground="white")]
    ax.plot([start, start + length], [low, low], color="black", lw=2, path_effects=thick)
    ax.annotate(
        f"{length:g} Å", (start + length / 2, low), (0, 2), textcoords="offset points",
        ha="center", va="bottom", fontsize=TEXT - 1, color="black", path_effects=outline,
    )  # fmt: skip


def round_length(most: float) -> float:
    """Find the largest of 1, 2 and 5 times a power of ten that is not above a length."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(k * power for k in (1, 2, 5) if k * power <= most)


def colour_bar(figure: Figure, shown: Any, ax: Any, label: str) -> None:
    """Explain colours beside pictures."""
    bar = figure.colorbar(shown, ax=ax, shrink=0.8, pad=0.02, aspect=25)
    bar.set_label(label, fontsize=TEXT)
    bar.ax.tick_params(labelsize=TEXT)
    bar.outline.set_linewidth(0.5)


def micrograph(ax: Axes, image: WorkingImage, area: Area | None) -> None:
    """Show a part of a micrograph as a person likes to see it: particles dark, less noise.

    Parameters
    ----------
    ax : Axes
        Where; its coordinates are x and y in Å.
    image : WorkingImage
        What the network sees.
    area : Area or None
        None is all of it.
    """
    smooth = blur(image.pixels.numpy(), SMOOTHING / image.pixel_size[0])
    rows, columns = _slices(area, image.pixels.shape, image.scale, image.pixel_size)
    first = rows.start * image.pixel_size[0], columns.start * image.pixel_size[1]
    picture(ax, -smooth[rows, columns], image.pixel_size, first=first, smooth=True)


def score_map(
    ax: Axes,
    maps: RotationMaps,
    values: NDArray[Any],
    area: Area | None,
    limits: tuple[float, float],
    bar: bool = True,
) -> Any:
    """Show a part of a map.

    Parameters
    ----------
    ax : Axes
        Where; its coordinates are x and y in Å.
    maps : RotationMaps
        Tells where it lies.
    values : ndarray
        (h, w) or (h, w, 3), the whole map.
    area : Area or None
        None is all of it.
    limits : (float, float)
        Values that are the darkest and the brightest.
    bar : bool
        Draw a scale bar.

    Returns
    -------
    AxesImage
        For a colour bar.
    """
    step = maps.scale[0] * maps.pixel_size, maps.scale[1] * maps.pixel_size
    rows, columns = _slices(area, maps.shape, maps.scale, step)
    first = rows.start * step[0], columns.start * step[1]
    return picture(ax, values[rows, columns], step, limits, "inferno", bar, first)


def is_inside(ax: Axes, y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which places, Å, lie in a picture."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    return np.asarray((x > left) & (x < right) & (y > top) & (y < bottom))


def _slices(
    area: Area | None,
    shape: tuple[int, ...],
    scale: tuple[float, float],
    step: tuple[float, float],
) -> tuple[slice, slice]:
    """Find the pixels of an area; it is moved to where it fits."""
    if area is None:
        return slice(0, shape[0]), slice(0, shape[1])
    found = []
    for centre, n, per_pixel, width in zip((area.y, area.x), shape, scale, step, strict=True):
        size = min(n, max(1, round(area.width / width)))
        start = min(max(round(centre / per_pixel - (size - 1) / 2), 0), n - size)
        found.append(slice(start, start + size))
    return found[0], found[1]
