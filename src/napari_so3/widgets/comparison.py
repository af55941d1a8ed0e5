"""Before and after a training: which picks stay, which are new, which are gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Points

from napari_so3.picking.evaluate import match_points
from napari_so3.widgets.layers import ANGSTROM, KEY

if TYPE_CHECKING:
    import napari
    from numpy.typing import NDArray

NAME = "before and after"
COLOURS = {"kept": "#c8c8c8", "new": "#30c8ff", "gone": "#ff9020"}
SAME = 0.25  # diameters
RING = 0.7  # diameters: inside the rings of the picks, so that both are seen


@dataclass(frozen=True, eq=False)
class Comparison:
    """The picks of two models on one micrograph.

    Parameters
    ----------
    points : ndarray
        (n, 2) y and x, pixels: those of the new model that the old one has too, those that only
        the new one has, those that only the old one has.
    pixel_size : float
        Å.
    kept, new, gone : int
        How many of each.
    """

    points: NDArray[np.float64]
    pixel_size: float
    kept: int
    new: int
    gone: int

    @property
    def change(self) -> list[str]:
        """What each of the points is: ``"kept"``, ``"new"`` or ``"gone"``."""
        return ["kept"] * self.kept + ["new"] * self.new + ["gone"] * self.gone

    def sentence(self) -> str:
        """Count."""
        return (
            f"before {self.kept + self.gone}, after {self.kept + self.new}: "
            f"{self.kept} kept, {self.new} new, {self.gone} gone"
        )


def compare(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    diameter: float,
    pixel_size: float,
) -> Comparison:
    """Find the picks of two models that are of the same particle.

    Parameters
    ----------
    before, after : ndarray
        (n, 2), (m, 2) y and x, pixels, best first; picks of one model are half a diameter apart.
    diameter : float
        Of the particle, Å.
    pixel_size : float
        Å.

    Returns
    -------
    Comparison
        Two picks within `SAME` of a diameter are of one particle.
    """
    near = SAME * diameter / pixel_size
    kept = match_points(after, before, near)
    gone = ~match_points(before, after[kept], near)
    points = np.concatenate([after[kept], after[~kept], before[gone]])
    return Comparison(points, pixel_size, int(kept.sum()), int((~kept).sum()), int(gone.sum()))


def find_comparison(viewer: napari.viewer.Viewer) -> Points | None:
    """Find the layer of a comparison."""
    for layer in viewer.layers:
        if isinstance(layer, Points) and layer.metadata.get(KEY, {}).get("kind") == "comparison":
            return layer
    return None


def remove_comparison(viewer: napari.viewer.Viewer) -> None:
    """Remove the layer of a comparison, if there is one."""
    layer = find_comparison(viewer)
    if layer is not None:
        viewer.layers.remove(layer)


def show_comparison(
    viewer: napari.viewer.Viewer, comparison: Comparison, note: dict[str, Any]
) -> Points:
    """Show a comparison as rings of three colours, in place of one that is there.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to show it.
    comparison : Comparison
        What to show.
    note : dict
        Metadata, as docs/layers.md describes them: ``micrograph``, ``before``, ``after``,
        ``diameter`` and ``pixel_size``, Å.

    Returns
    -------
    Points
        The layer; what is selected stays selected.
    """
    remove_comparison(viewer)
    active, size = viewer.layers.selection.active, note["pixel_size"]
    change = comparison.change
    layer = viewer.add_points(
        comparison.points,
        ndim=2,
        name=NAME,
        features={"change": pd.Categorical(change, categories=list(COLOURS))},
        size=RING * note["diameter"] / size,
        face_color="transparent",
        border_color=[COLOURS[kind] for kind in change] or "white",
        border_width=0.1,
        scale=(size, size),
        units=ANGSTROM,
        axis_labels=("y", "x"),
        metadata={KEY: {"kind": "comparison", **note}},
    )
    if active is not None:
        viewer.layers.selection.active = active
    return layer
