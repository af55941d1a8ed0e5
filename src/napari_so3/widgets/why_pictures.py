"""The pictures of an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_so3.insight.figures_explain import NO_OTHERS, captions, filter_sheet
from napari_so3.widgets.pictures import Picture

if TYPE_CHECKING:
    from napari_so3.insight.averages import Average
    from napari_so3.insight.explain import Explanation

EDGE = 102  # pixels of a picture
COLUMNS = 3


class WhyPictures(QWidget):
    """Shows a pick, what was seen alike, and what it was seen with."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = [Picture(EDGE) for _ in range(2 * COLUMNS)]
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(5)
        for i, picture in enumerate(self.pictures):
            grid.addWidget(picture, i // COLUMNS, i % COLUMNS)
        grid.setColumnStretch(COLUMNS, 1)

    def show_explanation(self, e: Explanation) -> None:
        """Show another explanation."""
        raw, seen, same, filters, response, view = self.pictures
        raw.show_array(e.raw, e.raw_step)
        seen.show_array(e.seen, e.step)
        _show_average(same, e.same_rotation, e.step)
        filters.show_array(filter_sheet(e.filters), e.step, reach=float(np.abs(e.filters).max()))
        response.show_array(e.response, e.response_step, "inferno")
        _show_average(view, e.same_view, e.step)
        for picture, short, words in zip(self.pictures, _short(e), captions(e), strict=True):
            picture.caption.setText(short)
            picture.setToolTip(" ".join(words.split()))


def _show_average(picture: Picture, average: Average, step: float) -> None:
    if average.image is None:
        picture.show_nothing(NO_OTHERS)
    else:
        picture.show_array(average.image, step)


def _short(e: Explanation) -> tuple[str, ...]:
    n = len(e.filters)
    return (
        "micrograph\n",
        "as the network\nsees it",
        f"same rotation:\n{_mean(e.same_rotation)}",
        "map in this\npose" if e.rotations.is_map else f"{n} filters of\nthis rotation",
        "score of this\nrotation",
        f"same view:\n{_mean(e.same_view)}",
    )


def _mean(average: Average) -> str:
    if average.n == 0:
        return "none"
    return f"mean of {'best ' if average.n < average.total else ''}{average.n:,}"
