import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_so3.io.star import write_autopick_star, write_picks_star
from napari_so3.training.labels import (
    Labels,
    LabelsError,
    match_labels,
    read_labels,
    write_labels,
)

number = st.floats(-1e6, 1e6, allow_nan=False)
pairs = st.lists(st.tuples(number, number), max_size=4).map(lambda v: np.array(v).reshape(-1, 2))
triples = st.lists(st.tuples(number, number, number), max_size=3).map(
    lambda v: np.array(v).reshape(-1, 3)
)
polygons = st.lists(
    st.lists(st.tuples(number, number), min_size=3, max_size=5).map(np.array), max_size=2
).map(tuple)
labels = st.builds(Labels, pairs, pairs, triples, polygons, st.booleans())


@given(st.dictionaries(st.text(min_size=1, max_size=8), labels, max_size=3))
def test_what_is_written_is_read_again(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("labels") / "labels.json"
    write_labels(path, written)
    read = read_labels(path)
    assert list(read) == list(written)
    for name, one in written.items():
        other = read[name]
        np.testing.assert_array_equal(one.positives, other.positives)
        np.testing.assert_array_equal(one.negatives, other.negatives)
        np.testing.assert_array_equal(one.ignored_discs, other.ignored_discs)
        assert len(one.ignored_polygons) == len(other.ignored_polygons)
        for a, b in zip(one.ignored_polygons, other.ignored_polygons, strict=True):
            np.testing.assert_array_equal(a, b)
        assert one.complete == other.complete


def test_a_folder_of_star_files_is_read_by_its_names(tmp_path):
    write_picks_star(tmp_path / "a_autopick.star", "Micrographs/a.mrc", [1.0, 2], [3.0, 4], [0, 0])
    write_picks_star(tmp_path / "b.star", "b.mrc", [5.0], [6.0], [0])
    read = read_labels(tmp_path, complete=True)
    np.testing.assert_allclose(read["a"].positives, [[3, 1], [4, 2]])
    np.testing.assert_allclose(read["b"].positives, [[6, 5]])
    assert read["a"].complete


def test_one_star_file_for_many_micrographs(tmp_path):
    (tmp_path / "particles.star").write_text(
        "data_particles\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n_rlnMicrographName #3\n"
        "1 2 m/a.mrc\n3 4 m/b.mrc\n5 6 m/a.mrc\n"
    )
    read = read_labels(tmp_path / "particles.star")
    np.testing.assert_allclose(read["a"].positives, [[2, 1], [6, 5]])
    np.testing.assert_allclose(read["b"].positives, [[4, 3]])


def test_matching_says_what_is_left_over():
    paths = [Path("x/a.mrc"), Path("b.mrc")]
    matched = match_labels(paths, {"b": Labels(), "c": Labels()})
    assert [p.name for p, _ in matched.pairs] == ["b.mrc"]
    assert matched.without_labels == (paths[0],)
    assert matched.without_micrograph == ("c",)
    with pytest.raises(LabelsError, match=r"a\.mrc.*has the name.*\(z\)"):
        match_labels(paths, {"z": Labels()})


def test_labels_are_matched_without_what_programs_add_but_never_two_ways():
    uid = "012345678901234567890"
    paths = [Path(f"{uid}_a_patch_aligned.mrc"), Path("b.mrc"), Path("c_DW.mrc"), Path("c_sum.mrc")]
    labels = {name: Labels(complete=True) for name in "abc"}
    matched = match_labels(paths, labels)
    assert matched.pairs == ((paths[0], labels["a"]), (paths[1], labels["b"]))
    assert matched.without_labels == tuple(paths[2:]) and matched.without_micrograph == ("c",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a labels file"),
        ("[]", "not a labels file"),
        (json.dumps({"format": "napari-so3 labels 9", "micrographs": {}}), "update napari-so3"),
        (json.dumps({"format": "napari-so3 labels 1", "micrographs": {"a": {}}}), "not a labels"),
        (
            json.dumps(
                {
                    "format": "napari-so3 labels 1",
                    "micrographs": {
                        "a": {
                            "positives": [[1, 2, 3]],
                            "negatives": [],
                            "ignored_discs": [],
                            "ignored_polygons": [],
                            "complete": True,
                        }
                    },
                }
            ),
            "not a labels file",
        ),
    ],
)
def test_bad_files_are_refused_in_a_sentence(tmp_path, content, said):
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(LabelsError, match=rf"labels\.json.*{said}"):
        read_labels(path)


def test_missing_labels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no "):
        read_labels(tmp_path)
    with pytest.raises(LabelsError, match="existing labels file"):
        read_labels(tmp_path / "none.json")


def test_labels_must_make_sense():
    with pytest.raises(LabelsError, match="not finite"):
        Labels(np.array([[np.nan, 1.0]]))
    with pytest.raises(LabelsError, match="three corners"):
        Labels(ignored_polygons=(np.zeros((2, 2)),))


def test_the_list_of_relion_is_not_mistaken_for_labels(tmp_path):
    write_autopick_star(tmp_path / "autopick.star", [("a.mrc", "a_autopick.star")])
    with pytest.raises(ValueError, match=r"autopick\.star"):
        read_labels(tmp_path / "autopick.star")


def test_boxes_of_eman_are_no_labels_file_but_labels(tmp_path):
    path = tmp_path / "field_1_info.json"
    path.write_text('{"boxes": [[30, 20, "manual"], [5, 6, "manual"]]}')
    assert read_labels(path)["field_1"].positives.tolist() == [[20, 30], [6, 5]]
