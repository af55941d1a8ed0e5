"""The layers of the labels: they show them, and take what napari's own tools do to them."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Points, Shapes
from qtpy.QtCore import QObject, QTimer

from napari_so3.session.marks import DECIMALS, KINDS, Edit, Mark, make_area
from napari_so3.widgets.layers import KEY, micrograph_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.layers import Layer
    from numpy.typing import ArrayLike, NDArray

    from napari_so3.session.marks import Area, Kind
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.labeller import Labeller

LABELS, AREAS, LOOK = "labels", "excluded areas", "looked at"
COLOURS: dict[str, str] = {"positive": "#56b4e9", "negative": "#e8601c", "ignored": "#bbbbbb"}
LOOK_COLOUR = "#f0e442"
_SYMBOLS = {"positive": "disc", "negative": "x", "ignored": "ring"}
_SIZES = {"positive": 0.3, "negative": 0.35, "ignored": 1.0}  # diameters of the particle
_LOOK_SIZE = 1.35
_CORNERS = 32  # of an ellipse


class MarkLayers(QObject):
    """Keeps the layers "labels" and "excluded areas" of the micrograph that is shown.

    The session's marks are the truth: the layers are drawn anew when they change, and what a person
    does in the layers becomes an edit of them, which can be undone.

    Parameters
    ----------
    desk : Desk
        Knows the micrograph.
    labeller : Labeller
        Knows which kind of label is put, and the size of the particle.
    """

    def __init__(self, desk: Desk, labeller: Labeller) -> None:
        super().__init__()
        self._desk, self._labeller = desk, labeller
        self._marks = desk.session.marks
        self._name = ""  # micrograph whose labels are drawn
        self._target: tuple[str, ArrayLike] | None = None  # what is looked at once it is shown
        self._areas_there: tuple[Area, ...] | None = None  # in the layer; None: look
        self._busy = False
        self.labels: Points | None = None
        self.areas: Shapes | None = None
        self.look: Points | None = None
        self._later = QTimer(self, singleShot=True, interval=0)
        self._later.timeout.connect(self._draw)
        desk.shown.connect(self.show)
        labeller.changed.connect(self._choose_kind)
        self._marks.changed.connect(self._follow)
        desk.session.events.diameter.connect(self._restyle)
        desk.viewer.layers.events.removed.connect(self._forget)
        self.show(desk.name)

    def close(self) -> None:
        """Take the layers away: nobody keeps them any more."""
        self._later.stop()
        self._desk.shown.disconnect(self.show)
        self._marks.changed.disconnect(self._follow)
        self._desk.session.events.diameter.disconnect(self._restyle)
        layers = self._desk.viewer.layers
        layers.events.removed.disconnect(self._forget)
        for layer in (self.labels, self.areas, self.look):
            if layer is not None and layer in layers:
                layers.remove(layer)

    def to_pixels(self, position: ArrayLike) -> NDArray[np.float64]:
        """Turn a place in the canvas into pixels of the micrograph."""
        assert self.labels is not None
        return np.asarray(self.labels.world_to_data(tuple(position)), dtype=np.float64)[-2:]

    def go_to(self, name: str, point: ArrayLike) -> None:
        """Show a place of a micrograph in the middle of the canvas, with a ring around it."""
        self._target = name, point
        if name == self._desk.name:
            self._arrive()
        else:
            self._desk.show(name)

    def _arrive(self) -> None:
        if self.labels is None or self._target is None or self._target[0] != self._desk.name:
            return
        (_, point), self._target = self._target, None
        camera = self._desk.viewer.scene.camera
        camera.center = (*camera.center[:-2], *self.labels.data_to_world(point)[-2:])
        self.look_at(point)

    def look_at(self, point: ArrayLike | None) -> None:
        """Draw a ring around a place of the micrograph, or take it away."""
        if self.labels is None or (point is None and self.look is None):
            return
        if self.look is None:
            self.look = self._add(
                Points(
                    ndim=2,
                    name=LOOK,
                    face_color="transparent",
                    border_color=LOOK_COLOUR,
                    border_width=0.05,
                    metadata={KEY: {"kind": "looked at", "session": True}},
                    **self._placement(),
                )
            )
            self._place(self.look)
            self._put_in_order()
        self.look.data = np.zeros((0, 2)) if point is None else np.asarray(point)[None]
        self.look.size = 2 * self._labeller.radius * _LOOK_SIZE

    # ------------------------------------------------------------------ drawing

    def show(self, name: str) -> None:
        """Show the labels of a micrograph."""
        if not name:
            return
        if name != self._name:
            self._areas_there = None  # there may be a polygon that is half drawn
        self._name = name
        if self.areas is None:
            self.areas = self._add_kept(_areas_layer(self._placement()), self._take_areas)
            self._areas_there = ()
        if self.labels is None:
            self.labels = self._add_kept(_labels_layer(self._placement()), self._take_labels)
            self._choose_kind()
        for layer in (self.areas, self.labels, self.look):
            if layer is not None:
                self._place(layer)
        self.look_at(None)
        self._put_in_order()
        self._draw()
        self._arrive()

    def _add(self, layer: Layer) -> Any:
        """Add a layer without selecting it."""
        layers = self._desk.viewer.layers
        before = layers.selection.active
        layers.append(layer)
        layers.selection.active = self._desk.image if before is None else before
        return layer

    def _add_kept(self, layer: Layer, take: Callable[[Any], None]) -> Any:
        """Add a layer in which a person may do something."""
        layer.events.data.connect(take)
        layer.events.features.connect(take)
        return self._add(layer)

    def _placement(self) -> dict[str, Any]:
        """Tell how layers lie on the micrograph, whose image may be binned."""
        image = self._desk.image
        size = self._labeller.pixel_size
        return {"units": image.units, "scale": (size, size), "axis_labels": image.axis_labels}

    def _place(self, layer: Layer) -> None:
        for name, value in self._placement().items():
            if tuple(getattr(layer, name)) != tuple(value):
                setattr(layer, name, value)
        layer.metadata[KEY]["micrograph"] = micrograph_id(self._desk.image)

    def _put_in_order(self) -> None:
        layers, desk = self._desk.viewer.layers, self._desk
        wanted = [desk.image, self.areas, desk.picks, self.labels, self.look]
        there = [layer for layer in wanted if layer is not None]
        for below, above in pairwise(there):
            if layers.index(above) < layers.index(below):
                layers.move(layers.index(above), layers.index(below) + 1)

    def _follow(self, name: str) -> None:
        if name == self._name and not self._busy:
            self._draw()

    def _draw(self) -> None:
        """Draw what the session knows."""
        marks = self._marks.of(self._name)
        with self._quiet():
            if self.labels is not None:
                _draw_labels(self.labels, marks.marks)
                self._style()
            if self.areas is not None and self._areas_there != marks.areas:
                self.areas.selected_data = set()
                self.areas.data = []
                if marks.areas:
                    self.areas.add([np.array(area) for area in marks.areas], shape_type="polygon")
                self._areas_there = marks.areas

    def _restyle(self) -> None:
        with self._quiet():
            self._style()

    def _style(self) -> None:
        layer = self.labels
        if layer is None or len(layer.data) == 0:
            return
        kinds = layer.features["label"].astype(str)
        layer.size = np.array([_SIZES[kind] for kind in kinds]) * 2 * self._labeller.radius
        layer.symbol = [_SYMBOLS[kind] for kind in kinds]
        layer.face_color = layer.border_color = [COLOURS[kind] for kind in kinds]

    def _choose_kind(self) -> None:
        """Let napari's own tool for adding points add the kind that is chosen."""
        tool = self._labeller.tool
        if self.labels is not None and tool in KINDS:
            self.labels.feature_defaults = {"label": tool}

    # ------------------------------------------------------------------ what a person does there

    def _take_labels(self, event: Any) -> None:
        if self._is_done(event) and self.labels is not None:
            before, after = self._marks.of(self._name).marks, _labels_of(self.labels)
            removed, added = _difference(before, after)
            self._do(lambda: self._marks.apply(Edit(self._name, removed, added)))

    def _take_areas(self, event: Any) -> None:
        if self._is_done(event) and self.areas is not None:
            self._areas_there = None
            areas = _areas_of(self.areas)
            self._do(lambda: self._marks.set_areas(self._name, areas))

    def _is_done(self, event: Any) -> bool:
        """Whether a person has done something; napari also tells what will be done."""
        action = getattr(event, "action", "changed")
        return not self._busy and action in ("added", "removed", "changed")

    def _do(self, change: Callable[[], None]) -> None:
        with self._quiet():
            change()
        self._later.start()  # then napari's tool is done with the layer

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Take nothing that is done here for something that a person does."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def _forget(self, event: Any) -> None:
        for name in ("labels", "areas", "look"):
            if getattr(self, name) is event.value:
                setattr(self, name, None)


