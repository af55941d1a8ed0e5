"""What one can do with a filter: its projections, files of it, and a comparison with a map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

from napari_so3.widgets.engine import Note, Problem
from napari_so3.widgets.filters_engine import (
    Compared,
    Part,
    Projections,
    Written,
    compare_filter,
    export_filter,
    project_filter,
)
from napari_so3.widgets.projections_viewer import open_projections
from napari_so3.widgets.runner import Runner

if TYPE_CHECKING:
    import napari

    from napari_so3.insight.filters import FilterBank
    from napari_so3.widgets.filters_engine import FiltersJob

MAPS = "Maps (*.mrc *.map *.ccp4 *.mrc.gz *.map.gz)"
STOP, COMPARE = "Stop", "Compare with a map…"


class FilterActions(QWidget):
    """Three buttons; the work is done in a thread."""

    said = Signal(str)
    failed = Signal(str)
    compared = Signal(object)  # Compared

    def __init__(self) -> None:
        super().__init__()
        self._bank: FilterBank | None = None
        self._where = (0, 0, 0)
        self._job: FiltersJob | None = None
        self.montage_viewer: napari.Viewer | None = None  # that was opened last
        self.runner = Runner()
        self.montage, self.export = QPushButton("Montage"), QPushButton("Export")
        self.compare = QPushButton(COMPARE)
        self.montage.setToolTip("All projections of this filter as an image stack, in a new window")
        self.export.setToolTip("Write this filter for ChimeraX or RELION")
        self.compare.setToolTip("How like a density map the filter of this model is")
        menu = QMenu(self.export)
        menu.addAction("3D filter (MRC)…").triggered.connect(self._export_volume)
        menu.addAction("Projections (MRCS and STAR)…").triggered.connect(self._export_projections)
        self.export.setMenu(menu)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for button in (self.montage, self.export, self.compare):
            layout.addWidget(button)
            button.setEnabled(False)
        self.compare.hide()
        self.montage.clicked.connect(self._montage)
        self.compare.clicked.connect(self._compare)
        self.runner.told.connect(self._take)
        self.runner.crashed.connect(self.failed)
        self.runner.ended.connect(self._show_state)

    def show_filter(self, bank: FilterBank, where: tuple[int, int, int], job: FiltersJob) -> None:
        """Act on a filter (layer, output and input channel) of a model from now on."""
        self._bank, self._where, self._job = bank, where, job
        self.compare.setVisible(bank.layers[0].basis == "map")
        self._show_state()

    def cancel(self) -> None:
        """Stop what goes on."""
        self.runner.cancel()
        self._show_state()

    @property
    def name(self) -> str:
        """Of the filter, such as ``general layer 1 filter 3-1``."""
        layer, out, channel = self._where
        bank = self._bank
        return f"{bank.model} {bank.layers[layer].name} filter {out + 1}-{channel + 1}"

    def _show_state(self) -> None:
        for button in (self.montage, self.export):
            button.setEnabled(self._bank is not None and not self.runner.running)
        self.compare.setEnabled(self._bank is not None)
        self.compare.setText(STOP if self.runner.running else COMPARE)

    def _run(self, function: Any, *args: Any) -> None:
        self.runner.start(function, *args)
        self._show_state()

    def _montage(self) -> None:
        self._run(project_filter, self._bank, self._where)

    def _export_volume(self) -> None:
        self._export(projections=False)

    def _export_projections(self) -> None:
        self._export(projections=True)

    def _export(self, projections: bool) -> None:
        ending, kind = (".mrcs", "Image stack (*.mrcs)") if projections else (".mrc", "Map (*.mrc)")
        start = str(Path.cwd() / f"{self.name.replace(' ', '_')}{ending}")
        path, _ = QFileDialog.getSaveFileName(self, "Export the filter", start, kind)
        if path:
            file = Path(path) if Path(path).suffix == ending else Path(f"{path}{ending}")
            diameter = self._job.diameter
            self._run(export_filter, self._bank, self._where, diameter, file, projections)

    def _compare(self) -> None:
        if self.runner.running:
            self.cancel()
            self.said.emit("")
            return
        path, _ = QFileDialog.getOpenFileName(self, COMPARE, str(Path.cwd()), MAPS)
        if path:
            self._run(compare_filter, self._job, self._bank, Path(path))

    def _take(self, event: Any) -> None:
        if isinstance(event, Note):
            self.said.emit(event.text)
        elif isinstance(event, Part):
            self.said.emit(f"Comparing with the map: {event.share:.0%}")
        elif isinstance(event, Problem):
            self.failed.emit(event.sentence)
        elif isinstance(event, Written):
            self.said.emit("Wrote " + " and ".join(path.name for path in event.paths) + ".")
        elif isinstance(event, Projections):
            pixel_size = self._bank.pixel_size(self._where[0], self._job.diameter)
            rotations = self._bank.rotations
            self.montage_viewer = open_projections(event.images, pixel_size, rotations, self.name)
        elif isinstance(event, Compared):
            self.compared.emit(event)


def describe_likeness(compared: Compared) -> str:
    """Say in words how like a map a filter is."""
    found = compared.likeness
    resolution, value = found.resolution(), found.fsc[:, 1]
    if value[0] < 0.5:
        detail = "FSC below 0.5 everywhere"
    elif value.min() > 0.5:
        detail = f"FSC above 0.5 down to the finest detail it can hold ({resolution:.0f} Å)"
    else:
        detail = f"FSC 0.5 at {resolution:.0f} Å"
    hand = "as it is" if found.hand == 1 else "mirrored"
    return (
        f"Most like {compared.map_name} {hand}: correlation {found.correlation:.2f} "
        f"(the other hand {found.correlation_mirrored:.2f}, any rotation "
        f"{found.correlation_blind:.2f}), {detail}. It is a filter, not a map: projections do not "
        "tell the hand."
    )
