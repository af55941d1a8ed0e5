"""Which micrograph is picked: the selected one, in words, and its pixel size."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_so3.widgets.boxes import NumberBox, hint
from napari_so3.widgets.layers import (
    KEY,
    LayerError,
    in_session,
    micrograph_id,
    micrograph_of,
    picks_layers,
    set_pixel_size,
)

if TYPE_CHECKING:
    import napari

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.widgets.desk import Desk

SOURCES = {"header": "from the file", "given": "as given", "unknown": ""}
UNKNOWN = "The file does not tell its pixel size: enter it."
FOREIGN_TIFF = "Not opened with napari-so3: the rows of a TIFF may be upside down for RELION."


class MicrographBox(QWidget):
    """Follows the selection of the layer list.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers.
    desk : Desk
        Knows the micrograph of the session; the image that it displays may be filtered and binned.

    Attributes
    ----------
    image : Image or None
        Layer of the micrograph.
    """

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, desk: Desk) -> None:
        super().__init__()
        self._viewer, self._desk = viewer, desk
        self.image: Image | None = None
        self._name = QLabel()
        self._name.setWordWrap(True)
        self.pixel_size = NumberBox(0.0, 100.0, 0.1, " Å")
        self.pixel_size.setSpecialValueText("unknown")
        self.pixel_size.setToolTip(
            "Å per pixel of the micrograph; type another to correct it.\n"
            "In a session it is that of all micrographs, and 0 stands for what each file says."
        )
        self._source = QLabel()
        row = QHBoxLayout()
        self._caption = QLabel("Pixel size")
        row.addWidget(self._caption)
        row.addWidget(self.pixel_size, 1)
        row.addWidget(self._source)
        self._hint = hint("")
        self._hint.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._name)
        layout.addLayout(row)
        layout.addWidget(self._hint)
        self.pixel_size.valueChanged.connect(self._give_pixel_size)
        self._events = (
            viewer.layers.selection.events.active,
            viewer.layers.events.inserted,
            viewer.layers.events.removed,
        )
        for event in self._events:
            event.connect(self.refresh)
        desk.shown.connect(self.refresh)
        self.refresh()

    def disconnect_viewer(self) -> None:
        """Stop following the viewer."""
        for event in self._events:
            event.disconnect(self.refresh)
        self._desk.shown.disconnect(self.refresh)
        self._follow(None)

    def micrograph(self) -> Micrograph:
        """Make the micrograph to be picked.

        Raises
        ------
        LayerError
            There is none, or its pixel size is unknown.
        """
        if self.image is None:
            raise LayerError("Open a micrograph, or select one of those in the layer list.")
        micrograph = self._micrograph()
        if micrograph.pixel_size is None:
            raise LayerError(f"Enter the pixel size of {self.image.name} in Å first.")
        return micrograph

    def _micrograph(self) -> Micrograph:
        if in_session(self.image):
            return self._desk.micrograph
        return micrograph_of(self.image)

    def refresh(self) -> None:
        """Show what is selected now."""
        image = self._find()
        if image != self.image:
            self._follow(image)
        self._show()
        self.changed.emit()

    def _find(self) -> Image | None:
        """Take the selected image, that of the selected picks, the last one, or the only one."""
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        active = self._viewer.layers.selection.active
        if active in images:
            return active
        if active is not None and active in picks_layers(self._viewer):
            wanted = active.metadata[KEY]["micrograph"]
            for image in images:
                if micrograph_id(image) == wanted:
                    return image
        if self.image in images:
            return self.image
        shared = [image for image in images if in_session(image)]
        return (shared or images)[0] if shared or len(images) == 1 else None

    def _follow(self, image: Image | None) -> None:
        if self.image is not None:
            for event in (self.image.events.name, self.image.events.scale):
                event.disconnect(self._show)
        self.image = image
        if image is not None:
            for event in (image.events.name, image.events.scale):
                event.connect(self._show)

    def _show(self) -> None:
        name, text, micrograph = "No micrograph is selected.", "", None
        if self.image is not None:
            # Long names have no spaces: they may be broken after an underscore.
            name = f"<b>{html.escape(self.image.name).replace('_', '_&#8203;')}</b>"
            try:
                micrograph = self._micrograph()
            except LayerError as error:
                text = str(error)
        for part in (self._caption, self.pixel_size, self._source):
            part.setVisible(micrograph is not None)
        if micrograph is not None:
            ny, nx = micrograph.data.shape
            name += f", {nx}\u00a0×\u00a0{ny}\u00a0pixels"  # in one line
            text = self._remark(micrograph)
            self._source.setText(SOURCES[micrograph.pixel_size_source])
            blocked = self.pixel_size.blockSignals(True)
            self.pixel_size.setValue(micrograph.pixel_size or 0.0)
            self.pixel_size.blockSignals(blocked)
        self._name.setText(name)
        self._hint.setText(text)
        self._hint.setVisible(bool(text))

    def _remark(self, micrograph: Micrograph) -> str:
        """Say what one should know before picking."""
        source = self.image.source
        is_tiff = str(source.path or "").lower().endswith((".tif", ".tiff"))
        if is_tiff and source.reader_plugin != KEY:
            return FOREIGN_TIFF
        return UNKNOWN if micrograph.pixel_size is None else ""

    def _give_pixel_size(self, size: float) -> None:
        if self.image is not None and in_session(self.image):
            self._desk.session.pixel_size = size or None
        elif self.image is not None and size > 0:
            set_pixel_size(self._viewer, self.image, size)
            self._show()
            self._viewer.reset_view()
