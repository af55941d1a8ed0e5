"""Point groups of particles, with RELION's axes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from torch import Tensor

# scipy puts the two-fold axes of T on x, y and z; RELION a three-fold axis on z and a two-fold one
# in the half plane of y > 0.
_TETRAHEDRAL_AXES = Rotation.align_vectors(
    [[0.0, 0.0, 1.0], [0.0, np.sqrt(2 / 3), np.sqrt(1 / 3)]],
    [[1 / np.sqrt(3)] * 3, [0.0, 0.0, 1.0]],
)[0]


class SymmetryError(ValueError):
    """A point group that does not exist, or that a map does not have; one sentence."""


def symmetry_group(name: str) -> Tensor:
    """Rotations that leave a particle unchanged.

    Parameters
    ----------
    name : str
        C1, C2, ... (axis z), D2, D3, ... (axis z, a two-fold axis on x), T (a three-fold axis on
        z), O (four-fold axes on x, y and z), I or I1 (two-fold axes on x, y and z, five-fold axes
        in the plane of y and z next to z); as in RELION. Case does not matter.

    Returns
    -------
    Tensor
        (n, 3, 3) float64 rotation matrices, the identity first.

    Raises
    ------
    SymmetryError
        If there is no such group.
    """
    plain = "I" if name.upper() == "I1" else name.upper()
    if not re.fullmatch(r"C[1-9]\d*|D([2-9]|[1-9]\d+)|T|O|I", plain):
        raise SymmetryError(f"a symmetry is C1, C2, ..., D2, D3, ..., T, O or I, not {name!r}.")
    group = Rotation.create_group(plain)  # type: ignore[arg-type]  # "Cn" stands for a number
    if plain == "T":
        group = _TETRAHEDRAL_AXES * group * _TETRAHEDRAL_AXES.inv()
    matrices = torch.from_numpy(group.as_matrix())
    identity_first = matrices.diagonal(dim1=1, dim2=2).sum(dim=1).argsort(descending=True)
    return matrices[identity_first]
