"""From the map of a particle to a picker for it, without labels: simulate, fine-tune, calibrate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.io.micrographs import Micrograph
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.density import random_protein
from napari_so3.simulation.estimate import estimate_defocus, estimate_noise
from napari_so3.so3.networks import PickerNet
from napari_so3.training.checkpoint import digest
from napari_so3.training.fit import FitConfig, FitProgress
from napari_so3.training.labels import Labels
from napari_so3.training.losses import Loss
from napari_so3.training.phases import Phase, fit_phases
from napari_so3.training.scenes import draw_config, simulate_fitting
from napari_so3.training.settle import calibrate, find_candidates, made_now
from napari_so3.training.sources import TileSource
from napari_so3.training.teach import Note, TrainError
from napari_so3.training.tiles import LabelledMicrograph

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_so3.picking.picker import Picker
    from napari_so3.simulation.estimate import NoiseSpectrum
    from napari_so3.simulation.micrograph import SimulatedMicrograph, SimulationConfig
    from napari_so3.simulation.volume import DensityMap

FINEST = 24.0  # pixels per diameter of simulated micrographs; finer ones are not looked at
ACROSS = 17.5  # diameters along an edge of a simulated micrograph
FEWEST, MOST = 20, 280  # particles in a simulated micrograph: few, to all of the room
MIN_DISTANCE = 0.6  # diameters; long particles touch at less than their longest diameter
SNR = (0.08, 1.0)
MATCHED = 0.5  # share of the simulated micrographs that get the spectrum of the user's
STEPS_PER_EPOCH = 20
RATE = 1e-3
TILES = 4  # in a batch
MICROGRAPHS = 6  # simulated at a time
REFRESH = 40  # steps after which they are simulated anew
MOST_OWN = 12  # micrographs that are looked at
CALIBRATION = 6  # micrographs
CONTRADICTION = 1.5  # factor between the given diameter and the map's
DEFOCUS_MARGIN = 1.1  # factor beyond the estimates


@dataclass(frozen=True)
class MapSettings:
    """How to learn from a map.

    Parameters
    ----------
    diameter : float, optional
        Particle diameter in Å that will be given with the micrographs; the map's by default.
    steps : int
        Optimisation steps.
    seed : int
        Of everything.
    pixel_size : float, optional
        Å per pixel of the micrographs; that of the given ones by default.
    """

    diameter: float | None = None
    steps: int = 40
    seed: int = 0
    pixel_size: float | None = None


@dataclass(frozen=True)
class Scene:
    """What simulated micrographs have in common.

    Parameters
    ----------
    density : Particle
        The particle.
    diameter : float
        Å, as it will be given with the micrographs.
    pixel_size : float
        Å per pixel.
    spectra : tuple of NoiseSpectrum
        Of the user's micrographs; half of the simulated ones get one of them, the others keep the
        noise of the simulation, since a spectrum does not tell noise from particles.
    defocus : tuple of float, optional
        Smallest and largest, Å; any of the usual ones by default.
    snr : tuple of float
        Smallest and largest.
    """

    density: DensityMap
    diameter: float
    pixel_size: float
    spectra: tuple[NoiseSpectrum, ...] = ()
    defocus: tuple[float, float] | None = None
    snr: tuple[float, float] = SNR

    def simulate(self, rng: np.random.Generator) -> LabelledMicrograph:
        """Simulate a micrograph of the particle, with all particles labelled."""
        made = self.make(rng)
        micrograph = Micrograph(Path("simulated.mrc"), made.image, self.pixel_size, "given")
        labels = Labels(made.truth[["y", "x"]].to_numpy(), complete=True)
        return LabelledMicrograph(micrograph, labels, self.diameter)

    def make(self, rng: np.random.Generator) -> SimulatedMicrograph:
        """Simulate a micrograph of the particle, of which everything is known."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        size = self.density.diameter
        config = self.configure(rng)
        # Dirt must not look like the particle: fragments are at most half as large.
        dirt = [random_protein(generator, size * f) for f in rng.uniform(0.25, 0.5, 3)]
        made = simulate_fitting(self.density, config, generator, dirt)
        if self.spectra and rng.random() < MATCHED:
            spectrum = self.spectra[int(rng.integers(len(self.spectra)))]
            made = replace(made, image=with_spectrum(made.image, self.pixel_size, spectrum))
        return made

    def configure(self, rng: np.random.Generator) -> SimulationConfig:
        """Draw what one micrograph shows."""
        edge = round(ACROSS * self.density.diameter / self.pixel_size)
        config = draw_config(rng, self.density.diameter, edge)
        config = replace(
            config,
            pixel_size=self.pixel_size,
            n_particles=int(rng.integers(FEWEST, MOST)),
            snr=float(np.exp(rng.uniform(*np.log(self.snr)))),
            min_distance=MIN_DISTANCE,
        )
        if self.defocus is None:
            return config
        low, high = self.defocus
        u = float(rng.uniform(low, high))
        v = u * config.ctf.defocus_v / config.ctf.defocus_u
        return replace(config, ctf=replace(config.ctf, defocus_u=u, defocus_v=v))


