import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_so3.insight.evidence import bias_of, evidence_at, sigmoid, weigh
from napari_so3.so3.aggregation import aggregate, al1_bias

HOWS = ["al1", "max", "lse"]
logit_lists = st.lists(st.floats(-600, 600, width=32), min_size=1, max_size=40)


@given(logit_lists, st.sampled_from(HOWS), st.sampled_from([0.5, 0.1]))
def test_the_sum_is_that_of_the_network(logits, how, prior):
    got = weigh(logits, how, prior).logit
    exact = aggregate(torch.tensor(logits, dtype=torch.float64), 0, how, prior)
    single = aggregate(torch.tensor(logits), 0, how, prior)
    assert float(got) == pytest.approx(float(exact), rel=1e-9, abs=1e-9)
    assert float(got) == pytest.approx(float(single), rel=1e-5, abs=1e-4)


@given(logit_lists, st.sampled_from(HOWS))
def test_shares_add_up_and_follow_the_logits(logits, how):
    evidence = weigh(logits, how)
    assert evidence.shares.sum() == pytest.approx(1.0)
    assert (evidence.shares >= 0).all()
    assert (np.diff(evidence.shares[evidence.top(len(logits))]) <= 1e-12).all()
    assert 1 - 1e-9 <= evidence.effective_number <= len(logits) + 1e-9


@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=40))
def test_al1_is_the_chance_that_not_all_rotations_are_silent(logits):
    evidence = weigh(logits, "al1", 0.1)
    silent = -np.log1p(-sigmoid(np.array(logits) + al1_bias(len(logits), 0.1)))
    np.testing.assert_allclose(evidence.probabilities, -np.expm1(-silent), rtol=1e-6)
    assert float(evidence.probability) == pytest.approx(-np.expm1(-silent.sum()), rel=1e-6)


@given(logit_lists)
def test_shares_are_the_rotation_given_that_it_is_one_of_them(logits):
    expected = torch.softmax(torch.tensor(logits, dtype=torch.float64), 0).numpy()
    np.testing.assert_allclose(weigh(logits, "al1", 0.1).shares, expected, atol=1e-12)


def test_where_each_says_little_the_shares_are_those_of_p():
    evidence = weigh([-3.0, -4.0, -6.0], "al1", 0.01)
    np.testing.assert_allclose(
        evidence.shares, evidence.probabilities / evidence.probability, rtol=2e-2
    )


def test_sure_rotations_still_differ():
    """With a map as filter all of them may say yes; one says it loudest."""
    assert weigh(np.arange(90.0, 100.0)).effective_number < 3


def test_lse_shares_are_a_softmax_and_the_maximum_takes_all():
    logits = np.array([1.0, 3.0, -2.0, 3.0])
    softmax = torch.softmax(torch.tensor(logits), 0).numpy()
    np.testing.assert_allclose(weigh(logits, "lse").shares, softmax)
    np.testing.assert_array_equal(weigh(logits, "max").shares, [0, 1, 0, 0])
    assert weigh(logits, "max").effective_number == 1


def test_equal_rotations_are_all_effective_and_a_single_one_is_alone():
    assert weigh(np.full(96, -3.0)).effective_number == pytest.approx(96)
    one = np.full(96, -600.0)
    one[17] = 600.0
    evidence = weigh(one)
    assert evidence.effective_number == pytest.approx(1)
    assert evidence.top(1).tolist() == [17]
    assert evidence.logit == pytest.approx(600 + evidence.bias)


def test_the_effective_number_is_that_of_the_entropy():
    evidence = weigh(np.log([0.5, 0.25, 0.25]), "lse")
    assert evidence.effective_number == pytest.approx(2**1.5)


def test_hopeless_rotations_are_weighed_too():
    evidence = weigh([-2000.0, -2001.0, -1e6])
    np.testing.assert_allclose(evidence.shares, np.array([np.e, 1, 0]) / (np.e + 1))
    assert np.isfinite(evidence.logit)


@pytest.mark.parametrize("how", HOWS)
def test_the_best_rotation_alone_is_surest_where_nothing_else_speaks(how):
    alone = np.full(32, -600.0)
    alone[5] = 7.0
    evidence = weigh(alone, how, calibration=(0.7, 0.2))
    assert evidence.probability_of_best == pytest.approx(float(evidence.probability), abs=1e-9)
    together = weigh(np.full(32, 2.0), how, calibration=(0.7, 0.2))
    if how == "max":
        assert together.probability_of_best == together.probability
    else:
        assert together.probability_of_best < together.probability


def test_the_calibration_is_that_of_the_picks():
    evidence = weigh([0.0, 1.0], calibration=(0.5, -1.0))
    log_odds = 0.5 * evidence.logit - 1.0
    assert evidence.probability == pytest.approx(1 / (1 + np.exp(-log_odds)))


def test_many_places_are_weighed_as_each_alone():
    logits = np.random.default_rng(0).normal(0, 5, (8, 3, 4))
    many, one = (
        weigh(logits, "al1", 0.1, (0.5, 0.1)),
        weigh(logits[:, 1, 2], "al1", 0.1, (0.5, 0.1)),
    )
    for name in ("shares", "probabilities"):
        np.testing.assert_allclose(getattr(many, name)[:, 1, 2], getattr(one, name))
    for name in ("logit", "probability", "probability_of_best", "effective_number"):
        np.testing.assert_allclose(getattr(many, name)[1, 2], getattr(one, name))
    np.testing.assert_array_equal(many.top(3)[:, 1, 2], one.top(3))


def test_the_evidence_at_a_place_is_that_of_its_map_pixel(make_maps):
    logits = np.random.default_rng(0).normal(0, 3, (8, 5, 6))
    maps = make_maps(logits, 4, prior=0.1, calibration=(0.5, 0.3))
    evidence = evidence_at(maps, 9.0, 13.0)  # four micrograph pixels per map pixel
    np.testing.assert_allclose(evidence.logits, np.float16(logits[:, 2, 3]))
    assert evidence.probability == pytest.approx(sigmoid(maps.log_odds[2, 3]), abs=1e-6)
    assert bias_of(maps) == evidence.bias == al1_bias(8, 0.1)


def test_an_unknown_way_to_join_is_an_error():
    with pytest.raises(ValueError, match="'mean'"):
        weigh([0.0], "mean")
