"""Equation 1 of the paper, I = C * (P_z(rV) + t) + W: a density becomes a micrograph with truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.fft import next_fast_len

from napari_so3.simulation.background import (
    carbon_film,
    coloured_noise,
    detector_noise,
    draw_crystals,
    ice_gradient,
    render_crystals,
)
from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.density import project
from napari_so3.so3.rotations import matrix_to_euler, random_rotations

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.simulation.background import (
        Crystals,
    )
    from napari_so3.simulation.density import PseudoAtoms

_DELOCALISATION = 150.0  # Å that the CTF spreads a particle beyond its own border
_TRIALS_PER_PARTICLE = 100
_CRYSTAL_SIZE = 0.55  # mean radius, particle diameters
_CRYSTAL_DEPTH = 2.5  # how much darker than the ground, sd of the noise
_HOT_PIXEL = 12.0  # sd of the noise


@dataclass(frozen=True)
class SimulationConfig:
    """What a simulated micrograph shows.

    Parameters
    ----------
    shape : tuple of int
        Size (ny, nx), pixels.
    pixel_size : float
        Å per pixel.
    n_particles : int
        Number of particles, all with their centres in the micrograph; those near the border are
        cut by it.
    snr : float
        Variance of the particles' signal inside discs of their diameter over that of the noise.
    min_distance : float
        Smallest distance between particles, particle diameters.
    ctf : CTF
        Settings of the microscope.
    ice_gradient : float
        Standard deviation of the slow change of the ground, sd of the noise.
    carbon : bool
        Let a carbon film reach into the micrograph from one side.
    n_contaminants : int
        Number of ice crystals; no particle touches them.
    n_hot_pixels : int
        Number of hot pixels.

    Raises
    ------
    ValueError
        If a size or the SNR is not positive, or a number or an amount is negative.
    """

    shape: tuple[int, int] = (512, 512)
    pixel_size: float = 8.0
    n_particles: int = 40
    snr: float = 0.3
    min_distance: float = 0.9
    ctf: CTF = field(default_factory=CTF)
    ice_gradient: float = 0.3
    carbon: bool = False
    n_contaminants: int = 0
    n_hot_pixels: int = 0

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not self.pixel_size > 0 or not self.snr > 0:
            raise ValueError(
                "a simulated micrograph needs a shape, a pixel size and an SNR above 0, not "
                f"{self.shape}, {self.pixel_size} and {self.snr}"
            )
        amounts = (self.n_particles, self.n_contaminants, self.n_hot_pixels)
        if min(*amounts, self.min_distance, self.ice_gradient) < 0:
            raise ValueError(
                "the numbers of particles, contaminants and hot pixels, the smallest distance "
                "and the ice gradient must not be negative"
            )


@dataclass(frozen=True, eq=False)
class SimulatedMicrograph:
    """A micrograph of which everything is known.

    Parameters
    ----------
    image : ndarray
        (ny, nx) float32; particles are dark and the noise has standard deviation 1.
    signal : ndarray
        (ny, nx) float32; the part of ``image`` that is due to the particles.
    pixel_size : float
        Å per pixel.
    truth : DataFrame
        One row per particle: centre ``y``, ``x`` (pixels, fractional) and RELION's ``rot``,
        ``tilt``, ``psi`` (degrees).
    ctf : CTF
        Settings of the microscope.
    """

    image: NDArray[np.float32]
    signal: NDArray[np.float32]
    pixel_size: float
    truth: pd.DataFrame
    ctf: CTF


def simulate_micrograph(
    atoms: PseudoAtoms, config: SimulationConfig, generator: torch.Generator
) -> SimulatedMicrograph:
    """Simulate a micrograph of one kind of particle in uniformly random orientations.

    Parameters
    ----------
    atoms : PseudoAtoms
        The particle.
    config : SimulationConfig
        What to show.
    generator : torch.Generator
        Source of all randomness: the same seed gives the same micrograph.

    Returns
    -------
    SimulatedMicrograph
        The image and its truth.

    Raises
    ------
    ValueError
        If the particles do not fit into the micrograph at the smallest distance.
    """
    diameter = atoms.diameter / config.pixel_size
    crystals = draw_crystals(
        config.n_contaminants, config.shape, _CRYSTAL_SIZE * diameter, generator
    )
    positions = _scatter(config, diameter, crystals, generator)
    matrices = random_rotations(config.n_particles, generator)
    signal = _image_particles(atoms, matrices, positions, config)
    image = signal + _ground(config, crystals, generator)
    rot, tilt, psi = matrix_to_euler(matrices)
    y, x = positions.T.numpy()
    return SimulatedMicrograph(
        image=image.numpy(),
        signal=signal.numpy(),
        pixel_size=config.pixel_size,
        truth=pd.DataFrame({"y": y, "x": x, "rot": rot, "tilt": tilt, "psi": psi}),
        ctf=config.ctf,
    )


def particle_discs(positions: Tensor, radius: float, shape: tuple[int, int]) -> Tensor:
    """Mark the pixels within a radius of any position.

    Parameters
    ----------
    positions : Tensor
        (n, 2) centres (y, x), pixels.
    radius : float
        Radius, pixels.
    shape : tuple of int
        Size (ny, nx).

    Returns
    -------
    Tensor
        (ny, nx) bool.
    """
    inside = torch.zeros(shape, dtype=torch.bool)
    for y, x in positions.tolist():
        top, left = max(math.ceil(y - radius), 0), max(math.ceil(x - radius), 0)
        window = inside[top : math.floor(y + radius) + 1, left : math.floor(x + radius) + 1]
        dy = torch.arange(window.shape[0]) + (top - y)
        dx = torch.arange(window.shape[1]) + (left - x)
        window |= dy[:, None] ** 2 + dx**2 <= radius**2
    return inside


def _scatter(
    config: SimulationConfig, diameter: float, crystals: Crystals, generator: torch.Generator
) -> Tensor:
    """Throw darts until all particles lie apart and off crystals: (n, 2) centres (y, x)."""
    n = config.n_particles
    extent = torch.tensor(config.shape, dtype=torch.float64) - 1
    darts = torch.rand(n * _TRIALS_PER_PARTICLE, 2, generator=generator, dtype=torch.float64)
    crystal_centres = crystals.centres.numpy()
    clear = crystals.radii.numpy() + diameter / 2
    kept = np.empty((n, 2))
    count = 0
    for dart in (darts * extent).numpy():
        if count == n:
            break
        if np.any(np.hypot(*(kept[:count] - dart).T) < config.min_distance * diameter):
            continue
        if np.any(np.hypot(*(crystal_centres - dart).T) < clear):
            continue
        kept[count] = dart
        count += 1
    if count < n:
        raise ValueError(
            f"only {count} of {n} particles of {diameter * config.pixel_size:.0f} Å found room in "
            f"a micrograph of {config.shape[0]} x {config.shape[1]} pixels of "
            f"{config.pixel_size:g} Å; ask for fewer particles or contaminants"
        )
    return torch.from_numpy(kept)


def _canvas(config: SimulationConfig, margin: float) -> tuple[tuple[int, int], int]:
    """Size of a canvas with room for the CTF to spread, and the micrograph's offset on it."""
    offset = math.ceil(margin + _DELOCALISATION / config.pixel_size)
    ny, nx = (next_fast_len(n + 2 * offset, real=True) for n in config.shape)
    return (ny, nx), offset


