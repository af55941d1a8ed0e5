"""Views that are even are called even, preferred ones preferred, and copies count as one."""

import numpy as np
import pytest
import torch

from napari_so3.poses.blur import Blur, blur_of_grid, measure_blur
from napari_so3.poses.cells import N_CELLS, cells, count, interpolate, smoothing
from napari_so3.poses.chance import ALARM, SIMULATED, draw, judge, unevenness
from napari_so3.poses.coverage import picks_near, view_coverage
from napari_so3.poses.coverage_words import words
from napari_so3.simulation.views import Views
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix, random_rotations
from napari_so3.so3.symmetry import symmetry_group

GROUPS = ("C1", "C7", "D7", "O")


def group(name):
    return symmetry_group(name).numpy()


def uniform(n, seed=0):
    return random_rotations(n, torch.Generator().manual_seed(seed)).numpy()


def preferred(n, rot, tilt, width=10.0, seed=0):
    """Poses around a view, uniform in plane."""
    return Views(((rot, tilt),), width).draw(n, torch.Generator().manual_seed(seed)).numpy()


def belt(n, width=12.0, seed=0):
    """Side views of any rot."""
    rng = np.random.default_rng(seed)
    tilt = 90 + width * rng.normal(size=n)
    return euler_to_matrix(rng.uniform(0, 360, n), tilt, rng.uniform(0, 360, n)).numpy()


def turn_about(view, degrees):
    """Tip a unit vector by an angle, anywhere."""
    aside = np.cross(view, [0.3, -0.5, 0.8])
    aside /= np.linalg.norm(aside)
    return np.cos(np.radians(degrees)) * view + np.sin(np.radians(degrees)) * aside


def test_cells_are_equal_and_even_views_have_density_one():
    directions, areas, _ = cells()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    assert areas.sum() == pytest.approx(1) and areas.max() < 1.15 * areas.min()
    for name in GROUPS:
        np.testing.assert_allclose(areas @ smoothing(group(name), 0.15), 1, atol=1e-4)
    views = uniform(20_000)[:, 2]
    shares = count(views, np.full(len(views), 1 / len(views)))
    assert shares.sum() == pytest.approx(1)
    assert np.abs(shares @ smoothing(group("C1"), 0.3) - 1).max() < 0.15


def test_smoothing_keeps_the_mean_and_the_place():
    view = uniform(1, seed=3)[:, 2]
    density = count(view, np.ones(1)) @ smoothing(group("C1"), 0.15)
    directions, areas, _ = cells()
    assert density @ areas == pytest.approx(1, abs=0.02)
    away = np.arccos(np.clip(directions @ view[0], -1, 1))
    assert away[density.argmax()] < np.radians(5)
    spread = np.sqrt((areas * density * away**2).sum() / (areas * density).sum() / 2)
    assert spread == pytest.approx(0.15, rel=0.15)


def test_interpolation_gives_smooth_functions():
    directions = cells().directions
    views = uniform(500, seed=1)[:, 2]
    values = directions @ (0.6, -0.3, 0.7)
    assert np.abs(interpolate(values, views) - views @ (0.6, -0.3, 0.7)).max() < 0.03
    np.testing.assert_allclose(interpolate(np.full(N_CELLS, 2.5), views.reshape(50, 10, 3)), 2.5)


@pytest.mark.parametrize("name", GROUPS)
def test_density_is_the_same_at_symmetric_views_and_for_symmetric_poses(name):
    g, poses = group(name), preferred(60, 20, 40)
    rng = np.random.default_rng(0)
    coverage = view_coverage(poses, g)
    views = uniform(50, seed=2)[:, 2]
    copies = coverage.at(np.einsum("ni,nij->nj", views, g[rng.integers(len(g), size=50)]))
    np.testing.assert_allclose(copies, coverage.at(views), atol=0.08 * coverage.density.max())
    other = view_coverage(poses @ g[rng.integers(len(g), size=60)], g)
    np.testing.assert_allclose(other.density, coverage.density, atol=0.1 * coverage.density.max())
    np.testing.assert_allclose(other.in_plane, coverage.in_plane, atol=1e-9)
    assert other.p_in_plane == pytest.approx(coverage.p_in_plane)
    assert coverage.n == 60 and coverage.in_plane.sum() == pytest.approx(60)


def test_the_peak_is_where_the_picks_are():
    coverage = view_coverage(preferred(200, 130, 60), group("C1"))
    rot, tilt = coverage.peak
    assert rot == pytest.approx(130, abs=8) and tilt == pytest.approx(60, abs=8)
    at, opposite = coverage.at(
        [preferred(1, 130, 60, 0.0)[0, 2], -preferred(1, 130, 60, 0.0)[0, 2]]
    )
    assert at > 10 > 0.01 > opposite


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("n", [50, 400])
def test_false_alarms_are_as_rare_as_they_should_be(name, n):
    g, areas = group(name), cells().areas
    views = uniform(300 * n)[:, 2].reshape(300, n, 3)
    shares = np.array([count(these, np.full(n, 1 / n)) for these in views])
    by_chance = unevenness(draw(n, areas, seed=0), areas, g)
    p = np.array([np.mean(by_chance >= each) for each in unevenness(shares, areas, g)])
    assert np.mean(p < 0.1) == pytest.approx(0.1, abs=0.06)  # 3.5 standard deviations
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.1)
    assert np.sum(p < ALARM) <= 10
    judged = judge(shares[0], n, g, Blur())
    assert judged.p == pytest.approx((1 + SIMULATED * p[0]) / (1 + SIMULATED))


