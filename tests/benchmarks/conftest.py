"""What the benchmarks share: micrographs, models, and the table of ratios at the end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import pytest
import torch
from cases import EDGE, GRIDS, PIXEL_SIZE
from measure import Costs
from window import work_for

from napari_so3.picking.picker import load_picker
from napari_so3.simulation.density import barrel
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph

COSTS = pytest.StashKey[Costs]()


@pytest.fixture(scope="session")
def micrographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Simulated micrographs at 1 Å per pixel: barrels in ice."""
    folder = tmp_path_factory.mktemp("micrographs")
    config = SimulationConfig((EDGE, EDGE), PIXEL_SIZE, n_particles=EDGE**2 // 84_000, snr=0.1)
    paths = []
    for seed in range(3):
        made = simulate_micrograph(barrel(), config, torch.Generator().manual_seed(seed))
        paths.append(folder / f"micrograph{seed}.mrc")
        with mrcfile.new(paths[-1]) as mrc:
            mrc.set_data(made.image)
    return paths


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Files of the bundled model, by number of rotations."""
    folder, picker = tmp_path_factory.mktemp("models"), load_picker("general")
    paths = {n: folder / f"{n}.safetensors" for n in GRIDS}
    for n, path in paths.items():
        picker.with_grid(GRIDS[n]).save(path)
    return paths


@pytest.fixture
def viewer(make_napari_viewer: Callable[[], Any]) -> Any:
    """A viewer on the screen."""
    viewer = make_napari_viewer()
    viewer.window.resize(1366, 768)
    viewer.show()
    work_for(1.0)
    return viewer


@pytest.fixture
def costs(pytestconfig: pytest.Config) -> Costs:
    """Costs of all benchmarks of this run; printed at its end as ratios."""
    return pytestconfig.stash[COSTS]


@pytest.fixture(autouse=True)
def _all_cores(_two_threads: None) -> None:
    """Undo the tests' limit on threads."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COSTS] = Costs()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    costs = terminalreporter.config.stash[COSTS]
    for title, rows in costs.tables.items():
        terminalreporter.section(title)
        for line in costs.lines(rows):
            terminalreporter.write_line(line)
