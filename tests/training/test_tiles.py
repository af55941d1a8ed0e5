from pathlib import Path

import numpy as np
import pytest
import torch

from napari_so3.io.micrographs import Micrograph
from napari_so3.training.labels import Labels
from napari_so3.training.tiles import (
    IGNORED,
    NEGATIVE,
    POSITIVE,
    UNLABELLED,
    LabelledMicrograph,
    TargetMap,
    draw_crops,
    draw_tiles,
    make_target,
    prepare_target,
)

FIELD, STEP = 45, 2
SCALE = (1.0, 1.0)
NOWHERE = np.zeros((0, 2))


def distance_to(points):
    rows, cols = np.mgrid[0:80:2, 0:60:2]
    return np.min([np.hypot(rows - y, cols - x) for y, x in points], axis=0)


@pytest.mark.parametrize(("complete", "far"), [(True, NEGATIVE), (False, UNLABELLED)])
def test_target_follows_the_distance_to_the_nearest_particle(complete, far):
    points = np.array([[20.0, 30.0], [70.0, 11.0]])
    target = make_target((80, 60), Labels(points, complete=complete), SCALE, 20.0, 2).numpy()
    assert target.shape == (40, 30)
    gap = distance_to(points)
    np.testing.assert_array_equal(target == POSITIVE, gap <= 2)
    np.testing.assert_array_equal(target == IGNORED, (gap > 2) & (gap < 6))
    assert (target[(gap >= 6) & (gap <= 10)] == NEGATIVE).all(), "no second particle so near"
    assert (target[gap > 10] == far).all()


def test_negative_labels_are_known_background():
    target = make_target((80, 60), Labels(negatives=np.array([[40.0, 30.0]])), SCALE, 20.0, 2)
    np.testing.assert_array_equal(target == NEGATIVE, distance_to([(40, 30)]) <= 6)
    assert (target != POSITIVE).all()


def test_ignored_places_are_ignored_whatever_is_there():
    labels = Labels(
        np.array([[20.0, 30.0]]),
        ignored_discs=np.array([[20.0, 30.0, 12.0]]),
        ignored_polygons=(np.array([[60.0, 40], [60, 58], [78, 58], [78, 40]]),),
        complete=True,
    )
    target = make_target((80, 60), labels, SCALE, 20.0, 2).numpy()
    rows, cols = np.mgrid[0:80:2, 0:60:2]
    inside = (rows >= 60) & (rows <= 78) & (cols >= 40) & (cols <= 58)
    expected = inside | (distance_to([(20, 30)]) <= 12)
    np.testing.assert_array_equal(target == IGNORED, expected)


def test_micrograph_pixels_become_map_pixels():
    labels = Labels(
        np.array([[80.0, 90.0]]), ignored_discs=np.array([[20.0, 30.0, 16.0]]), complete=True
    )
    target = make_target((80, 60), labels, (4.0, 3.0), 20.0, 2).numpy()
    assert target[10, 15] == POSITIVE
    rows, cols = np.mgrid[0:80:2, 0:60:2]
    disc = np.hypot(rows * 4 - 20, cols * 3 - 30) <= 16
    assert (target[disc] == IGNORED).all() and disc.any()


def test_without_labels_everything_is_background():
    assert not make_target((10, 10), Labels(complete=True), SCALE, 20.0, 2).any()


