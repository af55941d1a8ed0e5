import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binom

from napari_so3.training.losses import Loss, binomial_penalty, nonnegative_risk
from napari_so3.training.tiles import IGNORED, NEGATIVE, POSITIVE, UNLABELLED

NAMES = ("trimmed", "bce", "ge-binomial", "nnpu")


@pytest.mark.parametrize("name", NAMES)
def test_with_complete_labels_all_are_the_weighted_cross_entropy(name):
    logits = torch.tensor([[[0.0, 2.0, -1.0, 5.0]]])
    target = torch.tensor([[[POSITIVE, NEGATIVE, NEGATIVE, IGNORED]]], dtype=torch.int8)
    got = Loss(name, positive_weight=3.0)(logits, target)
    expected = F.binary_cross_entropy_with_logits(
        logits[target >= 0], torch.tensor([1.0, 0, 0]), torch.tensor([3.0, 1, 1]), reduction="sum"
    )
    torch.testing.assert_close(got, expected / 5)


def test_complete_and_sampled_labels_ask_for_the_same():
    """With the right prior, a part of the positives weighs as much as all of them."""
    torch.manual_seed(0)
    logits = torch.randn(1, 100, 100)
    particle = torch.rand(1, 100, 100) < 0.05
    logits = logits + 2 * particle
    full = torch.where(particle, POSITIVE, NEGATIVE).to(torch.int8)
    sampled = torch.where(particle & (torch.rand(1, 100, 100) < 0.2), POSITIVE, UNLABELLED)
    share = float((particle & (sampled != POSITIVE)).sum() / (sampled == UNLABELLED).sum())
    complete = Loss()(logits, full)
    known = Loss("nnpu", prior=share)(logits, sampled.to(torch.int8))
    naive = Loss("bce", prior=share)(logits, sampled.to(torch.int8))
    # the complete loss is a mean over 1 + 3 x 5 % weights
    assert float(known) == pytest.approx(float(complete) * (1 + 3 * 0.05), rel=0.1)
    assert float(naive) > float(known)


def test_trimming_leaves_the_highest_unlabelled_out():
    logits = torch.linspace(-3, 3, 100).reshape(1, 10, 10).requires_grad_()
    target = torch.full((1, 10, 10), UNLABELLED, dtype=torch.int8)
    target[0, 0, 0] = POSITIVE
    Loss("trimmed", trimmed=0.1)(logits, target).backward()
    silent = (logits.grad == 0).flatten()
    assert silent[-9:].all() and not silent[:-12].any()
    logits.grad = None
    Loss("bce")(logits, target).backward()
    assert not (logits.grad == 0).any()


def test_binomial_penalty_is_the_cross_entropy_of_the_counts():
    logits = torch.linspace(-3, 1, 40)
    p = torch.sigmoid(logits).double().numpy()
    mean, variance = p.sum(), (p * (1 - p)).sum()
    count = np.arange(41)
    q = np.exp(-((count - mean) ** 2) / (2 * variance))
    expected = -(q / q.sum() * binom.logpmf(count, 40, 0.2)).sum()
    assert float(binomial_penalty(logits, 0.2)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("bias", "sign"), [(-2.0, -1), (2.0, 1)])
def test_binomial_penalty_pulls_towards_the_expected_share(bias, sign):
    """Far too few positives: logits rise (the gradient is negative); too many: they fall."""
    logits = (torch.randn(500, generator=torch.Generator().manual_seed(0)) + bias).requires_grad_()
    binomial_penalty(logits, 0.4 if sign < 0 else 0.1).backward()
    assert sign * float(logits.grad.sum()) > 0


def test_nonnegative_risk_turns_when_the_estimate_is_negative():
    positive, unlabelled = torch.tensor([3.0, 4.0]), torch.tensor([-6.0, -5.0], requires_grad=True)
    risk = F.softplus(unlabelled.detach()).mean() - 0.5 * F.softplus(positive).mean()
    assert float(risk) < 0
    turned = nonnegative_risk(positive, unlabelled, 0.5)
    assert float(turned.detach()) == pytest.approx(-float(risk))
    turned.backward()
    assert (unlabelled.grad < 0).all(), "over-fitted scores are let go"


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_finds_hidden_positives(name):
    """Two overlapping classes, a fifth of one labelled: its unlabelled rest must score high."""
    generator = torch.Generator().manual_seed(1)
    particle = torch.rand(1, 40, 50, generator=generator) < 0.1
    feature = torch.randn(1, 40, 50, generator=generator) + 3 * particle
    labelled = particle & (torch.rand(1, 40, 50, generator=generator) < 0.2)
    target = torch.where(labelled, POSITIVE, UNLABELLED).to(torch.int8)
    weights = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.1)
    loss = Loss(name, prior=0.08, trimmed=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        loss(weights[0] * feature + weights[1], target).backward()
        optimiser.step()
    scores = (weights[0] * feature + weights[1]).detach()
    hidden = particle & ~labelled
    assert float(scores[hidden].mean() - scores[~particle].mean()) > 1.0
