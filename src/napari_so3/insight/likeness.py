"""How like a map a learned 3D filter is: the rotation, the hand, the correlation and the FSC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from napari_so3.insight.shells import fourier_shell_correlation, soft_ball
from napari_so3.so3.rotations import RotationGrid, geodesic_distance
from napari_so3.so3.turning import climb, sample_volume, turn_volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.simulation.volume import DensityMap

COARSE, FINE = 20, 32  # voxels across the volumes that rotations are searched and refined with
SEARCHED = (96, 16)  # directions and in-plane angles of the search: 11 degrees apart
AT_ONCE = 64
REFINED = 4  # of the best rotations of each hand
APART = 0.35  # radians between two of them
SHIFT = 0.15  # of the edge: the largest shift that is searched
BLIND = 64  # rotations that tell what two bodies of one size have in common


@dataclass(frozen=True, eq=False)
class Likeness:
    """How like a map a volume is.

    The volume is about ``h(V(r^T (p - shift)))``: the map V turned by `rotation`, moved by `shift`
    and, if the hand is -1, mirrored along z.

    Parameters
    ----------
    correlation : float
        Pearson correlation inside the soft ball that fits into the volume, once aligned.
    hand : int
        1, or -1 if the mirrored map is more like the volume.
    rotation : ndarray
        (3, 3) float64 from the map to the volume, active on columns (x, y, z).
    shift : ndarray
        (3,) float64 x, y, z in Å.
    fsc : ndarray
        (m, 2) float64: frequency (1/Å) and Fourier shell correlation of the two inside the ball.
    correlation_mirrored : float
        Correlation with the other hand, aligned as well as that can be.
    correlation_blind : float
        Median correlation over rotations at random: what is due to size and roundness alone.
    """

    correlation: float
    hand: int
    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]
    fsc: NDArray[np.float64]
    correlation_mirrored: float
    correlation_blind: float

    def resolution(self, at: float = 0.5) -> float:
        """Resolution where the FSC first falls below a value.

        Parameters
        ----------
        at : float
            Value of the FSC.

        Returns
        -------
        float
            Å; infinite if even the first shell is below, and twice the voxel if none is.
        """
        frequency, value = self.fsc.T
        below = np.flatnonzero(value < at)
        if len(below) == 0:
            return 1.0 / float(frequency[-1])
        first = int(below[0])
        if first == 0:
            return float("inf")
        share = (value[first - 1] - at) / (value[first - 1] - value[first])
        return 1.0 / float(frequency[first - 1] + share * (frequency[first] - frequency[first - 1]))


@dataclass(frozen=True)
class _Reference:
    """A map as it is sampled: its values, the index of its origin, and Å per voxel."""

    values: NDArray[np.float32]
    origin: float
    voxel_size: float

    def sample(
        self,
        size: int,
        voxel_size: float,
        rotation: Tensor | None = None,
        shift: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Sample as `sample_volume` does; the shift is in voxels of the result."""
        ratio = voxel_size / self.voxel_size
        return sample_volume(self.values, self.origin, size, ratio, rotation, shift)


def compare_with_map(
    volume: NDArray[np.float32], voxel_size: float, density: DensityMap | NDArray[np.float32]
) -> Likeness:
    """Align a map to a volume and compare them.

    Parameters
    ----------
    volume : ndarray
        (n, n, n) float32 [z, y, x], such as a learned filter; its middle is ``(n - 1) / 2``.
    voxel_size : float
        Å per voxel of the volume.
    density : DensityMap or ndarray
        The map, of any voxel size; or (m, m, m) float32 values of the voxel size of the volume and
        with the origin in their middle, such as a map that was filtered.

    Returns
    -------
    Likeness
        Of the volume and the map.

    Raises
    ------
    ValueError
        If the volume is no cube of at least 5 voxels, is constant, or the voxel size is not
        positive.
    """
    *_, likeness = compare_steps(volume, voxel_size, density)
    assert isinstance(likeness, Likeness)
    return likeness


