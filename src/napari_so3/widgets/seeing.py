"""What the panels of the dock "See" share: the maps, and what is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_so3.widgets.see_engine import SeeEngine

if TYPE_CHECKING:
    from napari_so3.insight.rotation_maps import RotationMaps


class Seeing(QObject):
    """The maps of the current micrograph, the rotation and the place that one looks at.

    Attributes
    ----------
    maps : RotationMaps or None
        Of the micrograph that is shown; None if it has not been looked at with this model.
    rotation : int
        Index of the rotation that is shown.
    place : tuple of float or None
        y and x of the cursor or of the pick that is explained, pixels of the micrograph.
    engine : SeeEngine
        Runs what needs the network, for all panels.
    """

    maps_changed = Signal()
    rotation_changed = Signal(int)
    place_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.maps: RotationMaps | None = None
        self.rotation = 0
        self.place: tuple[float, float] | None = None
        self.engine = SeeEngine()

    def take(self, maps: RotationMaps | None) -> None:
        """Look at other maps, or at none."""
        if maps is self.maps:
            return
        self.maps = maps
        if maps is not None and self.rotation >= len(maps.rotations):
            self.rotation = 0
        self.maps_changed.emit()

    def turn_to(self, rotation: int) -> None:
        """Show another rotation."""
        if rotation != self.rotation:
            self.rotation = rotation
            self.rotation_changed.emit(rotation)

    def point_at(self, place: tuple[float, float] | None) -> None:
        """Look at another place, y and x in pixels of the micrograph."""
        if place != self.place:
            self.place = place
            self.place_changed.emit()
