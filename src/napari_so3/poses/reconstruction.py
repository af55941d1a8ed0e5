"""A map from images with known poses, and how sure each of its frequencies is.

By the projection theorem an image is a slice of the transform of the map. All slices are added up;
with white noise of power ``N`` in a shell and a map of power ``S`` there, ``w`` slices at a
frequency leave it with mean ``sum X / (w + N / S)`` and variance ``S / (1 + w S / N)``. Where no
image has been, the mean is 0 and the variance that of any particle.

`ParticleMatcher` compares an image with all slices, and takes the variance along: what it does not
know of a view speaks neither for nor against it. Preferred views therefore teach it much about all
others: two slices share a line wherever they are, and the cone around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from torch_fourier_slice import extract_central_slices_rfft_3d, insert_central_slices_rfft_3d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from napari_so3.poses.matching import MatcherConfig

AT_ONCE = 500  # images
ROUNDS = 2  # of estimating the noise and the map from each other
LEAST_SIGNAL = 0.02  # of the noise in a shell; below, the shell is left out
FLOOR = 1e-4  # of the noise: the least signal


@dataclass(frozen=True, eq=False)
class ParticleMap:
    """The transform of a map, with its variance.

    Parameters
    ----------
    mean : Tensor
        (n, n, n // 2 + 1) complex64, z and y with frequency 0 at n // 2.
    variance : Tensor
        (n, n, n // 2 + 1) float32.
    noise, signal : Tensor
        (shells,) float32 power of a pixel of an image's transform.
    """

    mean: Tensor
    variance: Tensor
    noise: Tensor
    signal: Tensor


def reconstruct(images: Tensor, rotations: Tensor, group: Tensor) -> ParticleMap:
    """Reconstruct the map that images are projections of.

    Parameters
    ----------
    images : Tensor
        (m, box, box) float32, the particle in the middle, all of one contrast.
    rotations : Tensor
        (m, 3, 3), reference to image.
    group : Tensor
        (G, 3, 3) symmetry of the particle.

    Returns
    -------
    ParticleMap
        On a grid of twice the box.
    """
    n = padded_size(images.shape[-1])
    total = torch.zeros(n, n, n // 2 + 1, dtype=torch.complex64)
    weights = torch.zeros(n, n, n // 2 + 1)
    for part, turns in _batches(images, rotations):
        transforms = transform(part)
        for g in group.to(turns):
            slices, counts = insert_central_slices_rfft_3d(
                transforms, (n, n, n), (turns @ g).mT.float(), fftfreq_max=0.5
            )
            total += slices
            weights += counts
    shells = _shells(n)
    some, turns = next(_batches(images, rotations))
    seen = transform(some)
    power = _shell_means(seen.abs().square().mean(dim=0), shells)
    noise = power[3 * n // 8 : n // 2].mean().expand_as(power)
    for _ in range(ROUNDS):
        signal = torch.maximum(power - noise, FLOOR * noise)
        made = _solve(total, weights, noise, signal)
        left = (seen - slices_of(made.mean, turns)).abs().square().mean(dim=0)
        unsure = slices_of(made.variance.to(torch.complex64), turns).real.mean(dim=0)
        noise = torch.maximum(_shell_means(left - unsure.clamp(min=0), shells), 0.1 * noise)
    return made


def _solve(total: Tensor, weights: Tensor, noise: Tensor, signal: Tensor) -> ParticleMap:
    n = len(total)
    axis = torch.arange(n) - n // 2
    radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + torch.arange(n // 2 + 1) ** 2).sqrt()
    shell = radius.round().long().clamp(max=len(noise) - 1)
    s, ratio = signal[shell], (noise / signal)[shell]
    return ParticleMap(total / (weights + ratio), s / (1 + weights / ratio), noise, signal)


class ParticleMatcher(nn.Module):
    """Compares images with all slices of a `ParticleMap`, as `PoseNet` weighs rotations.

    Parameters
    ----------
    config : MatcherConfig
        Rotations, shifts and box.
    """

    mean: Tensor
    variance: Tensor
    noise: Tensor
    signal: Tensor
    matrices: Tensor

    def __init__(self, config: MatcherConfig) -> None:
        super().__init__()
        self.config = config
        n = padded_size(config.box)
        shells = int(_shells(n).max()) + 1
        self.register_buffer("mean", torch.zeros(n, n, n // 2 + 1, 2))
        self.register_buffer("variance", torch.zeros(n, n, n // 2 + 1))
        self.register_buffer("noise", torch.ones(shells))
        self.register_buffer("signal", torch.ones(shells))
        self.register_buffer("matrices", config.grid.matrices.float(), persistent=False)
        self._prepared: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    @classmethod
    def of(cls, made: ParticleMap, config: MatcherConfig) -> ParticleMatcher:
        """Compare with this map."""
        net = cls(config)
        net.load_state_dict(
            {
                "mean": torch.view_as_real(made.mean),
                "variance": made.variance,
                "noise": made.noise,
                "signal": made.signal,
            }
        )
        return net

    def forward(self, x: Tensor) -> Tensor:
        """Weigh rotations.

        Parameters
        ----------
        x : Tensor
            (B, 1, box, box) images of the contrast that the map was made from.

        Returns
        -------
        Tensor
            (B, R, 4): log-likelihood of each rotation at its best shift, and no offset.
        """
        if self._prepared is None:
            self._prepared = self._prepare()
        kept, weighted, precision, constant = self._prepared
        spectrum = transform(x[:, 0])
        apart = spectrum.abs().square().flatten(1)[:, kept] @ precision.T
        best = x.new_full((len(x), len(self.matrices)), -math.inf)
        for phase in self._shifts(x):
            moved = torch.view_as_real((spectrum * phase).flatten(1)[:, kept]).flatten(1)
            best = torch.maximum(best, moved @ weighted.T)
        out = x.new_zeros((*best.shape, 4))
        out[..., 0] = best - 0.5 * apart + constant
        return out

    def decode(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Turn what `forward` gives into logits (B, R) and poses (B, R, 3, 3)."""
        logits = output[..., 0]
        return logits, self.matrices.expand(len(logits), -1, -1, -1)

    def _prepare(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Frequencies that are compared, slices over variances, one over these, constants."""
        n = len(self.mean)
        shells = _shells(n).to(self.noise.device)
        inside = (self.signal > LEAST_SIGNAL * self.noise)[shells] & (shells < n // 2)
        kept = inside.flatten().nonzero()[:, 0]
        twice = torch.full((n, n // 2 + 1), 2.0, device=self.noise.device)
        twice[:, 0] = 1.0  # the other half of a real image is the conjugate of this one
        times, noise = twice.flatten()[kept], self.noise[shells].flatten()[kept]
        parts: list[list[Tensor]] = [[], [], []]
        mean, variance = torch.view_as_complex(self.mean), self.variance.to(torch.complex64)
        for turns in self.matrices.split(AT_ONCE):
            slices = slices_of(mean, turns).flatten(1)[:, kept]
            spread = slices_of(variance, turns).real.flatten(1)[:, kept].clamp(min=0) + noise
            precision = times / spread
            parts[0].append(torch.view_as_real(slices * precision).flatten(1))
            parts[1].append(precision)
            parts[2].append(
                -0.5 * (precision * slices.abs().square() + times * spread.log()).sum(dim=1)
            )
        weighted, precision, constant = (torch.cat(part) for part in parts)
        return kept, weighted, precision, constant

    def _shifts(self, x: Tensor) -> Iterator[Tensor]:
        """Waves (n, n // 2 + 1) that move an image by up to `reach` pixels."""
        n, reach = len(self.mean), self.config.reach
        fy = ((torch.arange(n) - n // 2) / n)[:, None].to(x.device)
        fx = (torch.arange(n // 2 + 1) / n).to(x.device)
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                phase = -2 * math.pi * (fy * dy + fx * dx)
                yield torch.polar(torch.ones_like(phase), phase)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> ParticleMatcher:
        self._prepared = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def padded_size(box: int) -> int:
    """Edge of the transforms of images: twice the box, and even."""
    return 2 * box + (2 * box) % 2


def transform(images: Tensor) -> Tensor:
    """Transform images (m, box, box), padded to twice the box: (m, n, n // 2 + 1) complex64.

    The middle pixel, box // 2, is the origin; rows have frequency 0 at n // 2.
    """
    box = images.shape[-1]
    n = padded_size(box)
    before = n // 2 - box // 2
    padded = F.pad(images.float(), [before, n - box - before] * 2)
    spectrum = torch.fft.rfft2(torch.fft.ifftshift(padded, dim=(-2, -1)))
    shifted: Tensor = torch.fft.fftshift(spectrum, dim=(-2,))
    return shifted


def slices_of(volume: Tensor, rotations: Tensor) -> Tensor:
    """Central slices (m, n, n // 2 + 1) of a transform, as images at these rotations have them."""
    slices: Tensor = extract_central_slices_rfft_3d(volume, rotations.mT.float(), fftfreq_max=0.5)
    return slices


def _batches(images: Tensor, rotations: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(images.split(AT_ONCE), rotations.split(AT_ONCE), strict=True)


def _shells(n: int) -> Tensor:
    """(n, n // 2 + 1) number of the shell of every frequency."""
    axis = torch.arange(n) - n // 2
    return (axis[:, None] ** 2 + torch.arange(n // 2 + 1) ** 2).sqrt().round().long()


def _shell_means(values: Tensor, shells: Tensor) -> Tensor:
    size = int(shells.max()) + 1
    total = torch.zeros(size).index_add(0, shells.flatten(), values.flatten())
    return total / torch.bincount(shells.flatten(), minlength=size).clamp(min=1)
