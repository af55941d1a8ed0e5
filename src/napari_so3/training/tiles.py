"""Training tiles: pieces of micrographs with a target for every pixel of the score map.

The network is convolutional, so that it is trained as it is used: a tile of 91 x 91 working pixels
holds 24 x 24 scores at thirteen times the cost of one 45 x 45 crop, and brings the hard negatives
(flanks of particles, gaps between them, dirt) without a search for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree

from napari_so3.picking.preprocess import preprocess
from napari_so3.picking.score import pad_reflect

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

POSITIVE_RADIUS = 0.1  # diameters from a label: a particle
NEGATIVE_RADIUS = 0.3  # diameters from every label: not a particle


@dataclass(frozen=True)
class LabelledMicrograph:
    """A micrograph with the positions of its particles.

    Parameters
    ----------
    image : ndarray
        (ny, nx) float32.
    pixel_size : float
        Å.
    points : ndarray
        (n, 2) y and x of the labels, pixels.
    diameter : float
        Particle diameter, Å.
    complete : bool
        Whether (nearly) every particle is labelled. If not, what the network itself scores
        highest outside the labels is left out of the loss.
    """

    image: NDArray[np.float32]
    pixel_size: float
    points: NDArray[np.float64]
    diameter: float
    complete: bool = True


@dataclass(frozen=True)
class TargetMap:
    """A preprocessed micrograph and its target.

    Parameters
    ----------
    image : Tensor
        (h + field - 1, w + field - 1) float32, padded so that the score map covers all of it.
    target : Tensor
        (h', w') int8: 1 particle, 0 not, -1 left out; the map of a network of stride 2.
    complete : bool
        As in `LabelledMicrograph`.
    """

    image: Tensor
    target: Tensor
    complete: bool


def make_target(
    shape: tuple[int, int], points: NDArray[np.float64], pixels_per_diameter: float, step: int
) -> Tensor:
    """Mark every pixel of a score map by its distance to the nearest label.

    Parameters
    ----------
    shape : tuple of int
        (h, w) of the working image.
    points : ndarray
        (n, 2) y and x of the labels in working pixels.
    pixels_per_diameter : float
        Particle diameter in working pixels.
    step : int
        Stride of the score map.

    Returns
    -------
    Tensor
        ((h - 1) // step + 1, (w - 1) // step + 1) int8: 1, 0 or -1.
    """
    rows, cols = (np.arange(0, n, step) for n in shape)
    pixels = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)
    if len(points) == 0:
        return torch.zeros(pixels.shape[:2], dtype=torch.int8)
    distance = cKDTree(points).query(pixels)[0] / pixels_per_diameter
    target = np.where(distance <= POSITIVE_RADIUS, 1, np.where(distance < NEGATIVE_RADIUS, -1, 0))
    return torch.from_numpy(target.astype(np.int8))


def prepare_target(
    labelled: LabelledMicrograph,
    pixels_per_diameter: float,
    field: int,
    step: int,
    magnification: float = 1.0,
) -> TargetMap:
    """Bring a labelled micrograph to the working scale.

    Parameters
    ----------
    labelled : LabelledMicrograph
        Image and labels.
    pixels_per_diameter : float
        Working pixels across a particle.
    field, step : int
        Receptive field and stride of the network, pixels.
    magnification : float
        Make particles look this much larger than they are: users do not know diameters exactly.

    Returns
    -------
    TargetMap
        Image and target.
    """
    working = labelled.diameter / pixels_per_diameter / magnification
    image = preprocess(labelled.image, labelled.pixel_size, labelled.diameter, working)
    size = pixels_per_diameter * magnification
    h, w = image.pixels.shape
    target = make_target((h, w), labelled.points / image.scale, size, step)
    return TargetMap(pad_reflect(image.pixels, field // 2), target, labelled.complete)


def draw_tiles(
    maps: list[TargetMap], size: int, field: int, step: int, n: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut random tiles, turned and mirrored at random, with jittered contrast and added noise.

    Parameters
    ----------
    maps : list of TargetMap
        Sources, all equally likely.
    size : int
        Edge of a tile's target, map pixels.
    field, step : int
        Receptive field and stride of the network, pixels.
    n : int
        Number of tiles.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    images : Tensor
        (n, 1, t, t) float32, t = (size - 1) step + field.
    targets : Tensor
        (n, size, size) int8.
    complete : Tensor
        (n,) bool.
    """
    images, targets, complete = [], [], []
    edge = (size - 1) * step + field
    for _ in range(n):
        source = maps[rng.integers(len(maps))]
        i, j = (int(rng.integers(0, m - size + 1)) for m in source.target.shape)
        image = source.image[i * step : i * step + edge, j * step : j * step + edge]
        target = source.target[i : i + size, j : j + size]
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        image, target = torch.rot90(image, turns), torch.rot90(target, turns)
        if mirror:
            image, target = image.flip(0), target.flip(0)
        gain = float(np.exp(rng.normal(0.0, 0.1)))
        noise = float(rng.uniform(0.0, 0.5)) * torch.from_numpy(
            rng.standard_normal(image.shape, dtype=np.float32)
        )
        images.append((image * gain + noise)[None])
        targets.append(target)
        complete.append(source.complete)
    return torch.stack(images), torch.stack(targets), torch.tensor(complete)
