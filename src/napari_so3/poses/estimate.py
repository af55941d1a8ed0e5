"""The poses of the picks of a micrograph."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from napari_so3.picking.preprocess import preprocess
from napari_so3.poses.cutting import particle_images, standardise
from napari_so3.poses.poses import COLUMNS, Poses, matrices_to_angles
from napari_so3.poses.refine import Fit, compare, refine
from napari_so3.simulation.ctf import flip_phases

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.preprocess import WorkingImage
    from napari_so3.poses.estimator import PoseEstimator
    from napari_so3.simulation.ctf import CTF

AT_ONCE = 128  # picks between two reports
OTHER_SIZE = 1.5  # ratio of two diameters that are not of one particle
SHIFT = 0.15  # diameters that a pick may lie beside the centre of its particle


class PoseError(ValueError):
    """Poses cannot be estimated; one sentence for the user."""


@dataclass(frozen=True)
class PoseSettings:
    """What the user decides.

    Parameters
    ----------
    diameter : float, optional
        Particle diameter in Å that was given for picking. The estimator knows its particle's; a
        very different one tells that it is the wrong one.
    pixel_size : float, optional
        Å per pixel of the micrograph; what its file says by default.
    refine : bool
        Climb from the likeliest poses to the best correlation with the map.
    top : int
        Alternatives that are kept.
    ctf : CTF, optional
        Of the micrograph: its phases are flipped before anything else.
    """

    diameter: float | None = None
    pixel_size: float | None = None
    refine: bool = False
    top: int = 5
    ctf: CTF | None = None


@dataclass(frozen=True)
class Progress:
    """How many of the picks have poses."""

    done: int
    total: int


def estimate_poses(
    micrograph: Micrograph,
    points: NDArray[np.floating],
    estimator: PoseEstimator,
    settings: PoseSettings,
    device: torch.device | None = None,
) -> Generator[Progress | Poses, None, None]:
    """Estimate the poses of picks.

    Parameters
    ----------
    micrograph : Micrograph
        Where they are.
    points : ndarray
        (n, 2) y and x, pixels of the micrograph.
    estimator : PoseEstimator
        Of the very particle.
    settings : PoseSettings
        How.
    device : torch.device, optional
        Where to compute; the CPU by default.

    Yields
    ------
    Progress or Poses
        What is done, and at last the poses in the order of the points. Stop iterating to cancel.

    Raises
    ------
    PoseError
        If the pixel size is not known, the estimator is for a particle of another size, or a
        refinement is wanted without a map.
    """
    pixel_size = settings.pixel_size or micrograph.pixel_size
    name = micrograph.path.name
    if pixel_size is None:
        raise PoseError(f"{name}: the file does not tell its pixel size; give it in Å.")
    ratio = (settings.diameter or estimator.diameter) / estimator.diameter
    if not 1 / OTHER_SIZE <= ratio <= OTHER_SIZE:
        raise PoseError(
            f"{estimator.name}: it knows a particle of {estimator.diameter:.0f} Å, and the picks "
            f"are of one of {settings.diameter:.0f} Å; choose the pose model of your particle."
        )
    if settings.refine and estimator.reference is None:
        raise PoseError(f"{estimator.name}: it has no map to refine against; do without --refine.")
    working = _prepare(micrograph, pixel_size, estimator, settings)
    points = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 2)
    parts = []
    for first in range(0, len(points), AT_ONCE):
        yield Progress(first, len(points))
        part = points[first : first + AT_ONCE]
        parts.append(_estimate(working, part, estimator, settings, device))
    yield Progress(len(points), len(points))
    provenance = {
        "model": estimator.name,
        "fingerprint": estimator.fingerprint,
        "diameter": estimator.diameter,
        "pixel_size": pixel_size,
        "refined": settings.refine,
        "ctf": None if settings.ctf is None else asdict(settings.ctf),
    }
    yield _join(parts, settings.top, estimator.symmetry, str(micrograph.path), provenance)


def _prepare(
    micrograph: Micrograph, pixel_size: float, estimator: PoseEstimator, settings: PoseSettings
) -> WorkingImage:
    image = micrograph.to_float32()
    if settings.ctf is not None:
        image = flip_phases(torch.from_numpy(image), settings.ctf, pixel_size).numpy()
    return preprocess(
        image,
        pixel_size,
        estimator.diameter,
        estimator.working_pixel_size,
        estimator.sign,
    )


def _estimate(
    working: WorkingImage,
    points: NDArray[np.float64],
    estimator: PoseEstimator,
    settings: PoseSettings,
    device: torch.device | None,
) -> tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.float64]]:
    """Poses of some picks: their table, alternatives and shares."""
    reach = round(SHIFT * estimator.pixels_per_diameter)
    wide = particle_images(working, points, estimator.box + 2 * reach)
    crops = wide[:, :, reach : reach + estimator.box, reach : reach + estimator.box]
    distribution = estimator.estimate(standardise(crops), device)
    alternatives, shares = distribution.top(settings.top)
    poses = alternatives[:, 0]
    fit = Fit.unknown(len(points))
    if estimator.reference is not None and len(points):
        if settings.refine:
            poses, chosen, fit = refine(
                wide, alternatives, shares, estimator.reference, reach, settings.ctf
            )
            alternatives, shares = _to_front(alternatives, shares, chosen)
            alternatives[:, 0] = poses
        else:
            fit = compare(wide, poses, estimator.reference, reach, settings.ctf)
    pixel_size = np.mean(working.pixel_size)
    rot, tilt, psi = matrices_to_angles(poses).T
    columns = (
        *points.T, rot, tilt, psi, shares.max(axis=1), distribution.effective_number,
        *(fit.shift.T * pixel_size), fit.correlation,
    )  # fmt: skip
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))), alternatives, shares


def _to_front(
    alternatives: NDArray[np.float64], shares: NDArray[np.float64], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put the alternative that was chosen before the others of each pick."""
    numbers = np.arange(shares.shape[1])
    order = np.argsort(np.where(numbers == chosen[:, None], -1, numbers), axis=1)
    return (
        np.take_along_axis(alternatives, order[..., None, None], axis=1),
        np.take_along_axis(shares, order, axis=1),
    )


def _join(
    parts: list[tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.float64]]],
    top: int,
    symmetry: str,
    micrograph: str,
    provenance: dict[str, object],
) -> Poses:
    if not parts:
        table = pd.DataFrame({name: np.zeros(0) for name in COLUMNS})
        nothing = np.zeros((0, top, 3, 3)), np.zeros((0, top))
        return Poses(table, *nothing, symmetry, micrograph, provenance)
    tables, alternatives, shares = zip(*parts, strict=True)
    return Poses(
        pd.concat(tables, ignore_index=True),
        np.concatenate(alternatives),
        np.concatenate(shares),
        symmetry,
        micrograph,
        provenance,
    )
