"""Convolutions whose filters are projections of turned 3D weights, and their normalisation.

Feature maps are (B, R, C, H, W): batch, rotation, channel, row, column. Rotation i only ever sees
rotation i, and everything else that a layer has (bias, norm) is shared over the rotations, so that
turning the image in plane rolls the maps along R.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_so3.so3.projection import RotateProject


class _ProjectedConv2d(nn.Module):
    """3D weights, and the filters that they give; the filters are cached in evaluation."""

    def __init__(
        self,
        project: RotateProject,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        gain: float = 2.0,
    ) -> None:
        super().__init__()
        self.project = project
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, project.n_weights))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self._cache: tuple[Any, Tensor] | None = None
        # The filters, not the weights, get the variance of He et al.: gain / fan in.
        fan_in = in_channels * project.size**2
        nn.init.normal_(self.weight, std=math.sqrt(gain / (fan_in * project.gain)))

    def filters(self) -> Tensor:
        """Compute the filters of all rotations.

        Returns
        -------
        Tensor
            (R, Cout, Cin, k, k).
        """
        if self.training or torch.is_grad_enabled():
            filters: Tensor = self.project(self.weight)
            return filters
        w = self.weight
        key = (w._version, w.data_ptr(), w.device, w.dtype)
        if self._cache is None or self._cache[0] != key:
            self._cache = (key, self.project(w))
        return self._cache[1]

    def train(self, mode: bool = True) -> _ProjectedConv2d:
        self._cache = None
        super().train(mode)
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> _ProjectedConv2d:
        self._cache = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class SO3Lift2d(_ProjectedConv2d):
    """First layer: an image to one group of maps per rotation.

    Parameters
    ----------
    project : RotateProject
        Grid, filter size and basis.
    in_channels, out_channels : int
        Channels of the image; channels per rotation of the result.
    stride : int
        Step of the filters in pixels.
    gain : float
        Variance gain of the initial filters (2 before a ReLU).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, Cin, H, W) to (B, R, Cout, H', W'), without padding."""
        filters = self.filters().flatten(0, 1)  # (R*Cout, Cin, k, k)
        bias = self.bias.repeat(len(self.project.grid))
        out = F.conv2d(x, filters, bias, self.stride)
        return out.reshape(len(x), -1, self.out_channels, *out.shape[2:])


class SO3Conv2d(_ProjectedConv2d):
    """Inner layer: convolves the maps of each rotation with the filters of that rotation.

    Parameters are those of `SO3Lift2d`, with ``in_channels`` per rotation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, R, Cin, H, W) to (B, R, Cout, H', W'), without padding."""
        filters = self.filters()  # (R, Cout, Cin, k, k)
        if x.device.type == "cpu":
            maps = zip(x.unbind(1), filters.unbind(0), strict=True)
            if self.out_channels == 1 == self.stride:
                split = torch.stack([row_split(m, f) for m, f in maps], dim=1)
                return split + self.bias[:, None, None]
            whole = [F.conv2d(m, f, self.bias, self.stride) for m, f in maps]
            return torch.stack(whole, dim=1)
        n = len(self.project.grid)
        flat, bias = filters.flatten(0, 1), self.bias.repeat(n)
        out = F.conv2d(x.flatten(1, 2), flat, bias, self.stride, groups=n)
        return out.reshape(len(x), n, self.out_channels, *out.shape[2:])


def row_split(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve to a single channel as k one-row convolutions, added with a shift.

    A convolution with one output channel leaves the CPU's matrix kernels nearly idle; with the k
    rows of the filter as output channels they are busy, and only additions remain.

    Parameters
    ----------
    x : Tensor
        (B, C, H, W).
    weight : Tensor
        (1, C, k, k).

    Returns
    -------
    Tensor
        (B, 1, H - k + 1, W - k + 1).
    """
    k = weight.shape[-1]
    rows = F.conv2d(x, weight[0].transpose(0, 1).unsqueeze(2))  # (B, k, H, W - k + 1)
    height = x.shape[-2] - k + 1
    out = rows[:, :1, :height].clone()
    for i in range(1, k):
        out += rows[:, i : i + 1, i : i + height]
    return out


class SO3BatchNorm2d(nn.BatchNorm2d):
    """Batch norm with one statistic per channel, taken over batch, rotations and pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, R, C, H, W)."""
        return super().forward(x.flatten(0, 1)).reshape(x.shape)
