"""What every rotation of a network says about a micrograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_so3.insight.stack import RotationStack, StackError
from napari_so3.picking.pick import PickError, prepare
from napari_so3.picking.score import ScoreMaps
from napari_so3.so3.template import TemplateNet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.pick import PickSettings
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.preprocess import WorkingImage
    from napari_so3.picking.score import ScoreProgress, Scorer
    from napari_so3.so3.aggregation import Aggregation

FRAME = "turned"  # in the training of a picker: the matrix that turned the map it is made of


@dataclass(frozen=True)
class Rotations:
    """The rotations of a model, as plain arrays.

    Parameters
    ----------
    angles : ndarray
        (R, 3) float64 RELION rot, tilt and psi, degrees. Rotation ``s * n_psi + j`` is view s with
        in-plane angle j.
    directions : ndarray
        (S, 3) float64 viewing directions (x, y, z), unit vectors in the frame of the model.
    n_psi : int
        In-plane angles per view.
    symmetry : str
        Point group.
    is_map : bool
        Whether the frame is that of a map that was turned into a template, so that rotations are
        poses. The frame of a trained network is arbitrary: its rotations are *matched rotations*.
    """

    angles: NDArray[np.float64]
    directions: NDArray[np.float64]
    n_psi: int
    symmetry: str = "C1"
    is_map: bool = False

    def __len__(self) -> int:
        return len(self.angles)

    @classmethod
    def of(cls, picker: Picker) -> Rotations:
        """Take those of a picker."""
        grid = picker.net.config.grid
        return cls(
            grid.euler_angles,
            grid.directions.numpy(),
            grid.n_psi,
            grid.symmetry,
            isinstance(picker.net, TemplateNet) and FRAME in picker.training,
        )

    def name(self, index: int) -> str:
        """Name a rotation by its angles: ``rot 137°, tilt 60°, psi 45°``."""
        rot, tilt, psi = (round(float(a)) for a in self.angles[index])
        return f"rot {rot}°, tilt {tilt}°, psi {psi}°"


@dataclass(frozen=True, eq=False)
class RotationMaps:
    """Score maps of every rotation of a micrograph.

    Parameters
    ----------
    stack : RotationStack or ndarray
        (R, h, w) float16 logits of every rotation; indexed with a rotation it gives its map.
    logits : ndarray
        (h, w) float32, the rotations joined.
    best : ndarray
        (h, w) int16, the rotation with the largest logit.
    scale : tuple of float
        Micrograph pixels per map pixel along y and x; map pixel (0, 0) lies on micrograph pixel
        (0, 0).
    pixel_size : float
        Å per pixel of the micrograph.
    rotations : Rotations
        The rotations.
    aggregation : {"al1", "max", "lse"}
        How they are joined.
    prior : float
        AL1: probability that all-zero logits stand for.
    calibration : tuple of float
        Scale and offset that turn joined logits into log-odds of a pick being right.
    source : str
        Path of the micrograph.
    fingerprint : str
        Of the picker.
    """

    stack: RotationStack | NDArray[np.float16]
    logits: NDArray[np.float32]
    best: NDArray[np.int16]
    scale: tuple[float, float]
    pixel_size: float
    rotations: Rotations
    aggregation: Aggregation = "al1"
    prior: float = 0.5
    calibration: tuple[float, float] = (1.0, 0.0)
    source: str = ""
    fingerprint: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Size (h, w) of a map."""
        return self.logits.shape[0], self.logits.shape[1]

    @property
    def log_odds(self) -> NDArray[np.float32]:
        """(h, w) float32 calibrated log-odds of a particle, those of the picks."""
        scale, offset = self.calibration
        return self.logits * np.float32(scale) + np.float32(offset)

    def pixel(self, y: float, x: float) -> tuple[int, int]:
        """Find the map pixel nearest to a place in the micrograph, pixels; inside the map."""
        row, column = round(y / self.scale[0]), round(x / self.scale[1])
        height, width = self.shape
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)

    def at(self, y: float, x: float) -> NDArray[np.float32]:
        """Give the logits of all rotations at a place in the micrograph.

        Parameters
        ----------
        y, x : float
            Micrograph pixels.

        Returns
        -------
        ndarray
            (R,) float32.
        """
        row, column = self.pixel(y, x)
        return np.asarray(self.stack[:, row, column], dtype=np.float32)


def see_rotations(
    micrograph: Micrograph,
    picker: Picker,
    settings: PickSettings,
    scorer: Scorer,
    image: WorkingImage | None = None,
) -> Iterator[ScoreProgress | RotationMaps]:
    """Score a micrograph and keep what every rotation says.

    Parameters
    ----------
    micrograph : Micrograph
        With a known pixel size.
    picker : Picker
        The model.
    settings : PickSettings
        Diameter.
    scorer : Scorer
        The picker's network on a device.
    image : WorkingImage, optional
        What `prepare` gives for the micrograph, if that is known already.

    Yields
    ------
    ScoreProgress or RotationMaps
        Progress, and at last the maps. Stop iterating to cancel.

    Raises
    ------
    PickError
        If the pixel size is unknown, the particle does not fit, the image is constant or the disk
        has no room for the maps.
    """
    try:
        yield from _see(micrograph, picker, settings, scorer)
    except StackError as error:
        raise PickError(str(error)) from error


def _see(
    micrograph: Micrograph,
    picker: Picker,
    settings: PickSettings,
    scorer: Scorer,
    image: WorkingImage | None = None,
) -> Iterator[ScoreProgress | RotationMaps]:
    image = prepare(micrograph, picker, settings) if image is None else image
    config = picker.net.config
    height, width = ((n - 1) // config.stride + 1 for n in image.pixels.shape)
    stack = RotationStack.empty((len(config.grid), height, width))
    for event in scorer.score(image, keep=stack):
        if not isinstance(event, ScoreMaps):
            yield event
            continue
        assert micrograph.pixel_size is not None
        yield RotationMaps(
            stack,
            event.logits,
            event.best_rotation,
            (event.step * image.scale[0], event.step * image.scale[1]),
            micrograph.pixel_size,
            Rotations.of(picker),
            config.aggregation,
            config.prior,
            picker.calibration,
            str(micrograph.path),
            picker.fingerprint,
        )
