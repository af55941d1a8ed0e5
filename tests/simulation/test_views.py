import numpy as np
import pytest
import torch

from napari_so3.simulation.views import Views
from napari_so3.so3.rotations import euler_to_matrix, matrix_to_euler


def draw(views, n=4000, seed=0):
    return views.draw(n, torch.Generator().manual_seed(seed))


def test_without_preference_all_views_are_equally_frequent():
    directions = draw(Views())[:, 2].numpy()
    np.testing.assert_allclose(directions.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(directions.T @ directions / 4000, np.eye(3) / 3, atol=0.02)


@pytest.mark.parametrize("width", [5.0, 15.0])
@pytest.mark.parametrize("view", [(0.0, 0.0), (40.0, 75.0)])
def test_preferred_views_spread_by_their_width(view, width):
    directions = draw(Views((view,), width))[:, 2]
    middle = euler_to_matrix(*view, 0.0)[2]
    angle = torch.rad2deg(torch.acos((directions @ middle).clamp(-1, 1)))
    # Gaussian along two directions: the mean square of the angle is twice the variance.
    assert float((angle**2).mean().sqrt()) == pytest.approx(np.sqrt(2) * width, rel=0.04)


def test_in_plane_angles_stay_uniform():
    _, _, psi = matrix_to_euler(draw(Views(((40.0, 75.0),), 5.0)))
    turns = np.exp(1j * np.radians(psi))
    assert abs(turns.mean()) < 0.04
    assert abs((turns**2).mean()) < 0.04


def test_several_views_are_equally_frequent():
    views = Views(((0.0, 0.0), (0.0, 90.0)), 3.0)
    assert (draw(views)[:, 2, 2] > 0.8).double().mean() == pytest.approx(0.5, abs=0.03)


def test_draws_are_reproducible_rotations():
    views = Views(((10.0, 20.0),))
    r = draw(views, 10)
    assert torch.equal(r, draw(views, 10))
    assert not torch.equal(r, draw(views, 10, seed=1))
    torch.testing.assert_close(r @ r.mT, torch.eye(3).double().expand(10, 3, 3))
    assert (torch.linalg.det(r) > 0).all()


def test_a_negative_width_is_refused():
    with pytest.raises(ValueError, match="width"):
        Views(width=-1.0)
