import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from napari_so3.io.micrographs import Micrograph
from napari_so3.so3.networks import PickerConfig
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.advice import split_by_micrograph
from napari_so3.training.labels import Labels
from napari_so3.training.sources import (
    CropSource,
    TileSource,
    batch_auprc,
    validation_batch,
)
from napari_so3.training.tiles import IGNORED, POSITIVE, Batch, LabelledMicrograph, prepare_target

CONFIG = PickerConfig(channels=1, kernels=(5, 3, 3, 3), grid=RotationGrid(1, 4))
FIELD = CONFIG.receptive_field


def micrograph(rng, level=0.0):
    image = rng.standard_normal((120, 130)).astype(np.float32) + np.float32(level)
    return LabelledMicrograph(
        Micrograph(Path("made.mrc"), image, 8.0, "given"),
        Labels(np.array([[60.0, 60.0]]), complete=True),
        160.0,
    )


def source(**options):
    calls = []

    def build(rng):
        calls.append(1)
        return [[micrograph(rng)], [micrograph(rng), micrograph(rng)]]

    return TileSource(build, CONFIG, 20.0, tile=16, refresh=5, **options), calls


def test_every_set_gives_its_tiles():
    tiles, _ = source(tiles_per_set=3)
    batch = tiles(0, np.random.default_rng(0))
    edge = 15 * 2 + CONFIG.receptive_field
    assert batch.images.shape == (6, 1, edge, edge)
    assert batch.targets.shape == (6, 16, 16)


def test_small_micrographs_make_small_tiles():
    tiles, _ = source()
    tiles.tile = 500
    edge = round(120 * 8 / 8 / 2)
    assert tiles(0, np.random.default_rng(0)).targets.shape[1] == pytest.approx(edge, rel=0.2)


def test_micrographs_are_made_anew_now_and_then():
    tiles, calls = source()
    for step in range(12):
        tiles(step, np.random.default_rng(step))
    assert len(calls) == 3


def test_a_step_is_the_same_wherever_the_training_began():
    whole, _ = source()
    for step in range(8):
        expected = whole(step, np.random.default_rng(step))
    resumed, _ = source()
    torch.testing.assert_close(resumed(7, np.random.default_rng(7)).images, expected.images)
    other, _ = source(seed=1)
    assert not torch.equal(other(7, np.random.default_rng(7)).images, expected.images)


def test_crops_follow_the_protocol_of_the_paper():
    maps = [prepare_target(micrograph(np.random.default_rng(0)), 20.0, FIELD, 2)]
    crops = CropSource(maps, CONFIG, batch=40)
    batch = crops(0, np.random.default_rng(0))
    assert batch.images.shape == (40, 1, FIELD, FIELD)
    assert int((batch.targets == POSITIVE).sum()) == 4
    torch.testing.assert_close(validation_batch(crops).images, validation_batch(crops).images)


class Known(torch.nn.Module):
    """Scores an image by its middle pixels."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x[:, 0, ::2, ::2]


def test_the_figure_of_merit_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(20, 1, 8, 8, generator=generator)
    targets = torch.randint(-1, 3, (20, 4, 4), generator=generator).to(torch.int8)
    got = batch_auprc(Known(), Batch(images, targets), images_at_once=3)
    known = targets != IGNORED
    expected = average_precision_score(
        (targets == POSITIVE)[known].numpy(), images[:, 0, ::2, ::2][known].numpy()
    )
    assert got == pytest.approx(expected)
    assert batch_auprc(Known(), Batch(images, torch.zeros_like(targets))) == 0.0


@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
def test_micrographs_are_split_whole(n):
    names = [f"m{i}" for i in range(n)]
    parts = split_by_micrograph(names)
    assert sorted(itertools.chain(*parts)) == sorted(names)
    assert parts == split_by_micrograph(names)
    if n >= 3:
        assert all(parts)
    if n == 40:
        assert [len(p) for p in parts] == [28, 6, 6]
        assert parts != split_by_micrograph(names, seed=1)
