"""Turn a map so that its symmetry axes are RELION's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.symmetry import SymmetryError, symmetry_group
from napari_so3.so3.turning import climb, sample_volume, turn_volumes

if TYPE_CHECKING:
    from torch import Tensor

COARSE, FINE = 18, 36  # voxels across the maps that axes are searched and judged with
COMPARED = 6  # rotations of the group, at most, that the coarse map is compared under
ALREADY = 0.95  # of the variance: a map that is this similar to its copies is left as it is
SYMMETRIC = 0.94  # of the variance: a map that is less similar however it is turned is refused
SEARCHED = (96, 16)  # directions and in-plane angles: 11 degrees apart
AT_ONCE = 16


def align_to_symmetry(density: DensityMap, symmetry: str) -> tuple[DensityMap, Tensor]:
    """Turn a map so that it has a symmetry about RELION's axes.

    Parameters
    ----------
    density : DensityMap
        A symmetric particle, centred.
    symmetry : str
        Its point group, as in `symmetry_group`.

    Returns
    -------
    turned : DensityMap
        The map itself if it has the symmetry already.
    rotation : Tensor
        (3, 3) float64 from the map to the turned one: a rotation ``r`` of the turned map is the
        rotation ``r rotation`` of the map.

    Raises
    ------
    SymmetryError
        If the map does not have the symmetry about any axes.
    """
    identity = torch.eye(3, dtype=torch.float64)
    group = symmetry_group(symmetry)
    if len(group) == 1:
        return density, identity
    coarse, fine = (_reduced(density, box) for box in (COARSE, FINE))
    elements = group[1 :: max(1, (len(group) - 1) // COMPARED)][:COMPARED]
    if float(_likeness(fine, identity[None], elements)) > ALREADY:
        return density, identity
    # The copies of a rotation under the group, from the left, are equally good.
    candidates = RotationGrid.reduced(symmetry, *SEARCHED).matrices.mT
    likeness = torch.cat([_likeness(coarse, c, elements) for c in candidates.split(AT_ONCE)])
    rotation = _refined(fine, candidates[likeness.argmax()], elements)
    if float(_likeness(fine, rotation[None], elements)) < SYMMETRIC:
        raise SymmetryError(
            f"{density.name}: the map does not have the symmetry {symmetry}; correct it, or give "
            "C1."
        )
    return _turned(density, rotation), rotation


def _reduced(density: DensityMap, box: int) -> Tensor:
    """Smoothed map on box^3 voxels that hold the particle: float32, mean 0, variance 1."""
    voxel = 1.2 * density.diameter / box
    ratio = voxel / density.voxel_size
    smooth = ndimage.gaussian_filter(density.values, ratio)
    axis = (np.arange(box) - (box - 1) / 2) * ratio + len(smooth) // 2
    points = np.meshgrid(axis, axis, axis, indexing="ij")
    values = torch.from_numpy(ndimage.map_coordinates(smooth, points, order=1)).float()
    return (values - values.mean()) / values.std()


def _likeness(reduced: Tensor, rotations: Tensor, elements: Tensor) -> Tensor:
    """Mean correlation of a map, turned by each of (n, 3, 3), with its copies: (n,) float32."""
    copies = (rotations.mT[:, None] @ elements @ rotations[:, None]).flatten(0, 1)
    turned = turn_volumes(reduced, copies, beyond="border")
    return (turned * reduced).mean(dim=(1, 2, 3)).reshape(len(rotations), -1).mean(dim=1)


def _refined(reduced: Tensor, rotation: Tensor, elements: Tensor) -> Tensor:
    return climb(lambda r, _: float(_likeness(reduced, r[None], elements)), rotation)[0]


def _turned(density: DensityMap, rotation: Tensor) -> DensityMap:
    """``V(r^T p)`` about the origin of the map."""
    n = len(density.values)
    odd = n + 1 - n % 2  # its middle is a voxel
    values = sample_volume(density.values, n // 2, odd, 1.0, rotation)[:n, :n, :n]
    return DensityMap(values, density.voxel_size, density.name)
