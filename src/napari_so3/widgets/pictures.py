"""Small pictures with a caption and a scale bar, for panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_so3.insight.figures_style import RANGE, round_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAR_SHARE = 0.45  # of the width: the most that a scale bar takes
_LOW = 5  # pixels between the bar and the edges
_NOTHING = QColor("#606060")


class Picture(QWidget):
    """A square picture with two lines below it.

    Parameters
    ----------
    edge : int
        Pixels of the screen.
    """

    def __init__(self, edge: int) -> None:
        super().__init__()
        self._edge = edge
        self.image, self.caption = QLabel(), QLabel()
        self.image.setFixedSize(edge, edge)
        self.image.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.caption.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        font = self.caption.font()
        font.setPointSizeF(0.85 * font.pointSizeF())
        self.caption.setFont(font)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(1)
        layout.addWidget(self.image)
        layout.addWidget(self.caption)

    def show_array(
        self,
        image: NDArray[np.floating],
        step: float,
        colours: str = "gray",
        reach: float | None = None,
    ) -> None:
        """Show an image.

        Parameters
        ----------
        image : ndarray
            (h, w); NaN is drawn as background.
        step : float
            Å per pixel.
        colours : str
            Name of a colour map of napari.
        reach : float, optional
            Values of ± reach are black and white; percentiles by default.
        """
        low, high = np.nanpercentile(image, RANGE) if reach is None else (-reach, reach)
        share = np.clip((np.nan_to_num(image, nan=low) - low) / max(high - low, 1e-12), 0, 1)
        table = np.round(255 * ensure_colormap(colours).map(np.linspace(0, 1, 256)))
        pixels = table[np.rint(255 * share).astype(int)].astype(np.uint8)
        pixels[np.isnan(image)] = 0  # transparent
        picture = _scaled(pixels, self._edge)
        _draw_bar(picture, image.shape[1] * step)
        self.image.setPixmap(picture)

    def show_nothing(self, words: str = "") -> None:
        """Show words in the place of an image."""
        picture = QPixmap(QSize(self._edge, self._edge))
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        painter.setPen(QPen(_NOTHING, 1))
        painter.drawRect(0, 0, self._edge - 1, self._edge - 1)
        painter.setPen(self.palette().windowText().color())
        painter.drawText(picture.rect(), Qt.AlignmentFlag.AlignCenter, words)
        painter.end()
        self.image.setPixmap(picture)


def _scaled(pixels: NDArray[np.uint8], edge: int) -> QPixmap:
    """Enlarge (h, w, 4) colours to a picture whose longer edge is that of the widget."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).tobytes()
    image = QImage(data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    return QPixmap.fromImage(image.copy()).scaled(
        edge, edge, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.FastTransformation
    )


def _draw_bar(picture: QPixmap, width: float) -> None:
    """Draw a scale bar of a round length into the lower left corner; the width is in Å."""
    length = round_length(BAR_SHARE * width)
    pixels = round(length / width * picture.width())
    bottom = picture.height() - _LOW
    painter = QPainter(picture)
    font = painter.font()
    font.setPointSizeF(7.5)
    painter.setFont(font)
    words = f"{length:g} Å"
    high = painter.fontMetrics().height()
    room = max(pixels, painter.fontMetrics().horizontalAdvance(words)) + 6
    painter.fillRect(QRect(_LOW - 3, bottom - high - 2, room, high + 5), QColor(0, 0, 0, 150))
    painter.fillRect(QRect(_LOW, bottom - 2, pixels, 3), Qt.GlobalColor.white)
    painter.setPen(Qt.GlobalColor.white)
    painter.drawText(_LOW, bottom - 5, words)
    painter.end()
