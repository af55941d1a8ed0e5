import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

from napari_so3.picking.calibrate import fit_platt, reliability
from napari_so3.picking.compare import (
    EvaluationError,
    ScoredPoints,
    evaluate_picks,
    suggest_threshold,
)
from napari_so3.picking.evaluate import average_precision, crop_aupr, match_points, precision_recall
from napari_so3.picking.report import draw_curves, figures, write_report

SIZE = 400


def scene(seed, n_labels=40, n_picks=120, pixel_size=2.0):
    """Labels, and picks that are near the labels more often where the score is high."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(0, SIZE, (n_labels, 2))
    scores = rng.normal(size=n_picks) * 2
    near = labels[rng.integers(0, n_labels, n_picks)] + rng.normal(size=(n_picks, 2)) * 4
    far = rng.uniform(0, SIZE, (n_picks, 2))
    points = np.where((rng.random(n_picks) < expit(scores))[:, None], near, far)
    return ScoredPoints(points, scores, pixel_size, (SIZE, SIZE)), labels


def pairs(n=3, **kwargs):
    scenes = {f"m{i}": scene(i, **kwargs) for i in range(n)}
    return {k: v[0] for k, v in scenes.items()}, {k: v[1] for k, v in scenes.items()}


def plain_average_precision(picks, labels, radius):
    """Straight from the definition, slowly: radius in pixels."""
    hits, scores, total = [], [], 0
    for name, found in picks.items():
        free = list(map(tuple, labels[name]))
        total += len(free)
        for i in sorted(range(len(found.scores)), key=lambda i: -found.scores[i]):
            distance, label = min(
                ((np.hypot(*(np.array(f) - found.points[i])), f) for f in free),
                default=(np.inf, None),
            )
            hits.append(distance <= radius)
            scores.append(found.scores[i])
            if distance <= radius:
                free.remove(label)
    ranked = [hit for _, hit in sorted(zip(scores, hits, strict=True), key=lambda p: -p[0])]
    precisions = [sum(ranked[: i + 1]) / (i + 1) for i, hit in enumerate(ranked) if hit]
    return sum(precisions) / total


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=40))
def test_crop_aupr_is_scikit_learns_ties_included(crops):
    scores, labels = map(np.array, zip(*crops, strict=True))
    if labels.any():
        assert crop_aupr(scores, labels) == pytest.approx(average_precision_score(labels, scores))
    else:
        with pytest.raises(ValueError, match="at least one label"):
            crop_aupr(scores, labels)


@pytest.mark.parametrize("pixel_size", [1.0, 2.5])
def test_average_precision_is_that_of_the_definition(pixel_size):
    picks, labels = pairs(pixel_size=pixel_size)
    result = evaluate_picks(picks, labels, 8 * pixel_size)
    assert result.radius_pixels == (8, 8)
    expected = plain_average_precision(picks, labels, 8)
    assert result.curve.average_precision == pytest.approx(expected)
    assert 0.2 < expected < 0.9


def test_the_order_of_picks_and_micrographs_does_not_matter():
    picks, labels = pairs()
    shuffled = {}
    for name, p in reversed(picks.items()):
        order = np.random.default_rng(5).permutation(len(p.scores))
        shuffled[name] = ScoredPoints(p.points[order], p.scores[order], p.pixel_size, p.shape)
    assert figures(evaluate_picks(shuffled, labels, 12)) == figures(
        evaluate_picks(picks, labels, 12)
    )


def test_a_label_is_given_once_to_the_best_pick_and_the_nearest_is_taken():
    labels = np.array([[10.0, 10.0], [10.0, 14.0]])
    points = np.array([[10.0, 11.0], [10.0, 10.0], [10.0, 10.0], [50.0, 50.0]])
    assert match_points(points, labels, 5.0).tolist() == [True, True, False, False]
    assert match_points(points, labels[:1], 5.0).tolist() == [True, False, False, False]


def test_picks_on_the_labels_are_perfect_and_random_ones_are_chance():
    _, labels = pairs(n_labels=200)
    rng = np.random.default_rng(0)
    right = {n: ScoredPoints(p, rng.random(200), 1, (SIZE, SIZE)) for n, p in labels.items()}
    perfect = evaluate_picks(right, labels, 5)
    assert perfect.curve.average_precision == perfect.recall == perfect.curve.best.f1 == 1
    # 200 discs of radius 5 cover a tenth of the image, so a tenth of the random picks is right
    covered = 200 * np.pi * 5**2 / SIZE**2
    assert perfect.chance.precision[-1] == pytest.approx(covered, rel=0.2)
    wrong = {
        n: ScoredPoints(p.points[::-1] * 0 - 99, p.scores, 1, p.shape) for n, p in right.items()
    }
    assert evaluate_picks(wrong, labels, 5).curve.average_precision == 0


def test_chance_is_seeded_and_knows_the_shape():
    picks, labels = pairs()
    one, same = (evaluate_picks(picks, labels, 12).chance.average_precision for _ in range(2))
    assert one == same
    assert one != evaluate_picks(picks, labels, 12, seed=1).chance.average_precision
    wide = {n: ScoredPoints(p.points, p.scores, 2.0, (9 * SIZE, SIZE)) for n, p in picks.items()}
    assert evaluate_picks(wide, labels, 12).chance.average_precision < one / 3


def test_thresholds_do_what_they_promise():
    picks, labels = pairs()
    result = evaluate_picks(picks, labels, 16)
    for point in (suggest_threshold(result), suggest_threshold(result, recall=0.5)):
        kept = result.scores >= point.threshold
        assert result.right[kept].mean() == pytest.approx(point.precision)
        assert result.right[kept].sum() / result.labels == pytest.approx(point.recall)
        assert logit(point.probability) == pytest.approx(point.threshold)
    assert suggest_threshold(result).f1 == max(result.curve.f1)
    reached = suggest_threshold(result, recall=0.5)
    higher = result.right[result.scores > reached.threshold].sum() / result.labels
    assert higher < 0.5 <= reached.recall
    with pytest.raises(EvaluationError, match="100% of the labelled"):
        suggest_threshold(result, recall=1.0)


def test_equal_scores_pass_a_threshold_together():
    curve = precision_recall(np.array([1, 1, 0]), np.array([True, False, True]), 2)
    assert curve.threshold.tolist() == [1, 0]
    assert curve.precision.tolist() == [0.5, 2 / 3] and curve.recall.tolist() == [0.5, 1]


def test_only_micrographs_with_picks_and_labels_count():
    picks, labels = pairs()
    alone = evaluate_picks({"m0": picks["m0"]}, {"m0": labels["m0"]}, 12)
    empty = labels | {"m1": np.zeros((0, 2)), "other": labels["m2"]}
    less = evaluate_picks({"m0": picks["m0"], "m1": picks["m1"]}, empty, 12)
    assert less.unlabelled == ("m1",)
    assert less.curve.average_precision == alone.curve.average_precision
    with pytest.raises(EvaluationError):
        evaluate_picks(picks, {"other": labels["m0"]}, 12)
    with pytest.raises(EvaluationError, match="radius"):
        evaluate_picks(picks, labels, 0)


def test_a_micrograph_where_nothing_was_picked_lowers_recall():
    picks, labels = pairs(2)
    nothing = ScoredPoints(np.zeros((0, 2)), np.zeros(0), 2.0, (SIZE, SIZE))
    one = evaluate_picks({"m0": picks["m0"]}, labels, 12)
    both = evaluate_picks({"m0": picks["m0"], "m1": nothing}, labels, 12)
    assert both.recall == pytest.approx(one.recall / 2)
    none = evaluate_picks({"m1": nothing}, labels, 12)
    assert none.curve.best is None and none.curve.average_precision == 0
    with pytest.raises(EvaluationError, match="no picks"):
        suggest_threshold(none)
    draw_curves(none)


def test_report_says_what_was_measured(tmp_path):
    picks, labels = pairs()
    result = evaluate_picks(picks, labels, 12, complete=False)
    write_report(tmp_path / "report", result)
    table = pd.read_csv(tmp_path / "report" / "curve.csv")
    steps = np.diff(table["recall"], prepend=0) * table["precision"]
    assert steps.sum() == pytest.approx(result.curve.average_precision, abs=1e-4)
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == [
        "curve.csv",
        "curve.png",
        "evaluation.json",
    ]
    axes = draw_curves(result).axes
    assert len(axes) == 2 and "lower bound" in axes[0].get_ylabel()
    with pytest.raises(EvaluationError, match="cannot be written"):
        write_report(tmp_path / "report" / "curve.csv", result)


def test_scores_that_are_no_log_odds_get_no_probability():
    picks, labels = pairs()
    raw = {n: ScoredPoints(p.points, p.scores, 2.0, p.shape, False) for n, p in picks.items()}
    values = figures(evaluate_picks(raw, labels, 12))
    assert values["expected_calibration_error"] is None
    assert "probability" not in values["best"]


@pytest.mark.parametrize("bins", [10, 15])
def test_reliability_of_honest_and_boasting_probabilities(bins):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, 20000)
    right = rng.random(20000) < truth
    assert reliability(truth, right, bins).error < 0.02
    boast = reliability(np.full(100, 0.9), np.arange(100) < 60, bins)
    assert boast.error == pytest.approx(0.3)
    assert boast.count.sum() == boast.count.max() == 100
    low, middle = 0.9 / bins, 1.1 / bins  # on the two sides of the first border
    assert reliability([low, middle], [False, True], bins).count[:2].tolist() == [1, 1]
    assert reliability([0.0, 1.0], [False, True], bins).error == 0  # the ends are in the bins


@pytest.mark.parametrize("bad", [[], [1.1], [np.nan], [0.5, 0.5]])
def test_reliability_refuses(bad):
    with pytest.raises(ValueError):
        reliability(bad, [True][: len(bad)])


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.4, -1.5), (2.0, 3.0)])
def test_platt_finds_the_line_that_made_the_labels(scale, offset):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=20000) * 3
    right = rng.random(20000) < expit(scale * logits + offset)
    found = fit_platt(logits, right)
    assert found == pytest.approx((scale, offset), abs=0.1)
    assert reliability(expit(found[0] * logits + found[1]), right).error < 0.02


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-40, 40), st.booleans()), max_size=8))
def test_platt_stays_sane_with_few_labels(picks):
    logits, right = map(np.array, zip(*picks, strict=True)) if picks else (np.array([]),) * 2
    scale, offset = fit_platt(logits, right)
    assert 1e-3 < scale < 100 and abs(offset) < 60


def test_platt_has_no_steeper_line_than_a_few_separated_labels_warrant():
    scale, offset = fit_platt([-2.0, -1.0, 1.0, 2.0], [False, False, True, True])
    assert 1 < scale < 3 and offset == pytest.approx(0, abs=1e-3)
    turned, _ = fit_platt([-2.0, -1.0, 1.0, 2.0], [True, True, False, False])
    assert 0.1 < turned < 1


def test_platt_of_no_labels_changes_nothing_and_weights_count():
    assert fit_platt([], []) == (1.0, 0.0)
    logits, right = np.array([-1.0, 0.5, 2.0]), np.array([False, True, False])
    twice = fit_platt(np.tile(logits, 2), np.tile(right, 2))
    assert fit_platt(logits, right, [2, 2, 2]) == pytest.approx(twice, abs=1e-4)
    with pytest.raises(ValueError):
        fit_platt(logits, right, [1, -1, 1])


def test_average_precision_keeps_topaz_definition():
    assert average_precision(np.array([True, False, True]), 4) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision(np.zeros(0, bool), 3) == 0
    with pytest.raises(ValueError):
        average_precision(np.zeros(3, bool), 0)