@pytest.mark.parametrize("magnification", [1.0, 0.85, 1.18])
def test_labels_land_on_their_particles(magnification):
    """Bright marks at the labels lie in the middle of the patches that are called particles."""
    points = np.array([[60.0, 90.0], [150.0, 40.0], [100.0, 170.0]])
    y, x = np.mgrid[:200, :240]
    image = -sum(np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / 18) for p in points) * 6
    image += np.random.default_rng(0).standard_normal(image.shape)
    micrograph = Micrograph(Path("made.mrc"), image.astype(np.float32), 4.0, "given")
    labelled = LabelledMicrograph(micrograph, Labels(points, complete=True), 160.0)
    out = prepare_target(labelled, 20.0, FIELD, STEP, magnification)
    middle = out.image[FIELD // 2 :: STEP, FIELD // 2 :: STEP]
    middle = middle[: out.target.shape[0], : out.target.shape[1]]
    assert float(middle[out.target == POSITIVE].mean()) > 1.5
    assert abs(float(middle[out.target == NEGATIVE].mean())) < 0.2
    assert out.target.shape[0] == pytest.approx(200 * 4 / 8 * magnification / 2, abs=1)
    for at in np.round(out.positives).astype(int):
        assert out.target[tuple(at)] == POSITIVE


def marked(shape, seed=0):
    """A map whose patches show their target in the middle, far above noise and gain."""
    rng = np.random.default_rng(seed)
    target = torch.from_numpy(rng.integers(-1, 2, shape).astype(np.int8))
    h, w = shape
    image = torch.zeros((h - 1) * STEP + FIELD, (w - 1) * STEP + FIELD)
    half = FIELD // 2
    image[half : half + h * STEP : STEP, half : half + w * STEP : STEP] = target * 100.0
    return TargetMap(image, target, NOWHERE)


def shown(images, size):
    half = FIELD // 2
    middle = images[:, 0, half : half + size * STEP : STEP, half : half + size * STEP : STEP]
    return (middle / 60).round().clamp(-1, 1)


def test_tiles_keep_image_and_target_together_however_they_are_turned():
    batch = draw_tiles([marked((60, 50))], 12, FIELD, STEP, 40, np.random.default_rng(0))
    assert batch.images.shape == (40, 1, 11 * STEP + FIELD, 11 * STEP + FIELD)
    np.testing.assert_array_equal(shown(batch.images, 12), batch.targets)
    assert len({t.numpy().tobytes() for t in batch.targets}) == 40, "tiles must differ"


def test_tiles_near_labels_hold_one():
    target = torch.full((200, 200), UNLABELLED, dtype=torch.int8)
    places = np.array([[3.0, 5.0], [120.0, 199.0]])
    for y, x in places.astype(int):
        target[y, x] = POSITIVE
    edge = 199 * STEP + FIELD
    source = [TargetMap(torch.zeros(edge, edge), target, places)]
    near = draw_tiles(source, 16, FIELD, STEP, 30, np.random.default_rng(0), near=1.0)
    assert (near.targets == POSITIVE).flatten(1).any(1).all()
    anywhere = draw_tiles(source, 16, FIELD, STEP, 30, np.random.default_rng(0))
    assert (anywhere.targets == POSITIVE).flatten(1).any(1).sum() < 5


def test_crops_are_one_tenth_particles_from_everywhere():
    batch = draw_crops(
        [marked((30, 30)), marked((40, 25), 1)], FIELD, STEP, 200, np.random.default_rng(0)
    )
    assert batch.images.shape == (200, 1, FIELD, FIELD)
    assert batch.targets.shape == (200, 1, 1)
    assert int((batch.targets == POSITIVE).sum()) == 20
    assert (batch.targets != IGNORED).all()
    np.testing.assert_array_equal(shown(batch.images, 1), batch.targets)
    with pytest.raises(ValueError, match="both"):
        draw_crops(
            [TargetMap(torch.zeros(99, 99), torch.zeros(28, 28, dtype=torch.int8), NOWHERE)],
            FIELD,
            STEP,
            4,
            np.random.default_rng(0),
        )


def test_tiles_are_reproducible():
    maps = [TargetMap(torch.randn(101, 101), torch.zeros(29, 29, dtype=torch.int8), NOWHERE)]
    a, b = (draw_tiles(maps, 8, FIELD, STEP, 3, np.random.default_rng(4)).images for _ in range(2))
    torch.testing.assert_close(a, b)
