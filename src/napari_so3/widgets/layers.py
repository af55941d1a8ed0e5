"""What layers carry, as docs/layers.md says: micrographs and their picks."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.picks import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari
    from napari.layers import Image, Layer
    from numpy.typing import NDArray

    from napari_so3.picking.picks import Picks

KEY = "napari-so3"
SESSION_PICKS = "picks"  # name of the layer that all micrographs of a session share
ANGSTROM = ("angstrom", "angstrom")
FEATURES = ("score", *COLUMNS[3:])
NO_FEATURES = dict.fromkeys(FEATURES, np.nan) | {"rotation": -1}  # of points added by hand
RINGS: dict[str, Any] = {
    "face_color": "transparent",
    "border_color": "#5adc78",
    "border_width": 0.07,
    "canvas_size_limits": (0, 10_000),  # or else points of size 0 are two pixels wide
}
_PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_SAMPLE = 500_000  # pixels that the contrast limits look at
_PERCENTILES = (0.5, 99.5)


class LayerError(ValueError):
    """A layer that cannot be picked; the text is one sentence for the user."""


def image_layer_data(micrograph: Micrograph) -> tuple[Any, dict[str, Any], str]:
    """Describe the Image layer of a micrograph.

    Parameters
    ----------
    micrograph : Micrograph
        Its data stays memory-mapped.

    Returns
    -------
    tuple
        Data, keyword arguments and type of the layer.
    """
    data = micrograph.data
    if data.dtype == ">f2":  # the only dtype of an MRC file that OpenGL is not given
        data = data.astype(np.float16)
    size = micrograph.pixel_size
    return (
        data,
        {
            "name": micrograph.name,
            "contrast_limits": contrast_limits(data),
            "axis_labels": ("y", "x"),
            "scale": (size or 1.0,) * 2,
            "units": ANGSTROM if size else ("pixel", "pixel"),
            "metadata": {
                KEY: {
                    "kind": "micrograph",
                    "path": os.path.abspath(micrograph.path),
                    "pixel_size": size,
                    "pixel_size_source": micrograph.pixel_size_source,
                }
            },
        },
        "image",
    )


def contrast_limits(data: NDArray[Any]) -> tuple[float, float]:
    """Choose contrast limits from an even sample of the finite pixels.

    Parameters
    ----------
    data : ndarray
        (ny, nx) of any real dtype.

    Returns
    -------
    low, high : float
        With low < high, also for constant images.
    """
    step = max(1, int(np.sqrt(data.size / _SAMPLE)))
    sample = np.asarray(data[::step, ::step], dtype=np.float64)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(sample, _PERCENTILES)
    if low == high:
        low, high = sample.min(), sample.max()
    return (float(low), float(high)) if low < high else (float(low), float(low) + 1.0)


def pixel_size_of(layer: Image) -> tuple[float | None, str]:
    """Find the pixel size of an Image layer in its scale and units.

    Parameters
    ----------
    layer : Image
        2D; of this or any other reader.

    Returns
    -------
    size : float or None
        Å; None where the units are no lengths, or the pixels are not square.
    source : {'header', 'given', 'unknown'}
        Where it comes from.
    """
    if not all(unit.is_compatible_with("angstrom") for unit in layer.units):
        return None, "unknown"
    along_y, along_x = (
        float((abs(step) * unit).to("angstrom").magnitude)
        for step, unit in zip(layer.scale, layer.units, strict=True)
    )
    if abs(along_y - along_x) > 0.005 * along_x:
        return None, "unknown"
    size = float(f"{along_x:.5g}")
    note = layer.metadata.get(KEY, {})
    return size, note["pixel_size_source"] if note.get("pixel_size") == size else "given"


def set_pixel_size(viewer: napari.viewer.Viewer, layer: Image, size: float) -> None:
    """Give an Image layer, and the picks on it, a pixel size in Å."""
    note = {"kind": "micrograph", "path": None} | layer.metadata.get(KEY, {})
    layer.metadata[KEY] = note | {"pixel_size": size, "pixel_size_source": "given"}
    picks = find_picks_layer(viewer, layer)
    for each in (layer, picks):
        if each is not None:
            each.units, each.scale = ANGSTROM, (size, size)


def micrograph_id(layer: Image) -> str:
    """Name the micrograph of a layer: the path of its file, or else the name of the layer."""
    return str(layer.metadata.get(KEY, {}).get("path") or layer.source.path or layer.name)


def micrograph_of(layer: Image) -> Micrograph:
    """Make a Micrograph of an Image layer; no pixel is read.

    Parameters
    ----------
    layer : Image
        Of this or any other reader.

    Returns
    -------
    Micrograph
        Its pixel size is that of `pixel_size_of`.

    Raises
    ------
    LayerError
        The layer is no single grey image.
    """
    if layer.rgb:
        raise LayerError(f"{layer.name} is a colour image; pick on the grey micrograph itself.")
    data = layer.data[0] if layer.multiscale else layer.data
    if data.ndim != 2:
        shape = " × ".join(map(str, data.shape[::-1]))
        raise LayerError(f"{layer.name} is a stack ({shape}); pick on a single 2D micrograph.")
    size, source = pixel_size_of(layer)
    return Micrograph(Path(micrograph_id(layer)), data, size, source)


def in_session(layer: Layer) -> bool:
    """Tell the layers of the session's current micrograph from those that were opened alone."""
    return bool(layer.metadata.get(KEY, {}).get("session"))


