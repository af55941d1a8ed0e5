"""Train the model that comes with the package: ``python -m napari_so3.training.bundled DATA``.

Three real data sets give three fifths of the tiles, simulated micrographs of random proteins two.
The first, longer phase runs on 16 rotations; the weights are 3D, so that the second can go on with
them on the final grid. About an hour on one CPU core.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer

from napari_so3 import __version__
from napari_so3.io.micrographs import read_micrograph
from napari_so3.io.star import read_coordinates
from napari_so3.picking.picker import Picker
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.density import random_protein
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.fit import FitConfig, fit
from napari_so3.training.tiles import LabelledMicrograph, prepare_target

if TYPE_CHECKING:
    from napari_so3.training.tiles import TargetMap

PIXELS_PER_DIAMETER = 20.0
MAGNIFICATION = (0.85, 1.18)  # how wrong a diameter given by hand may be
SIMULATED = (6, 6)  # micrographs per refresh, in sets of the weight of a real one
FAST_GRID = RotationGrid(4, 4)
FINAL_GRID = PickerConfig().grid


@dataclass(frozen=True)
class DataSet:
    """A folder of labelled micrographs.

    Parameters
    ----------
    name : str
        For messages and the model's header.
    micrographs, coordinates : str
        Folders below the data folder.
    pixel_size, diameter : float
        Å.
    held_out : tuple of str
        Beginnings of the names that are kept for validation.
    complete : bool
        Whether (nearly) every particle is labelled.
    """

    name: str
    micrographs: str
    coordinates: str
    pixel_size: float
    diameter: float
    held_out: tuple[str, ...]
    complete: bool = True


DATA_SETS = (
    DataSet(
        "apoferritin (EMPIAR-10146)",
        "apoferritin_10146/micrographs",
        "apoferritin_10146/coordinates",
        1.5,
        130.0,
        ("May08_05_53_51", "May08_05_55_31", "May08_05_57_01"),
    ),
    DataSet(
        "beta-galactosidase (EMPIAR-10017)",
        "bgal_10017/micrographs",
        "bgal_10017/coordinates",
        7.08,
        180.0,
        ("Falcon_2012_06_12-16_",),
    ),
    DataSet(
        "20S proteasome (EMPIAR-10025)",
        "t20s_10025/micrographs",
        "t20s_10025/coordinates",
        7.894,
        150.0,
        ("14sep05c_c_00003gr_00014sq_00011hl_00003es",),
        complete=False,
    ),
)


def read_part(data: Path, what: DataSet, held_out: bool = False) -> list[LabelledMicrograph]:
    """Read the training or the held-out micrographs of a data set.

    Parameters
    ----------
    data : Path
        Data folder.
    what : DataSet
        Which set.
    held_out : bool
        Which of the two.

    Returns
    -------
    list of LabelledMicrograph
        One per coordinate file.

    Raises
    ------
    MicrographError, StarError
        If a file is missing or cannot be read.
    """
    labelled = []
    for star in sorted((data / what.coordinates).glob("*.star")):
        if star.name.startswith(what.held_out) != held_out:
            continue
        table = read_coordinates(star)
        path = data / what.micrographs / f"{star.stem}.mrc"
        labelled.append(
            LabelledMicrograph(
                read_micrograph(path, what.pixel_size).to_float32(),
                what.pixel_size,
                table[["y", "x"]].to_numpy(),
                what.diameter,
                what.complete,
            )
        )
    return labelled


def simulate_labelled(rng: np.random.Generator) -> LabelledMicrograph:
    """Simulate a micrograph of a protein that nobody has seen: 80 to 400 Å, any defocus and SNR."""
    diameter = float(np.exp(rng.uniform(np.log(80.0), np.log(400.0))))
    pixel_size = diameter / 24.0
    defocus = float(rng.uniform(8e3, 3e4))
    config = SimulationConfig(
        shape=(420, 420),
        pixel_size=pixel_size,
        n_particles=int(rng.integers(20, 90)),
        snr=float(np.exp(rng.uniform(np.log(0.08), np.log(0.5)))),
        ctf=CTF(defocus_u=defocus, defocus_v=defocus * float(rng.uniform(0.97, 1.0))),
        ice_gradient=float(rng.uniform(0.0, 0.5)),
        carbon=bool(rng.random() < 0.3),
        n_contaminants=int(rng.integers(0, 4)),
        n_hot_pixels=3,
    )
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    made = simulate_micrograph(random_protein(generator, diameter), config, generator)
    points = made.truth[["y", "x"]].to_numpy()
    return LabelledMicrograph(made.image, made.pixel_size, points, diameter)


def train(
    data: Path, output: Path, fast_steps: int = 1500, final_steps: int = 450, seed: int = 0
) -> None:
    """Train and write the bundled model; it is written every 100 steps, so that a run can be cut.

    Parameters
    ----------
    data : Path
        Data folder.
    output : Path
        Model file to write.
    fast_steps, final_steps : int
        Steps on 16 rotations, and then on the final grid.
    seed : int
        Seed of weights and tiles.
    """
    torch.manual_seed(seed)
    real = [read_part(data, what) for what in DATA_SETS]
    fast = replace(PickerConfig(), grid=FAST_GRID)
    field, step = fast.receptive_field, fast.stride

    def sources(rng: np.random.Generator) -> list[list[TargetMap]]:
        simulated = [[simulate_labelled(rng) for _ in range(n)] for n in SIMULATED]
        return [
            [
                prepare_target(m, PIXELS_PER_DIAMETER, field, step, rng.uniform(*MAGNIFICATION))
                for m in part
            ]
            for part in (*real, *simulated)
        ]

    def save(net: PickerNet, steps: int) -> None:
        training = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "version": __version__,
            "data": [
                f"{w.name}: {len(m)} micrographs" for w, m in zip(DATA_SETS, real, strict=True)
            ]
            + ["simulated micrographs of random proteins, 80 to 400 Å"],
            "steps": steps,
            "seed": seed,
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        Picker(net, output.stem, PIXELS_PER_DIAMETER, training=training).save(output)

    net = PickerNet(fast)
    phases = (
        (FAST_GRID, FitConfig(fast_steps, learning_rate=3e-3, seed=seed)),
        (FINAL_GRID, FitConfig(final_steps, tiles_per_set=1, learning_rate=1e-3, seed=seed + 1)),
    )
    before = 0
    for grid, config in phases:
        net = net.with_grid(grid)
        for progress in fit(net, sources, config):
            if progress.step % 20 == 0:
                typer.echo(
                    f"{len(grid)} rotations, step {progress.step}/{progress.steps}, "
                    f"loss {progress.loss:.4f}, {progress.seconds:.0f} s"
                )
            if progress.step % 100 == 0 or progress.step == progress.steps:
                save(net.with_grid(FINAL_GRID), before + progress.step)
        before += config.steps


def main(
    data: Annotated[Path, typer.Argument(help="Folder that holds the labelled data sets.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")] = Path(
        "general.safetensors"
    ),
    fast_steps: Annotated[int, typer.Option(help="Steps on 16 rotations.")] = 1500,
    final_steps: Annotated[int, typer.Option(help="Steps on the final grid.")] = 450,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train the model that comes with the package."""
    torch.set_num_threads(threads)
    train(data, output, fast_steps, final_steps)


if __name__ == "__main__":
    typer.run(main)
