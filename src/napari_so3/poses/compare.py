"""Compare the poses of two files: the same particles, one frame, and how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_so3.io.files import atomic_path
from napari_so3.io.particles import ParticleTable, read_particles
from napari_so3.poses.errors import pose_errors
from napari_so3.poses.frames import align_frames
from napari_so3.poses.pairs import RADIUS, match_particles
from napari_so3.poses.poses import Poses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_so3.poses.errors import PoseErrors
    from napari_so3.poses.frames import FrameFit
    from napari_so3.poses.pairs import ParticlePairs

_OWN = "napari-so3"


class CompareError(ValueError):
    """Files whose poses cannot be compared; one sentence."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """How far the poses of two tables are apart.

    Attributes
    ----------
    pairs : ParticlePairs
        Particles that have a pose in both, of which there is at least one.
    errors : PoseErrors
        Of the pairs, in their order.
    frame : FrameFit or None
        How the second table was brought into the frame of the first, where that was asked for.
    without : int
        Particles in both tables that have no pose in one of them.
    """

    pairs: ParticlePairs
    errors: PoseErrors
    frame: FrameFit | None
    without: int

    def sentences(self) -> tuple[str, ...]:
        """Say what was compared, and how it came out."""
        said = [self.pairs.sentence()]
        if self.without:
            said.append(f"{self.without} others have no pose in one of the files.")
        if self.frame is not None:
            said.append(self.frame.sentence())
        return (*said, self.errors.sentence())

    def table(self) -> pd.DataFrame:
        """List the pairs: rows of the tables (first, second); error, view, in_plane (degrees)."""
        angles = (self.errors.angles, self.errors.views, self.errors.in_plane)
        return pd.DataFrame(
            {"first": self.pairs.first, "second": self.pairs.second}
            | dict(zip(("error", "view", "in_plane"), map(np.degrees, angles), strict=True))
        )

    def write_csv(self, path: Path) -> None:
        """Write `table`, the rows of the tables counted from 0.

        Raises
        ------
        CompareError
            The file cannot be written.
        """
        try:
            with atomic_path(path) as temporary:
                self.table().round(4).to_csv(temporary, index=False, lineterminator="\n")
        except OSError as error:
            raise CompareError(f"{path}: it cannot be written ({error}).") from error


def read_poses(path: str | Path) -> ParticleTable:
    """Read poses of another program, or those that napari-so3 has estimated.

    Parameters
    ----------
    path : str or Path
        STAR or .cs file, a CSV of `Poses`, or a folder of such CSVs, one for each micrograph.

    Returns
    -------
    ParticleTable
        Particles.

    Raises
    ------
    ValueError
        The file cannot be read, or the folder has no poses; one sentence.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.csv"))
        if not files:
            raise CompareError(f"{path.name}: the folder has no poses (*.csv).")
        return poses_table(path, [Poses.read_csv(file) for file in files])
    if path.suffix.lower() == ".csv":
        return poses_table(path, [Poses.read_csv(path)])
    return read_particles(path)


def poses_table(path: Path, poses: Sequence[Poses]) -> ParticleTable:
    """Put the poses of micrographs into one table.

    Parameters
    ----------
    path : Path
        Where they are from, for messages.
    poses : sequence of Poses
        One for each micrograph, at least one.

    Returns
    -------
    ParticleTable
        Particles in their order; NaN stands for no pose.
    """
    parts = [each.table.assign(micrograph=each.micrograph) for each in poses]
    whole = pd.concat(parts, ignore_index=True)
    return ParticleTable(
        path,
        _OWN,
        whole[["x", "y", "micrograph", "confidence"]],
        np.concatenate([each.matrices for each in poses]),
        -whole[["dy", "dx"]].to_numpy(dtype=np.float64),
    )


def compare_poses(
    first: ParticleTable,
    second: ParticleTable,
    symmetry: str = "C1",
    *,
    radius: float = RADIUS,
    align: bool = False,
) -> Comparison:
    """Compare the poses that two tables give to the same particles.

    Parameters
    ----------
    first, second : ParticleTable
        Tables.
    symmetry : str
        Point group of the particle, with its axes in the frame of the first.
    radius : float
        Largest distance of the same pick in both, pixels.
    align : bool
        Whether to bring the second into the frame of the first (`align_frames`). Without, both
        must be from the same map, or from maps that lie upon each other.

    Returns
    -------
    Comparison
        Of the particles that have a pose in both.

    Raises
    ------
    ValueError
        There are no poses, no common particles, too few to align, or no such symmetry.
    """
    for table in (first, second):
        if table.matrices is None:
            raise CompareError(
                f"{table.path.name}: it holds no poses, which are rlnAngleRot, rlnAngleTilt and "
                "rlnAnglePsi, or alignments3D/pose."
            )
    assert first.matrices is not None
    assert second.matrices is not None
    pairs = match_particles(first, second, radius)
    a, b = first.matrices[pairs.first], second.matrices[pairs.second]
    posed = np.asarray(np.isfinite(a * b).all(axis=(1, 2)))
    if not posed.any():
        raise CompareError(
            f"{first.path.name} and {second.path.name}: none of their {len(first)} and "
            f"{len(second)} particles is in both with a pose, by their {pairs.by}."
        )
    a, b = a[posed], b[posed]
    frame = align_frames(a, b, symmetry) if align else None
    errors = pose_errors(a, b, symmetry) if frame is None else frame.errors
    return Comparison(pairs.take(posed), errors, frame, int((~posed).sum()))
