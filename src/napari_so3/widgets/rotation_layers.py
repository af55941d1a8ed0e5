"""What the rotations say, as a layer over the micrograph; docs/layers.md describes it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import Colormap, ensure_colormap
from qtpy.QtCore import QObject, Signal

from napari_so3.insight.stack import OrderedStack
from napari_so3.widgets.layers import ANGSTROM, KEY, view_kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.insight.rotation_maps import Rotations
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.see_engine import Seen

Picture = Literal["", "rotation", "al1", "best", "in-plane", "view"]

STACK = "rotations"  # kind and name of the layer with three dimensions
NAMES: dict[str, str] = {
    "rotation": STACK,
    "al1": "probability, all rotations",
    "best": "probability, best rotation alone",
    "in-plane": "in-plane angle of the best rotation",
    "view": "view of the best rotation",
}
KINDS = {
    "rotation": STACK,
    "al1": "probability",
    "best": "probability",
    "in-plane": "orientation map",
    "view": "orientation map",
}


class RotationLayers(QObject):
    """Keeps at most one layer: the stack of all rotations, or a picture made of them.

    Parameters
    ----------
    desk : Desk
        Knows the micrograph and the viewer.

    Attributes
    ----------
    layer : Image or None
        The layer, while it is there.
    """

    turned = Signal(int)  # to this rotation, with napari's slider
    removed = Signal()  # the layer, by a person

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.layer: Image | None = None
        self._picture: Picture = ""
        self._rotations: Rotations | None = None
        self._opacity = 1.0
        self._view = ExitStack()
        viewer = desk.viewer
        viewer.layers.events.removing.connect(self._foresee)
        viewer.layers.events.removed.connect(self._forget)
        viewer.dims.events.current_step.connect(self._follow_slider)

    def close_down(self) -> None:
        """Take the layer away, and follow the viewer no more."""
        viewer = self._desk.viewer
        viewer.layers.events.removing.disconnect(self._foresee)
        viewer.layers.events.removed.disconnect(self._forget)
        viewer.dims.events.current_step.disconnect(self._follow_slider)
        self._take_away()

    # ------------------------------------------------------------------ what is shown

    def show(
        self, seen: Seen | None, picture: Picture, order: NDArray[np.intp], rotation: int
    ) -> None:
        """Show a picture over the micrograph, or none.

        Parameters
        ----------
        seen : Seen or None
            Of the micrograph that is shown.
        picture : str
            Which one; empty for none.
        order : ndarray
            (R,) the rotations in the order of the slider.
        rotation : int
            That is looked at.
        """
        if seen is None or not picture:
            self._take_away()
            return
        self._rotations = seen.maps.rotations
        data = _data(seen, picture, order)
        if self.layer is not None and picture != self._picture:
            self._take_away()
        self._picture = picture
        if self.layer is None:
            self._add(data, seen)
        else:
            self._replace(data, seen)
        self.turn_to(rotation)

    def turn_to(self, rotation: int) -> None:
        """Move napari's slider to a rotation."""
        stack = self._stack()
        if stack is None:
            return
        found = int(np.flatnonzero(stack.order == rotation)[0])
        viewer = self._desk.viewer
        axis = viewer.dims.ndim - 3
        if found != self._number():
            viewer.dims.set_point(axis, float(found))
        self._write_label(rotation)

    def set_opacity(self, opacity: float) -> None:
        """Let the micrograph shine through."""
        self._opacity = opacity
        if self.layer is not None:
            self.layer.opacity = opacity

    # ------------------------------------------------------------------ the layer

    def _add(self, data: Any, seen: Seen) -> None:
        layer = Image(
            data,
            name=NAMES[self._picture],
            multiscale=False,
            opacity=self._opacity,
            metadata={KEY: self._note(seen)},
            **_style(self._picture, seen),
            **_placement(seen, data),
        )
        layers, image = self._desk.viewer.layers, self._desk.image
        before = layers.selection.active
        with view_kept(self._desk.viewer):
            layers.insert(layers.index(image) + 1 if image in layers else len(layers), layer)
        layers.selection.active = before if before in layers else image  # napari selects it
        self.layer = layer

    def _replace(self, data: Any, seen: Seen) -> None:
        layer = self.layer
        assert layer is not None
        layer.data = data
        placement = _placement(seen, data)
        if tuple(layer.scale) != placement["scale"]:
            layer.scale = placement["scale"]
        layer.metadata[KEY] = self._note(seen)

    def _note(self, seen: Seen) -> dict[str, Any]:
        maps = seen.maps
        return {
            "kind": KINDS[self._picture],
            "picture": self._picture,
            "session": True,
            "micrograph": maps.source,
            "fingerprint": maps.fingerprint,
        }

    def _take_away(self) -> None:
        layer, self.layer, self._picture = self.layer, None, ""
        layers = self._desk.viewer.layers
        if layer is not None and layer in layers:
            with view_kept(self._desk.viewer):
                layers.remove(layer)

    def _foresee(self, event: Any) -> None:
        """Remember what is seen before a person removes the layer."""
        if self._desk.viewer.layers[event.index] is self.layer:
            self._view = ExitStack()
            self._view.enter_context(view_kept(self._desk.viewer))

    def _forget(self, event: Any) -> None:
        if event.value is self.layer:
            self.layer, self._picture = None, ""
            self._view.close()
            self.removed.emit()

    # ------------------------------------------------------------------ napari's slider

    def _stack(self) -> OrderedStack | None:
        """Give the data of the layer if it is the stack."""
        data = None if self.layer is None else self.layer.data
        return data if isinstance(data, OrderedStack) else None

    def _number(self) -> int:
        """Tell which map of the stack the slider shows."""
        stack, dims = self._stack(), self._desk.viewer.dims
        assert stack is not None
        return int(np.clip(round(dims.point[dims.ndim - 3]), 0, len(stack) - 1))

    def _follow_slider(self) -> None:
        stack = self._stack()
        if stack is None or self._desk.viewer.dims.ndim < 3:
            return
        rotation = int(stack.order[self._number()])
        self._write_label(rotation)
        self.turned.emit(rotation)

    def _write_label(self, rotation: int) -> None:
        """Name the rotation before the slider; napari keeps the names of axes in the layers."""
        assert self.layer is not None and self._rotations is not None
        labels = (label_of(self._rotations, rotation), "y", "x")
        if tuple(self.layer.axis_labels) != labels:
            self.layer.axis_labels = labels


