"""What the dock "Poses" computes of single picks in worker threads; it knows torch, but no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_so3.io.files import atomic_path
from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.poses.poses import matrices_to_angles
from napari_so3.widgets.engine import Problem
from napari_so3.widgets.why_engine import NotWritten, Written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.picking.preprocess import WorkingImage
    from napari_so3.widgets.pose_models import PoseModel

DRAWN = 64  # voxels per axis of a map in 3D, at most: without a graphics card more take seconds
AT_ONCE = 64  # projections


@dataclass(frozen=True, eq=False)
class LookJob:
    """A pick that is looked at.

    Parameters
    ----------
    model : PoseModel
        Whose pose it has.
    path : Path
        File of the micrograph.
    pixel_size : float or None
        As in `Session`.
    row : int
        Of the pick among the poses of the micrograph.
    place, centre : tuple of float
        y and x of the pick, and of the middle of its particle, pixels.
    matrices : ndarray
        (k, 3, 3) poses that are compared.
    """

    model: PoseModel
    path: Path
    pixel_size: float | None
    row: int
    place: tuple[float, float]
    centre: tuple[float, float]
    matrices: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Looked:
    """A pick beside the projections of the map.

    Parameters
    ----------
    job : LookJob
        Which pick.
    crop : ndarray
        (b, b) float32, particles bright, as the network sees it.
    projections : ndarray or None
        (k, b, b) float32 of the map; None without one.
    correlations : ndarray
        (k,) float64 with the crop at the best shift of each; NaN without a map.
    step : float
        Å per pixel.
    """

    job: LookJob
    crop: NDArray[np.float32]
    projections: NDArray[np.float32] | None
    correlations: NDArray[np.float64]
    step: float


@dataclass(frozen=True, eq=False)
class Rendered:
    """Projections of the map at the poses of a micrograph.

    Parameters
    ----------
    poses : Poses
        Which.
    images : ndarray
        (n, b, b) float32 from 0 to 1.
    step : float
        Å per pixel.
    """

    poses: Any
    images: NDArray[np.float32]
    step: float


class Looking:
    """Compares picks with the map; the last micrograph is kept ready for the next pick."""

    def __init__(self) -> None:
        self._image: tuple[Any, WorkingImage] | None = None

    def look(self, job: LookJob) -> Iterator[Looked | Problem]:
        """Cut out a pick, and project the map at poses of it.

        Parameters
        ----------
        job : LookJob
            Which.

        Yields
        ------
        Looked or Problem
            One of them.
        """
        import torch

        from napari_so3.poses.cutting import particle_images

        model = job.model
        try:
            working = self._prepare(job)
        except (MicrographError, OSError, MemoryError) as error:
            yield Problem(str(error) or f"{job.path.name} does not fit into memory.")
            return
        crop = particle_images(working, np.array([job.centre]), model.box)[0, 0].numpy()
        correlations, projections = np.full(len(job.matrices), np.nan), None
        if model.reference is not None:
            turns = torch.from_numpy(job.matrices)
            projections = model.reference.project(turns, model.box).numpy()
            correlations = _correlate(job, working)
        yield Looked(job, crop, projections, correlations, model.pixel_size)

    def _prepare(self, job: LookJob) -> WorkingImage:
        from napari_so3.picking.preprocess import preprocess

        model = job.model
        key = job.path, job.pixel_size, model.fingerprint, model.pixel_size
        if self._image is None or self._image[0] != key:
            micrograph = read_micrograph(job.path, job.pixel_size)
            if micrograph.pixel_size is None:
                raise MicrographError(f"{job.path.name}: its pixel size is not known.")
            self._image = (
                key,
                preprocess(
                    micrograph.to_float32(),
                    micrograph.pixel_size,
                    model.diameter,
                    model.pixel_size,
                    model.source.sign,
                ),
            )
        return self._image[1]


def _correlate(job: LookJob, working: WorkingImage) -> NDArray[np.float64]:
    """Compare a pick with the projections at all its poses, as `estimate_poses` does."""
    from napari_so3.poses.cutting import particle_images
    from napari_so3.poses.estimate import SHIFT
    from napari_so3.poses.refine import compare

    model = job.model
    reach = round(SHIFT * model.diameter / model.pixel_size)
    wide = particle_images(working, np.array([job.place]), model.box + 2 * reach)
    copies = wide.expand(len(job.matrices), -1, -1, -1)
    return compare(copies, job.matrices, model.reference, reach).correlation


def render(model: PoseModel, poses: Any) -> Iterator[Rendered]:
    """Project the map at the poses of all picks of a micrograph.

    Parameters
    ----------
    model : PoseModel
        With a map.
    poses : Poses
        The poses.

    Yields
    ------
    Rendered
        Once.
    """
    import torch

    turns = torch.from_numpy(poses.matrices)
    parts = [model.reference.project(part, model.box).numpy() for part in turns.split(AT_ONCE)]
    images = np.maximum(np.concatenate(parts or [np.zeros((0, model.box, model.box))]), 0)
    highest = images.max(axis=(1, 2), initial=0.0, keepdims=True)
    scaled = (images / np.maximum(highest, 1e-12)).astype(np.float32)
    yield Rendered(poses, scaled, model.pixel_size)


def drawn_map(model: PoseModel) -> tuple[NDArray[np.float32], float]:
    """Make the map small enough to be drawn in 3D.

    Parameters
    ----------
    model : PoseModel
        With a map.

    Returns
    -------
    volume : ndarray
        (n, n, n) float32 [z, y, x], not negative, n odd and at most `DRAWN`.
    voxel_size : float
        Å.
    """
    values = np.maximum(np.asarray(model.reference.values, dtype=np.float32), 0)
    size = float(model.reference.pixel_size)
    if len(values) <= DRAWN:
        return values, size
    wanted = DRAWN - 1
    small = ndimage.zoom(values, wanted / len(values), order=1, grid_mode=True, mode="nearest")
    return small.astype(np.float32), size * len(values) / len(small)


def write_pick(looked: Looked, path: Path) -> Iterator[Written | NotWritten]:
    """Draw a pick beside the map in each of its poses, and write that as a figure.

    Parameters
    ----------
    looked : Looked
        The pick, of a model with a map.
    path : Path
        File ending in png, pdf or svg; replaced as a whole.

    Yields
    ------
    Written or NotWritten
        What became of it.
    """
    from napari_so3.poses.figures import poses_figure

    angles = matrices_to_angles(looked.job.matrices)
    captions = [f"rot {rot:.0f}°, tilt {tilt:.0f}°, psi {psi:.0f}°" for rot, tilt, psi in angles]
    crops = np.broadcast_to(looked.crop, (len(captions), *looked.crop.shape))
    try:
        assert looked.projections is not None
        figure = poses_figure(
            crops, looked.projections, looked.step, list(looked.correlations), captions
        )
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower())
    except (OSError, ValueError) as error:
        yield NotWritten(f"{path}: cannot be written ({error}); choose another file.")
    else:
        yield Written(path)
