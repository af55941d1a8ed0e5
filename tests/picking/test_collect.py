"""Picks and labels of any program, by micrograph."""

import numpy as np
import pandas as pd
import pytest

from napari_so3.io.coordinates import WRITERS, read_coordinate_file, write_coordinates
from napari_so3.picking.collect import (
    collect_labels,
    collect_picks,
    collect_tables,
    coordinate_files,
    pair_by_name,
)
from napari_so3.picking.compare import EvaluationError
from napari_so3.picking.picks import Picks, make_table

POINTS = {
    "m1": pd.DataFrame({"x": [10.0, 20.0], "y": [30.0, 40.0], "score": [2.0, 1.0]}),
    "m2": pd.DataFrame({"x": [50.0], "y": [60.0], "score": [3.0]}),
}


def save(folder, form):
    ending = {"particles": ".star", "topaz": ".txt", "csv": ".csv"}.get(form)
    output = folder / f"all{ending}" if ending else folder / "out"
    tables = {f"Raw/{name}.mrc": table for name, table in POINTS.items()}
    write_coordinates(output, form, tables, box=8, pixel_size=2.0)
    return output


@pytest.mark.parametrize("form", WRITERS)
def test_labels_and_picks_of_every_format_count(tmp_path, form):
    where = save(tmp_path, form)
    for place in (where, tmp_path):
        labels = collect_labels(place)
        assert labels.keys() == {"m1", "m2"}
        np.testing.assert_allclose(labels["m1"], [[30, 10], [40, 20]])
    if form == "box":
        with pytest.raises(EvaluationError, match="no scores"):
            collect_picks(where, 2.0)
    else:
        picks = collect_picks(where, 2.0)
        np.testing.assert_allclose(picks["m1"].scores, [2, 1])


def test_picks_without_score_come_last(tmp_path):
    table = pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0], "score": [np.nan, -5.0]})
    write_coordinates(tmp_path / "a.csv", "csv", {"a.mrc": table}, box=1, pixel_size=None)
    scores = collect_picks(tmp_path / "a.csv", 1.0)["a"].scores
    assert np.isfinite(scores).all() and scores[0] < scores[1]


def test_candidates_in_a_folder_are_no_labels(tmp_path):
    table = make_table(np.ones((3, 2)), np.ones(3, np.float32), np.zeros(3, int), np.zeros((1, 3)))
    picks = Picks(table, "/data/m.mrc", {"pixel_size": 1.0, "shape": [9, 9]})
    (tmp_path / "candidates").mkdir()
    picks.write_csv(tmp_path / "candidates" / "m.csv")
    Picks(table[:1], "/data/m.mrc").write_star(tmp_path / "m_autopick.star")
    assert len(collect_labels(tmp_path)["m"]) == 1
    assert len(collect_picks(tmp_path)["m"].points) == 3


def test_other_files_in_a_folder_do_not_matter_but_damaged_ones_do(tmp_path):
    save(tmp_path, "cbox")
    (tmp_path / "log.txt").write_text("picked 3 particles\n")
    (tmp_path / "config.json").write_text('{"model": {}}')
    (tmp_path / "curve.csv").write_text("recall,precision\n1,1\n")
    assert len(collect_labels(tmp_path)) == 2
    (tmp_path / "m3.box").write_text("1 2 3\n4 5 6 7\n")
    with pytest.raises(ValueError, match=r"m3\.box|m1"):
        collect_labels(tmp_path)


def test_two_files_of_one_micrograph_are_refused(tmp_path):
    save(tmp_path, "cbox")
    save(tmp_path, "json")
    with pytest.raises(EvaluationError, match=r"m1\.cbox and .*m1_info\.json are both of .* m1;"):
        collect_labels(tmp_path)


def test_tables_keep_what_the_file_calls_the_micrograph(tmp_path):
    tables = collect_tables(coordinate_files(save(tmp_path, "particles")))
    assert tables["m1"]["micrograph"].tolist() == ["Raw/m1.mrc"] * 2
    alone = collect_tables([read_coordinate_file(save(tmp_path, "box") / "m2.box")])
    assert list(alone) == ["m2"] and "micrograph" not in alone["m2"]


def test_picks_and_labels_are_paired():
    uid = "012345678901234567890"
    picks = {"b": "pb", f"{uid}_c_patch_aligned": "pc", "a": "pa"}
    labels = {"c": "lc", "b": "lb", "d": "ld"}
    paired, match = pair_by_name(picks, labels)
    assert paired == {"b": "lb", f"{uid}_c_patch_aligned": "lc"}
    assert match.unmatched_micrographs == ("a",) and match.unmatched_names == ("d",)
    with pytest.raises(EvaluationError, match="first picks are of a, the first labels of b"):
        pair_by_name({"a": 0}, {"b": 0})