def label_of(rotations: Rotations, rotation: int) -> str:
    """Write rot, tilt and psi in the little room before the slider, which begins behind them."""
    angles = (str(round(float(a))).rjust(3, "\u2007") for a in rotations.angles[rotation])
    return ", ".join(f"{angle}°" for angle in angles)


def _data(seen: Seen, picture: Picture, order: NDArray[np.intp]) -> Any:
    if picture == "rotation":
        return OrderedStack(seen.maps.stack, order)
    return {
        "al1": seen.p_al1,
        "best": seen.p_best,
        "in-plane": seen.in_plane,
        "view": seen.view,
    }[picture]


def _style(picture: Picture, seen: Seen) -> dict[str, Any]:
    """Tell how a picture is drawn over the micrograph."""
    if picture in ("in-plane", "view"):
        return {"rgb": True, "blending": "translucent_no_depth"}
    limits = seen.limits if picture == "rotation" else (0.0, 1.0)
    return {
        "rgb": False,
        "colormap": _heat(),
        "blending": "translucent_no_depth",
        "contrast_limits": limits,
        "interpolation2d": "linear",
    }


def _heat() -> Colormap:
    """Give colours that let the micrograph shine through where there is nothing."""
    values = np.linspace(0.0, 1.0, 64)
    colours = ensure_colormap("inferno").map(0.25 + 0.75 * values)
    colours[:, 3] = values
    return Colormap(colours, name="glow", display_name="glow")


def _placement(seen: Seen, data: Any) -> dict[str, Any]:
    """Lay a picture on the micrograph, whose first pixel is its first one, in Å."""
    maps = seen.maps
    scale = tuple(step * maps.pixel_size for step in maps.scale)
    if isinstance(data, OrderedStack):
        return {
            "scale": (1.0, *scale),
            "units": ("pixel", *ANGSTROM),
            "axis_labels": ("rotation", "y", "x"),
        }
    return {"scale": scale, "units": ANGSTROM, "axis_labels": ("y", "x")}
