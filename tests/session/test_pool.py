import os

import numpy as np
import pytest

from napari_so3.picking.picks import CANDIDATES
from napari_so3.session.choice import Choice, without_candidate
from napari_so3.session.marks import Mark, Marks, MarkStore, make_area
from napari_so3.session.pool import CACHE, CandidatePool, Candidates, load_run, save_cache


def read(folder, names):
    """Everything that `load_run` gives, how much came from the cache, and what was wrong."""
    first, *others = load_run(folder, names, chunk=2)
    items, problems = dict(first.items), []
    for loading in others:
        items.update(loading.items)
        problems += loading.problems
    return items, len(first.items), problems


def same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("y", "x", "logit", "rotation", "edge", "pixel_size")
    )


def test_candidates_know_their_distance_from_the_border(make_picks):
    picks = make_picks(50)
    found = Candidates.of(picks)
    ny, nx = picks.provenance["shape"]
    y, x = picks.table["y"], picks.table["x"]
    expected = 2.0 * np.min([y, x, ny - 1 - y, nx - 1 - x], axis=0)
    np.testing.assert_allclose(found.edge, expected, atol=1e-3)


def test_a_run_is_read_once_and_then_comes_from_the_cache(session, write_run):
    folder = write_run(3)
    items, cached, problems = read(folder, session.names)
    assert list(items) == ["m0", "m1", "m2"] and not cached and not problems
    save_cache(folder, items)
    again, cached, _ = read(folder, session.names)
    assert cached == 3
    assert all(same(items[name], again[name]) for name in items)


def test_what_changed_since_the_cache_is_read_anew(session, write_run, make_picks):
    folder = write_run(3)
    items, *_ = read(folder, session.names)
    save_cache(folder, items)
    changed = make_picks(7, seed=9)
    changed.write_csv(folder / CANDIDATES / "m1.csv")
    (folder / CANDIDATES / "m2.csv").unlink()
    again, cached, _ = read(folder, session.names)
    assert sorted(again) == ["m0", "m1"] and cached == 1
    assert same(again["m1"], Candidates.of(changed))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive at all"])
def test_a_damaged_cache_does_no_harm(session, write_run, content):
    folder = write_run(3)
    items, *_ = read(folder, session.names)
    (folder / CANDIDATES / CACHE).write_bytes(content)
    again, cached, _ = read(folder, session.names)
    assert cached == 0 and all(same(items[name], again[name]) for name in items)


def test_a_damaged_table_is_named_and_the_others_are_read(session, write_run):
    folder = write_run(3)
    os.truncate(folder / CANDIDATES / "m1.csv", 10)
    items, _, problems = read(folder, session.names)
    assert sorted(items) == ["m0", "m2"]
    assert len(problems) == 1 and problems[0].startswith("m1.csv: ")


def test_a_run_without_a_folder_is_empty(session, tmp_path):
    assert read(tmp_path / "none", session.names) == ({}, 0, [])


@pytest.fixture
def pool(make_picks):
    made = CandidatePool()
    made.set_names(["a", "b", "c"])
    made.put("c", Candidates.of(make_picks(40, 1)))
    made.put("a", Candidates.of(make_picks(25, 2)))
    return made


CHOICES = (
    Choice(0.5),
    Choice(-1.0, {"a": 2.0}, same=6.0),
    Choice(0.0, margin=60.0, hidden_views=frozenset({1, 3}), in_plane=4, same=6.0),
)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("labelled", [False, True])
def test_counts_of_all_agree_with_what_is_shown_of_each(pool, choice, labelled):
    names, store = ["a", "b", "c"], MarkStore()
    if labelled:
        here = pool.get("a")
        at = np.column_stack([here.y, here.x])
        store.mark("a", "negative", at[:5], near=1)  # the best
        store.mark("a", "positive", at[-5:] + 1, near=1)  # the worst
        store.set_areas("c", [make_area([[0, 0], [0, 300], [300, 300], [300, 0]])])
    scores = choice.scores(pool.flat, names, store.all)
    counts = choice.counts(pool.flat, names, scores)
    shown = [
        0 if pool.get(n) is None else choice.of(n, pool.get(n), store.of(n)).sum() for n in names
    ]
    assert counts.tolist() == shown
    assert 0 < counts.sum() < 65 and counts[1] == 0


def test_labels_have_the_last_word(make_picks):
    found = Candidates.of(make_picks(20))
    marks = Marks((Mark("negative", found.y[0] + 2, found.x[0]), Mark("positive", found.y[-1], 1)))
    worst = Mark("positive", float(found.y[-1]), float(found.x[-1]) - 2)
    choice = Choice(0.0, same=6.0)  # 3 pixels
    plain = choice.of("a", found, Marks())
    judged = choice.of("a", found, Marks((*marks.marks, worst)))
    assert plain[0] and not judged[0]
    assert not plain[-1] and judged[-1]
    np.testing.assert_array_equal(plain[1:-1], judged[1:-1])


def test_a_label_away_from_every_candidate_is_a_particle_of_its_own(make_picks):
    found = Candidates.of(make_picks(20))
    near = Mark("positive", float(found.y[3]), float(found.x[3]) + 1)
    marks = Marks((near, Mark("positive", -50.0, -50.0), Mark("negative", -80.0, -80.0)))
    assert without_candidate(marks, found.y, found.x, 3.0).tolist() == [[-50, -50]]


def test_hidden_views_and_borders(make_picks):
    found = Candidates.of(make_picks(200))
    shown = Choice(-99.0, margin=50.0, hidden_views=frozenset({2}), in_plane=4).of(
        "a", found, Marks()
    )
    np.testing.assert_array_equal(shown, (found.edge >= 50.0) & (found.rotation // 4 != 2))
    assert 0 < shown.sum() < 200


def test_nothing_picked_is_counted_as_nothing():
    pool = CandidatePool()
    pool.set_names(["a", "b"])
    choice = Choice(0.0)
    assert choice.counts(
        pool.flat, ["a", "b"], choice.scores(pool.flat, ["a", "b"], {})
    ).tolist() == [0, 0]