def compare_steps(
    volume: NDArray[np.float32], voxel_size: float, density: DensityMap | NDArray[np.float32]
) -> Iterator[float | Likeness]:
    """Compare as `compare_with_map` does, with progress.

    Yields
    ------
    float or Likeness
        Share that is done, and at last the likeness. Stop iterating to cancel.
    """
    volume = np.asarray(volume, dtype=np.float32)
    if isinstance(density, np.ndarray):
        values = np.asarray(density, dtype=np.float32)
        reference = _Reference(values, (len(values) - 1) / 2, voxel_size)
    else:
        reference = _Reference(density.values, len(density.values) // 2, density.voxel_size)
    yield from _compare(volume, voxel_size, reference)


def _compare(
    volume: NDArray[np.float32], voxel_size: float, reference: _Reference
) -> Iterator[float | Likeness]:
    _check(volume, voxel_size)
    n = len(volume)
    coarse, fine = (_Pair.reduced(volume, voxel_size, reference, box) for box in (COARSE, FINE))
    grid = RotationGrid(*SEARCHED).matrices
    found: list[tuple[Tensor, Tensor]] = []
    for chunk in grid.split(AT_ONCE):
        found.append(coarse.search(chunk))
        yield 0.5 * len(found) * AT_ONCE / len(grid)
    scores, shifts = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    best = []
    for which, hand in enumerate((1, -1)):
        climbed = [
            coarse.climb(grid[i], shifts[which, i].numpy(), hand)
            for i in _apart(grid, scores[which])
        ]
        _, rotation, shift = max(climbed, key=lambda place: place[0])
        best.append(fine.climb(rotation, shift * coarse.step / fine.step, hand))
        yield 0.7 + 0.2 * which
    finals = [
        _judged(volume, reference, voxel_size, hand, rotation, shift * fine.step)
        for hand, (_, rotation, shift) in zip((1, -1), best, strict=True)
    ]
    hand = 1 if finals[0][0] >= finals[1][0] else -1
    chosen, other = finals if hand == 1 else finals[::-1]
    _, rotation, shift = best[0 if hand == 1 else 1]
    yield Likeness(
        chosen[0],
        hand,
        rotation.numpy(),
        shift * fine.step * voxel_size,
        fourier_shell_correlation(volume * soft_ball(n), chosen[1] * soft_ball(n), voxel_size),
        other[0],
        fine.blind(hand),
    )


def _check(volume: NDArray[np.float32], voxel_size: float) -> None:
    if volume.ndim != 3 or len(set(volume.shape)) != 1 or len(volume) < 5:
        raise ValueError(f"a cube of at least 5 voxels is compared, not {volume.shape}")
    if not voxel_size > 0:
        raise ValueError(f"the voxel size must be above 0 Å, not {voxel_size}")
    if not np.isfinite(volume).all() or volume.min() == volume.max():
        raise ValueError("the volume is constant or not finite; there is nothing to compare")


@dataclass(frozen=True)
class _Pair:
    """Volume and map on the same few voxels.

    Parameters
    ----------
    volumes : Tensor
        (2, n, n, n) float32: the volume and its mirror image along z, of mean 0 and norm 1 in the
        ball. Comparing the mirrored volume is comparing the mirrored map.
    reference : Tensor
        (n, n, n) float32, the map.
    ball : Tensor
        (n, n, n) weights.
    step : float
        Voxels of the volume as it was given per voxel.
    """

    volumes: Tensor
    reference: Tensor
    ball: Tensor
    step: float

    @classmethod
    def reduced(
        cls, volume: NDArray[np.float32], voxel_size: float, reference: _Reference, box: int
    ) -> _Pair:
        """Reduce both to at most ``box`` voxels per axis."""
        n = len(volume)
        size = min(n, box)
        step = n / size
        small = volume if size == n else sample_volume(volume, (n - 1) / 2, size, step)
        ball = torch.from_numpy(soft_ball(size))
        values = torch.from_numpy(np.stack((small, small[::-1])))
        map_values = torch.from_numpy(reference.sample(size, voxel_size * step))
        return cls(_standard(values, ball), map_values, ball, step)

    def search(self, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Best correlation over small shifts with either hand, and that shift.

        (2, m) and (2, m, 3) x, y, z in voxels.
        """
        turned = _standard(turn_volumes(self.reference, rotations), self.ball)
        dims, size = (-3, -2, -1), len(self.ball)
        spectra = torch.fft.rfftn(turned, dim=dims).conj()
        product = torch.fft.rfftn(self.volumes, dim=dims)[:, None] * spectra
        correlation = torch.fft.irfftn(product, s=[size] * 3, dim=dims)
        reach = int(SHIFT * size)
        near = torch.arange(-reach, reach + 1)
        for dim in dims:
            correlation = correlation.index_select(dim, near % size)
        best, index = correlation.flatten(2).max(dim=-1)
        n = len(near)
        zyx = torch.stack((index // n**2, index // n % n, index % n), dim=-1) - reach
        return best, zyx.flip(-1).double()

    def climb(
        self, rotation: Tensor, start: NDArray[np.float64], hand: int
    ) -> tuple[float, Tensor, NDArray[np.float64]]:
        """Refine a rotation and a shift; the correlation that is reached comes first."""
        volume = self.volumes[0 if hand == 1 else 1]
        limit = SHIFT * len(self.ball)

        def score(r: Tensor, shift: NDArray[np.float64]) -> float:
            beyond = float(np.clip(np.abs(shift) - limit, 0, None).sum())
            turned = _standard(self._moved(r, shift), self.ball)
            return float((turned * volume).sum()) - beyond

        found, shift = climb(score, rotation, start)
        return score(found, shift), found, shift

    def _moved(self, rotation: Tensor, shift: NDArray[np.float64]) -> Tensor:
        """Turn the map, then move it by x, y, z voxels."""
        size = len(self.ball)
        back = rotation.mT
        offset = back @ torch.from_numpy(-shift * 2 / size)
        theta = torch.cat((back, offset[:, None]), dim=1)[None].float()
        points = F.affine_grid(theta, [1, 1, size, size, size], align_corners=False)
        moved: Tensor = F.grid_sample(self.reference[None, None], points, align_corners=False)
        return moved[0, 0]

    def blind(self, hand: int) -> float:
        """Median correlation over rotations of all kinds, without a shift."""
        rotations = RotationGrid(BLIND // 4, 4).matrices
        turned = _standard(turn_volumes(self.reference, rotations), self.ball)
        volume = self.volumes[0 if hand == 1 else 1]
        return float((turned * volume).sum(dim=(1, 2, 3)).median())


def _standard(values: Tensor, ball: Tensor) -> Tensor:
    """Weight by the ball, with mean 0 and norm 1 inside; the last three dimensions are a volume."""
    dims = (-3, -2, -1)
    mean = (values * ball).sum(dims, keepdim=True) / ball.sum()
    inside = (values - mean) * ball.sqrt()
    # an empty volume has no correlation
    return inside / inside.square().sum(dims, keepdim=True).sqrt().clamp(min=1e-12)


def _apart(grid: Tensor, scores: Tensor) -> list[int]:
    """Choose the best rotations that lie apart from each other, by their indices."""
    chosen: list[int] = []
    for index in scores.argsort(descending=True).tolist():
        angles = geodesic_distance(grid[index], grid[chosen])
        if bool((angles > APART).all()):
            chosen.append(index)
        if len(chosen) == REFINED:
            break
    return chosen


def _judged(
    volume: NDArray[np.float32],
    reference: _Reference,
    voxel_size: float,
    hand: int,
    rotation: Tensor,
    shift: NDArray[np.float64],
) -> tuple[float, NDArray[np.float32]]:
    """Correlation on all voxels, and the map as it was turned, moved and mirrored for that."""
    aligned = reference.sample(len(volume), voxel_size, rotation, shift)[::hand]
    ball = torch.from_numpy(soft_ball(len(volume)))
    pair = _standard(torch.from_numpy(np.stack((volume, aligned))), ball)
    return float((pair[0] * pair[1]).sum()), aligned
