"""In what order the rotations are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from napari_so3.insight.stack import maxima

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.insight.rotation_maps import RotationMaps, Rotations

Order = Literal["sphere", "maximum", "cursor"]


def order_rotations(
    maps: RotationMaps, by: Order, place: tuple[float, float] | None = None
) -> NDArray[np.intp]:
    """Put the rotations in an order to look at them.

    Parameters
    ----------
    maps : RotationMaps
        Of a micrograph.
    by : {"sphere", "maximum", "cursor"}
        ``"sphere"``: neighbours look alike. ``"maximum"``: those that are surest anywhere first.
        ``"cursor"``: those that are surest at the place first.
    place : tuple of float, optional
        y and x, micrograph pixels; ``"cursor"`` needs it.

    Returns
    -------
    ndarray
        (R,) permutation: entry i is the rotation that is shown as number i.

    Raises
    ------
    ValueError
        If there is no such order, or no place where one is needed.
    """
    if by == "sphere":
        return sphere_order(maps.rotations)
    if by == "maximum":
        return np.argsort(-maxima(maps.stack)[0], kind="stable")
    if by != "cursor":
        raise ValueError(f"rotations are ordered by 'sphere', 'maximum' or 'cursor', not {by!r}")
    if place is None:
        raise ValueError("the order at the cursor needs a place")
    return np.argsort(-maps.at(*place), kind="stable")


def sphere_order(rotations: Rotations) -> NDArray[np.intp]:
    """Walk over the sphere: from view to neighbouring view, all in-plane angles of each.

    Parameters
    ----------
    rotations : Rotations
        The rotations.

    Returns
    -------
    ndarray
        (R,) permutation; it begins at the view nearest to +z, and each view begins with the
        in-plane angle nearest to the last one of the view before.
    """
    n_psi = rotations.n_psi
    matrices = Rotation.from_euler("ZYZ", rotations.angles, degrees=True).inv().as_matrix()
    by_view = matrices.reshape(-1, n_psi, 9)
    order: list[NDArray[np.intp]] = []
    first = 0
    for view in _walk(rotations.directions):
        if order:
            # The angle between rotations is smallest where the trace of a^T b is largest.
            first = int((by_view[view] @ matrices[order[-1][-1]].reshape(9)).argmax())
        order.append(view * n_psi + (first + np.arange(n_psi)) % n_psi)
    return np.concatenate(order)


def _walk(directions: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find a short open path through all directions: nearest neighbours, then crossings undone."""
    apart = np.arccos(np.clip(directions @ directions.T, -1.0, 1.0))
    left = set(range(len(directions)))
    path = [int(directions[:, 2].argmax())]
    left.discard(path[0])
    while left:
        here = apart[path[-1]]
        path.append(min(left, key=lambda view: (here[view], view)))
        left.discard(path[-1])
    return _uncrossed(np.array(path), apart)


def _uncrossed(path: NDArray[np.intp], apart: NDArray[np.float64]) -> NDArray[np.intp]:
    """Reverse parts of a path as long as that makes it shorter; its start stays (2-opt)."""
    n, shorter = len(path), True
    while shorter:
        shorter = False
        for i in range(n - 2):
            a, b = path[i], path[i + 1]
            ends = path[i + 2 :]
            after = np.append(path[i + 3 :], -1)
            old = apart[a, b] + np.where(after < 0, 0.0, apart[ends, after])
            new = apart[a, ends] + np.where(after < 0, 0.0, apart[b, after])
            gain = old - new
            best = int(gain.argmax())
            if gain[best] > 1e-9:
                j = i + 2 + best
                path[i + 1 : j + 1] = path[i + 1 : j + 1][::-1].copy()
                shorter = True
    return path
