"""What fewer rotations keep: counted on made-up candidates, and measured on a small micrograph."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logit

from napari_so3.insight import budget
from napari_so3.insight.budget import Budget, BudgetRow, survey_budget, survey_grids
from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.pick import PickError, PickSettings, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.picks import Picks, make_table
from napari_so3.picking.score import ScoreProgress, Scorer

CPU, SETTINGS = torch.device("cpu"), PickSettings(100.0)
GRIDS, LOW = [(1, 4), (4, 4)], 0.003  # of a random network, whose P is low
PIXEL = 5.0  # a quarter of the diameter is 5 pixels


def noise(seed=0, shape=(120, 150)):
    data = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return Micrograph(Path(f"m{seed}.mrc"), data, PIXEL, "given")


@pytest.fixture
def picker(tiny_model):
    return load_picker(tiny_model)  # 4 x 4 rotations


def survey(picker, micrographs, grids, **options):
    events = survey_budget(micrographs, picker, SETTINGS, CPU, grids, **options)
    return [e for e in events if not isinstance(e, ScoreProgress)]


@pytest.fixture
def candidates(monkeypatch):
    """Let grids of so many rotations find what is given: (y, x, P) by micrograph."""

    def give(found):
        def find(maps, _image, micrograph, _picker, _settings):
            y, x, p = np.array(found[len(maps.grid)][micrograph.name]).reshape(-1, 3).T
            order = np.argsort(-p)
            where, score = np.column_stack((y, x))[order], logit(p[order]).astype(np.float32)
            table = make_table(where, score, np.zeros(len(p), int), np.zeros((1, 3)))
            return Picks(table, str(micrograph.path))

        monkeypatch.setattr(budget, "find_picks", find)

    return give


def test_picks_are_compared_by_rank_and_at_the_threshold(picker, candidates):
    candidates(
        {
            16: {"m0": [(20, 20, 0.9), (60, 60, 0.8)], "m1": [(20, 20, 0.7), (90, 90, 0.1)]},
            8: {
                # near its place; 6 pixels off; a third one, and the best in the other micrograph
                "m0": [(24, 20, 0.6), (66, 60, 0.55), (100, 100, 0.2)],
                "m1": [(20, 20, 0.3), (60, 60, 0.52)],
            },
        }
    )
    *_, result = survey(picker, [noise(0), noise(1)], [(1, 8), (4, 4)], threshold=0.5)
    few, reference = result.rows
    assert (reference.picks, reference.kept, reference.kept_at_threshold) == (3, 1.0, 1.0)
    assert (reference.new, reference.shift) == (0, 0.0)
    assert few.picks == 3  # 0.6, 0.55 and 0.52
    assert few.kept_at_threshold == pytest.approx(1 / 3)
    assert few.kept == pytest.approx(1 / 3)  # the best three are the same three here
    assert few.new == 2
    assert few.shift == pytest.approx(np.median([0.3, 0.4]), abs=1e-5)  # of 0.9 and of 0.7
    assert result.smallest(0.3) is few
    assert result.smallest() is reference
    assert (result.own, result.micrographs, result.threshold) == ((4, 4), 2, 0.5)


def test_a_lower_p_costs_picks_but_not_ranks(picker, candidates):
    places = [(20.0, 20.0), (60.0, 60.0), (100.0, 100.0)]
    candidates(
        {
            16: {"m0": [(*at, 0.9) for at in places]},
            8: {"m0": [(*at, 0.4) for at in places] + [(20.0, 100.0, 0.3)]},
        }
    )
    *_, result = survey(picker, [noise()], [(1, 8), (4, 4)], threshold=0.5)
    few = result.rows[0]
    assert (few.picks, few.kept, few.kept_at_threshold, few.new) == (0, 1.0, 0.0, 0)
    assert few.shift == pytest.approx(0.5, abs=1e-5)
    assert result.smallest() is few


def test_the_same_places_of_other_micrographs_do_not_count(picker, candidates):
    candidates(
        {
            16: {"m0": [(20, 20, 0.9)], "m1": [(60, 60, 0.9)]},
            8: {"m0": [(60, 60, 0.9)], "m1": [(20, 20, 0.9)]},
        }
    )
    *_, result = survey(picker, [noise(0), noise(1)], [(1, 8), (4, 4)])
    assert (result.rows[0].kept, result.rows[0].new) == (0.0, 2)
    assert np.isnan(result.rows[0].shift)


def test_rows_come_one_by_one_and_say_what_picking_says(picker):
    micrographs = [noise(0), noise(1)]
    budgets = survey(picker, micrographs, [(4, 4), (1, 4), (6, 8)], threshold=LOW)
    assert [len(b.rows) for b in budgets] == [1, 2, 3]
    result = budgets[-1]
    assert [row.rotations for row in result.rows] == [4, 16, 48]
    for row in result.rows:
        turned = picker.with_rotations(row.views, row.in_plane)
        scorer, n = Scorer(turned.net, CPU), 0
        for one in micrographs:
            *_, picks = pick(one, turned, SETTINGS, scorer)
            n += len(picks.above(LOW))
        assert row.picks == n > 0
        assert row.seconds > 0


def test_progress_grows_to_the_end(picker):
    steps = [
        e
        for e in survey_budget([noise(0), noise(1)], picker, SETTINGS, CPU, GRIDS, LOW)
        if isinstance(e, ScoreProgress)
    ]
    assert all(a.done <= b.done for a, b in pairwise(steps))
    assert steps[-1].done == steps[-1].total
    assert {s.note for s in steps} == {"16 rotations (4 x 4)", "4 rotations (1 x 4)"}


def test_what_is_done_with_the_progress_takes_no_time(picker, monkeypatch):
    warm = []
    score = Scorer.score

    def slow_at_first(self, image, keep=None):
        if self not in warm:
            warm.append(self)
            time.sleep(0.5)  # of the first image: compiling, buffers
        yield from score(self, image, keep)

    monkeypatch.setattr(Scorer, "score", slow_at_first)
    for event in survey_budget([noise()], picker, SETTINGS, CPU, [(1, 4)], LOW):
        if isinstance(event, ScoreProgress):
            time.sleep(0.1)
    assert event.rows[0].seconds < 0.3


def test_usual_numbers_and_that_of_the_model_are_compared(picker):
    grids = survey_grids(picker.with_rotations(6, 8))
    assert (6, 8) in grids
    assert [s * n for s, n in grids] == sorted(s * n for s, n in grids)
    assert len(set(grids)) == len(grids)


def test_without_picks_there_is_nothing_to_compare(picker):
    with pytest.raises(PickError, match=r"no picks above P = 0\.9999"):
        survey(picker, [noise()], [(1, 4)], threshold=0.9999)
    with pytest.raises(ValueError, match="at least one micrograph"):
        survey(picker, [], [(1, 4)])


def test_the_smallest_is_the_first_that_is_good_enough():
    row = BudgetRow(1, 8, 1.0, 10, 0.5, 1.0, 0, 0.0)
    rows = tuple(replace(row, views=v, kept=k) for v, k in ((1, 0.5), (2, 0.995), (4, 0.98)))
    result = Budget((*rows, replace(row, views=8, kept=1.0)), (4, 8), 1, 0.5)
    assert result.smallest().views == 2
    assert result.smallest(0.999).views == 8
    assert result.smallest(0.1).views == 1


def test_the_own_rotations_are_suggested_where_only_the_most_would_do():
    row = BudgetRow(4, 8, 1.0, 10, 0.9, 1.0, 0, 0.0)
    most = replace(row, views=32, kept=1.0, seconds=12.0)
    scarce = Budget((replace(row, views=1, kept=0.5), row, most), (4, 8), 1, 0.5)
    assert scarce.suggested() is row and scarce.is_own(row) and not scarce.is_own(most)
    assert "32 keep 90.0 %" in scarce.advice() and "comes with 32" in scarce.advice()
    enough = replace(scarce, rows=(row, replace(row, views=8, kept=0.995), most))
    assert enough.suggested().rotations == 64
    assert "64 rotations" in enough.advice() and "1 s instead of 12 s" in enough.advice()