@pytest.mark.parametrize("name", ["C1", "D7"])
def test_preferred_views_are_found_and_even_ones_are_not(name):
    g = group(name)
    assert not view_coverage(uniform(300), g).is_preferred
    for poses in (preferred(100, 0, 0), preferred(100, 30, 90), belt(100)):
        coverage = view_coverage(poses, g)
        assert coverage.is_preferred
        assert coverage.p_in_plane > 0.001


def test_share_is_that_of_the_sphere_that_is_covered():
    even = view_coverage(uniform(500), group("C1"))
    assert even.share > 0.97 and even.half > 0.45
    assert even.effective_views == pytest.approx(N_CELLS, rel=0.03)
    poses = uniform(2000)
    hemisphere = view_coverage(poses[poses[:, 2, 2] > 0], group("C1"))
    assert 0.5 < hemisphere.share < 0.6  # the smoothing adds a little
    assert 0.24 < hemisphere.half < 0.27
    spot = view_coverage(preferred(500, 0, 90, 2.0), group("C1"))
    assert spot.share < 0.05 and spot.half < 0.02
    d7 = view_coverage(poses[poses[:, 2, 2] > 0], group("D7"))  # the other half are copies
    assert d7.share > 0.97
    assert d7.effective_views == pytest.approx(N_CELLS / 14, rel=0.03)


def test_in_plane_angles_are_psi():
    rng = np.random.default_rng(0)
    rot, tilt = rng.uniform(0, 360, 300), rng.uniform(20, 160, 300)
    poses = euler_to_matrix(rot, tilt, 74 + rng.uniform(-3, 3, 300)).numpy()
    coverage = view_coverage(poses, group("C7"))
    assert coverage.in_plane[7] == pytest.approx(300)
    assert coverage.p_in_plane < 1e-6
    d7 = view_coverage(poses, group("D7"))  # a two-fold axis turns the image upside down
    assert d7.in_plane[7] == d7.in_plane[25] == pytest.approx(150)
    assert d7.p_in_plane < 1e-6
    p = [view_coverage(belt(60, seed=s), group("D7")).p_in_plane for s in range(4)]
    assert min(p) > 0.001 and max(p) > 0.1


def test_weights_count_picks():
    good, bad = preferred(100, 0, 0), preferred(100, 0, 180)
    both, weights = np.concatenate([good, bad]), np.repeat([1.0, 0.0], 100)
    weighted, alone = view_coverage(both, group("C1"), weights), view_coverage(good, group("C1"))
    np.testing.assert_allclose(weighted.density, alone.density, atol=1e-5)
    assert weighted.p == alone.p and weighted.share == pytest.approx(alone.share)
    # A few picks that count a lot are as good as few picks.
    few = np.r_[np.ones(5), np.full(995, 1e-6)]
    assert view_coverage(uniform(1000), group("C1"), few).power < 0.5


def test_no_picks_and_wrong_shapes():
    nothing = view_coverage(np.zeros((0, 3, 3)), group("C1"))
    assert nothing.n == 0 and not nothing.is_preferred and (nothing.density == 1).all()
    assert words(nothing) == "There are no poses yet."
    assert view_coverage(uniform(1), group("C1")).n == 1
    with pytest.raises(ValueError, match=r"\(n, 3, 3\)"):
        view_coverage(np.zeros((4, 3)), group("C1"))
    with pytest.raises(ValueError, match="weights"):
        view_coverage(uniform(4), group("C1"), np.ones(3))


@pytest.mark.parametrize("name", GROUPS)
def test_picks_near_a_view_are_those_of_its_copies(name):
    g, poses = group(name), uniform(500, seed=5)
    view = poses[17, 2]
    found = picks_near(poses, view, 15.0, g)
    assert 17 in found
    angles = np.degrees(np.arccos(np.clip(poses[:, 2] @ (view @ g).reshape(-1, 3).T, -1, 1)))
    np.testing.assert_array_equal(found, np.flatnonzero(angles.min(axis=1) <= 15.0))
    np.testing.assert_array_equal(found, picks_near(poses, g[-1] @ view, 15.0, g))
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ poses  # in plane
    np.testing.assert_array_equal(found, picks_near(turned, view, 15.0, g))
    near, far = turn_about(view, 9.9), turn_about(view, 10.1)
    assert 17 in picks_near(poses, near, 10.0, g)
    assert name != "C1" or 17 not in picks_near(poses, far, 10.0, g)
    assert len(picks_near(np.zeros((0, 3, 3)), view, 15.0, g)) == 0


# ---------------------------------------------------------------------- errors of the poses


