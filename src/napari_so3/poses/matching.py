"""Projection matching as a pose network: nothing is learnt, the map is compared in all rotations.

Where there is a map this is hard to beat, and it is the yardstick of what a network has learnt. A
particle is correlated with the projections of the map at all rotations of a fine grid and at small
shifts. For white noise of unknown strength the log-likelihood of a projection that correlates by
``c`` in ``n`` pixels is ``-n / 2 log(1 - c^2)``; how many of the pixels count, since real noise is
not white, is left to the calibration of the temperature.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import ball_mask, inverse_spread

if TYPE_CHECKING:
    from torch import Tensor

    from napari_so3.poses.reference import Reference

DIRECTIONS, IN_PLANE = 192, 24  # without symmetry; 7 degrees to the nearest rotation
MOST = 0.999  # correlation: the likelihood of a perfect one would be infinite


@dataclass(frozen=True)
class MatcherConfig:
    """What a `PoseMatcher` compares.

    Parameters
    ----------
    box : int
        Edge of the images, pixels; odd.
    reach : int
        Largest shift along y and x, pixels.
    grid : RotationGrid
        Rotations.
    """

    box: int = 33
    reach: int = 2
    grid: RotationGrid = field(default_factory=lambda: matching_grid("C1"))

    def to_dict(self) -> dict[str, Any]:
        """Turn into JSON-ready values; `from_dict` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MatcherConfig:
        """Build from what `to_dict` gave.

        Raises
        ------
        TypeError, ValueError
            If a value is missing, unknown or out of range.
        """
        values = dict(values)
        return cls(grid=RotationGrid(**values.pop("grid")), **values)


def matching_grid(symmetry: str) -> RotationGrid:
    """Give the rotations that are compared for a symmetry."""
    return RotationGrid.reduced(symmetry, DIRECTIONS, IN_PLANE)


class PoseMatcher(nn.Module):
    """Compares images with the projections of a map, as `PoseNet` weighs rotations.

    Parameters
    ----------
    config : MatcherConfig
        What to compare.
    reference : Reference
        The map, at the pixel size of the images.
    """

    matrices: Tensor
    templates: Tensor
    disc: Tensor

    def __init__(self, config: MatcherConfig, reference: Reference) -> None:
        super().__init__()
        self.config = config
        matrices = config.grid.matrices.float()
        parts = [reference.seen(part, config.box) for part in matrices.split(512)]
        self.register_buffer("matrices", matrices, persistent=False)
        self.register_buffer("templates", torch.cat(parts)[:, None], persistent=False)
        self.register_buffer("disc", ball_mask(config.box, 2)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh rotations.

        Parameters
        ----------
        x : Tensor
            (B, 1, box, box) images, particles bright.

        Returns
        -------
        Tensor
            (B, R, 4): log-likelihood of each rotation at its best shift, and no offset.
        """
        wide = F.pad(x, [self.config.reach] * 4)
        total, squares = (F.conv2d(v, self.disc) for v in (wide, wide * wide))
        n = self.disc.sum()
        found = F.conv2d(wide, self.templates) * inverse_spread(total, squares, n)
        best = found.flatten(2).amax(dim=2).clamp(0.0, MOST)  # (B, R)
        out = x.new_zeros((*best.shape, 4))
        out[..., 0] = -n / 2 * torch.log1p(-best * best)
        return out

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Turn what `forward` gives into logits (B, R) and poses (B, R, 3, 3)."""
        logits = output[..., 0]
        return logits, self.matrices.expand(len(logits), -1, -1, -1)