def _crop(canvas: Tensor, offset: int, shape: tuple[int, int]) -> Tensor:
    return canvas[offset : offset + shape[0], offset : offset + shape[1]].contiguous()


def _image_particles(
    atoms: PseudoAtoms, matrices: Tensor, positions: Tensor, config: SimulationConfig
) -> Tensor:
    """Project, place and image the particles: (ny, nx) float32 scaled to the SNR."""
    if len(positions) == 0:
        return torch.zeros(config.shape)
    half = math.ceil((atoms.diameter / 2 + 4 * atoms.sigma) / config.pixel_size) + 1
    size = 2 * half + 1
    corners = positions.round()
    patches = project(atoms, matrices, (size, size), config.pixel_size, positions - corners)
    canvas_shape, offset = _canvas(config, half)
    canvas = torch.zeros(canvas_shape)
    for patch, (y, x) in zip(patches, corners.long().tolist(), strict=True):
        top, left = y + offset - half, x + offset - half
        canvas[top : top + size, left : left + size] += patch
    signal = _crop(apply_ctf(canvas, config.ctf, config.pixel_size), offset, config.shape)
    inside = particle_discs(positions, atoms.diameter / 2 / config.pixel_size, config.shape)
    return signal * (math.sqrt(config.snr) / signal[inside].std(correction=0))


def _ground(config: SimulationConfig, crystals: Crystals, generator: torch.Generator) -> Tensor:
    """Everything but the particles: (ny, nx) float32."""
    shape = config.shape
    ground = detector_noise(shape, generator)
    if config.ice_gradient:
        ground += config.ice_gradient * ice_gradient(shape, generator)
    if config.carbon:
        film = carbon_film(shape, config.pixel_size, generator)
        grain = apply_ctf(coloured_noise(shape, generator), config.ctf, config.pixel_size)
        ground += film * (0.4 * grain / grain.std() - 0.6)
    if config.n_contaminants:
        ground += _image_crystals(crystals, config, generator)
    if config.n_hot_pixels:
        hot = torch.randint(ground.numel(), (config.n_hot_pixels,), generator=generator)
        ground.view(-1)[hot] += _HOT_PIXEL
    return ground


def _image_crystals(
    crystals: Crystals, config: SimulationConfig, generator: torch.Generator
) -> Tensor:
    """Image ice crystals: (ny, nx) float32, with the fringe that defocus puts around them."""
    canvas_shape, offset = _canvas(config, 2 * float(crystals.radii.max()))
    softness = 15.0 / config.pixel_size
    lumps = render_crystals(crystals, canvas_shape, (offset, offset), softness, generator)
    imaged = apply_ctf(lumps, config.ctf, config.pixel_size)
    contrast = imaged[lumps > 0.5].mean().abs()
    return _crop(imaged, offset, config.shape) * (_CRYSTAL_DEPTH / contrast)
