"""Equation 1 of the paper, I = C * (P_z(rV) + t) + W: a density becomes a micrograph with truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import torch

from napari_so3.simulation.background import (
    carbon_film,
    coloured_noise,
    draw_crystals,
    ice_gradient,
    shot_noise,
    structural_noise,
)
from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.density import REACH
from napari_so3.simulation.imaging import Canvas, image_crystals, thickness
from napari_so3.simulation.layout import NoRoomError, scatter, scatter_discs
from napari_so3.simulation.strangers import draw_strangers
from napari_so3.simulation.views import Views
from napari_so3.so3.rotations import matrix_to_euler

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.simulation.density import Particle
    from napari_so3.simulation.layout import Discs
    from napari_so3.simulation.strangers import Stranger

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
    views : Views
        Which sides the particles show.
    min_distance : float
        Smallest distance between particles that are not crowded, particle diameters.
    crowding : float
        Share of the particles, 0 to 1, that lie in clusters and touch neighbours there, 0.6 to 0.9
        diameters away.
    ctf : CTF
        Settings of the microscope.
    dose : float, optional
        Electrons per Å^2. The unstructured part of the noise comes from counting them; without a
        dose it is Gaussian.
    structure : float
        Share of the structural noise of the ice in the variance of the noise, 0 to 1; the rest is
        white. Real micrographs at a twentieth of the diameter per pixel look like 0.4 to 0.7.
    ice_gradient : float
        Standard deviation of the slow change of the ground, sd of the noise.
    carbon : bool
        Let a carbon film reach into the micrograph from one side.
    n_contaminants : int
        Number of ice crystals; no particle touches them.
    n_foreign : int
        Number of single proteins that are not the particle.
    n_aggregates : int
        Number of heaps of 6 to 15 proteins, foreign ones if there are any; no particle touches
        them.
    n_hot_pixels : int
        Number of hot pixels.

    Raises
    ------
    ValueError
        If a size, the SNR or the dose is not positive, a number or an amount is negative, or a
        share is not from 0 to 1.
    """

    shape: tuple[int, int] = (512, 512)
    pixel_size: float = 8.0
    n_particles: int = 40
    snr: float = 0.3
    views: Views = field(default_factory=Views)
    min_distance: float = 0.9
    crowding: float = 0.0
    ctf: CTF = field(default_factory=CTF)
    dose: float | None = None
    structure: float = 0.5
    ice_gradient: float = 0.3
    carbon: bool = False
    n_contaminants: int = 0
    n_foreign: int = 0
    n_aggregates: int = 0
    n_hot_pixels: int = 0

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not self.pixel_size > 0 or not self.snr > 0:
            raise ValueError(
                "a simulated micrograph needs a shape, a pixel size and an SNR above 0, not "
                f"{self.shape}, {self.pixel_size} and {self.snr}"
            )
        if self.dose is not None and not self.dose > 0:
            raise ValueError(f"the dose must be above 0 electrons per Å^2, not {self.dose}")
        if not (0 <= self.crowding <= 1 and 0 <= self.structure < 1):
            raise ValueError(
                "the crowded share of the particles and the coloured one of the noise must be "
                f"from 0 to 1, not {self.crowding} and {self.structure}"
            )
        numbers = (self.n_contaminants, self.n_foreign, self.n_aggregates, self.n_hot_pixels)
        if min(self.n_particles, *numbers, self.min_distance, self.ice_gradient) < 0:
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
    snr : float
        Measured: variance of the signal inside discs of the particles' diameter over that of the
        noise; 0 without particles.
    dose : float or None
        Measured: electrons counted per Å^2, if they were.
    """

    image: NDArray[np.float32]
    signal: NDArray[np.float32]
    pixel_size: float
    truth: pd.DataFrame
    ctf: CTF
    snr: float
    dose: float | None


def simulate_micrograph(
    particle: Particle,
    config: SimulationConfig,
    generator: torch.Generator,
    contaminants: Sequence[Particle] = (),
    device: str | torch.device = "cpu",
) -> SimulatedMicrograph:
    """Simulate a micrograph of one kind of particle.

    Parameters
    ----------
    particle : Particle
        The particle.
    config : SimulationConfig
        What to show.
    generator : torch.Generator
        Source of all randomness, on the CPU: the same seed gives the same micrograph.
    contaminants : sequence of Particle
        What foreign proteins are drawn from. All proteins are equally dense, so that larger ones
        have more contrast.
    device : str or torch.device
        Where to compute. The truth does not depend on it; the image does by rounding.

    Returns
    -------
    SimulatedMicrograph
        The image and its truth.

    Raises
    ------
    ValueError
        If the particles and what disturbs them do not fit into the micrograph, or there are
        foreign proteins to be shown and no contaminants given.
    """
    if config.n_foreign and not contaminants:
        raise ValueError("foreign proteins need at least one contaminant to be drawn from")
    diameter = particle.diameter / config.pixel_size
    crystals = draw_crystals(
        config.n_contaminants, config.shape, _CRYSTAL_SIZE * diameter, generator
    )
    strangers = draw_strangers(
        contaminants or (particle,),
        config.n_foreign,
        config.n_aggregates,
        config.pixel_size,
        generator,
    )
    positions, places = _lay_out(config, diameter, crystals, strangers, generator)
    matrices = config.views.draw(config.n_particles, generator)
    signal, strange = _image_proteins(
        particle, matrices, positions, strangers, places, config, device
    )
    noise = _noise(config, generator).to(device)
    rest = strange + _ground(config, crystals, generator).to(device)
    image, dose = signal + rest + noise, None
    if config.dose is not None:
        electrons = config.dose * config.pixel_size**2
        image, counted = shot_noise(image, electrons, 1 - config.structure, generator)
        noise = image - signal - rest
        dose = counted / config.pixel_size**2
    if config.n_hot_pixels:
        hot = torch.randint(image.numel(), (config.n_hot_pixels,), generator=generator)
        image.view(-1)[hot.to(device)] += _HOT_PIXEL
    inside = particle_discs(positions, diameter / 2, config.shape).to(device)
    power = signal[inside].var(correction=0) if len(positions) else signal.new_zeros(())
    rot, tilt, psi = matrix_to_euler(matrices)
    y, x = positions.T.numpy()
    return SimulatedMicrograph(
        image=image.cpu().numpy(),
        signal=signal.cpu().numpy(),
        pixel_size=config.pixel_size,
        truth=pd.DataFrame({"y": y, "x": x, "rot": rot, "tilt": tilt, "psi": psi}),
        ctf=config.ctf,
        snr=float(power / noise.var(correction=0)),
        dose=dose,
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


def _lay_out(
    config: SimulationConfig,
    diameter: float,
    crystals: Discs,
    strangers: Sequence[Stranger],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Find room for everything: (n, 2) and (m, 2) centres (y, x) of particles and strangers."""
    radii = torch.tensor([s.radius for s in strangers], dtype=torch.float64)
    try:
        places = scatter_discs(radii, config.shape, crystals, generator)
        crowded = round(config.crowding * config.n_particles)
        positions = scatter(
            config.n_particles,
            config.shape,
            diameter,
            config.min_distance,
            crowded,
            crystals + places,
            generator,
        )
    except NoRoomError as error:
        raise NoRoomError(
            f"{error} of {diameter * config.pixel_size:.0f} Å found room in a micrograph of "
            f"{config.shape[0]} x {config.shape[1]} pixels of {config.pixel_size:g} Å; ask for "
            "fewer particles or contaminants"
        ) from error
    return positions, places.centres


