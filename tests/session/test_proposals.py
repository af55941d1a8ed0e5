import time

import numpy as np
import pytest

from napari_so3.session.choice import Choice
from napari_so3.session.marks import Mark, Marks
from napari_so3.session.pool import Candidates, Flat
from napari_so3.session.proposals import PER_MICROGRAPH, Question, propose

IN_PLANE = 4


def candidates(logit, view=0, spacing=100.0):
    """Candidates in a row along x, best first."""
    logit = np.sort(np.asarray(logit, dtype=np.float32))[::-1]
    n = len(logit)
    return Candidates(
        np.full(n, 50, np.float32),
        np.arange(n, dtype=np.float32) * spacing,
        logit,
        np.broadcast_to(np.asarray(view) * IN_PLANE, n).astype(np.int32),
        np.full(n, 1000, np.float32),
        2.0,
    )


@pytest.fixture
def ask(session):
    """Ask for proposals about candidates by the name of their micrograph."""

    def ask(items, n=20, **fields):
        session.pool.replace(items)
        session.update({"in_plane": IN_PLANE} | fields)
        return propose(Question.of(session), n)

    return ask


def test_the_uncertain_come_first(ask):
    logit = np.linspace(-20, 100, 41)
    proposals = ask({"m0": candidates(logit)}, 5, threshold=10.0)
    away = sorted(abs(p.logit - 10) for p in proposals)
    assert away == pytest.approx(np.sort(np.abs(logit - 10))[:5], abs=1e-4)
    assert away == pytest.approx([abs(p.logit - 10) for p in proposals], abs=1e-4)


def test_a_proposal_is_found_again(ask, session):
    for p in ask({name: candidates(np.linspace(-3, 3, 9), 2) for name in session.names}):
        there = session.pool.get(p.micrograph)
        assert (there.y[p.index], there.x[p.index], there.logit[p.index]) == (p.y, p.x, p.logit)
        assert p.view == 2


def test_far_from_the_threshold_the_nearest_still_comes_first(ask):
    proposals = ask({"m0": candidates([400.0, 500.0, 600.0, 700.0])}, 3, threshold=0.0)
    assert [p.logit for p in proposals] == [400, 500, 600]


def test_a_micrograph_with_a_threshold_of_its_own_is_asked_about_it(ask, session):
    session.override("m1", 5.0)
    items = {name: candidates([0.0, 5.0]) for name in ("m0", "m1")}
    found = {(p.micrograph, p.logit) for p in ask(items, 2, threshold=0.0)}
    assert found == {("m0", 0.0), ("m1", 5.0)}


def test_views_without_labels_come_before_those_with_many(ask, session):
    labelled = candidates(np.full(12, 8.0), 1, spacing=200.0)
    session.marks.mark("m0", "positive", np.column_stack([labelled.y, labelled.x]), 10)
    new = candidates([0.0, 0.0, 0.0, 0.0], [1, 3, 1, 3])
    first, second, *rest = ask({"m0": labelled, "m1": new}, 4, threshold=0.0)
    assert {first.view, second.view} == {3}
    assert {p.view for p in rest} == {1}
    assert "0 of 12 labelled particles have its view (3)" in first.why
    assert first.why.startswith("P 0.5 near the threshold 0.5;")


def test_views_that_are_seldom_picked_come_first(ask):
    picked = candidates(np.full(100, 30.0), 1)
    new = candidates([0.0, -0.01], [1, 3])
    first, _ = ask({"m0": picked, "m1": new}, 2, threshold=0.0)
    assert first.view == 3


def test_rarity_does_not_outweigh_certainty(ask):
    picked = candidates(np.full(5000, 30.0), 1)
    new = candidates([0.0, -5.0], [1, 3])
    first, *_ = ask({"m0": picked, "m1": new}, 2, threshold=0.0)
    assert first.view == 1


def test_the_views_of_one_batch_differ(ask, session):
    view = np.tile([0, 1, 2], 4)
    items = {name: candidates(np.linspace(0.2, -0.2, 12), view) for name in session.names}
    proposals = ask(items, 6, threshold=0.0)
    assert sorted(p.view for p in proposals) == [0, 0, 1, 1, 2, 2]