def with_spectrum(
    image: NDArray[np.float32], pixel_size: float, wanted: NoiseSpectrum
) -> NDArray[np.float32]:
    """Filter an image, so that its power spectrum becomes that of others.

    Parameters
    ----------
    image : ndarray
        (ny, nx).
    pixel_size : float
        Å per pixel.
    wanted : NoiseSpectrum
        Spectrum of whole micrographs, particles and all, as `estimate_noise` gives it.

    Returns
    -------
    ndarray
        (ny, nx) float32, mean 0, standard deviation 1.
    """
    own = estimate_noise(image, pixel_size)
    s = own.frequencies
    gain = np.sqrt(np.interp(s, wanted.frequencies, wanted.power) / own.power)
    ny, nx = image.shape
    frequency = np.hypot(np.fft.fftfreq(ny, pixel_size)[:, None], np.fft.rfftfreq(nx, pixel_size))
    spectrum = np.fft.rfft2(image - image.mean()) * np.interp(frequency, s, gain)
    filtered = np.fft.irfft2(spectrum, s=image.shape)
    out: NDArray[np.float32] = (filtered / filtered.std()).astype(np.float32)
    return out


def learn_map(
    density: DensityMap,
    start: Picker,
    settings: MapSettings,
    own: Sequence[Micrograph] = (),
    name: str = "from map",
    checkpoint: Path | None = None,
    device: torch.device | None = None,
) -> Generator[Note | FitProgress | Picker, None, None]:
    """Fine-tune a picker for the particle of a map, on simulated micrographs.

    Parameters
    ----------
    density : DensityMap
        The particle.
    start : Picker
        Model to start from.
    settings : MapSettings
        How.
    own : sequence of Micrograph
        Micrographs of the user, without labels; pixel size, power spectrum and range of defocus
        are taken from them.
    name : str
        Of the new picker.
    checkpoint : Path, optional
        Beginning of the names of checkpoints; a killed training goes on from there.
    device : torch.device, optional
        Where to train; the CPU by default.

    Yields
    ------
    Note, FitProgress or Picker
        What was found out, steps, and at last the picker. Stop iterating to stop.

    Raises
    ------
    TrainError
        If the starting model has no layers to train, or the given micrographs have no pixel size.
    """
    if not isinstance(start.net, PickerNet):
        raise TrainError(
            f"{start.name}: a template matcher does not learn; start from a model with layers."
        )
    device = device or torch.device("cpu")
    scene, notes = look(density, settings, own)
    yield from (Note(text) for text in notes)
    torch.manual_seed(settings.seed)
    net = PickerNet(start.net.config)
    net.load_state_dict(start.net.state_dict())
    for event in fit_phases(
        net.to(device),
        [_phase(settings)],
        lambda net: TileSource(
            lambda rng: [[scene.simulate(rng) for _ in range(MICROGRAPHS)]],
            net.config,
            start.pixels_per_diameter,
            tiles_per_set=TILES,
            near=0.3,
            refresh=REFRESH,
            seed=settings.seed,
        ),
        checkpoint=checkpoint,
        origin=digest(
            density.values,
            density.voxel_size,
            scene.diameter,
            scene.pixel_size,
            scene.defocus,
            *(spectrum.power for spectrum in scene.spectra),
        ),
    ):
        if isinstance(event, FitProgress):
            yield event
        else:
            net = event
    made = replace(start, net=net.cpu().eval(), name=name, calibration=(1.0, 0.0), threshold=0.5)
    rng = np.random.default_rng((settings.seed, 1))
    fresh = (scene.simulate(rng) for _ in range(CALIBRATION))
    made = calibrate(made, find_candidates(made, fresh, device))
    yield replace(made, training=_record(scene, start, settings, len(own)))


