"""Simulated micrographs as files: MRC and STAR, one by one or many that go on after a stop.

A folder holds of every micrograph::

    NAME.mrc         the image
    NAME.star        its particles and optics, for RELION
    NAME.json        what it was made with and what was measured; written last
    micrographs.star RELION's list of micrographs with their CTF (at the end)
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import starfile
import torch

from napari_so3.io.files import atomic_path, remove_leftovers
from napari_so3.io.volumes import write_image
from napari_so3.simulation.density import random_protein
from napari_so3.simulation.imaging import thickness
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from napari_so3.simulation.ctf import CTF
    from napari_so3.simulation.density import Particle
    from napari_so3.simulation.micrograph import SimulatedMicrograph

LIST_FILE = "micrographs.star"


@dataclass(frozen=True)
class SimulationPlan:
    """What a set of micrographs shows: one configuration, and what differs between them.

    Parameters
    ----------
    config : SimulationConfig
        What they have in common. Its defocus, SNR and carbon film are drawn for each micrograph.
    defocus : tuple of float
        Range of the defocus, Å; the same number twice fixes it.
    astigmatism : float
        Largest difference between the defocus along two directions, Å.
    snr : tuple of float
        Range of the SNR; drawn evenly in its logarithm.
    carbon : float
        Share of the micrographs that show a carbon film, 0 to 1.

    Raises
    ------
    ValueError
        If a range is upside down or the share is not from 0 to 1.
    """

    config: SimulationConfig = field(default_factory=SimulationConfig)
    defocus: tuple[float, float] = (8_000.0, 25_000.0)
    astigmatism: float = 500.0
    snr: tuple[float, float] = (0.1, 0.4)
    carbon: float = 0.2

    def __post_init__(self) -> None:
        if not (self.defocus[0] <= self.defocus[1] and 0 < self.snr[0] <= self.snr[1]):
            raise ValueError(
                "the ranges of defocus and SNR must go from low to high, the SNR above 0, not "
                f"{self.defocus} and {self.snr}"
            )
        if not (0 <= self.carbon <= 1 and self.astigmatism >= 0):
            raise ValueError(
                "the share of micrographs with carbon must be from 0 to 1 and the astigmatism not "
                f"negative, not {self.carbon} and {self.astigmatism}"
            )

    def draw(self, rng: np.random.Generator) -> SimulationConfig:
        """Draw what one micrograph shows."""
        low, high = self.defocus
        mean, half = rng.uniform(low, high), rng.uniform(0, self.astigmatism) / 2
        ctf = replace(
            self.config.ctf,
            defocus_u=mean + half,
            defocus_v=mean - half,
            astigmatism_angle=rng.uniform(0, 180),
        )
        snr = float(np.exp(rng.uniform(*np.log(self.snr))))
        return replace(self.config, ctf=ctf, snr=snr, carbon=bool(rng.random() < self.carbon))


@dataclass(frozen=True)
class Simulated:
    """A micrograph is there.

    Parameters
    ----------
    index : int
        Of the micrograph, from 0.
    path : Path
        The MRC file.
    particles : int
        In its truth.
    snr : float
        Measured.
    dose : float or None
        Measured, electrons per Å^2.
    seconds : float
        That it took; about 0 if it was there.
    reused : bool
        Whether it was there already.
    """

    index: int
    path: Path
    particles: int
    snr: float
    dose: float | None
    seconds: float
    reused: bool


def simulate_many(
    particles: Mapping[str, Particle],
    plan: SimulationPlan,
    folder: Path,
    number: int,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Generator[Simulated, None, None]:
    """Simulate micrographs into a folder, one kind of particle after the other.

    Each micrograph has a seed of its own, so that a run that was stopped goes on to the same
    files, and a larger number adds to them. Micrographs that are there with the same settings are
    kept, others of their name are replaced.

    Parameters
    ----------
    particles : mapping of str to Particle
        By the names that the files begin with. Foreign proteins are drawn from the other kinds,
        or invented if there is only one.
    plan : SimulationPlan
        What to show.
    folder : Path
        Where to write; made if missing.
    number : int
        How many micrographs.
    seed : int
        Of everything.
    device : str or torch.device
        Where to compute.

    Yields
    ------
    Simulated
        One per micrograph.

    Raises
    ------
    ValueError
        If there are no particles, or they do not fit into a micrograph.
    OSError
        The folder cannot be written to.
    """
    if not particles:
        raise ValueError("give at least one particle to simulate")
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    kinds = [_Kind.of(name, particles, plan.config.pixel_size) for name in particles]
    optics = []
    for index in range(number):
        begun = time.monotonic()
        kind = kinds[index % len(kinds)]
        name = f"{kind.name}_{index:04d}"
        own_seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
        config = plan.draw(np.random.default_rng(own_seed))
        origin = {**kind.identity, "seed": own_seed, "settings": asdict(config)}
        measured = _measured_before(folder / name, origin)
        reused = measured is not None
        if measured is None:
            generator = torch.Generator().manual_seed(own_seed)
            others = kind.others or [random_protein(generator, kind.particle.diameter)]
            made = simulate_micrograph(kind.particle, config, generator, others, device)
            write_simulation(folder, name, made, origin)
            measured = _measured(made)
        optics.append((f"{name}.mrc", config.ctf))
        seconds = time.monotonic() - begun
        yield Simulated(index, folder / f"{name}.mrc", **measured, seconds=seconds, reused=reused)
    _write_list(folder / LIST_FILE, optics, plan.config.pixel_size)


def write_simulation(
    folder: Path, name: str, made: SimulatedMicrograph, origin: Mapping[str, Any]
) -> None:
    """Write a micrograph, its truth and what it was made with; existing files are replaced.

    Parameters
    ----------
    folder : Path
        An existing folder.
    name : str
        Of the files, without ending.
    made : SimulatedMicrograph
        What to write.
    origin : mapping
        What it was made with, for JSON: the map, the seed, the settings.
    """
    record = folder / f"{name}.json"
    record.unlink(missing_ok=True)
    write_image(folder / f"{name}.mrc", made.image, made.pixel_size)
    write_truth(folder / f"{name}.star", made, f"{name}.mrc")
    with atomic_path(record) as path:
        text = json.dumps({**origin, "measured": _measured(made)}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")


def write_truth(path: Path, made: SimulatedMicrograph, micrograph: str) -> None:
    """Write the particles of a micrograph as RELION does since 3.1; replaced as a whole.

    Parameters
    ----------
    path : Path
        STAR file.
    made : SimulatedMicrograph
        Whose truth it is.
    micrograph : str
        Name for rlnMicrographName.
    """
    particles = pd.DataFrame(
        {
            "rlnCoordinateX": made.truth["x"],
            "rlnCoordinateY": made.truth["y"],
            "rlnAngleRot": made.truth["rot"],
            "rlnAngleTilt": made.truth["tilt"],
            "rlnAnglePsi": made.truth["psi"],
            **_defocus(made.ctf),
            "rlnOpticsGroup": 1,
            "rlnMicrographName": micrograph,
        }
    )
    blocks = {"optics": _optics(made.ctf, made.pixel_size), "particles": particles}
    with atomic_path(path) as temporary:
        starfile.write(blocks, temporary)


def _write_list(path: Path, optics: list[tuple[str, CTF]], pixel_size: float) -> None:
    rows = [
        {**_defocus(ctf), "rlnOpticsGroup": 1, "rlnMicrographName": name} for name, ctf in optics
    ]
    if rows:
        blocks = {"optics": _optics(optics[0][1], pixel_size), "micrographs": pd.DataFrame(rows)}
        with atomic_path(path) as temporary:
            starfile.write(blocks, temporary)


def _optics(ctf: CTF, pixel_size: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnOpticsGroup": [1],
            "rlnMicrographPixelSize": [pixel_size],
            "rlnVoltage": [ctf.voltage_kv],
            "rlnSphericalAberration": [ctf.cs_mm],
            "rlnAmplitudeContrast": [ctf.amplitude_contrast],
        }
    )


def _defocus(ctf: CTF) -> dict[str, float]:
    return {
        "rlnDefocusU": ctf.defocus_u,
        "rlnDefocusV": ctf.defocus_v,
        "rlnDefocusAngle": ctf.astigmatism_angle,
        "rlnPhaseShift": ctf.phase_shift,
    }


def _measured(made: SimulatedMicrograph) -> dict[str, Any]:
    return {"particles": len(made.truth), "snr": made.snr, "dose": made.dose}


def _measured_before(stem: Path, origin: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give what was measured of a micrograph, if it is there and has the same origin."""
    if not all(stem.with_name(stem.name + end).is_file() for end in (".mrc", ".star", ".json")):
        return None
    record = json.loads(stem.with_name(f"{stem.name}.json").read_text(encoding="utf-8"))
    measured: dict[str, Any] = record.pop("measured", {})
    return measured if record == json.loads(json.dumps(origin)) else None


@dataclass(frozen=True, eq=False)
class _Kind:
    """A particle, what else its micrographs may show, and how both are told from others."""

    name: str
    particle: Particle
    others: list[Particle]
    identity: dict[str, Any]

    @classmethod
    def of(cls, name: str, particles: Mapping[str, Particle], pixel_size: float) -> _Kind:
        others = {n: p for n, p in particles.items() if n != name}
        tokens = {
            n: [float(f"{v:.4g}") for v in (p.diameter, thickness(p, pixel_size))]
            for n, p in particles.items()
        }
        identity = {
            "particle": {name: tokens[name]},
            "contaminants": {n: tokens[n] for n in others},
        }
        return cls(name, particles[name], list(others.values()), identity)
