"""Compare particles with the projections of a map, and climb to the pose that fits best.

A particle is compared with the projection at a pose at all shifts around it; the correlation
coefficient inside the disc that the projection fills is the score, as in template matching. A pose
is refined by trying small turns about the three axes of the image, and going to the top of the
parabola through what is found; the steps shrink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import roma
import torch
import torch.nn.functional as F

from napari_so3.so3.template import ball_mask, inverse_spread

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.poses.reference import Reference
    from napari_so3.simulation.ctf import CTF

STEPS = (7.0, 4.0, 2.0)  # degrees, one round of turns about the three axes each
TRIED = 3  # poses that compete before the climb
AT_ONCE = 128  # particles
LIKELY = 0.02  # share below which an alternative does not compete


@dataclass(frozen=True, eq=False)
class Fit:
    """How particles fit projections.

    Parameters
    ----------
    correlation : ndarray
        (n,) float64 correlation coefficient at the best shift.
    shift : ndarray
        (n, 2) float64 y and x from the middle of the crop to the centre of the particle, working
        pixels.
    """

    correlation: NDArray[np.float64]
    shift: NDArray[np.float64]

    @classmethod
    def unknown(cls, n: int) -> Fit:
        """Fit of particles that have nothing to be compared with."""
        return cls(np.full(n, np.nan), np.zeros((n, 2)))


def compare(
    crops: Tensor,
    poses: NDArray[np.float64],
    reference: Reference,
    reach: int,
    ctf: CTF | None = None,
) -> Fit:
    """Compare each particle with the projection at its pose, at all shifts.

    Parameters
    ----------
    crops : Tensor
        (n, 1, box + 2 reach, box + 2 reach) float32, particles bright.
    poses : ndarray
        (n, 3, 3) rotations, reference to image.
    reference : Reference
        The map.
    reach : int
        Largest shift along y and x, working pixels.
    ctf : CTF, optional
        Of the micrograph, whose phases are then flipped.

    Returns
    -------
    Fit
        Of n particles.
    """
    box = crops.shape[-1] - 2 * reach
    scores = _scores(crops, torch.from_numpy(poses), reference, box, ctf)
    return _best_shift(scores)


def refine(
    crops: Tensor,
    alternatives: NDArray[np.float64],
    shares: NDArray[np.float64],
    reference: Reference,
    reach: int,
    ctf: CTF | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64], Fit]:
    """Climb from the likeliest poses to the best correlation.

    The alternative that fits best at first is the one that is refined: a network that hesitates
    between two poses leaves the choice to the map.

    Parameters
    ----------
    crops : Tensor
        (n, 1, box + 2 reach, box + 2 reach) float32, particles bright.
    alternatives : ndarray
        (n, k, 3, 3) rotations, the likeliest first; NaN where there are fewer.
    shares : ndarray
        (n, k) probability of each.
    reference : Reference
        The map.
    reach : int
        Largest shift along y and x, working pixels.
    ctf : CTF, optional
        Of the micrograph, whose phases are then flipped.

    Returns
    -------
    poses : ndarray
        (n, 3, 3) float64.
    chosen : ndarray
        (n,) int64 alternative that each was climbed from.
    fit : Fit
        Of n particles.
    """
    box = crops.shape[-1] - 2 * reach
    poses, chosen, best = _choose(crops, alternatives, shares, reference, box, ctf)
    for step in np.radians(STEPS):
        poses, best = _climb(crops, poses, best, step, reference, box, ctf)
    return poses.numpy(), chosen, compare(crops, poses.numpy(), reference, reach, ctf)


def _choose(
    crops: Tensor,
    alternatives: NDArray[np.float64],
    shares: NDArray[np.float64],
    reference: Reference,
    box: int,
    ctf: CTF | None,
) -> tuple[Tensor, NDArray[np.int64], Tensor]:
    """Take the alternative of each particle that fits best: pose, number, and how well it does."""
    poses = torch.from_numpy(alternatives[:, 0]).clone()
    chosen = np.zeros(len(alternatives), dtype=np.int64)
    best = _top(_scores(crops, poses, reference, box, ctf))
    for k in range(1, min(TRIED, alternatives.shape[1])):
        rows = torch.from_numpy(np.flatnonzero(shares[:, k] >= LIKELY))
        if len(rows) == 0:
            continue
        other = torch.from_numpy(alternatives[:, k])[rows]
        found = _top(_scores(crops[rows], other, reference, box, ctf))
        better = found > best[rows]
        poses[rows[better]], best[rows[better]] = other[better], found[better]
        chosen[rows[better].numpy()] = k
    return poses, chosen, best


def _climb(
    crops: Tensor,
    poses: Tensor,
    best: Tensor,
    step: float,
    reference: Reference,
    box: int,
    ctf: CTF | None,
) -> tuple[Tensor, Tensor]:
    """Turn by what the parabolas along three axes say, where that is better."""
    move = torch.zeros(len(poses), 3, dtype=torch.float64)
    for axis in range(3):
        turn = torch.zeros(3, dtype=torch.float64)
        turn[axis] = step
        up, down = (
            _top(_scores(crops, roma.rotvec_to_rotmat(sign * turn) @ poses, reference, box, ctf))
            for sign in (1.0, -1.0)
        )
        curvature = up + down - 2 * best
        along = torch.where(curvature < -1e-6, (down - up) / (2 * curvature), torch.sign(up - down))
        move[:, axis] = step * along.clamp(-1.0, 1.0)
    moved = roma.rotvec_to_rotmat(move) @ poses
    found = _top(_scores(crops, moved, reference, box, ctf))
    better = found > best
    return torch.where(better[:, None, None], moved, poses), torch.where(better, found, best)


def _scores(
    crops: Tensor, poses: Tensor, reference: Reference, box: int, ctf: CTF | None
) -> Tensor:
    """Correlation coefficients (n, 2 reach + 1, 2 reach + 1) at all shifts."""
    disc = ball_mask(box, 2)[None, None]
    parts = []
    for crop, pose in zip(crops.split(AT_ONCE), poses.split(AT_ONCE), strict=True):
        templates = reference.seen(pose, box, ctf, flipped=ctf is not None)
        found = F.conv2d(crop.transpose(0, 1), templates[:, None], groups=len(crop))[0]
        total, squares = (F.conv2d(v, disc)[:, 0] for v in (crop, crop * crop))
        parts.append(found * inverse_spread(total, squares, disc.sum()))
    return torch.cat(parts).double()


def _top(scores: Tensor) -> Tensor:
    return scores.flatten(1).amax(dim=1)


def _best_shift(scores: Tensor) -> Fit:
    """Where the scores are highest, to a fraction of a pixel by parabolas along y and x."""
    n, size, _ = scores.shape
    flat = scores.flatten(1)
    y, x = flat.argmax(dim=1) // size, flat.argmax(dim=1) % size
    rows = torch.arange(n)
    shift = []
    for at, values in ((y, scores[rows, :, x]), (x, scores[rows, y, :])):
        inner = at.clamp(1, size - 2)
        before, middle, after = (values[rows, inner + d] for d in (-1, 0, 1))
        curvature = before + after - 2 * middle
        fraction = torch.where(curvature < 0, (before - after) / (2 * curvature), 0.0)
        fraction = torch.where(at == inner, fraction.clamp(-0.5, 0.5), 0.0)
        shift.append(at + fraction - size // 2)
    return Fit(flat.amax(dim=1).numpy(), torch.stack(shift, dim=1).numpy())
