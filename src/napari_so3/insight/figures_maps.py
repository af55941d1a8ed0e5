"""Figures of score maps: rotations side by side, AL1 against the best rotation, orientations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_so3.insight import figures_style as style
from napari_so3.insight.averages import sample
from napari_so3.insight.evidence import bias_of, evidence_at, sigmoid
from napari_so3.insight.orientation_map import (
    colour_of_psi,
    colour_of_view,
    orientation_image,
    probability_maps,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from napari_so3.insight.averages import PicksOn
    from napari_so3.insight.evidence import Evidence
    from napari_so3.insight.figures_style import Area
    from napari_so3.insight.orientation_map import Colouring
    from napari_so3.insight.rotation_maps import RotationMaps, Rotations
    from napari_so3.picking.preprocess import WorkingImage

MOST = 8  # rotations or views side by side
BARS = 8
LEGEND = 1.35  # how far the two halves of the sphere are from the middle of their legend, radii
RING = 0.6  # diameters, radius of a ring around a pick
INSET = 1.3  # diameters, edge of the mean of picks
JOINED = {
    "al1": "At least one rotation (AL1)",
    "lse": "One of the rotations (LSE)",
    "max": "The best rotation (max)",
}


def rotation_montage(
    maps: RotationMaps,
    image: WorkingImage,
    picks: PicksOn,
    diameter: float,
    area: Area | None = None,
    by: Literal["rotation", "view"] = "rotation",
) -> Figure:
    """Draw the maps of those rotations, or views, that won most picks.

    Parameters
    ----------
    maps : RotationMaps
        Of the micrograph.
    image : WorkingImage
        The micrograph as the network sees it.
    picks : PicksOn
        Its picks; each is drawn in the colour of the rotation that won it.
    diameter : float
        Of the particle, Å.
    area : Area, optional
        What is shown; all by default.
    by : {"rotation", "view"}
        One map per rotation, or per view: the best of its in-plane angles.

    Returns
    -------
    Figure
        The micrograph on the left; the log-odds of each rotation alone, and the mean of its picks.
    """
    n = 1 if by == "rotation" else maps.rotations.n_psi
    group = picks.rotation // n
    figure = style.new_figure(11.0, 4.4)
    left, right = style.split(figure, 1, 1.9)
    ax = left.subplots()
    style.micrograph(ax, image, area)
    chosen = _winners(group[style.is_inside(ax, *_places(picks, maps))])
    colours = dict(zip(chosen, style.COLOURS, strict=False))
    _rings(ax, picks, maps, diameter, [colours.get(int(g), style.FAINT) for g in group])
    style.title(ax, "Micrograph with its picks")
    style.below(
        ax,
        f"colour of a ring: the {by} that won the pick (grey: another one)\n"
        "small pictures: mean of the picks, turned to psi 0",
    )
    axes = _draw_maps(right, maps, area, [range(g * n, g * n + n) for g in chosen])
    for ax, g in zip(axes, chosen, strict=False):
        won = group == g
        _rings(ax, picks, maps, diameter, [colours[g] if w else None for w in won])
        _inset_mean(ax, picks, won, image, diameter, maps.rotations)
        name = _rotation_lines(maps.rotations, g) if n == 1 else _view_lines(maps.rotations, g)
        style.title(ax, f"{name}: {won.sum():,} pick{'s' if won.sum() != 1 else ''}", colours[g])
    return figure


def _draw_maps(
    figure: Any, maps: RotationMaps, area: Area | None, groups: list[range]
) -> list[Axes]:
    """Draw the best probability of groups of rotations."""
    scale, offset = maps.calibration
    best = [np.max([maps.stack[r] for r in g], axis=0).astype(np.float64) for g in groups]
    alone = [sigmoid(scale * (logits + bias_of(maps)) + offset) for logits in best]
    top = max([0.1, *(float(p.max()) for p in alone)])
    lines = 1 if len(groups) <= 2 else 2
    axes = list(np.ravel(figure.subplots(lines, max(1, -(-len(groups) // lines)))))
    for ax in axes[len(groups) :]:
        style.blank(ax)
    for ax, p in zip(axes, alone, strict=False):
        shown = style.score_map(ax, maps, p, area, (0.0, top), bar=False)
    if groups:
        style.colour_bar(figure, shown, axes, "P of a particle, by this one alone")
    return axes


def _inset_mean(
    ax: Axes,
    picks: PicksOn,
    chosen: NDArray[np.bool_],
    image: WorkingImage,
    diameter: float,
    rotations: Rotations,
) -> None:
    """Draw the mean of picks, turned to psi 0, in a corner."""
    size = 2 * round(INSET * diameter / image.pixel_size[0] / 2) + 1
    pixels, psi = image.pixels.numpy(), rotations.angles[:, 2]
    crops = [
        sample(pixels, (y / image.scale[0], x / image.scale[1]), (1.0, 1.0), size, -psi[r])
        for y, x, r in zip(
            picks.y[chosen], picks.x[chosen], picks.rotation[chosen], strict=True
        )
    ]  # fmt: skip
    inset = ax.inset_axes((0.62, 0.0, 0.38, 0.38))
    style.picture(inset, -np.mean(crops, axis=0), image.pixel_size, bar=False)
    for spine in inset.spines.values():
        spine.set(color="white", linewidth=1.0)


def aggregation_figure(
    maps: RotationMaps, image: WorkingImage, place: tuple[float, float], area: Area | None = None
) -> Figure:
    """Draw how the rotations are joined: all of them against the best one alone.

    Parameters
    ----------
    maps : RotationMaps
        Of the micrograph.
    image : WorkingImage
        The micrograph as the network sees it.
    place : (float, float)
        y and x whose rotations are drawn as bars, pixels of the micrograph.
    area : Area, optional
        What is shown; all by default.

    Returns
    -------
    Figure
        Micrograph, two probability maps, and bars.
    """
    figure = style.new_figure(11.0, 3.2)
    left, right = style.split(figure, 3, 1.45)
    axes = left.subplots(1, 3)
    style.micrograph(axes[0], image, area)
    style.title(axes[0], "Micrograph")
    titles = JOINED[maps.aggregation], "The best rotation alone"
    for ax, values, words in zip(axes[1:], probability_maps(maps), titles, strict=True):
        shown = style.score_map(ax, maps, values, area, (0.0, 1.0))
        style.title(ax, words)
    for ax in axes:
        _cross(ax, place, maps)
    style.colour_bar(left, shown, list(axes[1:]), "P of a particle")
    evidence_bars(right.subplots(), evidence_at(maps, *place), maps.rotations)
    return figure


def evidence_bars(ax: Axes, evidence: Evidence, rotations: Rotations) -> None:
    """Draw the shares of the strongest rotations at one place.

    Parameters
    ----------
    ax : Axes
        Where.
    evidence : Evidence
        Of (R,) logits.
    rotations : Rotations
        Their names.
    """
    top = evidence.top(BARS)
    shares = 100 * evidence.shares[top]
    bars = ax.barh(np.arange(len(top)), shares, color=style.SECOND)
    ax.bar_label(bars, fmt="%.2g %%", fontsize=style.TEXT, padding=2)
    ax.set_yticks(np.arange(len(top)), [rotations.name(int(r)) for r in top])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.2 * max(shares.max(), 1.0))
    ax.set_xlabel(
        f"share of the evidence, %\n"
        f"all together: P {_probability(evidence.probability)}\n"
        f"the best alone: P {_probability(evidence.probability_of_best)}\n"
        f"{evidence.effective_number:.1f} of {len(rotations)} rotations have a say"
    )
    style.plain(ax)
    style.title(ax, "Rotations at the cross")


def orientation_figure(
    maps: RotationMaps, image: WorkingImage, by: Colouring = "in-plane", area: Area | None = None
) -> Figure:
    """Draw which rotation wins where.

    Parameters
    ----------
    maps : RotationMaps
        Of the micrograph.
    image : WorkingImage
        The micrograph as the network sees it.
    by : {"in-plane", "view"}
        What the colours tell.
    area : Area, optional
        What is shown; all by default.

    Returns
    -------
    Figure
        Micrograph, orientation map, and what the colours mean.
    """
    figure = style.new_figure(9.6, 3.7)
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 0.55])
    style.micrograph(axes[0], image, area)
    style.title(axes[0], "Micrograph")
    style.score_map(axes[1], maps, orientation_image(maps, by), area, (0, 255))
    what = "view" if maps.rotations.is_map else "matched view"
    words = "in-plane angle (psi)" if by == "in-plane" else f"{what} (rot, tilt)"
    style.title(axes[1], f"Winning rotation: its {words}")
    style.below(axes[1], "colour: which rotation; brightness: P of a particle")
    if by == "in-plane":
        _draw_dial(axes[2])
    else:
        _draw_sphere(axes[2], maps.rotations)
    return figure


def _winners(group: NDArray[np.integer[Any]]) -> list[int]:
    """Rotations or views that won most picks, most first."""
    counts = np.bincount(group)
    order = np.argsort(-counts, kind="stable")
    return [int(g) for g in order[:MOST] if counts[g] > 0]


def _places(picks: PicksOn, maps: RotationMaps) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places y and x of picks, Å."""
    return picks.y * maps.pixel_size, picks.x * maps.pixel_size