def find_layer(viewer: napari.viewer.Viewer, kind: str) -> Layer | None:
    """Find the first layer of a kind, as the metadata tell it."""
    found = (layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("kind") == kind)
    return next(found, None)


def fit_view(viewer: napari.viewer.Viewer, image: Image) -> None:
    """Show the whole of an image, as far as napari can: beside a stack it shows all layers."""
    viewer.reset_view(layers=[image] if viewer.dims.ndim == image.ndim else None)


@contextmanager
def view_kept(viewer: napari.viewer.Viewer) -> Iterator[None]:
    """Keep the part of the scene that is seen; napari shows all when a stack comes or goes."""
    camera = viewer.scene.camera
    centre, zoom = camera.center, camera.zoom
    yield
    camera.center, camera.zoom = centre, zoom


def picks_layers(viewer: napari.viewer.Viewer) -> list[Points]:
    """List the layers of picks in a viewer."""
    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Points) and layer.metadata.get(KEY, {}).get("kind") == "picks"
    ]


def find_picks_layer(viewer: napari.viewer.Viewer, image: Image) -> Points | None:
    """Find the layer of the picks of a micrograph; those of the session share one."""
    name, shared = micrograph_id(image), in_session(image)
    for layer in picks_layers(viewer):
        own = shared or layer.metadata[KEY]["micrograph"] == name
        if own and in_session(layer) == shared:
            return layer
    return None


def show_picks(
    viewer: napari.viewer.Viewer, image: Image, picks: Picks, shown: NDArray[np.bool_]
) -> Points:
    """Show the candidates of a micrograph as rings; those it has already are replaced.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to show them.
    image : Image
        Layer of the micrograph.
    picks : Picks
        All candidates.
    shown : ndarray
        (n,) bool, which of them are picks.

    Returns
    -------
    Points
        The layer, as docs/layers.md describes it.
    """
    data = picks.table[["y", "x"]].to_numpy()
    features = picks.table.rename(columns={"logit": "score"})[list(FEATURES)]
    size = _ring_size(picks.provenance)
    layer = find_picks_layer(viewer, image)
    placement = {name: getattr(image, name) for name in _PLACEMENT}
    if in_session(image):  # what is displayed may be binned
        placement["scale"] = (picks.provenance["pixel_size"],) * 2
    if layer is None:
        name = SESSION_PICKS if in_session(image) else f"{image.name} picks"
        layer = viewer.add_points(data, ndim=2, name=name, size=size, **RINGS, **placement)
    else:
        layer.selected_data = set()
        layer.data = data
        layer.size = size
        if tuple(layer.scale) != tuple(placement["scale"]) or layer.units != image.units:
            layer.units, layer.scale = image.units, placement["scale"]
    layer.features = features  # napari keeps the first rows of the old ones, whatever moved
    layer.feature_defaults = NO_FEATURES
    layer.current_size = size
    layer.metadata[KEY] = {
        **picks.provenance,
        "kind": "picks",
        "micrograph": micrograph_id(image),
        **({"session": True} if in_session(image) else {}),
    }
    set_shown(layer, shown)
    return layer


def show_no_picks(viewer: napari.viewer.Viewer, image: Image) -> Points:
    """Show that a micrograph of the session has not been picked.

    The layer is made nevertheless: napari takes a third of a second for its first points, which one
    waits for with the first micrograph anyway, but not while picking goes on.
    """
    layer = find_picks_layer(viewer, image)
    if layer is None:
        placement = {name: getattr(image, name) for name in _PLACEMENT}
        none = {name: np.zeros(0) for name in FEATURES}
        layer = viewer.add_points(
            np.zeros((0, 2)), name=SESSION_PICKS, features=none, **RINGS, **placement
        )
    elif len(layer.data):
        layer.selected_data = set()
        layer.data = np.zeros((0, 2))
    layer.metadata[KEY] = {
        "kind": "picks",
        "micrograph": micrograph_id(image),
        "session": True,
    }
    return layer


def set_shown(layer: Points, shown: NDArray[np.bool_]) -> None:
    """Show some points of a layer of picks and hide the others.

    Parameters
    ----------
    layer : Points
        Layer of picks.
    shown : ndarray
        (n,) bool for the first n points; those behind them were added by hand and stay as they are.
    """
    shown = np.concatenate([shown, layer.shown[len(shown) :]])
    if np.array_equal(shown, layer.shown) and np.array_equal(shown, layer.size > 0):
        return
    # napari 0.9.2 draws the hidden points of 2D layers too, so they also lose their size
    rings = np.where(layer.size > 0, layer.size, _ring_size(layer.metadata[KEY]))
    with layer.events.set_data.blocker():  # they are drawn once, when the sizes are set
        layer.shown = shown
    layer.size = np.where(shown, rings, 0.0)


def apply_threshold(layer: Points, threshold: float) -> None:
    """Show the picks whose log-odds reach the threshold, and those added by hand."""
    score = layer.features["score"].to_numpy(dtype=np.float64)
    set_shown(layer, ~(score < threshold))


def _ring_size(provenance: dict[str, Any]) -> float:
    """Particle diameter in pixels of the micrograph."""
    return float(provenance["diameter"] / provenance["pixel_size"])