def _labels_layer(placement: dict[str, Any]) -> Points:
    return Points(
        ndim=2,
        name=LABELS,
        features={"label": pd.Categorical([], categories=KINDS)},
        border_width=0.08,
        opacity=0.9,
        metadata={KEY: {"kind": "labels", "session": True}},
        **placement,
    )


def _areas_layer(placement: dict[str, Any]) -> Shapes:
    return Shapes(
        ndim=2,
        name=AREAS,
        face_color="#cc79a7",
        edge_color="#cc79a7",
        edge_width=0,
        opacity=0.35,
        metadata={KEY: {"kind": "excluded areas", "session": True}},
        **placement,
    )


def _draw_labels(layer: Points, marks: tuple[Mark, ...]) -> None:
    data = np.array([(mark.y, mark.x) for mark in marks], dtype=np.float64).reshape(-1, 2)
    kinds = pd.Categorical([mark.kind for mark in marks], categories=KINDS)
    if np.array_equal(layer.data, data) and list(layer.features["label"]) == list(kinds):
        return
    layer.selected_data = set()
    layer.data = data
    layer.features = pd.DataFrame({"label": kinds})  # napari keeps the first rows of the old ones


def _labels_of(layer: Points) -> tuple[Mark, ...]:
    """Read the labels of a layer; what is no kind of label is left out."""
    places = np.round(layer.data, DECIMALS)
    kinds: list[Kind] = list(layer.features["label"])
    found = [Mark(kind, *map(float, at)) for kind, at in zip(kinds, places, strict=True)]
    return tuple(dict.fromkeys(mark for mark in found if mark.kind in KINDS))


def _areas_of(layer: Shapes) -> tuple[Area, ...]:
    """Read the polygons of a layer; a line is none."""
    areas = []
    for corners, kind in zip(layer.data, layer.shape_type, strict=True):
        corners = np.asarray(corners)[:, -2:]
        if kind == "ellipse":
            corners = _ellipse_in(corners)
        if len(corners) >= 3:
            areas.append(make_area(corners))
    return tuple(areas)


def _ellipse_in(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make a polygon of an ellipse, of which napari gives the rectangle around it."""
    along, across = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    return corners.mean(axis=0) + np.outer(np.cos(turn), along) + np.outer(np.sin(turn), across)


def _difference(before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[Any, Any]:
    """Tell what is gone and what is new."""
    gone, new = set(before) - set(after), set(after) - set(before)
    return tuple(x for x in before if x in gone), tuple(x for x in after if x in new)
