"""The tab "Views": which views the picks show, whether some are preferred, and whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_so3.insight.globe import angles_of
from napari_so3.poses.blur import Blur, blur_of_confidence
from napari_so3.poses.cells import lattice
from napari_so3.poses.coverage import BINS, picks_near
from napari_so3.poses.mollweide import brightest
from napari_so3.widgets.boxes import StatusLine, hint
from napari_so3.widgets.coverage_engine import Covered, count_views, write_coverage
from napari_so3.widgets.globe import Globe
from napari_so3.widgets.mollweide import RADIUS, Mollweide, colour_table
from napari_so3.widgets.plots import Plot
from napari_so3.widgets.runner import Runner
from napari_so3.widgets.why_engine import NotWritten, Written
from napari_so3.widgets.why_panel import ENDINGS, FORMATS

if TYPE_CHECKING:
    from numpy.typing import NDArray

VIEWS = 180  # on the globe
EMPTY = "Which views there are is shown once picks\nhave poses: see the tab Picks."
_BARS = (90, 160, 230)
_NO_PICKS = np.zeros((0, 3, 3))


class CoveragePanel(QWidget):
    """Shows the views of poses that it is given, counted in a thread.

    A region of views is chosen in the ellipse or on the globe; `region_chosen` tells the indices
    of its picks in the matrices, none when it is given up. `scope_changed` tells that the poses of
    all micrographs (True) or of the one that is shown are wanted.
    """

    region_chosen = Signal(object)  # (m,) intp
    scope_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._matrices = _NO_PICKS
        self._wanted: tuple[Any, ...] | None = None  # to be counted next
        self._covered: Covered | None = None
        self._name = ""
        self._runner, self._writer = Runner(), Runner()
        self.scope = QComboBox()
        self.sentence, self.region, self.empty = QLabel(), QLabel(), hint(EMPTY)
        self.ellipse, self.globe = Mollweide(), ViewGlobe()
        self.in_plane = Plot(156, narrowest=120)
        self.save, self.status = QPushButton("Save figure…"), StatusLine()
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        self.scope.addItems(["this micrograph", "all micrographs"])
        self.scope.setToolTip("Whose picks are counted")
        self.sentence.setWordWrap(True)
        self.in_plane.setLabel("bottom", "in-plane angle psi")
        self.in_plane.getAxis("bottom").setTicks([[(a, f"{a}°") for a in (0, 90, 180, 270)]])
        self.in_plane.getAxis("bottom").setHeight(40)
        self.in_plane.hideAxis("left")
        self.in_plane.setToolTip(
            "Picks per 10° of psi; the line is their mean. Nothing in the ice prefers an in-plane\n"
            "angle: if these are uneven, look at the poses."
        )
        self.save.setToolTip("Write these views as a picture, PDF or SVG")
        row, beside = QHBoxLayout(), QHBoxLayout()
        row.addWidget(QLabel("Picks of"))
        row.addWidget(self.scope, 1)
        beside.addWidget(self.globe)
        beside.addWidget(self.in_plane, 1)
        self.parts = QWidget()
        inner = QVBoxLayout(self.parts)
        inner.setContentsMargins(0, 0, 0, 0)
        for part in (self.sentence, self.ellipse, self.region):
            inner.addWidget(part)
        inner.addLayout(beside)
        inner.addWidget(self.save)
        layout = QVBoxLayout(self)
        layout.addLayout(row)
        for part in (self.empty, self.parts, self.status):
            layout.addWidget(part)
        layout.addStretch()
        self.parts.hide()

    def _connect(self) -> None:
        self.scope.currentIndexChanged.connect(lambda index: self.scope_changed.emit(index == 1))
        self.ellipse.chosen.connect(self._choose)
        self.globe.chosen.connect(lambda view: self._choose(self.globe.views[view]))
        self.save.clicked.connect(self._save)
        self._runner.ended.connect(self._count)
        for runner in (self._runner, self._writer):
            runner.told.connect(self._take)
            runner.crashed.connect(self.status.complain)

    def close_down(self) -> None:
        """Stop counting."""
        self._wanted = None
        self._runner.cancel()
        self._writer.cancel()

    @property
    def of_all(self) -> bool:
        """Whether the picks of all micrographs are wanted."""
        return self.scope.currentIndex() == 1

    def set_poses(
        self,
        matrices: NDArray[np.floating],
        group: NDArray[np.floating],
        confidence: NDArray[np.floating] | None = None,
        blur: Blur | None = None,
        grid: NDArray[np.floating] | None = None,
        name: str = "",
    ) -> None:
        """Count the views of other picks; what is shown stays until that is done.

        Parameters
        ----------
        matrices : ndarray
            (n, 3, 3) poses, particle to image.
        group : ndarray
            (G, 3, 3) point group.
        confidence : ndarray, optional
            (n,) probabilities that the poses are right; NaN where they are not known.
        blur : Blur, optional
            Of the estimator, if it was measured; otherwise the mean confidence says how clearly it
            sees.
        grid : ndarray, optional
            (R, 3, 3) rotations, if the poses are only those of a grid, as those of a matcher.
        name : str
            Whose picks they are, for the figure.
        """
        self._matrices, self._name = np.asarray(matrices, dtype=np.float64), name
        self._wanted = None
        if not len(self._matrices):
            self._runner.cancel()
            self._covered = None
            self._choose(None)
        else:
            rotations = np.asarray(group, dtype=np.float64)
            if blur is None:
                blur = Blur() if confidence is None else blur_of_confidence(confidence)
            self._wanted = self._matrices, rotations, blur, grid
            if not self._runner.running:
                self._count()
        self._show_what_there_is()

    def _count(self) -> None:
        """Count the latest poses; those that came while others were counted are left out."""
        if self._wanted is not None:
            job, self._wanted = self._wanted, None
            self._runner.start(count_views, *job)

    def _show_what_there_is(self) -> None:
        self.parts.setVisible(self._covered is not None)
        self.empty.setVisible(self._covered is None)

    def _take(self, event: Any) -> None:
        if isinstance(event, Covered):
            self._show(event)
        elif isinstance(event, Written):
            self.status.say(f"Written: {event.path.name}")
        elif isinstance(event, NotWritten):
            self.status.complain(event.sentence)

    def _show(self, covered: Covered) -> None:
        self._covered, coverage = covered, covered.coverage
        self.sentence.setText(covered.words)
        self.ellipse.show_coverage(coverage, covered.picture)
        self.globe.show_density(coverage.at(self.globe.views), brightest(coverage.density))
        self.in_plane.clear()
        step = 360 / BINS
        angles = (np.arange(BINS) + 0.5) * step
        bars = {"x": angles, "height": coverage.in_plane, "width": 0.9 * step}
        self.in_plane.addItem(pg.BarGraphItem(**bars, brush=_BARS, pen=None))
        self.in_plane.addItem(pg.InfiniteLine(float(coverage.in_plane.mean()), angle=0))
        self.in_plane.setXRange(0, 360, padding=0.02)
        self.in_plane.setYRange(0, max(1.0, float(coverage.in_plane.max())), padding=0.03)
        self._show_what_there_is()
        self._choose(self.ellipse.direction)

    # ------------------------------------------------------------------ a region

    def clear_region(self) -> None:
        """Give up the region that is chosen."""
        self._choose(None)

    def _choose(self, direction: NDArray[np.float64] | None) -> None:
        had = self.ellipse.direction is not None or bool(self.region.text())
        self.ellipse.choose(direction)
        if direction is None or self._covered is None:
            self.region.clear()
            self.globe.choose(-1)
            if had:
                self.region_chosen.emit(np.zeros(0, dtype=np.intp))
            return
        self.globe.show_direction(direction)
        found = picks_near(self._matrices, direction, RADIUS, self._covered.coverage.group)
        rot, tilt = angles_of(direction)
        picks = f"{len(found):,} of {len(self._matrices):,} picks"
        self.region.setText(f"{picks} within {RADIUS:.0f}° of rot {rot:.0f}°, tilt {tilt:.0f}°.")
        self.region_chosen.emit(found)

    # ------------------------------------------------------------------ figure

    def _save(self) -> None:
        start = f"{self._name or 'picks'}_views.png"
        path, kind = QFileDialog.getSaveFileName(self, "Save figure", start, FORMATS)
        if not path or self._covered is None:
            return
        target = Path(path)
        if target.suffix.lower() not in ENDINGS:
            target = target.with_name(f"{target.name}{kind[-5:-1]}")
        self.status.say("Drawing…")
        self._writer.start(write_coverage, self._covered.coverage, self._name, target)


class ViewGlobe(Globe):
    """Shows the density of views in the colours of the ellipse."""

    def __init__(self) -> None:
        super().__init__()
        self.views = lattice(VIEWS)

    def show_density(self, density: NDArray[np.float64], top: float) -> None:
        """Show other densities (VIEWS,) of its views; `top` is the brightest."""
        shares = np.clip(density / top, 0, 1)
        colours = colour_table()[np.rint(255 * shares).astype(np.intp), :3]
        self.set_views(self.views, 0.25 + shares, colours)

    def describe(self, index: int | None) -> str:
        """Write what a tooltip says of a view, or of the globe."""
        if index is None:
            return "Views of the particle: drag to turn the globe, click one to choose its picks"
        rot, tilt = angles_of(self.views[index])
        return f"rot {rot:.0f}°, tilt {tilt:.0f}°"
