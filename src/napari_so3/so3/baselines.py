"""What the equivariant network is compared with: the same layers without rotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from napari_so3.so3.networks import receptive_field

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ConvConfig:
    """Shape of a `ConvNet`.

    Parameters
    ----------
    channels : int
        Channels c of the first layer; the inner layers have 2c and 4c.
    kernels : tuple of int
        Filter sizes of the three layers and of the head, pixels.
    stride : int
        Stride of the first layer, which is that of the score map.
    """

    channels: int = 12
    kernels: tuple[int, int, int, int] = (9, 7, 7, 7)
    stride: int = 2

    @property
    def receptive_field(self) -> int:
        """Edge of the patch that one score sees, pixels."""
        return receptive_field(self.kernels, self.stride)


class ConvNet(nn.Module):
    """The paper's convolutional baseline (Table 1, "Convolutional"), applied densely.

    Its head has a bias and no batch norm, which the paper's has: that norm spoils the calibration
    of the logit. So it has 74,053 parameters, one less than the paper's.

    Parameters
    ----------
    config : ConvConfig
        Shape of the network.
    """

    def __init__(self, config: ConvConfig | None = None) -> None:
        super().__init__()
        self.config = config or ConvConfig()
        c, stride = self.config.channels, self.config.stride
        channels, (*kernels, last) = (1, c, 2 * c, 4 * c), self.config.kernels
        layers: list[nn.Module] = []
        for i, k in enumerate(kernels):
            step = stride if i == 0 else 1
            layers += [
                nn.Conv2d(channels[i], channels[i + 1], k, step, bias=False),
                nn.BatchNorm2d(channels[i + 1]),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(4 * c, 1, last))

    def forward(self, x: Tensor) -> Tensor:
        """Score the presence of a particle: (B, 1, H, W) to (B, H', W') logits."""
        out: Tensor = self.layers(x).squeeze(1)
        return out
