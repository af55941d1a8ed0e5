"""The loss of a pose network: which rotation of the grid, and how far from it (paper, equation 3).

Two things differ from the paper's equation. The nearest rotation is found by the angle, for a
quaternion and its negative are the same rotation. And the class is not one rotation but a bell over
those nearby, whose offsets all learn: hard borders between the cells of the grid are not learnable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_so3.so3.pose_networks import PoseConfig, decode_poses
from napari_so3.so3.rotations import turn_between

if TYPE_CHECKING:
    from torch import Tensor

SHARPNESS = 5.0  # of the bell, over the squared radius (radians) of a grid cell
OFFSETS = 4  # nearest rotations whose offsets learn from an image


@dataclass(frozen=True)
class PoseLoss:
    """Cross entropy of the rotation plus the angle that its offset leaves, radians.

    Parameters
    ----------
    config : PoseConfig
        Network that is trained; its grid knows the symmetry.
    """

    config: PoseConfig = field(default_factory=PoseConfig)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        output : Tensor
            (B, R, 4) or (B, 1, 4) of `PoseNet.forward`.
        target : Tensor
            (B, 3, 3) true rotations, reference to image.

        Returns
        -------
        Tensor
            Scalar.
        """
        copies = target.float()[:, None] @ self._group.to(target.device)  # (B, G, 3, 3)
        if not self.config.is_distribution:
            _, pose = decode_poses(output, None)
            return arc(pose, copies).amin(dim=1).mean()
        grid = self._grid.to(output.device)
        logits, poses = decode_poses(output, grid)
        cosines, nearest = _cosines(copies, grid)  # (B, R)
        share = torch.softmax(self._kappa * cosines, dim=1)
        classes = -(share * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
        weights, index = share.topk(min(OFFSETS, share.shape[1]), dim=1)  # (B, 4)
        rows = torch.arange(len(target), device=output.device)[:, None]
        left = arc(poses[rows, index], copies[rows, nearest[rows, index]])
        return classes + (weights * left).sum(dim=1).div(weights.sum(dim=1)).mean()

    @cached_property
    def _kappa(self) -> float:
        grid = self.config.grid
        return SHARPNESS / cell_radius(len(grid) * len(grid.group)) ** 2

    @cached_property
    def _group(self) -> Tensor:
        return self.config.grid.group.float()

    @cached_property
    def _grid(self) -> Tensor:
        return self.config.grid.matrices.float()


def _cosines(copies: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine from every rotation of the grid to the nearest copy, and which: (B, R) each."""
    trace = copies.flatten(2) @ grid.flatten(1).T  # (B, G, R)
    best, which = trace.max(dim=1)
    return (best - 1.0) / 2.0, which


def cell_radius(n: int) -> float:
    """Radius of a ball in SO(3) that holds one in ``n`` of all rotations, radians.

    Parameters
    ----------
    n : int
        How many cells.

    Returns
    -------
    float
        The angle ``t`` with ``(t - sin t) / pi = 1 / n``.
    """
    low, high = 0.0, math.pi
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (middle - math.sin(middle)) * n < math.pi else (low, middle)
    return low


def arc(a: Tensor, b: Tensor) -> Tensor:
    """Angle from one rotation to another, with a gradient everywhere.

    Parameters
    ----------
    a, b : Tensor
        (..., 3, 3) rotation matrices whose leading dimensions broadcast.

    Returns
    -------
    Tensor
        (...) radians, 1e-4 too large where they agree.
    """
    axis, cosine = turn_between(a, b)
    sine = ((axis**2).sum(dim=-1) + 1e-8).sqrt()
    return torch.atan2(sine, cosine)
