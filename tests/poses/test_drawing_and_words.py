"""What is drawn and said of poses is what one sees: checked with projections of a particle."""

import numpy as np
import pytest
import torch

from napari_so3.poses.drawing import arrows, centres, paste, view_colours
from napari_so3.poses.words import describe_difference, describe_pose, view_name
from napari_so3.simulation.density import PseudoAtoms
from napari_so3.so3.rotations import euler_to_matrix, random_rotations
from napari_so3.so3.symmetry import symmetry_group

C1, C4, D7 = (symmetry_group(name).numpy() for name in ("C1", "C4", "D7"))
STEP = 5.0


def pose(rot, tilt, psi):
    return euler_to_matrix(rot, tilt, psi).numpy()


def random(n, seed=0):
    return random_rotations(n, torch.Generator().manual_seed(seed)).numpy()


def test_the_arrow_leads_to_where_the_upper_end_of_the_particle_is_seen():
    matrices = random(12)
    top = torch.tensor([[0.0, 0.0, 60.0]], dtype=torch.float64)  # a ball at the end of z
    ball = PseudoAtoms(top, torch.ones(1, dtype=torch.float64), 6.0)
    images = ball.project(torch.from_numpy(matrices), (61, 61), STEP).numpy()
    places = np.tile([200.0, 300.0], (12, 1))
    begin, way = arrows(places, matrices, 100.0, polar=True).transpose(1, 0, 2)
    np.testing.assert_array_equal(begin, places)
    yx = np.indices((61, 61)).reshape(2, -1)
    for image, arrow in zip(images, way, strict=True):
        seen = yx @ image.ravel() / image.sum() - 30
        length = np.linalg.norm(seen)
        assert arrow @ seen / (np.linalg.norm(arrow) * length) > 0.999
        if length > 4:
            assert np.linalg.norm(arrow) == pytest.approx(45 * length * STEP / 60, rel=0.03)


def test_lines_of_particles_with_two_equal_ends_go_through_the_middle():
    matrices, places = np.stack([pose(0, 90, 30), pose(0, 0, 0)]), np.array([[10, 20], [30, 40.0]])
    lines = arrows(places, matrices, 100.0, polar=False)
    np.testing.assert_allclose(lines[:, 0] + lines[:, 1] / 2, places)
    flipped = np.stack([pose(0, 90, 210), pose(0, 180, 0)])
    ends = arrows(places, flipped, 100.0, polar=False)
    np.testing.assert_allclose(np.abs(ends[0, 1]), np.abs(lines[0, 1]))
    assert np.linalg.norm(lines[1, 1]) == pytest.approx(24)  # a view from the top is a dash
    assert np.isfinite(lines).all()


def test_symmetric_copies_have_the_same_colour_and_other_views_another():
    matrices = random(40)
    for group in (C4, D7):
        colours = view_colours(matrices, group)
        for g in group:
            np.testing.assert_array_equal(view_colours(matrices @ g, group), colours)
    assert len(np.unique(view_colours(matrices, C1), axis=0)) > 35
    turned = pose(0, 0, 77) @ matrices
    np.testing.assert_allclose(view_colours(turned, D7), view_colours(matrices, D7), atol=1)


def test_projections_are_pasted_where_the_particles_are():
    image = np.zeros((1, 7, 7), np.float32)
    image[0, 3, 3] = 1
    images = np.repeat(image, 3, axis=0)
    large = paste(images, np.array([[5.0, 8.0], [20.25, 12.5], [0.0, 29.0]]), (30, 30))
    assert large.shape == (30, 30) and large[5, 8] == 1 and large[0, 29] == 1
    found = large[18:24, 10:16]
    y, x = np.indices(found.shape)
    assert (y * found).sum() / found.sum() + 18 == pytest.approx(20.25, abs=1e-3)
    assert (x * found).sum() / found.sum() + 10 == pytest.approx(12.5, abs=1e-3)
    assert large.sum() == pytest.approx(3)
    assert paste(images, np.array([[15.0, 15], [15, 15], [99, 99]]), (30, 30)).max() == 1
    assert not paste(images[:0], np.zeros((0, 2)), (30, 30)).any()


def test_centres_are_the_picks_and_their_shifts_in_pixels():
    import pandas as pd

    table = pd.DataFrame({"y": [10.0, 5], "x": [20.0, 6], "dy": [3.0, np.nan], "dx": [-6.0, 0]})
    np.testing.assert_allclose(centres(table, 3.0), [[11, 18], [5, 6]])


def test_views_have_names_where_the_particle_has_an_axis():
    assert view_name(pose(10, 85, 0), "D7") == "Side view"
    assert view_name(pose(10, 12, 0), "D7") == view_name(pose(10, 168, 0), "D7") == "Top view"
    assert view_name(pose(10, 168, 0), "C4") == "Bottom view"
    assert view_name(pose(10, 130, 0), "D7") == "Tilted view (50° from the axis)"
    for without in ("C1", "T", "O", "I"):
        assert view_name(pose(10, 85, 0), without) == "View rot 10°, tilt 85°"


@pytest.mark.parametrize("symmetry", ["C4", "D7"])
def test_words_are_those_of_the_same_pose_whichever_copy_it_is(symmetry):
    group = symmetry_group(symmetry).numpy()
    for matrix in (pose(20, 75, 41), pose(20, 20, 100), pose(-70, 110, 200)):
        said = {
            describe_pose((matrix @ g)[None], np.ones(1), np.nan, symmetry, group) for g in group
        }
        assert len(said) == 1
        other = pose(5, 60, 10)
        differs = {
            describe_difference(matrix @ g, other @ h, symmetry, group)
            for g in group
            for h in group[::3]
        }
        assert len(differs) == 1


def test_the_sentence_says_how_sure_it_is_and_what_comes_next():
    first = pose(20, 85, 41)
    down = pose(0, 0, 180) @ first
    said = describe_pose(np.stack([first, down]), np.array([0.87, 0.09]), 0.87, "C4", C4)
    assert said == "Side view, 41° in plane, 87 % sure; next: upside down, 9 %."
    missing = np.full((3, 3), np.nan)
    said = describe_pose(np.stack([first, missing]), np.array([1.0, 0.0]), np.nan, "C4", C4)
    assert said == "Side view, 41° in plane."


def test_differences_between_poses_have_words():
    first = pose(20, 40, 41)
    turned = pose(0, 0, 40) @ first
    assert describe_difference(first, turned, "C4", C4) == "turned by 40° in plane"
    assert describe_difference(first, pose(20, 75, 41), "C4", C4) == "another view, 35° away"
    about_x = np.diag([1.0, -1, -1])
    assert describe_difference(pose(3, 50, 0), about_x @ pose(3, 50, 0), "C1", C1) == (
        "seen from the other side"
    )
    side = pose(0, 90, 0)
    assert describe_difference(side, pose(0, 0, 180) @ side, "C4", C4) == "upside down"
