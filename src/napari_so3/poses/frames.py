"""Bring poses of two programs into one frame, which each program chooses for its own map.

The map of one program is turned against that of another, may have the other hand, which images of
particles do not tell, and the images may have been mirrored. Poses of the same particles then
differ in the same way: ``a = m b q``, with one rotation q between the maps, and m of `READINGS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from napari_so3.poses.errors import group_matrices, nearest_copies, pose_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.poses.errors import PoseErrors

AS_THEY_ARE = "as they are"
OTHER_HAND = "other hand"
MIRRORED = "mirrored"
BOTH = "mirrored, other hand"
# Half turns about z, x and y of the image. A map V(-x) shows the image of V turned by 180 degrees
# in plane; an image mirrored along y is that of RELION's angles (180 + rot, 180 - tilt, -psi).
READINGS = {
    AS_THEY_ARE: (1.0, 1.0, 1.0),
    OTHER_HAND: (-1.0, -1.0, 1.0),
    MIRRORED: (1.0, -1.0, -1.0),
    BOTH: (-1.0, 1.0, -1.0),
}
LEAST_PAIRS = 8
_WORDS = {
    OTHER_HAND: "as poses of a map of the other hand",
    MIRRORED: "as poses of images that are mirrored along y",
    BOTH: "as poses of images that are mirrored, or turned over, and of a map of the other hand",
}
_CLEARLY = 0.75  # of the mean error as they are
_TRIES = 48  # pairs that a frame is guessed from
_JUDGES = 300  # pairs that judge a guess
_REFINED = 2  # best guesses that are refined
_STEPS = 20
_FLOOR = 1e-4  # radians: nearer pairs do not weigh more


class FrameError(ValueError):
    """Poses whose frames cannot be found; one sentence."""


@dataclass(frozen=True, eq=False)
class FrameFit:
    """What leads from the frame of poses b to that of poses a.

    Attributes
    ----------
    rotation : ndarray
        (3, 3) float64 q, of its symmetric copies the smallest turn.
    reading : str
        Key of `READINGS`: another than "as they are" only where it is clearly better.
    errors : PoseErrors
        Between a and the aligned b. The frame is fitted to them, so they are a little small where
        there are few pairs.
    """

    rotation: NDArray[np.float64]
    reading: str
    errors: PoseErrors

    def apply(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring poses into the frame of a.

        Parameters
        ----------
        b : ndarray
            (n, 3, 3) rotations.

        Returns
        -------
        ndarray
            (n, 3, 3) float64.
        """
        return np.asarray(_read(b, self.reading) @ self.rotation, dtype=np.float64)

    def sentence(self) -> str:
        """Say how the frames differ."""
        turn = Rotation.from_matrix(self.rotation).as_rotvec(degrees=True)
        angle = float(np.linalg.norm(turn))
        where = ""
        if angle > 0.05:
            axis = ", ".join(f"{part:.2f}" for part in turn / angle)
            where = f" about ({axis}) in x, y, z"
        text = f"The maps are turned against each other by {angle:.1f}°{where}"
        if self.reading != AS_THEY_ARE:
            text += f"; the second poses fit much better {_WORDS[self.reading]}"
        return text + "."


def align_frames(
    a: NDArray[np.floating], b: NDArray[np.floating], symmetry: str = "C1"
) -> FrameFit:
    """Find the one rotation, and the hand, that brings poses into the frame of others.

    Wrong poses, if they are not most, do not matter: the mean error is made small, not its square.

    Parameters
    ----------
    a, b : ndarray
        (n, 3, 3) rotations, particle to image, of the same particles.
    symmetry : str
        Point group of the particle, with its axes in the frame of a.

    Returns
    -------
    FrameFit
        The frame.

    Raises
    ------
    FrameError
        There are fewer than `LEAST_PAIRS`.
    ValueError
        The shapes do not fit.
    SymmetryError
        There is no such group.
    """
    target: NDArray[np.float64] = np.asarray(a, dtype=np.float64)
    if len(a) < LEAST_PAIRS:
        raise FrameError(
            f"{len(a)} particles are too few to find how two maps are turned against each other; "
            f"{LEAST_PAIRS} are needed."
        )
    fits = {}
    for reading in READINGS:
        turned = _read(b, reading)
        rotation = _fit(target, turned, symmetry)
        fits[reading] = FrameFit(
            rotation, reading, pose_errors(target, turned @ rotation, symmetry)
        )
    best = min(fits.values(), key=lambda fit: fit.errors.mean_rad)
    plain = fits[AS_THEY_ARE]
    return best if best.errors.mean_rad < _CLEARLY * plain.errors.mean_rad else plain


def _read(b: NDArray[np.floating], reading: str) -> NDArray[np.float64]:
    return np.asarray(np.array(READINGS[reading])[:, None] * b, dtype=np.float64)


def _fit(a: NDArray[np.float64], b: NDArray[np.float64], symmetry: str) -> NDArray[np.float64]:
    """Find q of a = b q g: (3, 3). Every pair gives a guess; the best ones are refined."""
    chosen = np.random.default_rng(0).permutation(len(a))
    guesses = [b[i].T @ a[i] for i in chosen[:_TRIES]]
    judges = chosen[:_JUDGES]
    relative = (a[judges].transpose(0, 2, 1) @ b[judges]).reshape(-1, 9)
    group = group_matrices(symmetry)

    def cost(q: NDArray[np.float64]) -> float:
        """Mean angle of a^T b q g; its trace is 1 + 2 cos(angle)."""
        traces = relative @ (q @ group).transpose(0, 2, 1).reshape(-1, 9).T
        return float(np.arccos(np.clip((traces.max(axis=1) - 1) / 2, -1, 1)).mean())

    refined = [_refine(a, b, q, symmetry) for q in sorted(guesses, key=cost)[:_REFINED]]
    copies = min(refined, key=cost) @ group
    smallest: NDArray[np.float64] = copies[np.trace(copies, axis1=1, axis2=2).argmax()]
    return smallest


def _refine(
    a: NDArray[np.float64], b: NDArray[np.float64], q: NDArray[np.float64], symmetry: str
) -> NDArray[np.float64]:
    """Make the mean angle small by means of rotations that weigh each pair by 1 / its angle."""
    for _ in range(_STEPS):
        copies = nearest_copies(b @ q, a, symmetry)  # a g^-1, nearest to b q
        angles = Rotation.from_matrix((b @ q).transpose(0, 2, 1) @ copies).magnitude()
        weights = 1.0 / np.maximum(angles, _FLOOR)
        step = Rotation.from_matrix(b.transpose(0, 2, 1) @ copies).mean(weights).as_matrix()
        moved = Rotation.from_matrix(q.T @ step).magnitude()
        q = step
        if moved < _FLOOR:
            break
    return q
