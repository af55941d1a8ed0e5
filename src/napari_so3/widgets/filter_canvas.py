"""A 3D filter in a canvas of its own, and its projection beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.colormaps import Colormap
from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_so3.widgets.camera_rotation import rotation_of, set_frame, turn_camera

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 160  # pixels, of the canvas and of the projection
STYLES = ("Surfaces", "Brightest", "Slices")
SAME = 1e-4  # between two rotations: less is the rounding of the camera's angles
LEVEL = 0.35  # of the largest weight, where the surfaces are
BRIGHT, DARK = (1.0, 0.72, 0.25), (0.35, 0.6, 1.0)  # colours of positive and negative weights
AXES = {"x": (0, 0, 1), "y": (0, 1, 0), "z": (1, 0, 0)}


def _lit(name: str, colour: tuple[float, float, float]) -> Colormap:
    """Colours of a surface, from those in shadow to those in light."""
    return Colormap([(0, 0, 0), colour, (1, 1, 1)], controls=[0, 0.6, 1], name=name)


GLOW = Colormap([(0, 0, 0), BRIGHT, (1, 1, 1)], controls=[0, 0.7, 1], name="amber")
SIGNED = Colormap([DARK, (0.12, 0.12, 0.14), BRIGHT], name="signed")


def zoom_of(size: int) -> float:
    """Pixels of the screen per voxel of a filter of so many voxels."""
    return max(1, SIZE // size)


class FilterCanvas(QWidget):
    """Shows a volume in 3D in the frame of its projection; it is turned by dragging."""

    turned = Signal(object)  # (3, 3) rotation, by the mouse

    def __init__(self) -> None:
        super().__init__()
        self.viewer = ViewerModel(ndisplay=3)
        set_frame(self.viewer.scene.camera)
        self._level = LEVEL
        self._largest = 1.0
        self._rotation = np.eye(3)
        empty = np.zeros((3, 3, 3), dtype=np.float32)
        add = self.viewer.add_image
        self._surfaces = [
            add(empty, name=name, rendering="iso", colormap=_lit(name, colour), visible=False)
            for name, colour in (("bright", BRIGHT), ("dark", DARK))
        ]
        self._brightest = [
            add(empty, name="brightest", rendering="mip", colormap=GLOW, visible=False)
        ]
        self._slices = [
            add(
                empty,
                name=f"slice {axis}",
                depiction="plane",
                plane={"position": (1, 1, 1), "normal": normal, "thickness": 1},
                rendering="mip",
                colormap=SIGNED,
                blending="translucent",
                visible=False,
            )
            for axis, normal in AXES.items()
        ]
        self._canvas = QtViewer(self.viewer)
        self._canvas.setAcceptDrops(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas)
        self.setFixedSize(SIZE, SIZE)
        self.setToolTip("Drag to turn, roll the wheel to zoom. z points away from you.")
        self.viewer.scene.camera.events.angles.connect(self._tell)
        self.set_style(STYLES[0])

    def show_volume(self, volume: NDArray[np.float32], zoom: float) -> None:
        """Show another volume.

        Parameters
        ----------
        volume : ndarray
            (n, n, n) float32 [z, y, x].
        zoom : float
            Pixels of the screen per voxel.
        """
        n = len(volume)
        self._largest = float(np.abs(volume).max()) or 1.0
        limits = (0.0, self._largest)
        for layer, values in zip(self._surfaces, (volume, -volume), strict=True):
            layer.data = values
            layer.contrast_limits = limits
        self._brightest[0].data = volume
        self._brightest[0].contrast_limits = limits
        for layer in self._slices:
            layer.data = volume
            layer.contrast_limits = (-self._largest, self._largest)
            layer.plane.position = 3 * ((n - 1) / 2,)
        self.set_level(self._level)
        camera = self.viewer.scene.camera
        camera.center = 3 * ((n - 1) / 2,)
        camera.zoom = zoom
        self.turn(self._rotation)

    def set_style(self, style: str) -> None:
        """Draw in one of `STYLES`."""
        shown = dict(zip(STYLES, (self._surfaces, self._brightest, self._slices), strict=True))
        for name, layers in shown.items():
            for layer in layers:
                layer.visible = name == style

    def set_level(self, level: float) -> None:
        """Put the surfaces where the weights are so large, a share of the largest."""
        self._level = level
        for layer in self._surfaces:
            layer.iso_threshold = level * self._largest

    def turn(self, rotation: NDArray[np.float64]) -> None:
        """Show the volume as its projection under a rotation (3, 3) does; nothing is told."""
        self._rotation = rotation
        turn_camera(self.viewer.scene.camera, rotation)

    def _tell(self) -> None:
        rotation = rotation_of(self.viewer.scene.camera)
        if np.abs(rotation - self._rotation).max() > SAME:
            self._rotation = rotation
            self.turned.emit(rotation)

    def picture(self) -> NDArray[np.uint8]:
        """Take the pixels of the canvas, (h, w, 4)."""
        pixels: NDArray[np.uint8] = self._canvas.screenshot(flash=False)
        return pixels

    def sizeHint(self) -> QSize:
        """Leave the room to others."""
        return QSize(SIZE, SIZE)

    def close_down(self) -> None:
        """Close the canvas and forget it."""
        self.viewer.scene.camera.events.angles.disconnect(self._tell)
        self._canvas.close()
        self._canvas = None


class ProjectionPicture(QLabel):
    """Draws a small image of signed numbers, row 0 on top."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(SIZE, SIZE)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.image: NDArray[np.float32] | None = None

    def show_image(self, image: NDArray[np.float32]) -> None:
        """Show (k, k) numbers: 0 is dark grey, and the largest fill the colours of the canvas."""
        self.image = image
        largest = float(np.abs(image).max()) or 1.0
        colours = SIGNED.map(0.5 + 0.5 * image.ravel() / largest)[:, :3]
        pixels = np.ascontiguousarray(np.rint(255 * colours), dtype=np.uint8)
        k = len(image)
        drawn = QImage(pixels.data, k, k, 3 * k, QImage.Format.Format_RGB888)
        whole = round(k * zoom_of(k))
        self.setPixmap(QPixmap.fromImage(drawn).scaled(whole, whole))

    def event(self, event: QEvent) -> bool:
        """Leave the wheel to what scrolls the dock."""
        if event.type() == QEvent.Type.Wheel:
            event.ignore()
            return False
        return super().event(event)