def _rings(
    ax: Axes, picks: PicksOn, maps: RotationMaps, diameter: float, colours: list[str | None]
) -> None:
    """Draw rings around picks; those without a colour have none."""
    from matplotlib.patches import Circle

    for y, x, colour in zip(*_places(picks, maps), colours, strict=True):
        if colour is not None:
            ax.add_patch(Circle((x, y), RING * diameter, fill=False, ec=colour, lw=1.0))


def _cross(ax: Axes, place: tuple[float, float], maps: RotationMaps) -> None:
    y, x = (c * maps.pixel_size for c in place)
    ax.plot(x, y, marker="+", ms=11, mew=1.6, color="#00bfff")


def _draw_dial(ax: Axes) -> None:
    """Draw the colours of in-plane angles on a circle, turned as the needle of the dial is."""
    n = 181
    axis = np.linspace(1, -1, n)[:, None], np.linspace(-1, 1, n)[None]
    radius, psi = np.hypot(*axis), np.degrees(np.arctan2(*axis))
    _draw_disc(ax, colour_of_psi(psi), (radius > 0.55) & (radius < 1.0))
    for angle in range(0, 360, 90):
        at = 1.2 * np.cos(np.deg2rad(angle)), 1.2 * np.sin(np.deg2rad(angle))
        ax.text(*at, f"{angle}°", ha="center", va="center", fontsize=style.TEXT)
    ax.text(0, 0, "psi", ha="center", va="center", fontsize=style.TEXT)
    ax.text(
        0, -1.62, "psi grows as the particle\nturns counter-clockwise", ha="center", va="center",
        fontsize=style.TEXT,
    )  # fmt: skip


