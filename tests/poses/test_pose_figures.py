"""Figures of poses say what they show, and leave no window behind."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from napari_so3.poses.coverage import view_coverage
from napari_so3.poses.coverage_words import words
from napari_so3.poses.figures import confidence_figure, coverage_figure, poses_figure
from napari_so3.simulation.views import Views
from napari_so3.so3.symmetry import symmetry_group


@pytest.fixture
def written(tmp_path):
    """Write a figure without a complaint, such as that its parts do not fit."""

    def written(figure):
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / "figure.png", dpi=50)
        import matplotlib.pyplot as plt

        return plt.get_fignums() == []

    return written


def says(figure, said):
    texts = [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
    return said in " ".join(" ".join(texts).split())


def test_coverage_figure(written):
    matrices = Views(((90, 60),), 10.0).draw(80, torch.Generator().manual_seed(0)).numpy()
    coverage = view_coverage(matrices, symmetry_group("C1").numpy())
    figure = coverage_figure(coverage, "m0")
    assert says(figure, "m0: views of 80 picks") and says(figure, words(coverage))
    ellipse, *globes = [ax for ax in figure.axes if ax.images]
    values = np.asarray(ellipse.images[0].get_array().filled(np.nan))
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    assert row < len(values) / 2 < column - values.shape[1] / 4  # above and to the right
    brightest = [np.nanmax(ax.images[0].get_array().filled(np.nan)) for ax in globes]
    assert brightest[0] == pytest.approx(coverage.density.max(), rel=0.05)
    assert brightest[1] < 0.1 * brightest[0]  # the other side
    front = np.asarray(globes[0].images[0].get_array().filled(np.nan))
    row, column = np.unravel_index(np.nanargmax(front), front.shape)
    assert column > len(front) / 2 + 50  # rot 90 is to the right of rot 30
    assert row < len(front) / 2 - 15  # and at the same tilt it is higher up there
    bars = next(ax for ax in figure.axes if len(ax.patches) == 36)
    assert sum(bar.get_height() for bar in bars.patches) == pytest.approx(80)
    assert written(figure)
    assert written(coverage_figure(view_coverage(matrices[:0], np.eye(3)[None])))


def test_pairs_of_particles_and_projections(written):
    images = np.random.default_rng(0).normal(size=(4, 21, 21))
    captions = [f"tilt {10 * i}°" for i in range(4)]
    figure = poses_figure(images, -images, 5.0, [0.1, 0.2, 0.3, 0.4], captions)
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(pictures) == 8
    np.testing.assert_array_equal(pictures[4], images[2])
    np.testing.assert_array_equal(pictures[5], -images[2])
    assert says(figure, "map, correlation 0.30") and says(figure, "tilt 30°") and says(figure, "Å")
    assert written(figure)


def test_confidences_say_how_many_are_right(written):
    figure = confidence_figure(np.array([0.91, 0.91, 0.2, np.nan]))
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights[18] == 2 and sum(heights) == 3
    assert says(figure, "2 of 3 to be expected")
    assert written(figure) and written(confidence_figure(np.full(3, np.nan)))