def look(
    density: DensityMap, settings: MapSettings, own: Sequence[Micrograph]
) -> tuple[Scene, list[str]]:
    """Find out what to simulate.

    Parameters
    ----------
    density : DensityMap
        The particle.
    settings : MapSettings
        What the user has said.
    own : sequence of Micrograph
        The user's micrographs, of which at most `MOST_OWN` are read.

    Returns
    -------
    scene : Scene
        What to simulate.
    notes : list of str
        The same in words.

    Raises
    ------
    TrainError
        If the pixel size of a micrograph is not known.
    """
    diameter = density.diameter if settings.diameter is None else settings.diameter
    notes = [f"The particle of {density.name} is {density.diameter:.0f} Å across."]
    ratio = diameter / density.diameter
    if not 1 / CONTRADICTION <= ratio <= CONTRADICTION:
        notes.append(
            f"The given diameter, {diameter:g} Å, contradicts the map: check it, and the voxel "
            f"size of the map ({density.voxel_size:g} Å)."
        )
    finest = density.diameter / FINEST
    some = own[:: -(-len(own) // MOST_OWN)] if own else []
    spectra, defocus = [], []
    for micrograph in some:
        size = settings.pixel_size or micrograph.pixel_size
        if size is None:
            raise TrainError(
                f"{micrograph.path.name}: the file does not tell its pixel size; give it in Å "
                "(--pixel-size)."
            )
        image = micrograph.to_float32()
        spectra.append(estimate_noise(image, size))
        found = estimate_defocus(image, size, CTF())
        defocus += [] if found is None else [found]
    known = settings.pixel_size or (some[0].pixel_size if some else None)
    pixel_size = max(known or finest, finest)
    scene = Scene(density, diameter, pixel_size, tuple(spectra), _widened(defocus))
    return scene, [*notes, *_describe(scene, known, len(spectra), len(defocus))]


def _widened(defocus: Sequence[float]) -> tuple[float, float] | None:
    """Range of the defocus of all micrographs, by that of some."""
    if not defocus:
        return None
    return min(defocus) / DEFOCUS_MARGIN, max(defocus) * DEFOCUS_MARGIN


def _describe(scene: Scene, known: float | None, n: int, with_rings: int) -> list[str]:
    """Say what is simulated, and where that comes from."""
    size = f"Micrographs are simulated at {scene.pixel_size:.3g} Å per pixel"
    if known is None:
        return [
            f"{size}, with noise and defocus of any kind; give some of your micrographs to have "
            "theirs."
        ]
    if scene.pixel_size > known:
        size += f" (yours, {known:g} Å, are finer than needed)"
    notes = [f"{size}."]
    if n:
        notes.append(f"Half of them get the power spectrum of {n} of your micrographs.")
        if scene.defocus is None:
            notes.append("No Thon rings are seen at this pixel size: the defocus is 0.6 to 3 µm.")
        else:
            low, high = (value / 1e4 for value in scene.defocus)
            notes.append(
                f"Their defocus is {low:.1f} to {high:.1f} µm, by the Thon rings of {with_rings}."
            )
    return notes


def _phase(settings: MapSettings) -> Phase:
    each = min(settings.steps, STEPS_PER_EPOCH)
    return Phase(
        FitConfig(
            epochs=max(1, round(settings.steps / STEPS_PER_EPOCH)),
            steps_per_epoch=each,
            learning_rate=RATE,
            schedule="one-cycle",
            loss=Loss(),
            freeze_norm=True,
            seed=settings.seed,
        )
    )


def _record(scene: Scene, start: Picker, settings: MapSettings, n_own: int) -> dict[str, object]:
    return {
        **made_now(),
        "start": f"{start.name} {start.fingerprint}",
        "data": [
            f"simulated micrographs of {scene.density.name}, {scene.pixel_size:.3g} Å per pixel"
        ],
        "own micrographs": n_own,
        "defocus": scene.defocus,
        "diameter": scene.diameter,
        "steps": settings.steps,
        "seed": settings.seed,
    }
