import numpy as np
import pytest
import torch

from napari_so3.training.tiles import (
    LabelledMicrograph,
    TargetMap,
    draw_tiles,
    make_target,
    prepare_target,
)

FIELD, STEP = 45, 2


def test_target_follows_the_distance_to_the_nearest_label():
    target = make_target((80, 60), np.array([[20.0, 30.0], [70.0, 11.0]]), 20.0, 2)
    assert target.shape == (40, 30)
    rows, cols = np.mgrid[0:80:2, 0:60:2]
    gap = np.minimum(np.hypot(rows - 20, cols - 30), np.hypot(rows - 70, cols - 11))
    np.testing.assert_array_equal(target == 1, gap <= 2)
    np.testing.assert_array_equal(target == 0, gap >= 6)
    assert set(target.unique().tolist()) == {-1, 0, 1}


def test_without_labels_everything_is_background():
    assert not make_target((10, 10), np.zeros((0, 2)), 20.0, 2).any()


@pytest.mark.parametrize("magnification", [1.0, 0.85, 1.18])
def test_labels_land_on_their_particles(magnification):
    """Bright marks at the labels lie in the middle of the patches that are called particles."""
    points = np.array([[60.0, 90.0], [150.0, 40.0], [100.0, 170.0]])
    y, x = np.mgrid[:200, :240]
    image = -sum(np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / 18) for p in points) * 6
    image += np.random.default_rng(0).standard_normal(image.shape)
    labelled = LabelledMicrograph(image.astype(np.float32), 4.0, points, 160.0)
    out = prepare_target(labelled, 20.0, FIELD, STEP, magnification)
    middle = out.image[FIELD // 2 :: STEP, FIELD // 2 :: STEP]
    middle = middle[: out.target.shape[0], : out.target.shape[1]]
    assert float(middle[out.target == 1].mean()) > 1.5
    assert abs(float(middle[out.target == 0].mean())) < 0.2
    assert out.target.shape[0] == pytest.approx(200 * 4 / 8 * magnification / 2, abs=1)


def test_tiles_keep_image_and_target_together_however_they_are_turned():
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.integers(-1, 2, (60, 50)).astype(np.int8))
    image = torch.zeros(59 * STEP + FIELD, 49 * STEP + FIELD)
    half = FIELD // 2
    # the middle of every patch shows its target, far above noise and gain
    image[half : half + 60 * STEP : STEP, half : half + 50 * STEP : STEP] = target * 100.0
    images, targets, complete = draw_tiles(
        [TargetMap(image, target, False)], 12, FIELD, STEP, 40, rng
    )
    assert images.shape == (40, 1, 11 * STEP + FIELD, 11 * STEP + FIELD)
    assert not complete.any()
    middle = images[:, 0, half : half + 12 * STEP : STEP, half : half + 12 * STEP : STEP]
    np.testing.assert_array_equal((middle / 60).round().clamp(-1, 1), targets)
    assert len({t.numpy().tobytes() for t in targets}) == 40, "tiles must differ"


def test_tiles_are_reproducible():
    maps = [TargetMap(torch.randn(101, 101), torch.zeros(29, 29, dtype=torch.int8), True)]
    a, b = (draw_tiles(maps, 8, FIELD, STEP, 3, np.random.default_rng(4))[0] for _ in range(2))
    torch.testing.assert_close(a, b)
