"""How consistent matched rotations are with true poses.

The frame of a trained network is arbitrary, and need not be one frame in 3D at all. Three
questions, each with what chance would answer (matched rotations dealt out anew to the particles):

1. Do particles that show the same view match the same rotation, up to the turn in plane by which
   they differ?
2. Is there one rotation (and hand) between the frame of the particle and that of the model?
3. Does the matched in-plane angle follow the true one, view by view?
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from napari_so3.so3.rotations import INSIDE_UNIT, RotationGrid
from napari_so3.so3.symmetry import symmetry_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

ANGLES = (15.0, 30.0)  # degrees: the shares that are told
SAME_VIEW = 15.0  # degrees between views that count as the same
CELLS = 24  # views that the sphere is divided into for the in-plane angles
SHUFFLES = 10  # of the matched rotations, for chance
SEED = 0
TRIED = 200  # frames that are tried, at most
POLISH = 5  # rounds in which the best is refined
HALF_TURN = np.diag([-1.0, -1.0, 1.0])  # in plane: what the map of the other hand shows


@dataclass(frozen=True)
class Share:
    """A share, or a mean cosine; NaN where there is nothing to take it of.

    Parameters
    ----------
    found : float
        Measured.
    chance : float
        With matched rotations dealt out anew to the particles.
    possible : float
        If all particles matched the grid rotations that are closest to their poses in the best
        frame; of symmetric particles one copy each, always of the same unit.
    """

    found: float
    chance: float
    possible: float


@dataclass(frozen=True, eq=False)
class Frame:
    """The one rotation that leads best from the frame of the particle to that of the model.

    Parameters
    ----------
    rotation : ndarray
        (3, 3): a particle of true rotation ``r`` matches ``r rotation`` best.
    other_hand : bool
        Whether the model rather looks for the mirror image: matched rotations are then those of
        ``r`` turned by 180 degrees in plane, which is what the map of the other hand shows.
    within : dict of float to Share
        Share of the particles whose matched rotation lies within so many degrees of it; chance has
        the best rotation and hand of its own.
    """

    rotation: NDArray[np.float64]
    other_hand: bool
    within: dict[float, Share]


@dataclass(frozen=True, eq=False)
class Consistency:
    """How consistent matched rotations are with true poses.

    Parameters
    ----------
    particles : int
        How many.
    pairs : int
        Pairs of particles with the same view, within `SAME_VIEW`.
    same_rotation : dict of float to Share
        Share of the pairs whose matched rotations are equal within so many degrees, after the turn
        in plane by which the particles differ.
    frame : Frame
        The best single frame.
    in_plane : Share
        Concentration of true minus matched in-plane angle among particles of the same true and
        matched view, as the mean cosine between two of them: 1 if they are all the same, 0 if they
        are anything.
    in_plane_particles : int
        Particles that this is of: those with others of their views, and no symmetry axis nearby,
        about which the in-plane angle has several values.
    """

    particles: int
    pairs: int
    same_rotation: dict[float, Share]
    frame: Frame
    in_plane: Share
    in_plane_particles: int


def measure_consistency(
    true: NDArray[np.float64],
    matched: NDArray[np.int64],
    grid: RotationGrid,
    symmetry: str = "C1",
) -> Consistency:
    """Compare matched rotations with true poses.

    Parameters
    ----------
    true : ndarray
        (n, 3, 3) rotation matrices of the particles.
    matched : ndarray
        (n,) indices into the grid.
    grid : RotationGrid
        Rotations of the model.
    symmetry : str
        Point group of the particle, as in `symmetry_group`.

    Returns
    -------
    Consistency
        With chance from a fixed seed.

    Raises
    ------
    ValueError
        If there are fewer than two particles, or not as many matched rotations.
    """
    if len(true) < 2 or len(true) != len(matched):
        raise ValueError(
            f"consistency is that of two or more particles, each with a matched rotation, not of "
            f"{len(true)} and {len(matched)}"
        )
    group = symmetry_group(symmetry).numpy()
    rng = np.random.default_rng(SEED)
    shuffled = [rng.permutation(matched) for _ in range(SHUFFLES)]
    pairs = _Pairs(true, group)
    in_plane = partial(_concentration, *_cells(true, group, symmetry), grid)
    frame, ideal = _best_frame(true, matched, shuffled, grid, group)
    apart = [pairs.apart(grid, each) for each in (matched, *shuffled, ideal)]
    (found, n_in_plane), *by_chance, (possible, _) = map(in_plane, (matched, *shuffled, ideal))
    chance = float(np.mean([each for each, _ in by_chance]))
    return Consistency(
        len(true),
        len(pairs.first),
        _shares(apart[0], np.concatenate(apart[1:-1]), apart[-1]),
        frame,
        Share(found, chance, possible),
        n_in_plane,
    )


def _shares(*angles: NDArray[np.float64]) -> dict[float, Share]:
    """Shares within `ANGLES` of what is found, what chance gives, and what is possible."""
    limits = {limit: [a <= limit + 1e-6 for a in angles] for limit in ANGLES}
    return {limit: Share(*map(_mean, within)) for limit, within in limits.items()}


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _angle(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees between rotations (..., 3, 3)."""
    return _left((a * b).sum(axis=(-2, -1)))


