"""The picker network: SO(3) convolutions, a score per rotation, and one logit per pixel."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from napari_so3.so3.aggregation import aggregate
from napari_so3.so3.layers import SO3BatchNorm2d, SO3Conv2d, SO3Lift2d
from napari_so3.so3.projection import RotateProject
from napari_so3.so3.rotations import RotationGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_so3.so3.aggregation import Aggregation
    from napari_so3.so3.projection import Basis

DEFAULT_GRID = RotationGrid(12, 8, antipodal=True)


def receptive_field(kernels: Sequence[int], stride: int) -> int:
    """Edge of the patch that one score sees, pixels; the stride is that of the first layer."""
    first, *rest = kernels
    return first + stride * sum(k - 1 for k in rest)


@dataclass(frozen=True)
class PickerConfig:
    """Shape of a `PickerNet`.

    Parameters
    ----------
    channels : int
        Channels c of the first layer; the inner layers have 2c and 4c.
    kernels : tuple of int
        Filter sizes of the three layers and of the head, pixels.
    stride : int
        Stride of the first layer, which is that of the score map.
    basis : {"blob", "voxel"}
        Basis of the 3D weights.
    grid : RotationGrid
        Rotations; they can be changed without retraining.
    aggregation : {"al1", "max", "lse"}
        How the rotations are joined.
    prior : float
        AL1: probability that all-zero logits stand for.
    """

    channels: int = 4
    kernels: tuple[int, int, int, int] = (9, 7, 7, 7)
    stride: int = 2
    basis: Basis = "blob"
    grid: RotationGrid = DEFAULT_GRID
    aggregation: Aggregation = "al1"
    prior: float = 0.1

    @property
    def receptive_field(self) -> int:
        """Edge of the patch that one score sees, pixels."""
        return receptive_field(self.kernels, self.stride)

    def to_dict(self) -> dict[str, Any]:
        """Turn into JSON-ready values; `from_dict` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PickerConfig:
        """Build from what `to_dict` gave.

        Raises
        ------
        TypeError, ValueError
            If a value is missing, unknown or out of range.
        """
        values = dict(values)
        kernels = tuple(int(k) for k in values.pop("kernels"))
        grid = RotationGrid(**values.pop("grid"))
        if len(kernels) != 4:
            raise ValueError(f"a picker has four filter sizes, not {len(kernels)}")
        return cls(kernels=kernels, grid=grid, **values)


PRESETS = {
    "default": PickerConfig(),
    "paper": PickerConfig(basis="voxel", prior=0.5),
    "so2": PickerConfig(grid=RotationGrid.so2(8)),
}


class PickerNet(nn.Module):
    """The paper's picking network (Table 1, SO(3)-AL1), applied densely.

    Without padding: a patch of the receptive field (45 x 45) gives one score, a larger image a
    map of scores with stride 2, equal to what the patches would have given.

    Parameters
    ----------
    config : PickerConfig
        Shape of the network.
    """

    def __init__(self, config: PickerConfig | None = None) -> None:
        super().__init__()
        self.config = config or PickerConfig()
        c, grid = self.config.channels, self.config.grid
        # Layers of one filter size share one operator.
        operators = {k: RotateProject(grid, k, self.config.basis) for k in {*self.config.kernels}}
        first, second, third, last = (operators[k] for k in self.config.kernels)
        self.lift = SO3Lift2d(first, 1, c, self.config.stride)
        self.norm1 = SO3BatchNorm2d(c)
        self.conv2 = SO3Conv2d(second, c, 2 * c)
        self.norm2 = SO3BatchNorm2d(2 * c)
        self.conv3 = SO3Conv2d(third, 2 * c, 4 * c)
        self.norm3 = SO3BatchNorm2d(4 * c)
        self.head = SO3Conv2d(last, 4 * c, 1, gain=1.0)

    def rotation_logits(self, x: Tensor) -> Tensor:
        """Score every rotation.

        Parameters
        ----------
        x : Tensor
            (B, 1, H, W) preprocessed image, H and W at least the receptive field.

        Returns
        -------
        Tensor
            (B, R, H', W') logits; pixel (i, j) belongs to the patch whose first pixel is
            (stride i, stride j).
        """
        x = self.norm1(self.lift(x)).relu()  # (B, R, c, ., .)
        x = self.norm2(self.conv2(x)).relu()  # (B, R, 2c, ., .)
        x = self.norm3(self.conv3(x)).relu()  # (B, R, 4c, ., .)
        out: Tensor = self.head(x).squeeze(2)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Score the presence of a particle in any rotation: (B, 1, H, W) to (B, H', W') logits."""
        return aggregate(self.rotation_logits(x), 1, self.config.aggregation, self.config.prior)

    def with_grid(self, grid: RotationGrid) -> PickerNet:
        """Return the same weights on other rotations; nothing is retrained."""
        other = PickerNet(replace(self.config, grid=grid))
        other.load_state_dict(self.state_dict())
        return other.train(self.training)
