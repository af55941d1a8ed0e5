import re

import numpy as np
import pandas as pd
import pytest
import starfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_so3.io.star import (
    StarError,
    read_coordinates,
    write_autopick_star,
    write_picks_star,
)

coordinate = st.floats(-1e4, 1e5)
logit = st.floats(-1e3, 1e3).filter(lambda v: v not in (-999, -9999))  # placeholders
reuse_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@reuse_folder
@given(st.lists(st.tuples(coordinate, coordinate, logit), max_size=20))
def test_round_trip(tmp_path, rows):
    x, y, score = np.array(rows, dtype=float).reshape(-1, 3).T
    write_picks_star(tmp_path / "a_autopick.star", "mics/a.mrc", x, y, score)
    table = read_coordinates(tmp_path / "a_autopick.star")
    assert list(table) == ["x", "y", "score", "micrograph"]
    np.testing.assert_allclose(table["x"], x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(table["y"], y, rtol=0, atol=1e-6)
    np.testing.assert_allclose(table["score"], score, rtol=0, atol=1e-6)
    assert (table["micrograph"] == "mics/a.mrc").all()


def test_text_is_a_plain_block_with_the_columns_of_relion(tmp_path):
    write_picks_star(tmp_path / "a.star", "a.mrc", [1.25], [2], [-3.5])
    lines = (tmp_path / "a.star").read_text().splitlines()
    assert [line for line in lines if line.startswith(("data_", "loop_"))] == ["data_", "loop_"]
    labels = [line.split()[0] for line in lines if line.startswith("_rln")]
    (row,) = (line.split() for line in lines if line[:1].isdigit())
    assert dict(zip(labels, row, strict=True)) == {
        "_rlnCoordinateX": "1.250000",
        "_rlnCoordinateY": "2.000000",
        "_rlnClassNumber": "0",
        "_rlnAnglePsi": "0.000000",
        "_rlnAutopickFigureOfMerit": "-3.500000",
        "_rlnMicrographName": "a.mrc",
    }


def test_no_picks_are_a_valid_file(tmp_path):
    write_picks_star(tmp_path / "a.star", "a.mrc", [], [], [])
    table = read_coordinates(tmp_path / "a.star")
    assert len(table) == 0 and list(table) == ["x", "y", "score", "micrograph"]
    assert table["x"].dtype == table["score"].dtype == np.float64
    assert len(starfile.read(tmp_path / "a.star")) == 0


@pytest.mark.parametrize(
    "name", ["data_001.mrc", "_a.mrc", "loop_.mrc", "a b µ.mrc", "17", "nan", "é/x.y.mrc", "NA"]
)
def test_awkward_names_come_back(tmp_path, name):
    write_picks_star(tmp_path / "a.star", name, [1, 2], [3, 4], [0, 1])
    table = read_coordinates(tmp_path / "a.star")
    assert list(table["micrograph"]) == [name] * 2
    write_autopick_star(tmp_path / "b.star", [(name, "x.star"), ("c.mrc", "y.star")])
    rows = starfile.read(
        tmp_path / "b.star", always_dict=True, parse_as_string=["rlnMicrographName"]
    )["coordinate_files"]
    assert list(rows["rlnMicrographName"].fillna("nan")) == [name, "c.mrc"]
    assert list(rows["rlnMicrographCoordinates"]) == ["x.star", "y.star"]


def test_names_without_need_are_not_quoted(tmp_path):
    write_autopick_star(tmp_path / "a.star", [("a.mrc", "a_autopick.star")])
    text = (tmp_path / "a.star").read_text()
    assert "data_coordinate_files" in text and '"' not in text


@pytest.mark.parametrize("name", ["", "a#1.mrc", "it's.mrc", 'a".mrc', "a  b", " a", "a\tb", "a\n"])
def test_names_that_star_cannot_hold(tmp_path, name):
    with pytest.raises(StarError, match=r"^a\.star: STAR files cannot hold the name"):
        write_picks_star(tmp_path / "a.star", name, [1], [2], [3])
    with pytest.raises(StarError, match=r"^a\.star: "):
        write_autopick_star(tmp_path / "a.star", [("a.mrc", name)])
    assert not list(tmp_path.iterdir())


def test_empty_list_of_micrographs(tmp_path):
    write_autopick_star(tmp_path / "a.star", [])
    (table,) = starfile.read(tmp_path / "a.star", always_dict=True).values()
    assert len(table) == 0


@pytest.mark.parametrize(
    ("x", "y", "score", "words"),
    [
        ([1, 2], [1], [1], "one length"),
        ([1], [np.nan], [1], "not finite"),
        ([1], [1], [np.inf], "not finite"),
    ],
)
def test_bad_numbers(tmp_path, x, y, score, words):
    with pytest.raises(StarError, match=words):
        write_picks_star(tmp_path / "a.star", "a.mrc", x, y, score)


RELION_3_1 = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographPixelSize #3
opticsGroup1 1 0.885000


# version 30001

data_particles

loop_
_rlnCoordinateX #1
_rlnCoordinateY #2
_rlnMicrographName #3
_rlnAutopickFigureOfMerit #4
_rlnOpticsGroup #5
  839.125024    19.979167 MotionCorr/job002/20170629_00021.mrc  0.624705  1
  899.062526   199.791672 MotionCorr/job002/20170629_00022.mrc  0.623809  1

"""


class TestRead:
    def read(self, tmp_path, text):
        (tmp_path / "in.star").write_text(text, encoding="utf-8")
        return read_coordinates(tmp_path / "in.star")

    def test_particles_after_optics(self, tmp_path):
        expected = pd.DataFrame(
            {
                "x": [839.125024, 899.062526],
                "y": [19.979167, 199.791672],
                "score": [0.624705, 0.623809],
                "micrograph": [f"MotionCorr/job002/20170629_0002{i}.mrc" for i in (1, 2)],
            }
        )
        pd.testing.assert_frame_equal(self.read(tmp_path, RELION_3_1), expected, check_dtype=False)

    def test_particles_are_preferred(self, tmp_path):
        other = "data_other\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n7 8\n\n"
        assert self.read(tmp_path, other + RELION_3_1)["x"][0] == 839.125024
        assert self.read(tmp_path, other)["x"][0] == 7

    def test_integers_tabs_and_no_score(self, tmp_path):
        text = "data_\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n3752\t693\n3474\t182\n"
        table = self.read(tmp_path, text)
        assert list(table) == ["x", "y"] and table["x"].dtype == np.float64
        assert table.to_numpy().tolist() == [[3752, 693], [3474, 182]]

    def test_a_placeholder_is_no_score(self, tmp_path):
        head = "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnAutopickFigureOfMerit\n"
        assert "score" not in self.read(tmp_path, head + "1 2 -999\n3 4 -999.0\n")
        assert "score" in self.read(tmp_path, head + "1 2 -999\n3 4 0.5\n")

    def test_one_particle_without_loop(self, tmp_path):
        table = self.read(tmp_path, "data_\n\n_rlnCoordinateX 5\n_rlnCoordinateY 6.5\n")
        assert table.to_numpy().tolist() == [[5, 6.5]]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "no block with rlnCoordinateX"),
            ("x y\n1 2\n", "no block with rlnCoordinateX"),
            ("data_\n", "not a valid STAR file|no block"),
            ("data_\nloop_\n_rlnCoordinateX\n1\n", "no block with rlnCoordinateX"),
            ("data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 2\n3 4 5\n", "not a valid"),
            ("data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 2\n3 oops\n", "Y of row 2"),
            ("data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 2\nnan 2\n", "X of row 2"),
        ],
    )
    def test_bad_files(self, tmp_path, text, words):
        with pytest.raises(StarError) as caught:
            self.read(tmp_path, text)
        message = str(caught.value)
        assert message.startswith("in.star: ") and "\n" not in message
        assert re.search(words, message)

    def test_a_mended_file_is_read_anew(self, tmp_path):
        head = "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n"
        with pytest.raises(StarError):
            self.read(tmp_path, head + "1 2\n3 4 5\n")
        assert len(self.read(tmp_path, head + "1 2\n3 4  \n")) == 2

    def test_missing_binary_and_folder(self, tmp_path):
        (tmp_path / "b.star").write_bytes(bytes(range(256)) * 9)
        (tmp_path / "c.star").mkdir()
        for name in ("a.star", "b.star", "c.star"):
            with pytest.raises(StarError, match=rf"^{name}: "):
                read_coordinates(tmp_path / name)

    @reuse_folder
    @given(st.text(alphabet="data_loop_rlnCoordinateXY#1 .\n\t'\"\0", max_size=200))
    def test_no_text_raises_anything_else(self, tmp_path, text):
        try:
            self.read(tmp_path, "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n" + text)
        except StarError as error:
            assert str(error).startswith("in.star: ")
