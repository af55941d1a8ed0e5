"""A picker sees the same in a turned micrograph, and the check notices one that does not."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_so3.insight.self_check import TURNS, expected_rotations, self_check
from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.pick import PickError, PickSettings
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import ScoreMaps, ScoreProgress, Scorer
from napari_so3.simulation.density import barrel
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.so3.projection import RotateProject
from napari_so3.so3.rotations import RotationGrid

CPU, DIAMETER = torch.device("cpu"), 180.0
MIRRORS = [turn for turn in TURNS if turn.psi is None]


@pytest.fixture(scope="module")
def micrograph():
    # Odd sizes and the pixels of the network: nothing is resampled, and all must be exact.
    config = SimulationConfig((201, 241), DIAMETER / 20, 20, snr=0.5, structure=0.2)
    made = simulate_micrograph(barrel(), config, torch.Generator().manual_seed(3))
    return Micrograph(Path("barrels.mrc"), made.image, made.pixel_size, "given")


def check(micrograph, picker, **options):
    scorer = Scorer(picker.net, CPU)
    *steps, result = self_check(micrograph, picker, PickSettings(DIAMETER), scorer, **options)
    assert all(isinstance(step, ScoreProgress) for step in steps)
    assert steps[-1].done == steps[-1].total
    assert all(a.done <= b.done for a, b in pairwise(steps))
    return result


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.words)
def test_filters_tell_what_rotations_become(turn):
    """The projection of a filter, turned as an image, is that of the expected rotation."""
    grid = RotationGrid(6, 8, antipodal=True)
    project = RotateProject(grid, 7, "blob")
    weights = torch.randn(1, project.n_weights, generator=torch.Generator().manual_seed(0))
    filters = project(weights)[:, 0].numpy()
    expected, closed = expected_rotations(grid, turn)
    assert closed
    for before, after in enumerate(expected):
        np.testing.assert_allclose(turn.image(filters[before]), filters[after], atol=1e-4)
        if turn.psi is not None:
            grown = grid.euler_angles[after, 2] - grid.euler_angles[before, 2]
            assert grown % 360 == pytest.approx(turn.psi)
            assert after // 8 == before // 8


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.words)
def test_places_are_led_back(turn):
    image = np.arange(20.0).reshape(4, 5)
    turned = turn.image(image)
    y, x = np.indices(turned.shape).reshape(2, -1)
    back = turn.back(y, x, *image.shape)
    np.testing.assert_array_equal(image[back], turned.ravel())


def test_picks_move_with_the_picture(micrograph):
    result = check(micrograph, load_picker("general"))
    assert result.picks > 5
    for row in result.rows:
        assert row.closed
        assert row.moved == row.known == 1.0
        assert row.moved_closely == 1.0
        assert row.away < 0.01
        assert row.largest_shift < 1e-4
        assert row.rotation_kept == 1.0
        assert row.psi_seen == row.psi
    assert [row.psi for row in result.rows] == [90, 180, 270, None, None]
    text = " ".join(result.sentences())
    assert "all of them moved with the picture; all if candidates" in text
    assert "grew by 90°, 180°, 270°, as it should" in text


def test_grids_without_mirror_images_are_told(micrograph):
    result = check(micrograph, load_picker("general", (5, 8)))
    for row in result.rows:
        assert row.closed == (row.psi is not None)
    assert "do not become each other" in " ".join(result.sentences())
    thirds = RotationGrid(4, 6)
    assert [expected_rotations(thirds, turn)[1] for turn in TURNS] == [False, True] + [False] * 3


def test_a_network_that_minds_the_turn_is_noticed(micrograph, monkeypatch):
    """Its score depends on where in the picture one looks."""
    score = Scorer.score

    def biased(self, image, keep=None):
        for event in score(self, image, keep):
            if isinstance(event, ScoreMaps):
                ramp = np.linspace(4.0, -20.0, event.logits.shape[1], dtype=np.float32)
                event = ScoreMaps(event.logits + ramp, event.best_rotation, event.step, event.grid)
            yield event

    monkeypatch.setattr(Scorer, "score", biased)
    result = check(micrograph, load_picker("general"))
    by_words = {row.words: row for row in result.rows}
    assert by_words["mirrored, left to right"].moved < 0.5
    assert by_words["mirrored, top to bottom"].moved == 1.0  # that it does not mind


def test_rotations_that_stay_when_they_should_turn_are_noticed(micrograph, monkeypatch):
    score = Scorer.score

    def stubborn(self, image, keep=None):
        for event in score(self, image, keep):
            if isinstance(event, ScoreMaps):
                best = np.zeros_like(event.best_rotation)
                event = ScoreMaps(event.logits, best, event.step, event.grid)
            yield event

    monkeypatch.setattr(Scorer, "score", stubborn)
    result = check(micrograph, load_picker("general"))
    for row in result.rows:
        assert row.moved == 1.0
        assert row.rotation_kept == 0.0
        assert row.psi_seen == (None if row.psi is None else 0.0)
    assert "should have grown" in " ".join(result.sentences())


def test_without_picks_there_is_nothing_to_check(micrograph):
    with pytest.raises(PickError, match=r"barrels\.mrc: there are no picks"):
        check(micrograph, load_picker("general"), threshold=1 - 1e-16)
