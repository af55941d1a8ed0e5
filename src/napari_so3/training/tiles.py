"""Training tiles: pieces of micrographs with a target for every pixel of the score map.

The network is convolutional, so that it is trained as it is used: a tile of 171 x 171 working
pixels holds 64 x 64 scores for the work of some fifty 45 x 45 crops, and brings the hard negatives
(flanks of particles, gaps between them, dirt) without a search for them. The crops of the paper
(section 3.1) are tiles of one score, drawn by `draw_crops`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

from napari_so3.picking.evaluate import outside
from napari_so3.picking.preprocess import preprocess
from napari_so3.picking.score import pad_reflect
from napari_so3.training.labels import LabelsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.training.labels import Labels

NEGATIVE, POSITIVE, UNLABELLED, IGNORED = 0, 1, 2, -1
POSITIVE_RADIUS = 0.1  # diameters from a label: a particle
NEGATIVE_RADIUS = 0.3  # diameters from every label: no particle that is labelled
FLANK_RADIUS = 0.5  # diameters from a particle: too near to it for another one
GAIN = 0.1  # standard deviation of the logarithm of the contrast of a tile
NOISE = 0.5  # most noise that is added, local standard deviations


@dataclass(frozen=True)
class LabelledMicrograph:
    """A micrograph with what is known of its particles.

    Parameters
    ----------
    micrograph : Micrograph
        With a known pixel size.
    labels : Labels
        In pixels of the micrograph.
    diameter : float
        Particle diameter, Å.
    sign : int
        -1 where particles are dark, 1 where they are bright.

    Raises
    ------
    LabelsError
        If the pixel size is unknown, the particle is smaller than 4 pixels or larger than the
        micrograph, or labels lie outside.
    """

    micrograph: Micrograph
    labels: Labels
    diameter: float
    sign: int = -1

    def __post_init__(self) -> None:
        name, shape = self.micrograph.path.name, self.micrograph.data.shape
        if self.micrograph.pixel_size is None:
            raise LabelsError(
                f"{name}: the file does not tell its pixel size; give it in Å (--pixel-size)."
            )
        size = self.diameter / self.micrograph.pixel_size
        if not 4 <= size <= min(shape):
            raise LabelsError(
                f"{name}: a particle of {self.diameter:g} Å is {size:.3g} pixels wide, which makes "
                f"no sense in {shape[0]} x {shape[1]}; check the diameter and the pixel size."
            )
        points = np.concatenate((self.labels.positives, self.labels.negatives))
        if beyond := int(outside(points, shape).sum()):
            raise LabelsError(
                f"{name}: {beyond} of {len(points)} labels lie outside the {shape[0]} x "
                f"{shape[1]} pixels; labels must be in pixels of this very file."
            )

    @property
    def pixel_size(self) -> float:
        """Å per pixel."""
        return float(self.micrograph.pixel_size or 0.0)


@dataclass(frozen=True)
class TargetMap:
    """A preprocessed micrograph and its target.

    Parameters
    ----------
    image : Tensor
        (h + field - 1, w + field - 1) float32, padded so that the score map covers all of it.
    target : Tensor
        (h', w') int8: `POSITIVE`, `NEGATIVE`, `UNLABELLED` or `IGNORED`; the map of a network of
        stride 2.
    positives : ndarray
        (n, 2) y and x of the labelled particles, map pixels.
    """

    image: Tensor
    target: Tensor
    positives: NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Images (n, 1, t, t) float32 and their targets (n, size, size) int8."""

    images: Tensor
    targets: Tensor


def make_target(
    shape: tuple[int, int],
    labels: Labels,
    scale: tuple[float, float],
    pixels_per_diameter: float,
    step: int,
) -> Tensor:
    """Say of every pixel of a score map what is known.

    A pixel within `POSITIVE_RADIUS` of a particle is positive, one in the ring around it up to
    `NEGATIVE_RADIUS` is ignored. Beyond, everything is negative if the labels are complete. If
    not, only what lies within `FLANK_RADIUS` of a particle (two particles cannot lie so near) or
    at a negative label is negative, the rest unlabelled.

    Parameters
    ----------
    shape : tuple of int
        (h, w) of the working image.
    labels : Labels
        In micrograph pixels.
    scale : tuple of float
        Micrograph pixels per working pixel along y and x.
    pixels_per_diameter : float
        Particle diameter in working pixels.
    step : int
        Stride of the score map.

    Returns
    -------
    Tensor
        ((h - 1) // step + 1, (w - 1) // step + 1) int8.
    """
    rows, cols = (np.arange(0, n, step) for n in shape)
    pixels = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).astype(np.float64)
    target = np.full(pixels.shape[:2], NEGATIVE if labels.complete else UNLABELLED, np.int8)
    to_working = 1.0 / np.array(scale)
    if len(labels.negatives):
        gap = cKDTree(labels.negatives * to_working).query(pixels)[0] / pixels_per_diameter
        target[gap <= NEGATIVE_RADIUS] = NEGATIVE
    if len(labels.positives):
        gap = cKDTree(labels.positives * to_working).query(pixels)[0] / pixels_per_diameter
        target[gap <= FLANK_RADIUS] = NEGATIVE
        target[gap < NEGATIVE_RADIUS] = IGNORED
        target[gap <= POSITIVE_RADIUS] = POSITIVE
    for y, x, radius in labels.ignored_discs:
        target[np.hypot(*(pixels * np.array(scale) - (y, x)).transpose(2, 0, 1)) <= radius] = (
            IGNORED
        )
    mask = _inside(labels.ignored_polygons, (len(rows), len(cols)), to_working / step)
    target[mask] = IGNORED
    return torch.from_numpy(target)


