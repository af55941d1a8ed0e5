"""The line that is drawn around picks while the mouse is dragged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Vectors

if TYPE_CHECKING:
    from napari.layers import Layer, Points
    from napari.viewer import Viewer
    from numpy.typing import NDArray

NAME = "lasso"
COLOUR = "#f0e442"
WIDTH = 2  # pixels of the screen


class Lasso:
    """A line of the places where the mouse was; it lies in a layer of its own while it is drawn.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    beside : Points
        Layer in whose pixels the places are.
    start : ndarray
        (2,) y and x of the first place.
    """

    def __init__(self, viewer: Viewer, beside: Points, start: NDArray[np.float64]) -> None:
        self._viewer, self._beside = viewer, beside
        self._layer: Vectors | None = None
        self.path = [start]

    def add(self, point: NDArray[np.float64]) -> None:
        """Go on to a place, (2,) y and x."""
        self.path.append(point)
        places = np.array(self.path)
        lines = np.stack([places, np.roll(places, -1, axis=0) - places], axis=1)
        if self._layer is None:
            self._layer = self._show(lines)
        else:
            self._layer.data = lines

    def close(self) -> None:
        """Take the line away."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None

    def _show(self, lines: NDArray[np.float64]) -> Vectors:
        beside, selection = self._beside, self._viewer.layers.selection
        width = WIDTH / (self._viewer.scene.camera.zoom * beside.scale[-1])
        layer = Vectors(
            lines,
            name=NAME,
            edge_color=COLOUR,
            edge_width=width,
            vector_style="line",
            scale=beside.scale,
            units=beside.units,
            axis_labels=beside.axis_labels,
        )
        before: Layer | None = selection.active
        self._viewer.layers.append(layer)
        selection.active = before
        return layer
