"""Train the model that comes with the package: ``python -m napari_so3.training.general DATA``.

Real micrographs of four data sets, and simulated ones of twelve proteins and of invented ones, at
any size from 80 to 400 Å. The longer first phase runs on 16 rotations; the weights are 3D, so that
the second goes on with them on the final grid. A run that was stopped goes on when it is started
again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer

from napari_so3.picking.pick import choose_device, describe_device
from napari_so3.picking.picker import Picker
from napari_so3.simulation.volume import read_density
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.checkpoint import digest
from napari_so3.training.datasets import DATA_SETS, read_part
from napari_so3.training.distributed import Processes, process_group
from napari_so3.training.fit import FitConfig, FitProgress
from napari_so3.training.losses import Loss
from napari_so3.training.phases import Phase, fit_phases
from napari_so3.training.scenes import SIZES, simulate_labelled
from napari_so3.training.settle import calibrate, find_candidates, made_now
from napari_so3.training.sources import TileSource

if TYPE_CHECKING:
    from napari_so3.training.datasets import DataSet
    from napari_so3.training.tiles import LabelledMicrograph

PIXELS_PER_DIAMETER = 20.0
FAST_GRID = RotationGrid(4, 4)
NETWORK = PickerConfig(channels=6, grid=RotationGrid(4, 8, antipodal=True))
# One of each protein; those of HELD_OUT_MAPS are never trained on.
MAPS = (
    "densities/1a3n_hemoglobin.mrc",
    "densities/1pma_T20S_proteasome_28chains.mrc",
    "densities/1xnr_30S_ribosome.mrc",
    "densities/3enl_enolase.mrc",
    "densities/3kuy_nucleosome.mrc",
    "densities/6ezm_IGPdehydratase.mrc",
    "densities/6z6u_apoferritin.mrc",
    "densities/70S_EFTu_tRNA_sparx.mrc",
    "published/cryojax_3j9g_64.mrc",
    "published/emd_5625_56.map",
    "published/gorgon_vp6_96.mrc",
    "published/ngl_betaGal_100.mrc",
)
HELD_OUT_MAPS = (
    "densities/1fpy_GlnSynthetase_12mer.mrc",
    "densities/3sn6_GPCR_Gs.mrc",
    "densities/5fj8_RNApolIII_rebuilt.mrc",
)


@dataclass(frozen=True)
class Recipe:
    """How much the general model is trained.

    Parameters
    ----------
    fast_steps, final_steps : int
        Steps on 16 rotations, and then on the final grid.
    simulated : int
        Sets of simulated micrographs; each gives a tile to a batch, as every real set does.
    micrographs : int
        In a simulated set; they are made anew every 100 steps.
    seed : int
        Of everything.
    leave_out : tuple of str
        Data sets and maps with one of these in their name are left out, in order to test a model
        on what it has never seen.
    """

    fast_steps: int = 1500
    final_steps: int = 200
    simulated: int = 2
    micrographs: int = 6
    seed: int = 0
    leave_out: tuple[str, ...] = ()

    STEPS_PER_EPOCH = 50
    REPORT = 20  # steps

    def uses(self, name: str) -> bool:
        """Whether a data set or a map is trained on."""
        return not any(part.lower() in name.lower() for part in self.leave_out)

    @property
    def phases(self) -> list[Phase]:
        """The two phases."""
        return [
            Phase(self._fit(self.fast_steps, 3e-3, self.seed), FAST_GRID),
            Phase(self._fit(self.final_steps, 1e-3, self.seed + 1), NETWORK.grid),
        ]

    def _fit(self, steps: int, rate: float, seed: int) -> FitConfig:
        each = min(self.STEPS_PER_EPOCH, steps)
        return FitConfig(steps // each, each, rate, "one-cycle", loss=Loss(), seed=seed)


def read_centred(data: Path, what: DataSet) -> list[LabelledMicrograph]:
    """Read the training part of a data set, its labels moved onto the middle of the particles."""
    centred = []
    for one in read_part(data, what).values():
        shape = np.array(one.micrograph.data.shape)
        moved = one.labels.positives + np.array(what.offset)
        inside = ((moved >= 0) & (moved <= shape - 1)).all(axis=1)
        centred.append(replace(one, labels=replace(one.labels, positives=moved[inside])))
    return centred


def train_general(
    data: Path, output: Path, recipe: Recipe | None = None, device: torch.device | None = None
) -> None:
    """Train, calibrate and write the general model.

    Parameters
    ----------
    data : Path
        Data folder.
    output : Path
        Model file to write; checkpoints beside it let a stopped run go on.
    recipe : Recipe, optional
        How long; the default made the bundled model.
    device : torch.device, optional
        Where; the CPU by default.
    """
    recipe, device = recipe or Recipe(), device or torch.device("cpu")
    real = {what: read_centred(data, what) for what in DATA_SETS if recipe.uses(what.name)}
    maps = [read_density(data / "maps" / name) for name in MAPS if recipe.uses(name)]

    def build(rng: np.random.Generator) -> list[list[LabelledMicrograph]]:
        sets = [part for what, part in real.items() for _ in range(what.weight)]
        simulated = [
            [simulate_labelled(maps, rng) for _ in range(recipe.micrographs)]
            for _ in range(recipe.simulated)
        ]
        return [*sets, *simulated]

    def source(net: PickerNet) -> TileSource:
        return TileSource(build, net.config, PIXELS_PER_DIAMETER, near=0.3, seed=recipe.seed)

    torch.manual_seed(recipe.seed)
    net = PickerNet(replace(NETWORK, grid=FAST_GRID)).to(device)
    start = time.monotonic()
    for event in fit_phases(
        net, recipe.phases, source, checkpoint=_beside(output), origin=digest(recipe)
    ):
        if not isinstance(event, FitProgress):
            net = event
        elif event.step % Recipe.REPORT == 0 and Processes().rank == 0:
            typer.echo(
                f"step {event.step}/{event.steps}, loss {event.loss:.4f}, "
                f"{time.monotonic() - start:.0f} s"
            )
    if Processes().rank == 0:
        picker = Picker(net.cpu().eval(), output.stem, PIXELS_PER_DIAMETER)
        seen = [m for part in real.values() for m in part if m.labels.complete]
        rng = np.random.default_rng((recipe.seed, 1))
        fresh = [simulate_labelled(maps, rng) for _ in range(max(len(seen), 1))]
        picker = calibrate(picker, find_candidates(picker, [*seen, *fresh], torch.device("cpu")))
        replace(picker, training=_record(real, len(maps), recipe)).save(output)


def _beside(output: Path) -> Path:
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.with_suffix(".checkpoint")


def _record(
    real: dict[DataSet, list[LabelledMicrograph]], n_maps: int, recipe: Recipe
) -> dict[str, object]:
    return {
        **made_now(),
        "data": [
            *(f"{what.name}: {len(part)} micrographs" for what, part in real.items()),
            f"simulated micrographs of {n_maps} proteins and of invented ones, "
            f"{SIZES[0]:.0f} to {SIZES[1]:.0f} Å",
        ],
        "steps": recipe.fast_steps + recipe.final_steps,
        "seed": recipe.seed,
    }


def main(
    data: Annotated[Path, typer.Argument(help="Folder that holds the data sets and the maps.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")] = Path(
        "general.safetensors"
    ),
    fast_steps: Annotated[int, typer.Option(help="Steps on 16 rotations.")] = Recipe.fast_steps,
    final_steps: Annotated[int, typer.Option(help="Steps on the final grid.")] = Recipe.final_steps,
    simulated: Annotated[
        int, typer.Option(help="Tiles of simulated micrographs in a batch.")
    ] = Recipe.simulated,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="Part of the names of data sets and maps to leave out."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = torch.get_num_threads(),
) -> None:
    """Train the model that comes with the package."""
    torch.set_num_threads(threads)
    with process_group() as given:
        where = given or choose_device(device)
        typer.echo(f"training on {describe_device(where)}")
        recipe = Recipe(fast_steps, final_steps, simulated, leave_out=tuple(leave_out or ()))
        train_general(data, output, recipe, where)


if __name__ == "__main__":
    typer.run(main)
