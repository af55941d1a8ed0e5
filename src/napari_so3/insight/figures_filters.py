"""Figures of the learned filters: slices and projections, norms and spectra, likeness to a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_so3.insight import figures_style as style
from napari_so3.insight.filters import OVERSAMPLE, WEAK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_so3.insight.filters import FilterBank
    from napari_so3.insight.likeness import Likeness

COLUMNS = 6  # projections side by side
ALIKE = 0.5  # FSC at which two volumes stop being alike
SLICES = (("across z", "x", "y"), ("across y", "x", "z"), ("across x", "y", "z"))


def filters_figure(
    bank: FilterBank, diameter: float, layer: int = 0, out: int = 0, channel: int = 0
) -> Figure:
    """Draw a 3D filter: slices through its middle, and projections as the network uses them.

    Parameters
    ----------
    bank : FilterBank
        Filters of a model.
    diameter : float
        Of the particle, Å; it sets the scale.
    layer, out, channel : int
        Layer, output channel and input channel.

    Returns
    -------
    Figure
        Three slices, and projections at rotations that are spread over those of the model.
    """
    these = bank.layers[layer]
    step = bank.pixel_size(layer, diameter)
    volume = bank.volume(layer, out, channel)
    figure = style.new_figure(9.6, 6.8)
    figure.suptitle(
        f"{bank.model}, {these.name}, filter {out + 1} of {these.shape[0]} "
        f"on input {channel + 1} of {these.shape[1]}\n{_what(bank)}",
        fontsize=style.TITLE, color=style.INK,
    )  # fmt: skip
    above, under = style.split(figure, 1.1, 1.35, stacked=True)
    middle, reach = len(volume) // 2, max(float(np.abs(volume).max()), 1e-12)
    slices = volume[middle], volume[:, middle], volume[:, :, middle]
    for ax, image, (words, right, down) in zip(above.subplots(1, 3), slices, SLICES, strict=True):
        shown = style.picture(ax, image, step / OVERSAMPLE, (-reach, reach), "RdBu_r")
        style.title(ax, f"Slice {words} (right: {right}, down: {down})")
    style.colour_bar(above, shown, above.axes, "weight of the filter")
    rotations = bank.rotations
    n = min(2 * COLUMNS, len(rotations))
    chosen = np.unique(np.linspace(0, len(rotations) - 1, n).astype(int))
    images = bank.projections(layer, out, channel, bank.matrices[chosen])
    reach = max(float(np.abs(images).max()), 1e-12)
    for i, ax in enumerate(np.ravel(under.subplots(2, COLUMNS))):
        if i >= len(images):
            style.blank(ax)
            continue
        style.picture(ax, images[i], step, (-reach, reach), "RdBu_r", bar=i == 0)
        view, psi = rotations.name(int(chosen[i])).rsplit(", ", 1)
        ax.set_title(f"{view},\n{psi}", fontsize=style.TEXT - 1, color=style.INK)
    under.supylabel("projections along z", fontsize=style.TEXT)
    return figure


def spectra_figure(bank: FilterBank, diameter: float) -> Figure:
    """Draw how strong all filters are, and which sizes those of the first layer look at.

    Parameters
    ----------
    bank : FilterBank
        Filters of a model.
    diameter : float
        Of the particle, Å; it sets the scale.

    Returns
    -------
    Figure
        Norms of the filters of every layer, and power spectra.
    """
    figure = style.new_figure(9.0, 3.4)
    left, right = figure.subplots(1, 2)
    for i, these in enumerate(bank.layers):
        norms, dead = these.norms.ravel(), these.dead.ravel()
        spread = i + np.linspace(-0.3, 0.3, len(norms)) if len(norms) > 1 else np.array([float(i)])
        left.plot(spread, norms, "o", ms=3, color=style.SECOND)
        left.plot(spread[dead], norms[dead], "x", ms=6, color=style.ACCENT)
        left.hlines(WEAK * np.median(norms), i - 0.35, i + 0.35, color=style.ACCENT, lw=1)
    n_dead = sum(int(these.dead.sum()) for these in bank.layers)
    total = sum(these.dead.size for these in bank.layers)
    left.set_yscale("log")
    left.set_xticks(range(len(bank.layers)), [these.name for these in bank.layers])
    left.set_xlim(-0.6, len(bank.layers) - 0.4)
    left.set_ylabel("norm of a filter")
    style.title(left, f"{n_dead} of {total} filters are dead (below the line)")
    style.plain(left)
    _draw_spectra(right, bank, diameter)
    return figure


def _draw_spectra(ax: Axes, bank: FilterBank, diameter: float) -> None:
    step = bank.pixel_size(0, diameter)
    spectra = [bank.power_spectrum(0, out, 0).T for out in range(bank.layers[0].shape[0])]
    top = max(1e-30, *(float(power.max()) for _, power in spectra))
    for out, (frequency, power) in enumerate(spectra):
        colour = style.COLOURS[out % len(style.COLOURS)]
        ax.plot(frequency / step, power / top, color=colour, lw=1.4, label=f"{out + 1}")
    ax.set_xlabel("spatial frequency, 1/Å")
    ax.set_ylabel("power, of the largest")
    style.title(ax, f"What the filters of {bank.layers[0].name} look at")
    style.plain(ax)
    style.resolution_axis(ax)
    ax.legend(title="filter", fontsize=style.TEXT - 1, title_fontsize=style.TEXT - 1, frameon=False)


def likeness_figure(likeness: Likeness, name: str = "the map") -> Figure:
    """Draw how like a map a filter is.

    Parameters
    ----------
    likeness : Likeness
        Of a filter and a map.
    name : str
        What to call the map.

    Returns
    -------
    Figure
        Fourier shell correlation, and correlations as bars.
    """
    figure = style.new_figure(9.0, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    frequency, value = likeness.fsc.T
    left.plot(frequency, value, color=style.SECOND, lw=1.6)
    left.axhline(ALIKE, color=style.FAINT, lw=0.8, ls="--")
    left.axhline(0, color=style.FAINT, lw=0.8)
    left.set_ylim(min(-0.1, float(value.min())), 1.05)
    left.set_xlabel("spatial frequency, 1/Å")
    left.set_ylabel("Fourier shell correlation")
    resolution = likeness.resolution(ALIKE)
    words = "nowhere" if np.isinf(resolution) else f"down to {resolution:.0f} Å"
    style.title(left, f"Alike {words} (FSC {ALIKE:g})")
    style.plain(left)
    style.resolution_axis(left)
    bars = {
        "aligned": likeness.correlation,
        "the other hand": likeness.correlation_mirrored,
        "turned at random": likeness.correlation_blind,
    }
    drawn = right.barh(list(bars), list(bars.values()), color=[style.SECOND, *[style.FAINT] * 2])
    right.bar_label(drawn, fmt="%.2f", fontsize=style.TEXT, padding=2)
    right.invert_yaxis()
    right.set_xlim(min(0.0, *bars.values()), 1.0)
    right.set_xlabel(f"correlation of the filter with {name}")
    hand = "that of the map" if likeness.hand == 1 else "mirrored"
    style.title(right, f"Hand: {hand} fits better")
    style.plain(right)
    return figure


def _what(bank: FilterBank) -> str:
    if bank.rotations.is_map:
        return "the map of a template, as it is compared with the image"
    return "a filter, not a map: its hand is unknown"