def test_nothing_is_proposed_where_a_person_has_decided(ask, session):
    items = {name: candidates(np.zeros(4)) for name in session.names}
    near = session.choice().same / 2.0  # pixels
    for k, kind in enumerate(("positive", "negative", "ignored")):
        session.marks.mark("m0", kind, [[50 + 0.9 * near, 100.0 * k]], near)
    session.marks.mark("m1", "negative", [[50 + 1.5 * near, 0.0]], near)
    session.marks.set_areas("m2", [((0, -10), (0, 250), (100, 250), (100, -10))])
    session.marks.set_complete("m3", True)
    found = [(p.micrograph, p.x) for p in ask(items, 100)]
    every = [0.0, 100.0, 200.0, 300.0]
    expected = {"m0": every[3:], "m1": every, "m2": every[3:], "m3": [], "m4": every}
    assert sorted(found) == [(name, x) for name, xs in expected.items() for x in xs]


def test_nothing_is_proposed_that_the_settings_hide(ask):
    items = {"m0": candidates(np.zeros(3), [0, 1, 2])}
    assert {p.view for p in ask(items, hidden_views=(1,))} == {0, 2}
    assert ask(items, margin=1500.0) == []


def test_micrographs_take_turns_where_there_are_enough(ask, session):
    items = {name: candidates(np.linspace(-1, 1, 30)) for name in session.names}
    items["m1"] = candidates(np.full(30, 0.001))  # more uncertain than all others
    names = [p.micrograph for p in ask(items, 12)]
    counts = {name: names.count(name) for name in names}
    assert max(counts.values()) == PER_MICROGRAPH
    assert len(names) == 12
    assert names[0] == "m1"
    assert names == sorted(names, key=names.index)  # each is looked at once


def test_many_of_one_micrograph_do_not_hide_the_others(ask, session):
    items = {name: candidates(np.full(5, 0.5)) for name in session.names}
    items["m0"] = candidates(np.full(6000, 0.1))
    names = [p.micrograph for p in ask(items, 15, threshold=0.0)]
    assert {name: names.count(name) for name in names} == dict.fromkeys(session.names, 3)


def test_many_of_one_view_do_not_hide_the_rare_one(ask, session):
    items = {name: candidates(np.full(2000, 0.1), 1) for name in session.names}
    items["m4"] = candidates([0.3], 3)
    assert ask(items, 3, threshold=0.0)[0].micrograph == "m4"


def test_few_micrographs_are_asked_more_often(ask):
    items = {name: candidates(np.linspace(-1, 1, 30)) for name in ("m0", "m1")}
    names = [p.micrograph for p in ask(items, 20)]
    assert (names.count("m0"), names.count("m1")) == (10, 10)


def test_there_may_be_nothing_to_propose(ask):
    assert ask({}) == []
    assert len(ask({"m4": candidates([1.0])})) == 1


def test_five_thousand_micrographs_take_no_time():
    rng = np.random.default_rng(0)
    n_micrographs, each = 5000, 300
    n = n_micrographs * each
    y, x = rng.uniform(0, 4000, (2, n)).astype(np.float32)
    flat = Flat(
        y,
        x,
        rng.normal(0, 6, n).astype(np.float32),
        rng.integers(0, 384, n).astype(np.int32),
        rng.uniform(0, 3000, n).astype(np.float32),
        np.repeat(np.arange(n_micrographs), each).astype(np.int32),
        np.arange(n_micrographs + 1) * each,
        np.ones(n_micrographs),
    )
    names = tuple(f"m{i}" for i in range(n_micrographs))
    marks = {
        name: Marks(tuple(Mark("positive", *at) for at in rng.uniform(0, 4000, (100, 2))))
        for name in names[:40]
    }
    question = Question(flat, names, Choice(0.0, {"m3": 1.0}, 20.0, in_plane=16, same=40.0), marks)
    begin = time.perf_counter()
    proposals = propose(question)
    assert time.perf_counter() - begin < 1.0  # 0.1 s where nothing else runs
    assert len({p.micrograph for p in proposals}) > 6
    assert max(abs(p.logit - question.choice.limit(p.micrograph)) for p in proposals) < 0.1
