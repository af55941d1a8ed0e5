"""Networks that tell how a particle is turned: the four of the paper's Table 3.

The trunk is that of the picker, and consumes the whole image. What it leaves for rotation ``r_i``
of the grid becomes a weight and an offset ``w_i``, and the pose that the rotation stands for is
``r_i exp(w_i)`` (paper, section 3.2). The offset is composed on the right: turning the image in
plane by ``h`` turns ``r_i`` into ``h r_i`` and leaves its features, and so ``w_i``, unchanged,
which is then the offset of ``h g`` as well. Composed on the left it would have to turn too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import roma
import torch
from torch import nn

from napari_so3.so3.layers import SO3BatchNorm2d, SO3Conv2d, SO3Lift2d
from napari_so3.so3.networks import receptive_field
from napari_so3.so3.projection import RotateProject
from napari_so3.so3.rotations import RotationGrid

if TYPE_CHECKING:
    from torch import Tensor

    from napari_so3.so3.projection import Basis

Variant = Literal["so3", "so3-unimodal", "so2", "conv2d"]
Sharing = Literal["direction", "all"]
SMALL = 0.1  # gain of the last layer: offsets begin near the grid


@dataclass(frozen=True)
class PoseConfig:
    """Shape of a `PoseNet`.

    Parameters
    ----------
    variant : {"so3", "so3-unimodal", "so2", "conv2d"}
        ``"so3"`` and ``"so2"``: a distribution over the rotations of the grid, which for
        ``"so2"`` is in plane only. ``"so3-unimodal"``: the same trunk as ``"so3"`` and one pose.
        ``"conv2d"``: a plain convolutional network and one pose.
    channels : int
        Channels c of the first layer; the next ones have 2c and 4c.
    kernels : tuple of int
        Filter sizes of the three layers, pixels; together with the stride they fix the image size.
    stride : int
        Stride of the first layer.
    basis : {"blob", "voxel"}
        Basis of the 3D weights.
    grid : RotationGrid
        Rotations; those of one asymmetric unit for a symmetric particle.
    hidden : int
        Width of the heads.
    sharing : {"direction", "all"}
        One head per viewing direction, shared by its in-plane angles, or one for all rotations.
        Both keep the symmetry under in-plane turns.

    Raises
    ------
    ValueError
        If the variant or the sharing is unknown, or the filter sizes are not three.
    """

    variant: Variant = "so3"
    channels: int = 6
    kernels: tuple[int, int, int] = (9, 7, 7)
    stride: int = 2
    basis: Basis = "blob"
    grid: RotationGrid = field(default_factory=lambda: RotationGrid(32, 8))
    hidden: int = 64
    sharing: Sharing = "direction"

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise ValueError(f"a pose network is one of {get_args(Variant)}, not {self.variant!r}")
        if self.sharing not in get_args(Sharing):
            raise ValueError(f"heads are shared by {get_args(Sharing)}, not {self.sharing!r}")
        if len(self.kernels) != 3:
            raise ValueError(f"a pose network has three filter sizes, not {len(self.kernels)}")

    @property
    def box(self) -> int:
        """Edge of the image that the network takes, pixels."""
        return receptive_field(self.kernels, self.stride)

    @property
    def is_distribution(self) -> bool:
        """Whether the network weighs the rotations of the grid, or gives one pose."""
        return self.variant in ("so3", "so2")

    def to_dict(self) -> dict[str, Any]:
        """Turn into JSON-ready values; `from_dict` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PoseConfig:
        """Build from what `to_dict` gave.

        Raises
        ------
        TypeError, ValueError
            If a value is missing, unknown or out of range.
        """
        values = dict(values)
        kernels = tuple(int(k) for k in values.pop("kernels"))
        grid = RotationGrid(**values.pop("grid"))
        return cls(kernels=kernels, grid=grid, **values)  # type: ignore[arg-type]


