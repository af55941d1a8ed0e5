"""Where the time goes in a process that has started: the stages from file to picks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import DIAMETER, EDGE, GRIDS, PIXEL_SIZE
from grouped import score as score_grouped
from measure import Cost, Costs

from napari_so3.io.micrographs import Micrograph, read_micrograph
from napari_so3.picking.pick import PickSettings, find_picks, prepare
from napari_so3.picking.picker import Picker, load_picker
from napari_so3.picking.preprocess import WorkingImage
from napari_so3.picking.score import ScoreMaps, Scorer

SETTINGS = PickSettings(DIAMETER)
ROUNDS = 5

Time = Callable[[int, str, Callable[[], object]], None]


@pytest.fixture
def time(benchmark: Any, costs: Costs) -> Time:
    """Time some work and file it as a stage of picking with a number of rotations."""

    def measure(rotations: int, stage: str, work: Callable[[], object]) -> None:
        benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=1)
        title = f"R = {rotations}: stages in one process, {EDGE} x {EDGE}"
        costs.add(title, stage, [Cost(benchmark.stats["median"])])

    return measure


@pytest.fixture(params=GRIDS)
def rotations(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def picker(models: dict[int, Path], rotations: int) -> Picker:
    return load_picker(models[rotations])


@pytest.fixture
def micrograph(micrographs: list[Path]) -> Micrograph:
    return read_micrograph(micrographs[0], PIXEL_SIZE)


@pytest.fixture
def image(micrograph: Micrograph, picker: Picker) -> WorkingImage:
    return prepare(micrograph, picker, SETTINGS)


def score(scorer: Scorer, image: WorkingImage) -> ScoreMaps:
    *_, maps = scorer.score(image)
    assert isinstance(maps, ScoreMaps)
    return maps


def test_file_to_picks(
    time: Time, picker: Picker, rotations: int, micrographs: list[Path], tmp_path: Path
) -> None:
    scorer = Scorer(picker.net, torch.device("cpu"))

    def work() -> None:
        micrograph = read_micrograph(micrographs[0], PIXEL_SIZE)
        image = prepare(micrograph, picker, SETTINGS)
        picks = find_picks(score(scorer, image), image, micrograph, picker, SETTINGS)
        picks.write_csv(tmp_path / "picks.csv")

    time(rotations, "file to picks, all stages", work)


def test_grouped_file_to_picks(
    time: Time, picker: Picker, rotations: int, micrographs: list[Path], tmp_path: Path
) -> None:
    def work() -> None:
        micrograph = read_micrograph(micrographs[0], PIXEL_SIZE)
        image = prepare(micrograph, picker, SETTINGS)
        maps = score_grouped(picker.net, image)
        find_picks(maps, image, micrograph, picker, SETTINGS).write_csv(tmp_path / "picks.csv")

    time(rotations, "(a) the same, grouped convolution", work)


def test_load_model(time: Time, models: dict[int, Path], rotations: int) -> None:
    def work() -> None:
        models[rotations].touch()  # another date, so that the cache of models does not answer
        load_picker(models[rotations])

    time(rotations, "load the model (once)", work)


def test_make_scorer(time: Time, picker: Picker, rotations: int) -> None:
    time(rotations, "make the scorer (once)", lambda: Scorer(picker.net, torch.device("cpu")))


def test_read(time: Time, micrographs: list[Path], rotations: int) -> None:
    time(rotations, "read", lambda: read_micrograph(micrographs[0], PIXEL_SIZE).to_float32())


def test_prepare(time: Time, micrograph: Micrograph, picker: Picker, rotations: int) -> None:
    time(rotations, "read and preprocess", lambda: prepare(micrograph, picker, SETTINGS))


def test_score(time: Time, image: WorkingImage, picker: Picker, rotations: int) -> None:
    scorer = Scorer(picker.net, torch.device("cpu"))
    time(rotations, "score", lambda: score(scorer, image))


def test_grouped_score(time: Time, image: WorkingImage, picker: Picker, rotations: int) -> None:
    time(rotations, "(a) score, grouped convolution", lambda: score_grouped(picker.net, image))


def test_peaks(
    time: Time, image: WorkingImage, micrograph: Micrograph, picker: Picker, rotations: int
) -> None:
    maps = score(Scorer(picker.net, torch.device("cpu")), image)
    time(rotations, "peaks", lambda: find_picks(maps, image, micrograph, picker, SETTINGS))
