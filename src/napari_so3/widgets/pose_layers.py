"""Poses in the micrograph: features of the picks, arrows or projections; see docs/layers.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Vectors
from qtpy.QtCore import QObject, Signal

from napari_so3.poses.drawing import arrows, centres, paste, view_colours
from napari_so3.poses.words import has_axis
from napari_so3.widgets.layers import ANGSTROM, KEY, NO_FEATURES, view_kept

if TYPE_CHECKING:
    from napari.layers import Layer, Points
    from numpy.typing import NDArray

    from napari_so3.session.poses import Matched
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.pose_look import Rendered
    from napari_so3.widgets.pose_models import PoseModel

Drawing = Literal["", "arrows", "projections"]

ARROWS, PROJECTIONS = "views", "projections"  # names of the layers
POSE_FEATURES = {"pose_rot": "rot", "pose_tilt": "tilt", "pose_psi": "psi"}
FEATURES = (*POSE_FEATURES, "confidence")
WIDTH = 0.07  # of the diameter
OPACITY = 0.85


class PoseLayers(QObject):
    """Keeps the poses in the features of the picks, and at most one layer that draws them.

    Parameters
    ----------
    desk : Desk
        Knows the micrograph, its picks and the viewer.

    Attributes
    ----------
    layer : Vectors, Image or None
        What is drawn, while it is there.
    """

    removed = Signal()  # the layer, by a person

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.layer: Layer | None = None
        desk.viewer.layers.events.removed.connect(self._forget)

    def close_down(self) -> None:
        """Take the layer away, and follow the viewer no more."""
        self._desk.viewer.layers.events.removed.disconnect(self._forget)
        self.take_away()

    def take_away(self) -> None:
        """Draw nothing."""
        layer, self.layer = self.layer, None
        layers = self._desk.viewer.layers
        if layer is not None and layer in layers:
            with view_kept(self._desk.viewer):
                layers.remove(layer)

    # ------------------------------------------------------------------ features

    def write_features(self, matched: Matched | None) -> None:
        """Write the poses of all candidates into the features of the layer of picks.

        Parameters
        ----------
        matched : Matched or None
            In the order of the layer; without any the features go.
        """
        picks = self._desk.picks
        if picks is None:
            return
        features = picks.features
        if matched is None or len(matched.rows) != len(features):
            if set(FEATURES) & set(features):
                _set_features(picks, features.drop(columns=[*FEATURES], errors="ignore"))
            return
        table = matched.table([*POSE_FEATURES.values(), "confidence"])
        columns = dict(zip(FEATURES, (table[n].to_numpy() for n in table), strict=True))
        _set_features(picks, features.assign(**columns))

    # ------------------------------------------------------------------ what is drawn

    def draw_arrows(self, matched: Matched, chosen: NDArray[np.bool_], model: PoseModel) -> None:
        """Draw where the z axis of every particle points, in the colour of its view.

        Parameters
        ----------
        matched : Matched
            Poses of the candidates.
        chosen : ndarray
            (n,) bool, which candidates are picks.
        model : PoseModel
            Knows the symmetry.
        """
        rows = matched.rows[chosen & matched.known]
        size = self._pixel_size()
        diameter = self._desk.session.diameter / size
        table = matched.poses.table.iloc[rows]
        matrices = matched.poses.matrices[rows]
        polar = not has_axis(model.symmetry) or model.symmetry[0].upper() == "C"
        data = arrows(centres(table, size), matrices, diameter, polar)
        colours = view_colours(matrices, model.group)
        features = table[["rot", "tilt", "psi", "confidence"]].reset_index(drop=True)
        layer = self._renew(Vectors)
        if layer is None:
            layer = Vectors(
                data,
                ndim=2,
                name=ARROWS,
                features=features,
                edge_width=WIDTH * diameter,
                vector_style="arrow" if polar else "line",
                opacity=OPACITY,
                scale=(size, size),
                units=self._desk.image.units,
                axis_labels=("y", "x"),
            )
            self._add(layer, self._desk.picks)
        else:
            layer.data = data
            layer.features = features
            layer.edge_width = WIDTH * diameter
            layer.vector_style = "arrow" if polar else "line"
            layer.scale = (size, size)
        if len(data):
            layer.edge_color = np.column_stack([colours / 255.0, np.ones(len(data))])
        self._note(ARROWS, model)

    def draw_projections(
        self, matched: Matched, chosen: NDArray[np.bool_], rendered: Rendered, model: PoseModel
    ) -> None:
        """Draw the map as it lies, at every pick.

        Parameters
        ----------
        matched : Matched
            Poses of the candidates.
        chosen : ndarray
            (n,) bool, which candidates are picks.
        rendered : Rendered
            Of the same poses.
        model : PoseModel
            Is named.
        """
        rows = matched.rows[chosen & matched.known]
        size, step = self._pixel_size(), rendered.step
        shape = np.ceil(np.array(self._desk.micrograph.data.shape) * size / step).astype(int) + 1
        places = centres(matched.poses.table.iloc[rows], size) * (size / step)
        picture = paste(rendered.images[rows], places, (int(shape[0]), int(shape[1])))
        layer = self._renew(Image)
        if layer is None:
            layer = Image(
                picture,
                name=PROJECTIONS,
                colormap=_glow(),
                blending="translucent_no_depth",
                contrast_limits=(0.0, 1.0),
                interpolation2d="linear",
                opacity=OPACITY,
                scale=(step, step),
                units=ANGSTROM,
                axis_labels=("y", "x"),
            )
            self._add(layer, self._desk.image)
        else:
            layer.data = picture
            layer.scale = (step, step)
        self._note("pose projections", model)

    def _pixel_size(self) -> float:
        micrograph = self._desk.micrograph
        return (micrograph and micrograph.pixel_size) or 1.0

    def _renew(self, kind: type[Layer]) -> Any:
        """Give the layer if it is of this kind; one of another kind goes."""
        if not isinstance(self.layer, kind):
            self.take_away()
        return self.layer

    def _add(self, layer: Layer, over: Layer | None) -> None:
        layers = self._desk.viewer.layers
        before = layers.selection.active
        with view_kept(self._desk.viewer):
            layers.insert(layers.index(over) + 1 if over in layers else len(layers), layer)
        # napari selects it
        layers.selection.active = before if before in layers else self._desk.image
        self.layer = layer

    def _note(self, kind: str, model: PoseModel) -> None:
        path = self._desk.image.metadata[KEY].get("path")
        note = {"kind": kind, "session": True, "micrograph": path}
        note |= {"model": model.name, "fingerprint": model.fingerprint}
        self.layer.metadata[KEY] = note

    def _forget(self, event: Any) -> None:
        if event.value is self.layer and self.layer is not None:
            self.layer = None
            self.removed.emit()


def _set_features(picks: Points, features: Any) -> None:
    picks.features = features
    defaults = {name: np.nan for name in FEATURES if name in features}
    picks.feature_defaults = NO_FEATURES | defaults


def _glow() -> Any:
    from napari.utils.colormaps import Colormap

    values = np.linspace(0.0, 1.0, 64)[:, None]
    dim, bright = np.array([[0.30, 0.16, 0.02]]), np.array([[1.0, 0.85, 0.45]])
    colours = np.concatenate([dim + values * (bright - dim), np.sqrt(values)], axis=1)
    return Colormap(colours, name="pose glow", display_name="pose glow")
