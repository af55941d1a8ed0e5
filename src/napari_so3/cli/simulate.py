"""``napari-so3 simulate``: micrographs of known particles, with the truth."""

import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_so3.cli.common import Device, VoxelSize, count, say, user_errors, watching

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_so3.simulation.files import SimulationPlan
    from napari_so3.simulation.volume import DensityMap

COVERED = 0.25  # of a micrograph by particles, by default


def simulate(
    maps: Annotated[
        list[Path],
        typer.Argument(
            help="Densities (MRC), one per protein; the micrographs show them in turn.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write to; made if missing.")
    ] = Path("simulated"),
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Micrographs.")] = 10,
    pixel_size: Annotated[
        float,
        typer.Option("--pixel-size", "-p", min=0.1, max=100.0, help="Å per pixel to simulate at."),
    ] = 2.0,
    shape: Annotated[
        tuple[int, int],
        typer.Option(min=64, metavar="ROWS COLUMNS", help="Size of a micrograph, pixels."),
    ] = (1024, 1024),
    particles: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Particles in a micrograph; by default as many of the largest kind as cover a "
            "quarter of it.",
            show_default=False,
        ),
    ] = None,
    crowding: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of them that touch others.")
    ] = 0.2,
    defocus: Annotated[
        tuple[float, float],
        typer.Option(metavar="LOW HIGH", help="Range of the defocus, Å (underfocus positive)."),
    ] = (8_000.0, 25_000.0),
    snr: Annotated[
        tuple[float, float],
        typer.Option(
            metavar="LOW HIGH",
            help="Range of the signal-to-noise ratio: variance of the signal inside the particles "
            "over that of the noise.",
        ),
    ] = (0.1, 0.4),
    dose: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Electrons per Å^2, for shot noise that counts them; Gaussian by default.",
            show_default=False,
        ),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            "--view",
            metavar="ROT,TILT",
            help="View that particles prefer, in degrees; may be given again. Without, all "
            "orientations are equally frequent.",
            show_default=False,
        ),
    ] = None,
    view_width: Annotated[
        float, typer.Option(min=0.0, help="Standard deviation about a preferred view, degrees.")
    ] = 15.0,
    carbon: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the micrographs with carbon film.")
    ] = 0.2,
    contaminants: Annotated[int, typer.Option(min=0, help="Ice crystals in a micrograph.")] = 2,
    foreign: Annotated[int, typer.Option(min=0, help="Foreign proteins in a micrograph.")] = 5,
    aggregates: Annotated[int, typer.Option(min=0, help="Protein heaps in a micrograph.")] = 1,
    voltage: Annotated[float, typer.Option(min=1.0, help="kV.")] = 300.0,
    cs: Annotated[float, typer.Option(help="Spherical aberration, mm.")] = 2.7,
    amplitude_contrast: Annotated[float, typer.Option(min=0.0, max=1.0, help="Its share.")] = 0.1,
    phase_shift: Annotated[float, typer.Option(help="Of a phase plate, degrees.")] = 0.0,
    b_factor: Annotated[float, typer.Option(min=0.0, help="Fall-off, Å^2.")] = 100.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same micrographs.")] = 0,
    voxel_size: VoxelSize = None,
    device: Device = "auto",
) -> None:
    """Simulate micrographs of proteins whose maps you give.

    Writes of every micrograph `NAME.mrc`, `NAME.star` with the positions, orientations and CTF of
    its particles, and `NAME.json` with the settings and the measured SNR and dose; and
    `micrographs.star` for RELION. A run that was stopped goes on where it was.

    Example: `napari-so3 simulate ribosome.mrc proteasome.mrc --number 20 -o Simulated`
    """
    with user_errors("Stopped. The same command goes on from here."):
        from napari_so3.simulation.ctf import CTF
        from napari_so3.simulation.files import SimulationPlan
        from napari_so3.simulation.micrograph import SimulationConfig
        from napari_so3.simulation.views import Views
        from napari_so3.simulation.volume import read_density

        densities = [read_density(path, voxel_size) for path in maps]
        with _as_usage():
            config = SimulationConfig(
                shape=shape,
                pixel_size=pixel_size,
                n_particles=_fitting(densities, shape, pixel_size)
                if particles is None
                else particles,
                views=Views(tuple(_view(text) for text in view or ()), view_width),
                crowding=crowding,
                ctf=CTF(
                    voltage_kv=voltage,
                    cs_mm=cs,
                    amplitude_contrast=amplitude_contrast,
                    phase_shift=phase_shift,
                    b_factor=b_factor,
                ),
                dose=dose,
                n_contaminants=contaminants,
                n_foreign=foreign,
                n_aggregates=aggregates,
                n_hot_pixels=3,
            )
            plan = SimulationPlan(config, defocus=defocus, snr=snr, carbon=carbon)
        _simulate(densities, plan, output, number, seed, device)


def _fitting(densities: "Sequence[DensityMap]", shape: tuple[int, int], pixel_size: float) -> int:
    largest = max(density.diameter for density in densities) / pixel_size
    return max(1, round(COVERED * shape[0] * shape[1] / (math.pi / 4 * largest**2)))


@contextmanager
def _as_usage() -> "Iterator[None]":
    """Say what a setting does not allow as a mistake of usage."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _view(text: str) -> tuple[float, float]:
    try:
        rot, tilt = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"a view is ROT,TILT in degrees, not {text!r}") from error
    return rot, tilt


def _simulate(
    densities: "Sequence[DensityMap]",
    plan: "SimulationPlan",
    output: Path,
    number: int,
    seed: int,
    device: str,
) -> None:
    from napari_so3.picking.pick import choose_device, describe_device
    from napari_so3.simulation.files import simulate_many

    where = choose_device(device)
    sizes = ", ".join(f"{d.name} {d.diameter:.0f} Å" for d in densities)
    say(f"{count(number, 'micrograph')}, {describe_device(where)}; diameters: {sizes}")
    events = simulate_many({d.name: d for d in densities}, plan, output, number, seed, where)
    found = 0
    with watching(events) as (made, progress):
        bar = progress.add_task("micrographs", total=number)
        for one in made:
            progress.advance(bar)
            found += one.particles
            dose = "" if one.dose is None else f", {one.dose:.1f} e/Å^2"
            how = "there already" if one.reused else f"{one.seconds:.1f} s"
            say(
                f"{one.path.name}: {count(one.particles, 'particle')}, SNR {one.snr:.3f}{dose}, "
                f"{how}"
            )
    say(f"{count(found, 'particle')} in {count(number, 'micrograph')} in {output}")