def _left(trace: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees of a rotation by its trace."""
    return np.asarray(np.degrees(np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))))


# ---------------------------------------------------------------------- views and turns in plane


def _turn_between(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring views together: cosine between them, and radians t so that ``Rz(t) b`` is about a."""
    n = b @ a.swapaxes(-1, -2)
    return n[..., 2, 2], np.arctan2(n[..., 0, 1] - n[..., 1, 0], n[..., 0, 0] + n[..., 1, 1])


class _Pairs:
    """Pairs of particles that show the same view, and by how much they are turned in plane."""

    def __init__(self, true: NDArray[np.float64], group: NDArray[np.float64]) -> None:
        first, second = np.triu_indices(len(true), 1)
        copies = true[second, None] @ group  # (pairs, G, 3, 3)
        cosine, turn = _turn_between(true[first, None], copies)
        same = cosine >= np.cos(np.radians(SAME_VIEW))
        near = same.any(axis=1)
        self.first, self.second = first[near], second[near]
        self._same, self._turn = same[near], turn[near]

    def apart(self, grid: RotationGrid, matched: NDArray[np.int64]) -> NDArray[np.float64]:
        """Degrees between what the two match, the second turned as the first: (pairs,)."""
        r = grid.matrices.numpy()[matched]
        angles = np.full(self._same.shape, 180.0)
        pair, copy = np.nonzero(self._same)
        in_plane = Rotation.from_euler("z", self._turn[pair, copy][:, None]).as_matrix()
        turned = in_plane @ r[self.second[pair]]
        for symmetric in grid.group.numpy():
            angle = _angle(r[self.first[pair]], turned @ symmetric)
            angles[pair, copy] = np.minimum(angles[pair, copy], angle)
        return angles.min(axis=1) if len(angles) else np.zeros(0)


def _cells(
    true: NDArray[np.float64], group: NDArray[np.float64], symmetry: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Divide the views into cells: of each particle its cell, psi in it, and whether psi is sure.

    Next to a symmetry axis several copies of a particle show the same view, each with another psi.
    """
    centres = RotationGrid.reduced(symmetry, CELLS, 1).matrices.numpy()
    cosine, turn = _turn_between((true[:, None] @ group)[:, :, None], centres)  # (n, G, cells)
    each = np.arange(len(true))
    copy, cell = np.unravel_index(cosine.reshape(len(true), -1).argmax(1), cosine.shape[1:])
    views = true[:, 2]
    alike = np.einsum("ni,gij,nj->ng", views, group, views) >= np.cos(np.radians(SAME_VIEW))
    return cell.astype(np.int64), -np.degrees(turn[each, copy, cell]), alike.sum(axis=1) == 1


def _concentration(
    cell: NDArray[np.int64],
    psi: NDArray[np.float64],
    sure: NDArray[np.bool_],
    grid: RotationGrid,
    matched: NDArray[np.int64],
) -> tuple[float, int]:
    """Mean cosine between the in-plane differences of two particles of the same views."""
    apart = np.radians(psi - grid.euler_angles[matched, 2])
    together = cell * grid.n_directions + matched // grid.n_psi
    same = (together[:, None] == together) & sure[:, None] & sure
    np.fill_diagonal(same, False)
    cosines = np.cos(apart[:, None] - apart)[same]
    return _mean(cosines), int(same.any(axis=1).sum())


# ---------------------------------------------------------------------- one frame


def _best_frame(
    true: NDArray[np.float64],
    matched: NDArray[np.int64],
    shuffled: list[NDArray[np.int64]],
    grid: RotationGrid,
    group: NDArray[np.float64],
) -> tuple[Frame, NDArray[np.int64]]:
    """Find the frame, with the same search that of shuffled rotations, and the closest in it."""
    rotations, own = grid.matrices.numpy(), grid.group.numpy()
    fit = partial(_fit_hands, true, group, own)
    rotation, other_hand, angles = fit(rotations[matched])
    chance = np.concatenate([fit(rotations[each])[2] for each in shuffled])
    copies = true[:, None] @ group
    in_unit = (copies[:, :, 2] @ np.array(INSIDE_UNIT)).argmax(axis=1)
    copies = (HALF_TURN if other_hand else np.eye(3)) @ copies @ rotation
    index, left = grid.nearest(torch.from_numpy(copies))
    within = _shares(angles, chance, np.degrees(left.amin(dim=1).numpy()))
    return Frame(rotation, other_hand, within), index.numpy()[np.arange(len(true)), in_unit]


def _fit_hands(
    true: NDArray[np.float64],
    group: NDArray[np.float64],
    own: NDArray[np.float64],
    matched: NDArray[np.float64],
) -> tuple[NDArray[np.float64], bool, NDArray[np.float64]]:
    """Best frame of both hands: (3, 3), whether it is of the other hand, (n,) degrees."""
    fits = [_fit(true, group, own, turn @ matched) for turn in (np.eye(3), HALF_TURN)]
    other_hand = fits[1][2] > fits[0][2]
    rotation, angles, _ = fits[other_hand]
    return rotation, other_hand, angles


def _fit(
    true: NDArray[np.float64],
    group: NDArray[np.float64],
    own: NDArray[np.float64],
    matched: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Best frame: (3, 3), the angles that are left (n,) in degrees, and how good it is."""
    # the frame that each particle asks for, for every copy of it and of the rotation
    asked = (true[:, None] @ group).swapaxes(-1, -2)[:, :, None] @ (matched[:, None] @ own)[:, None]
    asked = asked.reshape(len(true), -1, 9)
    tried = asked[:: -(-len(asked) // TRIED), 0]
    weights = _closeness((asked @ tried.T).max(axis=1))
    frame = tried[weights.sum(axis=0).argmax()]
    for _ in range(POLISH):
        trace = asked @ frame
        nearest = asked[np.arange(len(asked)), trace.argmax(axis=1)]
        summed = (_closeness(trace.max(axis=1))[:, None] * nearest).sum(axis=0)
        u, _, v = np.linalg.svd(summed.reshape(3, 3))
        frame = (u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v).reshape(9)
    trace = (asked @ frame).max(axis=1)
    return frame.reshape(3, 3), _left(trace), float(_closeness(trace).mean())


def _closeness(trace: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of a rotation by the trace of what is left: 1 at 0 degrees, 1/3 at 30."""
    weight: NDArray[np.float64] = np.exp(8.0 * ((trace - 1.0) / 2.0 - 1.0))
    return weight
