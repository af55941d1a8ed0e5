import numpy as np
import pytest

from napari_so3.session.pool import Candidates
from napari_so3.session.tally import NOT_PICKED, Tally


@pytest.fixture
def picked(session, make_picks):
    """Candidates of all but the second and the last; the fourth has none."""
    for i, n in ((0, 40), (2, 30), (3, 0)):
        session.pool.put(session.names[i], Candidates.of(make_picks(n, i)))
    return session


def check(tally, session):
    """Compare with what `Session.picks_of` says of one micrograph after another."""
    for row, name in enumerate(session.names):
        picks = session.picks_of(name)
        if picks is None:
            assert tally.counts[row] == NOT_PICKED
            assert np.isnan([tally.means[row], tally.pixel_sizes[row]]).all()
            continue
        candidates, chosen = picks
        assert tally.counts[row] == chosen.sum()
        assert tally.pixel_sizes[row] == candidates.pixel_size
        expected = candidates.logit[chosen].mean() if chosen.any() else np.nan
        assert tally.means[row] == pytest.approx(expected, nan_ok=True, abs=1e-5)


def test_counts_follow_the_threshold(picked):
    tally, totals = Tally(picked), set()
    for threshold in (-2.0, 0.5, 3.0, 50.0):
        picked.threshold = threshold
        tally.count()
        check(tally, picked)
        totals.add(tally.counts[[0, 2]].sum())
    assert len(totals) == 4 and 0 in totals


def test_counts_follow_filters_and_labels_once_they_are_looked_at_anew(picked):
    tally = Tally(picked)
    before = tally.counts.copy()
    picked.margin, picked.in_plane, picked.hidden_views = 40.0, 4, (1, 2)
    first = picked.pool.get(picked.names[0])
    picked.marks.mark(picked.names[0], "positive", [(first.y[-1], first.x[-1])], 1.0)
    tally.forget_scores()
    tally.count()
    check(tally, picked)
    assert (tally.counts != before).any()


def test_one_micrograph_is_counted_by_itself(picked, make_picks):
    tally = Tally(picked)
    picked.override(picked.names[0], 2.0)
    picked.pool.put(picked.names[4], Candidates.of(make_picks(20, 9)))
    for name in (picked.names[0], picked.names[4], "unknown"):
        tally.count_one(name)
    check(tally, picked)


def test_new_micrographs_are_counted(picked, tmp_path):
    tally = Tally(picked)
    picked.add_micrographs([tmp_path / "another.mrc"])
    tally.count()
    assert len(tally.counts) == 6
    check(tally, picked)
