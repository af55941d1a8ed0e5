"""All rotations over a micrograph: scrolling through them, and the memory they take.

Windows are drawn by software under Xvfb. The rivals hold the same maps in a float32 array or in
dask, a chunk per rotation in a file, and show them with napari alone.
"""

import sys
from itertools import count
from pathlib import Path
from time import process_time
from typing import Any

import dask.array as da
import numpy as np
import psutil
import pytest
from cases import EDGE, PIXEL_SIZE
from measure import Cost, Costs, run
from window import Canvas, timed, work_for, work_until

from napari_so3.picking.picker import load_picker
from napari_so3.so3.rotations import RotationGrid
from napari_so3.widgets.desk_docks import open_desk

DIAMETER = 100.0  # Å; the network works at 5 Å per pixel
SMALL = 60.0  # Å; the maps of 576 rotations are then in a file
STEPS, RIVAL_STEPS, WARM = 500, 60, 20
N_ROTATIONS = 256
SCROLLING = (
    f"{N_ROTATIONS} score maps over {EDGE} x {EDGE} pixels: a step until it is drawn "
    "(MB of the maps + MB the process grows)"
)
PROCESSOR = f"{SCROLLING}: processor time"


def resident() -> int:
    """Bytes of this process that are in memory."""
    return psutil.Process().memory_info().rss


@pytest.fixture
def seen(viewer: Any, micrographs: list[Path], models: dict[int, Path], tmp_path: Path) -> Any:
    """The dock "See" with the maps of a micrograph, drawn over it."""
    (tmp_path / micrographs[0].name).symlink_to(micrographs[0])
    docks = open_desk(viewer)
    session = docks["Pick particles"].session
    docks["Micrographs"].opener.open([tmp_path])
    work_until(lambda: docks["Micrographs"].desk.image is not None)
    session.pixel_size, session.diameter = PIXEL_SIZE, DIAMETER
    session.model = str(models[N_ROTATIONS])
    dock = docks["Rotations and score maps"]
    dock.show()
    dock.raise_()
    work_for(1.0)
    dock.maps.look.button.click()
    work_until(lambda: dock.seeing.maps is not None)
    work_for(1.0)
    yield dock
    session.close()


class Scrolling:
    """Moves napari's slider; tells what the steps take, and by how much the process grows."""

    def __init__(self, viewer: Any, costs: Costs) -> None:
        self._dims, self._costs, self._canvas = viewer.dims, costs, Canvas(viewer)

    def go(self, name: str, size: int, steps: int, benchmark: Any = None) -> int:
        """File what some steps take; return by how many bytes the process has grown."""
        axis, numbers = self._dims.ndim - 3, count(1)
        self._dims.set_point(axis, 0)
        work_for(0.5)
        wall: list[Cost] = []
        processor: list[Cost] = []
        after: list[int] = []

        def step() -> None:
            number, begin = next(numbers) % N_ROTATIONS, process_time()
            wall.append(
                timed(lambda: self._canvas.draw(lambda: self._dims.set_point(axis, number)))
            )
            processor.append(Cost(process_time() - begin))
            after.append(resident())

        if benchmark is None:
            for _ in range(steps):
                step()
        else:
            benchmark.pedantic(step, rounds=steps)
        grown = after[-1] - after[WARM]
        words = f"{name} ({size / 1e6:.0f} MB{grown / 1e6:+.1f})"
        self._costs.add(SCROLLING, words, wall[WARM:])
        self._costs.add(PROCESSOR, words, processor[WARM:])
        return grown

    def draw(self, steps: int) -> None:
        """File what drawing takes where nothing has changed."""
        self._costs.add(
            SCROLLING, "drawing alone", [timed(self._canvas.draw) for _ in range(steps)]
        )


def test_scrolling(viewer: Any, seen: Any, costs: Costs, benchmark: Any, tmp_path: Path) -> None:
    maps, layer, scrolling = seen.seeing.maps, seen.maps.layers.layer, Scrolling(viewer, costs)
    assert len(maps.rotations) == N_ROTATIONS
    size = 2 * len(maps.rotations) * maps.shape[0] * maps.shape[1]
    grown = scrolling.go("the dock", size, STEPS, benchmark)
    benchmark.extra_info.update(grown=grown, stack=size)
    scrolling.draw(RIVAL_STEPS)
    assert grown < 20e6
    whole = np.asarray(maps.stack, dtype=np.float32)
    look = {"scale": layer.scale, "contrast_limits": layer.contrast_limits, "opacity": 0.5}
    seen.maps.picture.setCurrentIndex(0)
    np.save(tmp_path / "maps.npy", whole)
    mapped = np.load(tmp_path / "maps.npy", mmap_mode="r")
    lazy = da.from_array(mapped, chunks=(1, *maps.shape))
    for name, data, held in (("float32 array", whole, whole.nbytes), ("dask over a file", lazy, 0)):
        shown = viewer.add_image(data, **look)
        scrolling.go(name, held, RIVAL_STEPS)
        viewer.layers.remove(shown)


@pytest.fixture(scope="module")
def most_rotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of the bundled model with 576 rotations."""
    path = tmp_path_factory.mktemp("models") / "576.safetensors"
    load_picker("general").with_grid(RotationGrid(48, 12)).save(path)
    return path


@pytest.mark.parametrize("diameter", [DIAMETER, SMALL])
@pytest.mark.parametrize("kept", ["stack", "array"])
def test_memory(
    micrographs: list[Path],
    most_rotations: Path,
    costs: Costs,
    benchmark: Any,
    diameter: float,
    kept: str,
) -> None:
    rounds: list[Cost] = []
    words = (
        Path(__file__).with_name("see.py"),
        kept,
        most_rotations,
        diameter,
        PIXEL_SIZE,
        micrographs[0],
    )
    benchmark.pedantic(lambda: rounds.append(run(sys.executable, *words)), rounds=1)
    title = f"576 rotations of {EDGE} x {EDGE} pixels, {diameter:.0f} Å: see and read every map"
    costs.add(title, {"stack": "napari-so3", "array": "float32 array"}[kept], rounds)
    if kept == "stack":
        assert rounds[0].peak < 1e9
