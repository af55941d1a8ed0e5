"""The ellipse of all views: where they lie, and that areas are true."""

import numpy as np
import pytest

from napari_so3.poses.cells import cells
from napari_so3.poses.mollweide import draw, from_ellipse, outlines, project_line, to_ellipse


@pytest.fixture
def views():
    views = np.random.default_rng(0).normal(size=(400, 3))
    return views / np.linalg.norm(views, axis=1, keepdims=True)


def test_there_and_back(views):
    x, y = to_ellipse(views).T
    np.testing.assert_allclose(from_ellipse(x, y), views, atol=1e-6)


def test_tilt_0_is_on_top_and_rot_grows_to_the_right():
    np.testing.assert_allclose(to_ellipse([0, 0, 1]), (0, 1), atol=1e-7)
    np.testing.assert_allclose(to_ellipse([0, 0, -1]), (0, -1), atol=1e-7)
    np.testing.assert_allclose(to_ellipse([1, 0, 0]), (0, 0), atol=1e-12)
    np.testing.assert_allclose(to_ellipse([0, 1, 0]), (1, 0), atol=1e-12)  # rot 90
    assert np.isnan(from_ellipse(1.5, 0.8)).all()


def test_areas_are_true():
    directions, areas, _ = cells()
    across, up = np.meshgrid(np.linspace(-2, 2, 801), np.linspace(-1, 1, 401))
    inside = (across / 2) ** 2 + up**2 < 1
    places = (to_ellipse(directions).T, (across[inside], up[inside]))
    for part in (
        lambda x, y: x > 0.7,
        lambda x, y: y > 0.4,
        lambda x, y: np.hypot(x, y) < 0.6,
        lambda x, y: (x < 0) & (y < -0.2),
    ):
        on_sphere, on_paper = (part(x, y) for x, y in places)
        assert areas[on_sphere].sum() == pytest.approx(on_paper.mean(), abs=0.01)


def test_pictures_have_row_0_on_top():
    directions = cells().directions
    picture = draw(directions[:, 2], 60)
    assert picture.shape == (60, 120) and np.isnan(picture[0, 0])
    assert picture[0, 60] > 0.95 and picture[-1, 60] < -0.95
    right = draw(directions[:, 1], 60)
    assert right[30, 89] == pytest.approx(1, abs=0.03) and right[30, 30] == pytest.approx(
        -1, abs=0.03
    )


def test_circles_have_their_radius_and_are_cut_at_the_edge():
    view = np.array([[-1.0, 0.0, 0.0], [0.6, 0.0, 0.8]])
    on_edge, whole = outlines(view[:1], 15.0), outlines(view[1:], 15.0)
    assert len(whole) == 1 and len(on_edge) > 1
    for lines, middle in ((on_edge, view[0]), (whole, view[1])):
        points = np.concatenate([from_ellipse(*(line * 0.999999).T) for line in lines])
        np.testing.assert_allclose(np.degrees(np.arccos(points @ middle)), 15.0, atol=0.2)
    assert max(np.abs(np.diff(line[:, 0])).max() for line in on_edge) < 0.5


def test_a_line_over_the_edge_is_not_drawn_through_the_middle():
    angle = np.radians(np.arange(0, 361, 10))
    equator = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    assert [len(part) for part in project_line(equator)] == [19, 18]
