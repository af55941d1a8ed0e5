import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import average_precision_score

from napari_so3.io.star import read_coordinates
from napari_so3.picking.evaluate import average_precision, match_picks
from napari_so3.picking.picks import Picks, PicksError, make_table, read_provenance
from napari_so3.so3.rotations import RotationGrid

GRID = RotationGrid(4, 4)


def some_picks(n=30, seed=0) -> Picks:
    rng = np.random.default_rng(seed)
    logits = np.sort(rng.normal(0, 15, n).astype(np.float32))[::-1]
    table = make_table(
        rng.uniform(0, 4000, (n, 2)), logits, rng.integers(0, 16, n), GRID.euler_angles
    )
    return Picks(table, "Micrographs/m 1.mrc", {"model": "tiny", "diameter": 130.0})


def test_table_holds_probability_and_angles_of_the_best_rotation():
    table = some_picks().table
    np.testing.assert_allclose(table["probability"], expit(table["logit"]))
    np.testing.assert_array_equal(
        table[["rot", "tilt", "psi"]], GRID.euler_angles[table["rotation"]]
    )


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_keeps_a_part(a, b):
    picks = some_picks()
    low, high = (len(picks.above(t)) for t in sorted((a, b)))
    assert high <= low
    kept = picks.above(a).table
    assert list(kept["logit"]) == list(picks.table["logit"][: len(kept)])
    assert (kept["probability"] >= a - 1e-9).all()


def test_thresholds_at_the_ends():
    assert len(some_picks().above(0.0)) == 30
    assert len(some_picks().above(1.0)) == 0


@pytest.mark.parametrize("n", [0, 1, 30])
def test_csv_reads_back(tmp_path, n):
    picks = some_picks(n)
    picks.write_csv(tmp_path / "p.csv")
    again = Picks.read_csv(tmp_path / "p.csv")
    assert (again.micrograph, again.provenance) == (picks.micrograph, picks.provenance)
    assert list(again.table.columns) == list(picks.table.columns)
    np.testing.assert_allclose(again.table, picks.table, atol=6e-4)
    again.write_csv(tmp_path / "q.csv")
    assert (tmp_path / "q.csv").read_text() == (tmp_path / "p.csv").read_text()


def test_star_has_columns_as_x_and_log_odds_as_score(tmp_path):
    picks = some_picks()
    picks.write_star(tmp_path / "m_autopick.star")
    star = read_coordinates(tmp_path / "m_autopick.star")
    np.testing.assert_allclose(star["x"], picks.table["x"], atol=1e-5)
    np.testing.assert_allclose(star["y"], picks.table["y"], atol=1e-5)
    np.testing.assert_allclose(star["score"], picks.table["logit"], atol=1e-5)
    assert set(star["micrograph"]) == {"Micrographs/m 1.mrc"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "y,x\n1,2\n",
        "# napari-so3 picks: {broken\n",
        "# napari-so3 picks: {}\n",
        "# napari-so3 picks: {}\ny,x\n1,2\n",
        '# napari-so3 picks: []\ny,x,logit,probability,rotation,rot,tilt,psi\n"1,2\n',
        "\x00\x01",
    ],
)
def test_damaged_tables_are_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(PicksError, match=r"^bad\.csv: .*\.$"):
        Picks.read_csv(path)


def test_provenance_is_read_without_the_table(tmp_path):
    some_picks().write_csv(tmp_path / "p.csv")
    first = (tmp_path / "p.csv").read_text().splitlines()[0]
    (tmp_path / "p.csv").write_text(first + "\nnonsense")
    assert read_provenance(tmp_path / "p.csv")["model"] == "tiny"
    assert json.loads(first.split(": ", 1)[1])["diameter"] == 130.0


def test_every_label_is_matched_once_by_the_better_pick():
    table = make_table(
        np.array([[10.0, 10], [11, 10], [50, 50], [90, 10]]),
        np.array([4.0, 3, 2, 1], np.float32),
        np.zeros(4, int),
        GRID.euler_angles,
    )
    labels = np.array([[11.0, 10], [52, 50], [10, 90]])
    assert match_picks(Picks(table, "m"), labels, 5).tolist() == [True, False, True, False]
    assert match_picks(Picks(table, "m"), labels, 1.5).tolist() == [True, False, False, False]
    assert not match_picks(Picks(table, "m"), labels[:0], 5).any()


def test_average_precision_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    hit = rng.random(200) < 0.3
    found = average_precision(hit, int(hit.sum()))
    assert found == pytest.approx(average_precision_score(hit, np.arange(200, 0, -1)))
    assert average_precision(hit, 2 * int(hit.sum())) == pytest.approx(found / 2)
    with pytest.raises(ValueError, match="label"):
        average_precision(hit, 0)