def _inside(
    polygons: Sequence[NDArray[np.float64]], shape: tuple[int, int], scale: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mark the map pixels inside any polygon, corners in micrograph pixels."""
    mask = Image.new("1", (shape[1], shape[0]))
    for polygon in polygons:
        corners = (polygon * scale)[:, ::-1]
        ImageDraw.Draw(mask).polygon([tuple(c) for c in corners.tolist()], fill=1)
    return np.asarray(mask, dtype=bool)


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
    image = preprocess(
        labelled.micrograph.to_float32(),
        labelled.pixel_size,
        labelled.diameter,
        working,
        labelled.sign,
    )
    h, w = image.pixels.shape
    target = make_target(
        (h, w), labelled.labels, image.scale, pixels_per_diameter * magnification, step
    )
    positives = labelled.labels.positives / np.array(image.scale) / step
    return TargetMap(pad_reflect(image.pixels, field // 2), target, positives)


def draw_tiles(
    maps: Sequence[TargetMap],
    size: int,
    field: int,
    step: int,
    n: int,
    rng: np.random.Generator,
    near: float = 0.0,
) -> Batch:
    """Cut random tiles, turned and mirrored at random, with jittered contrast and added noise.

    Parameters
    ----------
    maps : sequence of TargetMap
        Sources, all equally likely.
    size : int
        Edge of a tile's target, map pixels; no larger than any of the maps.
    field, step : int
        Receptive field and stride of the network, pixels.
    n : int
        Number of tiles.
    rng : numpy.random.Generator
        Source of randomness.
    near : float
        Share of the tiles that hold a labelled particle, of the maps that have one.

    Returns
    -------
    Batch
        n tiles; images have an edge of (size - 1) step + field.
    """
    with_labels = [m for m in maps if len(m.positives)]
    corners = []
    for _ in range(n):
        if with_labels and rng.random() < near:
            source = with_labels[int(rng.integers(len(with_labels)))]
            corners.append((source, _corner_near(source, size, rng)))
        else:
            source = maps[int(rng.integers(len(maps)))]
            i, j = (int(rng.integers(0, m - size + 1)) for m in source.target.shape)
            corners.append((source, (i, j)))
    return _cut(corners, size, field, step, rng)


def _corner_near(source: TargetMap, size: int, rng: np.random.Generator) -> tuple[int, int]:
    """First pixel of a tile that holds a labelled particle, anywhere in it."""
    centre = source.positives[rng.integers(len(source.positives))]
    corner = np.round(centre - rng.uniform(0, size - 1, 2)).astype(int)
    i, j = np.clip(corner, 0, np.array(source.target.shape) - size)
    return int(i), int(j)


def draw_crops(
    maps: Sequence[TargetMap],
    field: int,
    step: int,
    n: int,
    rng: np.random.Generator,
    positive_share: float = 0.1,
) -> Batch:
    """Cut crops of one score each, as the paper does: one in ten shows a particle (section 3.1).

    Parameters
    ----------
    maps : sequence of TargetMap
        Sources; pixels are drawn evenly from all of them together.
    field, step : int
        Receptive field and stride of the network, pixels.
    n : int
        Number of crops.
    rng : numpy.random.Generator
        Source of randomness.
    positive_share : float
        Share of the crops that have a particle in the middle.

    Returns
    -------
    Batch
        (n, 1, field, field) images and (n, 1, 1) targets.

    Raises
    ------
    ValueError
        If no pixel is positive, or none is anything else.
    """
    particles = _places(maps, (POSITIVE,))
    others = _places(maps, (NEGATIVE, UNLABELLED))
    if len(particles) == 0 or len(others) == 0:
        raise ValueError("crops need both labelled particles and background")
    wanted = round(positive_share * n)
    chosen = np.concatenate(
        (
            particles[rng.integers(len(particles), size=wanted)],
            others[rng.integers(len(others), size=n - wanted)],
        )
    )
    corners = [(maps[k], (i, j)) for k, i, j in rng.permutation(chosen).tolist()]
    return _cut(corners, 1, field, step, rng)


def _places(maps: Sequence[TargetMap], codes: Sequence[int]) -> NDArray[np.int64]:
    """(n, 3) map number, row and column of the pixels with one of the codes."""
    found = []
    for k, source in enumerate(maps):
        index = np.argwhere(np.isin(source.target.numpy(), codes))
        found.append(np.column_stack((np.full(len(index), k), index)))
    return np.concatenate(found)


def _cut(
    corners: Sequence[tuple[TargetMap, tuple[int, int]]],
    size: int,
    field: int,
    step: int,
    rng: np.random.Generator,
) -> Batch:
    images, targets = [], []
    edge = (size - 1) * step + field
    for source, (i, j) in corners:
        image = source.image[i * step : i * step + edge, j * step : j * step + edge]
        target = source.target[i : i + size, j : j + size]
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        image, target = torch.rot90(image, turns), torch.rot90(target, turns)
        if mirror:
            image, target = image.flip(0), target.flip(0)
        gain = float(np.exp(rng.normal(0.0, GAIN)))
        noise = float(rng.uniform(0.0, NOISE)) * torch.from_numpy(
            rng.standard_normal(image.shape, dtype=np.float32)
        )
        images.append((image * gain + noise)[None])
        targets.append(target)
    return Batch(torch.stack(images), torch.stack(targets))