def guess(true, share, seed=9):
    """Replace a share of poses by guesses."""
    poses = true.copy()
    wrong = np.random.default_rng(seed).random(len(true)) < share
    poses[wrong] = uniform(int(wrong.sum()), seed)
    return poses


@pytest.mark.parametrize("name", ["C1", "D7"])
def test_clarity_is_what_is_left_of_an_unevenness(name):
    true = uniform(4000)
    assert measure_blur(true, true, group(name)).clarity == pytest.approx(1)
    for share in (0.3, 0.7, 1.0):
        blur = measure_blur(guess(true, share), true, group(name))
        assert blur.clarity == pytest.approx(1 - share, abs=0.06)


def drawn_to_top(true):
    """Tip views halfway towards +z, as a poor estimator may do: (n, 3, 3)."""
    z = true[:, 2, 2]
    tilt = np.degrees(np.arccos(z))
    rot = np.degrees(np.arctan2(true[:, 2, 1], true[:, 2, 0]))
    return euler_to_matrix(rot, tilt * 0.8, np.arange(len(true)) * 37.0).numpy()


def test_an_estimator_that_likes_some_views_is_not_believed():
    g, true = group("C1"), uniform(6000, seed=1)
    blur = measure_blur(drawn_to_top(true), true, g)
    even = drawn_to_top(uniform(300, seed=2))
    assert view_coverage(even, g).is_preferred  # of an estimator without errors
    assert not view_coverage(even, g, blur=blur).is_preferred
    assert view_coverage(drawn_to_top(preferred(300, 0, 90)), g, blur=blur).is_preferred


@pytest.mark.parametrize("name", ["C1", "D7"])
def test_the_few_views_of_a_matcher_are_not_taken_for_preferred_ones(name):
    g, grid = group(name), RotationGrid.reduced(name, 32, 8)
    blur = blur_of_grid(grid.matrices.numpy(), g)
    assert 0.3 < blur.clarity < 0.95

    def snapped(poses):
        return grid.matrices[grid.nearest(torch.from_numpy(poses))[0]].numpy()

    even = [view_coverage(snapped(uniform(300, s)), g, blur=blur) for s in range(2, 5)]
    assert not any(coverage.is_preferred for coverage in even)
    assert all(coverage.share > 0.9 for coverage in even)
    side = view_coverage(snapped(belt(300)), g, blur=blur)
    assert side.is_preferred
    assert name == "C1" or "are side views" in words(side)
    if name == "D7":  # of few views, those that are not exact seem to be preferred
        assert view_coverage(snapped(uniform(300)), g).is_preferred


def test_unsure_poses_give_no_all_clear():
    g = group("C1")
    hidden = guess(preferred(60, 40, 90), 0.85)
    assert "unsure to tell" in words(view_coverage(hidden, g, blur=Blur(0.15)))
    assert "too few to tell" in words(view_coverage(uniform(60), g, blur=Blur(0.4)))
    assert "No sign" in words(view_coverage(uniform(600), g, blur=Blur(0.6)))
    assert "less even than they look" in words(view_coverage(uniform(600), g, blur=Blur(0.6)))


# ---------------------------------------------------------------------- words


def test_words_name_the_views_and_say_what_to_do():
    side = words(view_coverage(belt(240), group("D7")))
    assert side.startswith("Views are uneven: half of the particles show ")
    assert "are side views (tilt near 90°); 50 % would be even" in side
    assert "Collect tilted" in side
    top = words(view_coverage(preferred(240, 0, 180), group("D7")))
    assert "top views (tilt near 0° or 180°); 13 % would be even" in top
    assert "bottom views (tilt near 180°); 7 %" in words(
        view_coverage(preferred(240, 0, 180), group("C7"))
    )


@pytest.mark.parametrize("name", ["C1", "O"])
def test_without_an_axis_there_is_no_top_and_no_side(name):
    said = words(view_coverage(preferred(240, 0, 0), group(name)))
    assert said.startswith("Views are uneven")
    assert "top" not in said and "side" not in said and "near rot" in said


def test_words_tell_too_few_from_even():
    assert words(view_coverage(uniform(8), group("C1"))) == (
        "8 picks are too few to tell whether views are preferred."
    )
    assert "1 pick are" not in words(view_coverage(uniform(1), group("C1")))
    said = words(view_coverage(uniform(1200), group("C1")))
    assert said == "No sign of preferred views among 1,200 picks."


def test_slightly_uneven_views_are_called_so():
    mixed = np.concatenate([belt(150), uniform(250)])
    said = words(view_coverage(mixed, group("D7")))
    assert said.startswith("Views are slightly uneven, as if 9") and "side views" in said
    assert "Collect" not in said


def test_uneven_in_plane_angles_cast_doubt_on_the_poses():
    rng = np.random.default_rng(0)
    poses = euler_to_matrix(rng.uniform(0, 360, 200), 90, 10 * rng.normal(size=200)).numpy()
    assert "look at the poses" in words(view_coverage(poses, group("D7")))
    assert "look at the poses" not in words(view_coverage(belt(200), group("D7")))
