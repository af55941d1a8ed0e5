import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_so3.so3.aggregation import RotationStream, aggregate, al1_bias

SIZES = [1, 2, 9, 72, 256, 4096]
logit_lists = st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=40)


def exact_al1(logits: list[float], prior: float) -> float:
    """AL1 in 120-digit arithmetic, straight from its definition."""
    with mpmath.workdps(120):
        bias = mpmath.log((1 - mpmath.mpf(prior)) ** (-mpmath.mpf(1) / len(logits)) - 1)
        none = mpmath.mpf(1)
        for value in logits:
            none *= 1 / (1 + mpmath.exp(mpmath.mpf(value) + bias))
        return float(mpmath.log((1 - none) / none))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_zero_logits_mean_the_prior_for_any_number_of_rotations(n, prior):
    assert float(aggregate(torch.zeros(3, n), prior=prior).sigmoid()[0]) == pytest.approx(
        prior, rel=1e-5
    )


@pytest.mark.parametrize("n", [1, 72, 256])
def test_bias_of_the_paper(n):
    assert al1_bias(n) == pytest.approx(math.log(2 ** (1 / n) - 1), rel=1e-12)


@given(logit_lists, st.sampled_from([0.5, 0.1]))
def test_al1_is_exact_from_minus_80_to_80(logits, prior):
    got = float(aggregate(torch.tensor([logits]), prior=prior))
    assert got == pytest.approx(exact_al1(logits, prior), rel=2e-6, abs=2e-6)


@given(logit_lists)
def test_stream_is_exact_too(logits):
    stream = RotationStream(len(logits))
    for i, value in enumerate(logits):
        stream.update(torch.tensor([[value]]), i)
    assert float(stream.finish()) == pytest.approx(exact_al1(logits, 0.5), rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("value", [-600.0, -80.0, 0.0, 80.0, 600.0])
def test_extreme_logits_stay_finite_and_keep_a_gradient(value):
    logits = torch.full((1, 256), value, requires_grad=True)
    joined = aggregate(logits)
    joined.sum().backward()
    assert bool(torch.isfinite(joined).all())
    assert bool(torch.isfinite(logits.grad).all())
    assert float(logits.grad.sum()) > 0.9


@pytest.mark.parametrize("value", [-600.0, -90.0, 90.0, 600.0])
def test_stream_stays_finite(value):
    stream = RotationStream(256)
    stream.update(torch.full((256, 1), value), 0)
    assert bool(torch.isfinite(stream.finish()).all())


@pytest.mark.parametrize("how", ["al1", "max", "lse"])
@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_gradient(how, prior):
    logits = torch.randn(3, 7, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: aggregate(x, 1, how, prior), logits)
    wide = (torch.randn(4, 9, dtype=torch.float64) * 20).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: aggregate(x, 1, how, prior), wide)


@pytest.mark.parametrize("n", SIZES)
def test_gradient_at_zero_sums_to_the_closed_form(n):
    logits = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    aggregate(logits, 0).backward()
    assert float(logits.grad.sum()) == pytest.approx(2 * n * (1 - 2 ** (-1 / n)), rel=1e-9)


def test_bounds_and_the_order_of_rotations():
    logits = torch.randn(50, 72) * 3
    joined, best = aggregate(logits), aggregate(logits, how="max")
    biased = logits + al1_bias(72)
    assert bool((joined >= torch.logsumexp(biased, 1) - 1e-5).all())
    assert bool((joined >= best + al1_bias(72) - 1e-5).all())
    shuffled = logits[:, torch.randperm(72)]
    torch.testing.assert_close(aggregate(shuffled), joined)


def test_one_rotation_is_left_as_it_is():
    logits = torch.linspace(-80, 80, 33)[:, None]
    torch.testing.assert_close(aggregate(logits), logits[:, 0], rtol=1e-5, atol=1e-5)
    for how in ("max", "lse"):
        torch.testing.assert_close(aggregate(logits, how=how), logits[:, 0])


def test_half_precision_is_joined_in_single():
    logits = (torch.randn(4, 256) * 5).half()
    joined = aggregate(logits)
    assert joined.dtype == torch.float32
    torch.testing.assert_close(joined, aggregate(logits.float()))


@pytest.mark.parametrize("how", ["al1", "max", "lse"])
@pytest.mark.parametrize("chunk", [1, 5, 32, 72])
def test_stream_equals_the_whole_for_any_chunks_and_order(how, chunk):
    logits = torch.randn(72, 6, 5) * 4
    a, b = RotationStream(72, how, 0.1), RotationStream(72, how, 0.1)
    for k, i in enumerate(reversed(range(0, 72, chunk))):
        (a if k % 2 else b).update(logits[i : i + chunk], i)
    a.merge(b)
    torch.testing.assert_close(a.finish(), aggregate(logits, 0, how, 0.1), rtol=1e-5, atol=1e-5)
    best, index = logits.max(dim=0)
    torch.testing.assert_close(a.best, best)
    torch.testing.assert_close(a.best_rotation, index)


def test_ties_go_to_the_first_rotation_in_any_order():
    logits = torch.zeros(8, 2, 2)
    stream = RotationStream(8)
    for i in (4, 6, 0, 2):
        stream.update(logits[i : i + 2], i)
    assert int(stream.best_rotation.max()) == 0


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="al1"):
        aggregate(torch.zeros(1, 4), how="mean")
    with pytest.raises(ValueError, match="probability"):
        aggregate(torch.zeros(1, 4), prior=1.0)
    with pytest.raises(ValueError, match="no rotation"):
        RotationStream(4).finish()