def _image_proteins(
    particle: Particle,
    matrices: Tensor,
    positions: Tensor,
    strangers: Sequence[Stranger],
    places: Tensor,
    config: SimulationConfig,
    device: str | torch.device,
) -> tuple[Tensor, Tensor]:
    """Image particles and strangers: (ny, nx) float32 each, the first scaled to the SNR."""
    px = config.pixel_size
    sizes = [particle.diameter, *(s.kind.diameter for s in strangers)]
    wanted, others = (Canvas(config.shape, px, REACH * max(sizes), device) for _ in range(2))
    wanted.put(particle, matrices, positions)
    units = {kind: thickness(kind, px) for kind in {particle, *(s.kind for s in strangers)}}
    for stranger, place in zip(strangers, places, strict=True):
        weight = units[particle] / units[stranger.kind]
        others.put(stranger.kind, stranger.matrices, stranger.places + place, weight)
    signal, strange = wanted.seen(config.ctf), others.seen(config.ctf)
    if len(positions):
        inside = particle_discs(positions, particle.diameter / 2 / px, config.shape)
        spread = signal[inside.to(device)].std(correction=0)
    elif strangers:
        inside = particle_discs(places, min(sizes) / 2 / px, config.shape)
        spread = strange[inside.to(device)].std(correction=0)
    else:
        return signal, strange
    gain = math.sqrt(config.snr) / spread
    return signal * gain, strange * gain


def _noise(config: SimulationConfig, generator: torch.Generator) -> Tensor:
    """Noise before electrons are counted; without a dose, all noise: (ny, nx) float32."""
    structural = structural_noise(config.shape, config.pixel_size, config.ctf, generator)
    noise = math.sqrt(config.structure) * structural
    if config.dose is None:
        noise += math.sqrt(1 - config.structure) * torch.randn(config.shape, generator=generator)
        noise = (noise - noise.mean()) / noise.std()
    return noise


def _ground(config: SimulationConfig, crystals: Discs, generator: torch.Generator) -> Tensor:
    """Draw what lies in the ground, in units of the noise: (ny, nx) float32."""
    shape = config.shape
    rest = torch.zeros(shape)
    if config.ice_gradient:
        rest += config.ice_gradient * ice_gradient(shape, generator)
    if config.carbon:
        film = carbon_film(shape, config.pixel_size, generator)
        grain = apply_ctf(coloured_noise(shape, generator), config.ctf, config.pixel_size)
        rest += film * (0.4 * grain / grain.std() - 0.6)
    if config.n_contaminants:
        rest += _CRYSTAL_DEPTH * image_crystals(
            crystals, shape, config.pixel_size, config.ctf, generator
        )
    return rest
