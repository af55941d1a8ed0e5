import colorsys

import numpy as np
import pytest

from napari_so3.insight.orientation_map import (
    colour_of_psi,
    colour_of_view,
    colours,
    orientation_image,
    probability_maps,
)
from napari_so3.insight.stack import RotationStack
from napari_so3.so3.aggregation import al1_bias
from napari_so3.so3.rotations import RotationGrid, fibonacci_sphere


def hue(colour) -> float:
    """Hue in degrees."""
    return 360 * colorsys.rgb_to_hsv(*(np.asarray(colour) / 255))[0]


def luminance(colour) -> float:
    linear = (np.asarray(colour) / 255) ** 2.2
    return linear @ [0.2126, 0.7152, 0.0722]


def sphere(n: int) -> np.ndarray:
    rot, tilt = (a.numpy() for a in fibonacci_sphere(n))
    return np.stack((np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)), -1)


def test_psi_goes_once_around_the_hues_without_a_jump():
    psi = np.arange(0.0, 361.0, 1.0)
    table = colour_of_psi(psi)
    np.testing.assert_array_equal(table[0], table[-1])
    assert np.abs(np.diff(table.astype(int), axis=0)).max() <= 4
    turns = np.diff(np.unwrap(np.radians([hue(c) for c in table]))).sum() / (2 * np.pi)
    assert abs(turns) == pytest.approx(1)
    light = luminance(table)
    assert light.max() / light.min() < 1.35


def test_eight_in_plane_angles_are_told_apart():
    table = colour_of_psi(np.arange(8) * 45.0).astype(int)
    apart = np.abs(table[:, None] - table[None]).sum(axis=-1)
    assert apart[~np.eye(8, dtype=bool)].min() > 50


def test_views_have_colours_without_a_jump_and_opposite_ones_differ():
    views = sphere(4000)
    table = colour_of_view(views).astype(int)
    near = views @ views.T > np.cos(np.radians(4))
    apart = np.abs(table[:, None] - table[None]).max(axis=-1)
    assert apart[near].max() < 25
    opposite = np.abs(table - colour_of_view(-views)).max(axis=-1)
    assert opposite.min() > 60


def test_hue_goes_around_z_and_lightness_up():
    up, east, north, down = colour_of_view([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, -1]])
    assert luminance(up) > luminance(east) > luminance(down)
    np.testing.assert_array_equal(east, colour_of_psi(0))
    np.testing.assert_array_equal(north, colour_of_psi(90))


def test_the_few_views_of_a_symmetric_map_share_all_colours():
    views = RotationGrid.reduced("D7", 168, 4).directions.numpy()
    poles = views[[views[:, 2].argmax(), views[:, 2].argmin()]]
    plain, spread = (colour_of_view(poles, among).astype(int) for among in (None, views))
    top, side = spread
    assert np.abs(top - side).max() > 90 > np.abs(plain[0] - plain[1]).max()
    views = sphere(200)
    np.testing.assert_array_equal(colour_of_view(views, views), colour_of_view(views))


def test_a_rotation_has_the_colour_of_its_angle_or_view(rotations):
    made = rotations(3, 4)
    in_plane = colour_of_psi([0, 90, 180, 270])
    views = colour_of_view(made.directions)
    np.testing.assert_array_equal(colours(made, "in-plane"), np.tile(in_plane, (3, 1)))
    by_view = colours(made, "view").reshape(3, 4, 3)
    np.testing.assert_array_equal(by_view, np.repeat(views[:, None], 4, 1))
    with pytest.raises(ValueError, match="'tilt'"):
        colours(made, "tilt")


@pytest.fixture
def one_particle(make_maps):
    """A peak of rotation 5 at (10, 12), on whose flank rotation 2 wins."""
    logits = np.full((8, 40, 40), -20.0)
    logits[5, 10, 12], logits[2, 10, 13] = 12.0, 9.0
    return make_maps(logits, 4, calibration=(0.5, 0.0))


@pytest.mark.parametrize("by", ["in-plane", "view"])
def test_a_particle_is_a_disc_in_the_colour_of_its_rotation(one_particle, by):
    image = orientation_image(one_particle, by)
    assert (image.shape, image.dtype) == ((40, 40, 3), np.uint8)
    colour = colours(one_particle.rotations, by)[5].astype(float)
    sure = probability_maps(one_particle)[0]
    for row, column in [(10, 12), (8, 12), (12, 12), (10, 10), (10, 14)]:
        np.testing.assert_allclose(image[row, column], colour * sure[10, 12], atol=1)
    np.testing.assert_allclose(image[10, 15], colour * sure[10, 13], atol=1)  # the flank's reach
    assert image[30:].max() == 0


def test_brightness_is_the_calibrated_probability(make_maps):
    logits = np.full((4, 9, 9), -60.0)
    logits[1, 4, 4] = -al1_bias(4)
    maps = make_maps(logits, 4, calibration=(1.0, -1.0))
    image = orientation_image(maps)
    expected = colour_of_psi(90) / (1 + np.e)
    np.testing.assert_allclose(image[4, 4], expected, atol=1)


@pytest.mark.parametrize("stored", [True, False])
def test_two_probabilities_side_by_side(make_maps, stored):
    logits = np.random.default_rng(0).normal(-2, 3, (8, 6, 7)).astype(np.float16)
    maps = make_maps(logits, 4, prior=0.1, calibration=(0.6, 0.4))
    if stored:
        stack = RotationStack.empty(logits.shape)
        stack.write(slice(0, 8), slice(0, 6), slice(0, 7), logits)
        object.__setattr__(maps, "stack", stack)
    joined, best = probability_maps(maps)
    np.testing.assert_allclose(joined, 1 / (1 + np.exp(-maps.log_odds)), rtol=1e-5)
    alone = 0.6 * (logits.max(axis=0).astype(float) + al1_bias(8, 0.1)) + 0.4
    np.testing.assert_allclose(best, 1 / (1 + np.exp(-alone)), rtol=1e-5)
    assert (best < joined).all()
    assert joined.dtype == best.dtype == np.float32
