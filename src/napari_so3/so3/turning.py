"""Turn volumes, and climb to the rotation under which they are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

TURN_STEP, TURN_TOLERANCE = 0.1, 2e-3  # radians: the first steps of a climb, and the last
VALUE_TOLERANCE = 1e-5


def turn_volumes(volume: Tensor, rotations: Tensor, beyond: str = "zeros") -> Tensor:
    """Turn a volume about its middle by many rotations, by trilinear interpolation.

    Parameters
    ----------
    volume : Tensor
        (n, n, n) floats [z, y, x].
    rotations : Tensor
        (m, 3, 3) active rotations ``r`` on columns (x, y, z).
    beyond : {"zeros", "border"}
        What is around the volume: nothing, or its border.

    Returns
    -------
    Tensor
        (m, n, n, n) of the type of the volume: ``V(r^T p)``.
    """
    # affine_grid takes the matrix that leads from the output to the input
    theta = F.pad(rotations.mT, (0, 1)).to(volume)
    shape = [len(theta), 1, *volume.shape]
    points = F.affine_grid(theta, shape, align_corners=False)
    turned: Tensor = F.grid_sample(
        volume.expand(shape), points, padding_mode=beyond, align_corners=False
    )
    return turned[:, 0]


def sample_volume(
    values: NDArray[np.float32],
    origin: float,
    size: int,
    step: float,
    rotation: Tensor | None = None,
    shift: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Sample a volume, turned and shifted, on a cube of other voxels, by cubic splines.

    Parameters
    ----------
    values : ndarray
        (n, n, n) float32 [z, y, x].
    origin : float
        Index of the point that it is turned about, the same along each axis.
    size : int
        Edge of the result, voxels; the origin comes to its middle, ``(size - 1) / 2``.
    step : float
        Voxel size of the result in voxels of the volume. Where it is above 1, what the result
        cannot show is smoothed away.
    rotation : Tensor, optional
        (3, 3) active rotation on columns (x, y, z); none by default.
    shift : ndarray, optional
        (3,) x, y, z in voxels of the result by which the volume is moved once it is turned.

    Returns
    -------
    ndarray
        (size, size, size) float32, 0 where the volume does not reach.
    """
    # A Gaussian of half a new voxel leaves little beyond the new Nyquist limit.
    smooth = ndimage.gaussian_filter(values, 0.5 * step) if step > 1 else values
    axis = np.arange(size) - (size - 1) / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack((x, y, z), axis=-1)
    if shift is not None:
        points = points - shift
    if rotation is not None:
        points = points @ rotation.numpy()  # r^T p of every column p
    at = np.moveaxis(points[..., ::-1], -1, 0) * step + origin
    out: NDArray[np.float32] = ndimage.map_coordinates(smooth, at, order=3, mode="constant")
    return out


def climb(
    score: Callable[[Tensor, NDArray[np.float64]], float],
    rotation: Tensor,
    shift: NDArray[np.float64] | None = None,
    shift_step: float = 1.0,
) -> tuple[Tensor, NDArray[np.float64]]:
    """Find the rotation near another one, and the shift, with the highest score.

    Parameters
    ----------
    score : callable
        Takes a (3, 3) rotation and a (3,) shift, which is empty if there is none.
    rotation : Tensor
        (3, 3) float64, where to begin; the score is smooth for some degrees around it.
    shift : ndarray, optional
        (3,) where to begin; without it only the rotation is searched.
    shift_step : float
        First step of the shift.

    Returns
    -------
    rotation : Tensor
        (3, 3) float64.
    shift : ndarray
        (3,) or empty.
    """
    start = np.zeros(0) if shift is None else np.asarray(shift, dtype=np.float64)
    units = np.concatenate((np.full(3, TURN_STEP), np.full(len(start), shift_step)))

    def placed(steps: NDArray[np.float64]) -> tuple[Tensor, NDArray[np.float64]]:
        vector = steps * units
        turn = torch.from_numpy(Rotation.from_rotvec(vector[:3]).as_matrix())
        return turn @ rotation, start + vector[3:]

    n = len(units)

    def unlikeness(steps: NDArray[np.float64]) -> float:
        return -score(*placed(steps))

    found = optimize.minimize(
        unlikeness,
        np.zeros(n),
        method="Nelder-Mead",
        options={
            "initial_simplex": np.concatenate((np.zeros((1, n)), np.eye(n))),
            "xatol": TURN_TOLERANCE / TURN_STEP,
            "fatol": VALUE_TOLERANCE,
        },
    )
    return placed(found.x)
