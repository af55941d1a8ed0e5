import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_so3.picking.peaks import local_maxima, refine, suppress

points = st.integers(0, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, (n, 2), elements=st.floats(0, 100)),
        arrays(np.float32, n, elements=st.floats(-10, 10, width=32)),
    )
)


@given(points, st.floats(0.1, 40))
def test_suppression_leaves_no_neighbours_and_drops_nothing_without_a_better_one(drawn, distance):
    positions, score = drawn
    kept = suppress(positions, score, distance)
    assert list(score[kept]) == sorted(score[kept], reverse=True)
    gap = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    for a in kept:
        assert not [b for b in kept if a != b and gap[a, b] <= distance]
    for i in set(range(len(score))) - set(kept):
        assert any(gap[i, k] <= distance and score[k] >= score[i] for k in kept)


def test_maxima_are_the_pixels_that_no_neighbour_exceeds():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((30, 41)).astype(np.float32)
    index = local_maxima(logits, 0.5)
    padded = np.pad(logits, 1, constant_values=-np.inf)
    expected = [
        (i, j)
        for i in range(30)
        for j in range(41)
        if logits[i, j] > 0.5 and logits[i, j] == padded[i : i + 3, j : j + 3].max()
    ]
    assert [tuple(p) for p in index] == expected


@pytest.mark.parametrize("centre", [(10.0, 12.0), (9.6, 12.4), (10.3, 11.7)])
def test_refinement_finds_the_top_of_a_paraboloid(centre):
    y, x = np.mgrid[:21, :25]
    logits = (5 - 0.3 * (y - centre[0]) ** 2 - 0.2 * (x - centre[1]) ** 2).astype(np.float32)
    position, value = refine(logits, local_maxima(logits, 4.0))
    np.testing.assert_allclose(position, [centre], atol=1e-4)
    np.testing.assert_allclose(value, 5.0, atol=1e-4)


def test_peaks_on_the_border_and_plateaus_stay_in_place():
    logits = np.zeros((5, 6), np.float32)
    logits[0, 0] = logits[4, 5] = 3.0
    position, value = refine(logits, local_maxima(logits, 1.0))
    np.testing.assert_array_equal(position, [[0, 0], [4, 5]])
    np.testing.assert_array_equal(value, [3, 3])
    flat = np.array([[2, 3]])
    position, value = refine(np.ones((5, 6), np.float32), flat)
    np.testing.assert_array_equal(position, flat)
    assert value.tolist() == [1.0]


def test_nothing_gives_nothing():
    logits = np.full((4, 4), -9.0, np.float32)
    index = local_maxima(logits, -6.0)
    assert index.shape == (0, 2)
    position, value = refine(logits, index)
    assert position.shape == (0, 2)
    assert len(suppress(position, value, 3.0)) == 0
