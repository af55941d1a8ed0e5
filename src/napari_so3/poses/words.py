"""Poses in words: what kind of view it is, and how another pose differs from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_so3.poses.poses import matrices_to_angles

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP, SIDE = 30.0, 60.0  # degrees between the view and the axis: at most, and at least
OPPOSITE = -0.87  # cosine of 150 degrees
IN_PLANE = 0.97  # cosine between the axis of a turn and the view: closer, and it is in plane


def describe_pose(
    matrices: NDArray[np.float64],
    shares: NDArray[np.float64],
    confidence: float,
    symmetry: str,
    group: NDArray[np.float64],
) -> str:
    """Say in a sentence what the pose of a particle is, and what else it may be.

    Parameters
    ----------
    matrices : ndarray
        (k, 3, 3) likeliest poses, reference to image, the likeliest first; NaN where there are
        fewer.
    shares : ndarray
        (k,) their probabilities.
    confidence : float
        Probability that the first is right within 15 degrees; NaN if that is not known.
    symmetry : str
        Point group.
    group : ndarray
        (G, 3, 3) its rotations.

    Returns
    -------
    str
        Such as ``Side view, 41° in plane, 87 % sure; next: upside down, 9 %.``
    """
    words = f"{view_name(matrices[0], symmetry)}, {_in_plane(matrices[0], symmetry):.0f}° in plane"
    if np.isfinite(confidence):
        words += f", {100 * confidence:.0f} % sure"
    others = [m for m in range(1, len(matrices)) if shares[m] >= 0.005]
    if others:
        differs = describe_difference(matrices[0], matrices[others[0]], symmetry, group)
        words += f"; next: {differs}, {100 * shares[others[0]]:.0f} %"
    return f"{words}."


def has_axis(symmetry: str) -> bool:
    """Tell whether a point group has one main axis, z, so that there are sides and a top."""
    return symmetry.upper() != "C1" and symmetry[0].upper() in "CD"


def view_name(matrix: NDArray[np.float64], symmetry: str) -> str:
    """Name the view of a pose (3, 3): side, top, bottom or tilted, or by its angles.

    Parameters
    ----------
    matrix : ndarray
        (3, 3) reference to image.
    symmetry : str
        Point group; without a main axis there are no sides.

    Returns
    -------
    str
        Begins with a capital.
    """
    rot, tilt, _ = matrices_to_angles(matrix[None])[0]
    if not has_axis(symmetry):
        return f"View rot {rot:.0f}°, tilt {tilt:.0f}°"
    away = min(tilt, 180.0 - tilt)
    if away > SIDE:
        return "Side view"
    if away < TOP:
        return "Bottom view" if tilt > 90 and symmetry[0].upper() == "C" else "Top view"
    return f"Tilted view ({away:.0f}° from the axis)"


def _in_plane(matrix: NDArray[np.float64], symmetry: str) -> float:
    """In-plane angle psi, degrees from 0 on; where both ends are alike, that of the upper end."""
    _, tilt, psi = matrices_to_angles(matrix[None])[0]
    if symmetry[0].upper() == "D" and tilt > 90:
        psi += 180.0
    return float(round(psi) % 360)


def describe_difference(
    pose: NDArray[np.float64],
    other: NDArray[np.float64],
    symmetry: str,
    group: NDArray[np.float64],
) -> str:
    """Say in a few words how another pose (3, 3) differs, symmetric copies being the same.

    Parameters
    ----------
    pose, other : ndarray
        (3, 3) reference to image.
    symmetry : str
        Point group.
    group : ndarray
        (G, 3, 3) its rotations.

    Returns
    -------
    str
        Such as ``upside down`` or ``turned by 40° in plane``.
    """
    copies = other @ group
    other = copies[np.einsum("gij,ij->g", copies, pose).argmax()]
    turn = other @ pose.T
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    if has_axis(symmetry) and pose[:, 2] @ other[:, 2] < OPPOSITE:
        return "upside down"
    if np.abs(_axis(turn)[2]) > IN_PLANE:
        return f"turned by {angle:.0f}° in plane"
    if pose[2] @ other[2] < OPPOSITE:
        return "seen from the other side"
    return f"another view, {angle:.0f}° away"


def _axis(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the unit axis (3,) of a rotation, also of one by 180 degrees."""
    values, vectors = np.linalg.eigh(turn + turn.T)
    return np.asarray(vectors[:, values.argmax()])
