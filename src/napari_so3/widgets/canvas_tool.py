"""Labelling in the canvas: clicks, the lasso, and what the keys do where the mouse is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.widgets.lasso import Lasso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_so3.session.marks import Kind
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.labeller import Labeller
    from napari_so3.widgets.mark_layers import MarkLayers

STILL = 5  # pixels of the screen that the mouse may move in a click
_SELECTING = ("select", "direct")  # modes of layers in which Delete removes what is selected


class CanvasTool:
    """Takes clicks of the canvas for labels, while it is switched on.

    A tool of napari that is chosen for the selected layer, such as drawing a polygon, has the mouse
    meanwhile.

    Parameters
    ----------
    desk : Desk
        Knows the micrograph and the viewer.
    labeller : Labeller
        Is told.
    layers : MarkLayers
        Knows where the micrograph lies.
    """

    def __init__(self, desk: Desk, labeller: Labeller, layers: MarkLayers) -> None:
        self._desk, self._labeller, self._layers = desk, labeller, layers
        self._double_clicks: list[Any] | None = None

    @property
    def on(self) -> bool:
        """Whether clicks are labels."""
        return self._double_clicks is not None

    def switch(self, on: bool) -> None:
        """Take the clicks, or leave them to napari.

        Meanwhile a double click does not zoom: it would be two hasty labels.
        """
        if on == self.on:
            return
        viewer = self._desk.viewer
        if on:
            viewer.mouse_drag_callbacks.append(self._press)
            self._double_clicks = list(viewer.mouse_double_click_callbacks)
            viewer.mouse_double_click_callbacks.clear()
        else:
            viewer.mouse_drag_callbacks.remove(self._press)
            viewer.mouse_double_click_callbacks.extend(self._double_clicks or ())
            self._double_clicks = None

    def napari_tool(self) -> str:
        """Name the tool of napari that has the mouse; empty if there is none."""
        active = self._desk.viewer.layers.selection.active
        mode = "pan_zoom" if active is None else str(active.mode)
        return "" if mode == "pan_zoom" else mode

    def label(self, kind: Kind) -> None:
        """Label what is under the mouse."""
        point = self._under_mouse()
        if point is not None:
            self._labeller.label(kind, point)

    def erase(self) -> None:
        """Remove what is selected with a tool of napari, or the label under the mouse."""
        active = self._desk.viewer.layers.selection.active
        if active is not None and active.mode in _SELECTING and active.selected_data:
            active.remove_selected()
            return
        point = self._under_mouse()
        if point is not None:
            self._labeller.erase(point)

    def _under_mouse(self) -> NDArray[np.float64] | None:
        viewer = self._desk.viewer
        if not viewer.mouse_over_canvas or self._layers.labels is None:
            return None
        return self._layers.to_pixels(viewer.cursor.position)

    def _press(self, viewer: Any, event: Any) -> Iterator[None]:
        """Follow the mouse from a press to its release."""
        if event.button != 1 or self.napari_tool() or self._layers.labels is None:
            return
        start, point = np.array(event.pos), self._layers.to_pixels(event.position)
        lasso = Lasso(viewer, self._layers.labels, point) if "Shift" in event.modifiers else None
        erase, moved = "Control" in event.modifiers, False
        yield
        while event.type == "mouse_move":
            moved = moved or np.abs(event.pos - start).max() > STILL
            event.handled = not moved
            if lasso is not None and moved:
                lasso.add(self._layers.to_pixels(event.position))
            yield
        if not moved:
            self._labeller.click(point)
        elif lasso is not None:
            lasso.add(self._layers.to_pixels(event.position))
            lasso.close()
            self._labeller.lasso(lasso.path, erase)