def table3_config(variant: Variant, size: Literal["paper", "cpu"] = "paper") -> PoseConfig:
    """Give the network of a row of the paper's Table 3.

    Parameters
    ----------
    variant : {"so3", "so3-unimodal", "so2", "conv2d"}
        Row.
    size : {"paper", "cpu"}
        About 2.74 million parameters as in the paper, or about 85,000.

    Returns
    -------
    PoseConfig
        All four of one size have about the same number of parameters. The SO(3) networks have a
        grid that is closed under mirrors, and heads that all rotations share: they are equivariant
        under turns and mirrors of the image, so that what is learnt of one view holds for the
        opposite one.
    """
    channels = _CHANNELS[size][variant]
    grid = RotationGrid.so2(9) if variant == "so2" else RotationGrid(32, 8, antipodal=True)
    hidden = 64 if size == "paper" else 32
    return PoseConfig(variant, channels, grid=grid, hidden=hidden, sharing="all")


_CHANNELS: dict[str, dict[Variant, int]] = {
    "paper": {"so3": 47, "so3-unimodal": 45, "so2": 47, "conv2d": 75},
    "cpu": {"so3": 8, "so3-unimodal": 7, "so2": 8, "conv2d": 13},
}


class PoseNet(nn.Module):
    """A pose network: an image to weighted rotations.

    Parameters
    ----------
    config : PoseConfig
        Shape of the network.
    """

    matrices: Tensor

    def __init__(self, config: PoseConfig | None = None) -> None:
        super().__init__()
        self.config = config or PoseConfig()
        matrices = self.config.grid.matrices if self.config.is_distribution else torch.eye(3)[None]
        self.register_buffer("matrices", matrices.float(), persistent=False)
        self.trunk: nn.Module
        self.head: nn.Module
        if self.config.variant == "conv2d":
            self.trunk, n_features = _plain_trunk(self.config), 4 * self.config.channels
        else:
            self.trunk = _SO3Trunk(self.config)
            n_features = 4 * self.config.channels
            n_features *= 1 if self.config.is_distribution else len(self.config.grid)
        if self.config.is_distribution:
            shared = self.config.sharing == "all"
            n_heads = 1 if shared else self.config.grid.n_directions
            self.head = _Heads(n_heads, n_features, self.config.hidden)
        else:
            self.head = nn.Linear(n_features, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh rotations and offset them.

        Parameters
        ----------
        x : Tensor
            (B, 1, box, box) images, particles bright.

        Returns
        -------
        Tensor
            (B, R, 4): logit of each rotation of the grid and its offset, a rotation vector in
            radians; or (B, 1, 4): a quaternion (x, y, z, w) of any length.
        """
        features = self.trunk(x)
        if not self.config.is_distribution:
            one: Tensor = self.head(features.flatten(1))
            return one[:, None]
        grid = self.config.grid
        # (B, S, n_psi, C); a grid of one direction may have any number of in-plane angles
        by_view = features.reshape(len(x), grid.n_directions, grid.n_psi, -1)
        return torch.as_tensor(self.head(by_view)).reshape(len(x), len(grid), 4)

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Turn what `forward` gives into poses.

        Parameters
        ----------
        output : Tensor
            (B, R, 4), or (B, 1, 4).

        Returns
        -------
        logits, poses : Tensor
            (B, R) and (B, R, 3, 3), as of `decode_poses`.
        """
        return decode_poses(output, self.matrices if self.config.is_distribution else None)

    def with_grid(self, grid: RotationGrid) -> PoseNet:
        """Put the network on other rotations, to be trained on.

        The 3D weights stay. A new direction takes the head of the nearest old one (a new rotation
        the weights of the nearest old one, if the network gives one pose), so that little is left
        to learn: training on few rotations first costs a fraction of the time.

        Parameters
        ----------
        grid : RotationGrid
            New rotations, of the same symmetry.

        Returns
        -------
        PoseNet
            Another network.
        """
        old = self.config.grid
        other = PoseNet(replace(self.config, grid=grid))
        state = dict(self.state_dict())
        if self.config.variant == "so3-unimodal":
            nearest = old.nearest(grid.matrices)[0]
            weight = state["head.weight"].reshape(4, len(old), -1)[
                :, nearest.to(state["head.weight"].device)
            ]
            state["head.weight"] = weight.flatten(1) * (len(old) / len(grid))
        elif self.config.variant == "so3" and self.config.sharing == "direction":
            cosines = (old.group @ grid.directions.T).permute(2, 0, 1) @ old.directions.T
            nearest = cosines.amax(dim=1).argmax(dim=1)
            for name in ("weight1", "bias1", "weight2", "bias2"):
                values = state[f"head.{name}"]
                state[f"head.{name}"] = values[nearest.to(values.device)]
        other.load_state_dict(state)
        return other.train(self.training)


def decode_poses(output: Tensor, grid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Turn the output of a pose network into poses.

    Parameters
    ----------
    output : Tensor
        (B, R, 4) logits and offsets, or (B, 1, 4) quaternions.
    grid : Tensor, optional
        (R, 3, 3) rotations that the offsets start from; quaternions have none.

    Returns
    -------
    logits : Tensor
        (B, R); zeros where there is one pose.
    poses : Tensor
        (B, R, 3, 3) rotation matrices, reference to image.
    """
    if grid is None:
        quaternion = nn.functional.normalize(output, dim=-1)
        return output.new_zeros(output.shape[:2]), roma.unitquat_to_rotmat(quaternion)
    return output[..., 0], grid @ roma.rotvec_to_rotmat(output[..., 1:])


class _SO3Trunk(nn.Module):
    """Three layers, and what they leave for every rotation: (B, 1, box, box) to (B, R, 4c)."""

    def __init__(self, config: PoseConfig) -> None:
        super().__init__()
        c = config.channels
        operators = {k: RotateProject(config.grid, k, config.basis) for k in {*config.kernels}}
        first, second, third = (operators[k] for k in config.kernels)
        self.lift = SO3Lift2d(first, 1, c, config.stride)
        self.norm1 = SO3BatchNorm2d(c)
        self.conv2 = SO3Conv2d(second, c, 2 * c)
        self.norm2 = SO3BatchNorm2d(2 * c)
        self.conv3 = SO3Conv2d(third, 2 * c, 4 * c)
        self.norm3 = SO3BatchNorm2d(4 * c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.lift(x)).relu()
        x = self.norm2(self.conv2(x)).relu()
        x = self.norm3(self.conv3(x)).relu()
        return x.flatten(2)


def _plain_trunk(config: PoseConfig) -> nn.Sequential:
    """Three convolutional layers without rotations: (B, 1, box, box) to (B, 4c, 1, 1)."""
    c = config.channels
    sizes, steps = (1, c, 2 * c, 4 * c), (config.stride, 1, 1)
    layers: list[nn.Module] = []
    for i, (k, step) in enumerate(zip(config.kernels, steps, strict=True)):
        layers += [
            nn.Conv2d(sizes[i], sizes[i + 1], k, step, bias=False),
            nn.BatchNorm2d(sizes[i + 1]),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class _Heads(nn.Module):
    """Two layers for each of several heads: (B, S, n, C) to (B, S, n, 4)."""

    def __init__(self, n_heads: int, n_features: int, hidden: int) -> None:
        super().__init__()
        self.weight1 = nn.Parameter(torch.randn(n_heads, n_features, hidden))
        self.bias1 = nn.Parameter(torch.zeros(n_heads, hidden))
        self.weight2 = nn.Parameter(torch.randn(n_heads, hidden, 4))
        self.bias2 = nn.Parameter(torch.zeros(n_heads, 4))
        with torch.no_grad():
            self.weight1.mul_((2.0 / n_features) ** 0.5)
            self.weight2.mul_(SMALL / hidden**0.5)

    def forward(self, x: Tensor) -> Tensor:
        w1, w2 = (w.expand(x.shape[1], -1, -1) for w in (self.weight1, self.weight2))
        x = (torch.einsum("bsnc,sch->bsnh", x, w1) + self.bias1[:, None]).relu()
        return torch.einsum("bsnh,sho->bsno", x, w2) + self.bias2[:, None]