def _draw_sphere(ax: Axes, rotations: Rotations) -> None:
    """Draw the colours of views on both halves of the sphere, and where the views of the grid are.

    North (tilt 0) is in the middle of the upper disc; rot grows against the clock in it.
    """
    n, gap = 181, LEGEND
    axis = np.linspace(1, -1, n)[:, None], np.linspace(-1, 1, n)[None]
    y, x = np.broadcast_arrays(*axis)
    inside = np.hypot(x, y) < 1.0
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    for half, middle in ((1, gap), (-1, -gap)):
        colours = colour_of_view(np.stack([half * x, y, half * z], axis=-1), rotations.directions)
        _draw_disc(ax, colours, inside, middle)
        d = rotations.directions[half * rotations.directions[:, 2] >= 0]
        ax.plot(half * d[:, 0], d[:, 1] + middle, "o", ms=4, mfc="none", mec="black", mew=0.8)
        words = "from +z (tilt 0)" if half > 0 else "from −z (tilt 180°)"
        ax.text(0, middle + 1.1, words, ha="center", va="bottom", fontsize=style.TEXT)
        ax.text(1.08 * half, middle, "x", ha="center", va="center", fontsize=style.TEXT)
    ax.set_xlim(-1.5, 1.5)
    ax.set_ylim(-gap - 1.5, gap + 1.5)
    ax.text(
        0, -gap - 1.12, "circles: the views of the model", ha="center", va="top",
        fontsize=style.TEXT,
    )  # fmt: skip


def _draw_disc(
    ax: Axes, colours: NDArray[np.uint8], inside: NDArray[Any], middle: float = 0.0
) -> None:
    picture = np.concatenate([colours, 255 * inside[..., None].astype(np.uint8)], axis=-1)
    ax.imshow(picture, extent=(-1, 1, middle - 1, middle + 1))
    ax.set_xlim(-1.5, 1.5)
    ax.set_ylim(-2.0, 1.5)
    ax.set_aspect("equal")
    ax.set_axis_off()


def _rotation_lines(rotations: Rotations, index: int) -> str:
    view, psi = rotations.name(index).rsplit(", ", 1)
    return f"{view},\n{psi}"


def _view_lines(rotations: Rotations, view: int) -> str:
    rot, tilt, _ = (round(float(a)) for a in rotations.angles[view * rotations.n_psi])
    return f"rot {rot}°, tilt {tilt}°,\nany psi"


def _probability(p: Any) -> str:
    return "> 0.999" if p > 0.9995 else f"{float(p):.3f}" if p >= 0.0005 else "< 0.001"
