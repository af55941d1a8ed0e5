"""How far poses are from others, where all copies of a symmetric particle count as one.

A pose is a matrix as in so3/rotations: it maps the particle to the image. Poses ``r`` and ``r g``
show the same image for every ``g`` of the point group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import qmc

if TYPE_CHECKING:
    from numpy.typing import NDArray

HITS = (5, 10, 15, 30)  # degrees
_GUESSES = 16  # log2 of the random poses that a guess is judged by


@dataclass(frozen=True, eq=False)
class PoseErrors:
    """Angles between pairs of poses, to the nearest symmetric copy.

    Attributes
    ----------
    angles : ndarray
        (n,) float64 geodesic angles, radians in [0, pi].
    views, in_plane : ndarray
        (n,) float64 radians in [0, pi]: the parts of them. How far the viewing directions are
        apart, and how far the images are turned in plane once the views are brought together;
        ``cos(angle / 2) = cos(view / 2) cos(in_plane / 2)``. Of opposite views, in_plane is 0.
    symmetry : str
        Point group of the particle.
    """

    angles: NDArray[np.float64]
    views: NDArray[np.float64]
    in_plane: NDArray[np.float64]
    symmetry: str

    def __len__(self) -> int:
        return len(self.angles)

    @property
    def median_deg(self) -> float:
        """Median angle, degrees; NaN of no poses, as all of these figures."""
        return float(np.degrees(_or_nan(np.median, self.angles)))

    @property
    def mean_deg(self) -> float:
        """Mean angle, degrees."""
        return float(np.degrees(self.mean_rad))

    @property
    def mean_rad(self) -> float:
        """Mean angle, radians."""
        return _or_nan(np.mean, self.angles)

    @property
    def median_view_deg(self) -> float:
        """Median angle between the viewing directions, degrees."""
        return float(np.degrees(_or_nan(np.median, self.views)))

    @property
    def median_in_plane_deg(self) -> float:
        """Median angle in plane, degrees."""
        return float(np.degrees(_or_nan(np.median, self.in_plane)))

    @property
    def hits(self) -> dict[int, float]:
        """Share of angles, 0 to 1, of at most so many degrees: those of `HITS`."""
        return {limit: _or_nan(np.mean, self.angles <= np.radians(limit)) for limit in HITS}

    def sentence(self) -> str:
        """Say how good the poses are, and how good guesses would be."""
        if not len(self):
            return "There are no poses to compare."
        shares = ", ".join(f"{share:.0%} within {limit}°" for limit, share in self.hits.items())
        guess = random_errors(self.symmetry)
        return (
            f"{len(self)} {'pose' if len(self) == 1 else 'poses'} ({self.symmetry}): median error "
            f"{self.median_deg:.1f}° (view {self.median_view_deg:.1f}°, in plane "
            f"{self.median_in_plane_deg:.1f}°), mean {self.mean_deg:.1f}°; {shares}. Random poses "
            f"would have a median of {guess.median_deg:.0f}°, {guess.hits[15]:.1%} within 15°."
        )


def pose_errors(
    a: NDArray[np.floating], b: NDArray[np.floating], symmetry: str = "C1"
) -> PoseErrors:
    """Compare poses one by one.

    Parameters
    ----------
    a, b : ndarray
        (n, 3, 3) rotation matrices, particle to image, of the same particles in the same frame.
    symmetry : str
        Point group, as in `napari_so3.so3.symmetry.symmetry_group`.

    Returns
    -------
    PoseErrors
        Angles, in their order.

    Raises
    ------
    ValueError
        The shapes do not fit.
    SymmetryError
        There is no such group.
    """
    first: NDArray[np.float64] = np.asarray(a, dtype=np.float64)
    second: NDArray[np.float64] = np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.shape[1:] != (3, 3):
        raise ValueError(f"poses are (n, 3, 3) in pairs, not {first.shape} and {second.shape}")
    relative = first @ nearest_copies(first, second, symmetry).transpose(0, 2, 1)
    quaternions = Rotation.from_matrix(relative).as_quat()
    x, y, z, w = np.abs(quaternions).T
    views, in_plane = 2 * np.arctan2(np.hypot(x, y), np.hypot(z, w)), 2 * np.arctan2(z, w)
    return PoseErrors(2 * np.arctan2(np.sqrt(x**2 + y**2 + z**2), w), views, in_plane, symmetry)


def nearest_copies(
    a: NDArray[np.float64], b: NDArray[np.float64], symmetry: str
) -> NDArray[np.float64]:
    """Take the symmetric copy of every pose that is nearest to another pose.

    Parameters
    ----------
    a, b : ndarray
        (n, 3, 3) float64 poses.
    symmetry : str
        Point group.

    Returns
    -------
    ndarray
        (n, 3, 3) float64 copies ``b g`` of b.
    """
    group = group_matrices(symmetry)
    relative = a.transpose(0, 2, 1) @ b  # the trace of a^T b g is largest at the smallest angle
    best = np.einsum("nij,gji->ng", relative, group, optimize=True).argmax(axis=1)
    copies: NDArray[np.float64] = b @ group[best]
    return copies


@cache
def group_matrices(symmetry: str) -> NDArray[np.float64]:
    """Rotations of a point group, without torch at import.

    Parameters
    ----------
    symmetry : str
        As in `napari_so3.so3.symmetry.symmetry_group`.

    Returns
    -------
    ndarray
        (G, 3, 3) float64, read-only, the identity first.

    Raises
    ------
    SymmetryError
        There is no such group.
    """
    from napari_so3.so3.symmetry import symmetry_group

    group: NDArray[np.float64] = symmetry_group(symmetry).numpy()
    group.setflags(write=False)
    return group


@cache
def random_errors(symmetry: str) -> PoseErrors:
    """Errors of poses that are guessed, which all others are to be seen against.

    Parameters
    ----------
    symmetry : str
        Point group.

    Returns
    -------
    PoseErrors
        Of evenly spread poses; its figures are right to about 0.1 %.
    """
    u, v, w = qmc.Sobol(3, scramble=False).random_base2(_GUESSES).T  # Shoemake: even on SO(3)
    v, w = 2 * np.pi * v, 2 * np.pi * w
    low, high = np.sqrt(1 - u), np.sqrt(u)
    quaternions = np.stack((low * np.sin(v), low * np.cos(v), high * np.sin(w), high * np.cos(w)))
    matrices = Rotation.from_quat(quaternions.T).as_matrix()
    return pose_errors(matrices, np.broadcast_to(np.eye(3), matrices.shape), symmetry)


def _or_nan(figure: object, values: NDArray[np.generic]) -> float:
    return float(figure(values)) if len(values) else float("nan")  # type: ignore[operator]
