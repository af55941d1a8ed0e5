"""Reading: real files of many programs, and small ones that show what is made of them."""

import json
import os
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from napari_so3.io.coordinates import (
    LIST,
    CoordinateError,
    NoCoordinatesError,
    read_coordinate_file,
    read_coordinate_folder,
)
from napari_so3.io.star import write_autopick_star, write_picks_star
from napari_so3.picking.picks import MARK, Picks, make_table

# file: (what it is, rows, first x, first y, first score, other columns, words of the notes)
READS = {
    "box/crYOLO_5col_Falcon_14_33_35.box": (
        *("EMAN boxes", 719, 2979, 3975, 0.6598718762397766, {"box"}),
        ["corners of boxes of 180 pixels became centres"],
    ),
    "box/crYOLO_EMAN_TcdA1-0010.box": (
        *("EMAN boxes", 87, 1838, 3874.5, None, {"box"}),
        ["corners of boxes of 300 pixels became centres"],
    ),
    "box/topaz_5col_Falcon_14_33_35.box": (
        *("EMAN boxes", 789, 2092, 912, 7.182231, {"box"}),
        ["corners of boxes of 180 pixels became centres"],
    ),
    "cbox/TcdA1-0019_frames_sum.cbox": (
        *("CBOX of crYOLO", 129, 1069.0966796875 + 110, 3868.842498779297 + 110),
        *(0.8090754151344299, {"box"}, ["corners of boxes of 220 pixels became centres"]),
    ),
    "cbox/filament_ActLifeact_02885.cbox": (
        *("CBOX of crYOLO", 223, 83.5926053042125, 2540.425803432137, 1.0, {"box"}),
        ["corners of boxes of 100 pixels became centres", "boxes lie on 4 filaments"],
    ),
    "star/CASSPER_Falcon_14_33_35.star": ("RELION STAR", 567, 579, 3912, None, set(), []),
    "star/Gautomatch_Falcon_14_33_35.star": ("RELION STAR", 308, 1272, 136, 0.37263, set(), []),
    "star/aspire_incomplete_ctf.star": (
        *("RELION STAR", 1, 916.590156, 3057.649585, 0.601333, {"micrograph"}, []),
    ),
    "star/crYOLO_TcdA1-0010.star": ("RELION STAR", 87, 1838, 3874.5, None, set(), []),
    "star/cryoemmae_prediction.star": ("RELION STAR", 124, 3864, 608, None, {"micrograph"}, []),
    "star/cryosegnet_tab_no_loop_blank.star": (
        *("RELION STAR", 629, 3752, 693, None, {"micrograph"}, []),
    ),
    "star/relion3.0_autopick_Ucsf_stack_1142.star": (
        *("RELION STAR", 45, 839.125024, 19.979167, 0.624705, set(), []),
    ),
    "star/relion3.1_optics_header_in_body.star": (
        *("RELION STAR", 2, 4857, 425, None, {"micrograph"}, []),
    ),
    "star/relion31.6opticsgroups.star": (
        *("RELION STAR", 139, 2417.658855, 1078.795983, 0.081146, {"micrograph"}, []),
    ),
    "star/relion5.star": ("RELION STAR", 17, 1736, 228, 16.459581, {"micrograph"}, []),
    "star/relion_old_data_images_topaz10025.star": (
        *("RELION STAR", 1500, 6924, 2481, None, {"micrograph"}, []),
    ),
    "star/starfile_tests__one_loop.star": (
        *("RELION STAR", 16, 1572.444, 1084.5, None, {"micrograph"}, ["tomogram"]),
    ),
    **{
        f"star/starfile_tests__{name}.star": (
            *("RELION STAR", rows, 587, 1268, None, {"micrograph"}, ["tomogram"]),
        )
        for name, rows in (
            ("rln3.1_data_style", 2),
            ("single_line_end_of_multiblock", 2),
            ("single_line_middle_of_multiblock", 1),
        )
    },
    "txt_csv_json/cryoppp.csv": (
        *("CryoPPP", 629, 3752, 693, None, set(), ["108 pixels", "opposite edge"]),
    ),
    "txt_csv_json/headerless_xy.csv": (
        *("table", 167, 132.30613425925927, 33.52343749999992, None, set(), []),
    ),
    "txt_csv_json/topaz_image_x_y.txt": (
        *("Topaz table", 1500, 6924, 2481, None, {"micrograph"}, []),
    ),
}
FAILS = {
    "cs/cryosparc_J2_particles_exported.cs": "passthrough",
    "cs/empiar_10076_7.cs": "passthrough",
    "txt_csv_json/magellon_topaz.json": "downsampled",
    "star/aspire_starfile_syntax_sample.star": "not a valid STAR file",
    **{
        f"star/starfile_tests__{name}.star": "no block with rlnCoordinateX"
        for name in (
            *("basic_double_quote", "basic_single_quote", "default_pipeline", "empty_loop"),
            *("loop_double_quote", "loop_single_quote", "postprocess", "run_it025_optimiser_2D"),
            *("run_it025_optimiser_3D", "run_it025_sampling_2D", "run_it025_sampling_3D"),
            *("two_basic_blocks", "two_single_line_loop_blocks"),
        )
    },
}


@pytest.fixture
def formats(data_dir):
    return data_dir / "coordinate_formats"


@pytest.fixture
def read(tmp_path):
    """Write a text to a file and read its coordinates."""

    def read(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_coordinate_file(tmp_path / name)

    return read


def positions(file):
    return file.table[["x", "y"]].to_numpy().tolist()


@pytest.mark.parametrize("name", READS)
def test_real_files_are_read(formats, name):
    kind, rows, x, y, score, others, words = READS[name]
    file = read_coordinate_file(formats / name)
    assert (file.format, len(file.table)) == (kind, rows)
    first = file.table.iloc[0]
    assert (first["x"], first["y"]) == (x, y)
    assert set(file.table) == {"x", "y"} | others | ({"score"} if score is not None else set())
    assert score is None or first["score"] == score
    assert file.table["x"].dtype == file.table["y"].dtype == np.float64
    assert len(file.notes) == len(words)
    assert all(word in note for word, note in zip(words, file.notes, strict=True))


@pytest.mark.parametrize("name", FAILS)
def test_real_files_fail_in_one_sentence(formats, name):
    with pytest.raises(CoordinateError) as caught:
        read_coordinate_file(formats / name)
    text = str(caught.value)
    assert text.startswith(os.path.basename(name) + ": ") and FAILS[name] in text
    assert "\n" not in text and text.endswith(".")


def test_no_real_file_is_forgotten(formats):
    names = {f.relative_to(formats).as_posix() for f in formats.rglob("*") if f.is_file()}
    assert names == READS.keys() | FAILS.keys()


def median_distance(a, b, height=None):
    """Of the points of one file to those of another; turned over if a height is given."""
    a, b = (read_coordinate_file(f).table[["x", "y"]].to_numpy() for f in (a, b))
    if height is not None:
        a = np.c_[a[:, 0], height - 1 - a[:, 1]]
    return np.median(cKDTree(b).query(a)[0])


def test_pickers_agree_on_a_micrograph_whatever_their_format(formats):
    cryolo = formats / "box/crYOLO_5col_Falcon_14_33_35.box"
    others = ["box/topaz_5col_Falcon_14_33_35.box"]
    others += [f"star/{p}_Falcon_14_33_35.star" for p in ("CASSPER", "Gautomatch")]
    for other in others:  # a shift by half a box is 90 pixels
        assert median_distance(formats / other, cryolo) < 10
        assert median_distance(formats / other, cryolo, 4096) > 50
    labels = formats / "txt_csv_json/cryoppp.csv"
    assert median_distance(formats / "star/cryosegnet_tab_no_loop_blank.star", labels) == 0
    assert median_distance(labels, cryolo) > 50
    assert median_distance(labels, cryolo, 4096) < 10  # as the note says


def test_one_picker_in_two_formats(formats):
    boxes = read_coordinate_file(formats / "box/crYOLO_EMAN_TcdA1-0010.box")
    star = read_coordinate_file(formats / "star/crYOLO_TcdA1-0010.star")
    assert positions(boxes) == positions(star)
    topaz = read_coordinate_file(formats / "txt_csv_json/topaz_image_x_y.txt")
    old = read_coordinate_file(formats / "star/relion_old_data_images_topaz10025.star")
    assert positions(topaz) == positions(old)
    assert (topaz.table["micrograph"] + ".mrc").tolist() == old.table["micrograph"].tolist()


class TestBox:
    def test_half_pixels_of_odd_boxes_are_kept(self, read):
        file = read("a.box", "10 20 5 7\n")
        assert positions(file) == [[12.5, 23.5]] and file.table["box"].tolist() == [7]

    def test_flags_of_eman_are_no_scores(self, read):
        file = read("a.box", "# x y\n10\t20\t4\t4\t-3\n10\t20\t8\t8\t-3\n\n")
        assert "score" not in file.table and "boxes of 4 to 8 pixels" in file.notes[0]
        assert "flags" in file.notes[1]
        assert read("a.box", "10 20 4 4 0.5\n").table["score"].tolist() == [0.5]

    def test_old_cbox(self, read):
        file = read("a.cbox", "10.5 20 4 4 0.25 5 5\n")
        assert file.format == "CBOX of crYOLO before 1.8" and positions(file) == [[12.5, 22]]
        assert file.table["score"].tolist() == [0.25]

    def test_an_empty_file_has_no_boxes(self, read):
        assert len(read("a.box", "").table) == 0

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("1 2 3 4\n1 2 3\n", "as many numbers"),
            ("1 2 3 x\n", "height of row 1"),
            ("1 2 0 4\n", "not positive"),
            ("1 2\n", "are not x, y, width"),
            ("1 2 3 4 nan\n", "score of row 1"),
        ],
    )
    def test_bad_boxes(self, read, text, words):
        with pytest.raises(CoordinateError, match=rf"^a\.box: .*{words}"):
            read("a.box", text)


def test_cbox_with_filament_vertices_and_missing_confidence(read):
    file = read(
        "a.cbox",
        "data_global\n\n_cbox_format_version 1.0\n\ndata_cryolo\n\nloop_\n_CoordinateX #1\n"
        "_CoordinateY #2\n_CoordinateZ #3\n_Width #4\n_Height #5\n_Confidence #6\n"
        "1.5 2 <NA> 10 20 <NA>\n3 4 <NA> 10 20 0.5\n\ndata_filament_vertices\n\nloop_\n"
        "_filamentid #1\n_CoordinateX #2\n0 5\n0 6\n0 7\n",
    )
    assert positions(file) == [[6.5, 12], [8, 14]] and file.table["box"].tolist() == [20, 20]
    np.testing.assert_array_equal(file.table["score"], [np.nan, 0.5])
    assert file.notes[1] == "3 filament points were left out"
    with pytest.raises(CoordinateError, match="lacks CoordinateX"):
        read("b.cbox", "data_cryolo\n\nloop_\n_Width #1\n3\n4\n")


class TestJson:
    def test_boxes_of_eman_are_centres(self, read):
        file = read(
            "a_info.json",
            '{"ctf": [1], "boxes": [[3, 4.5, "manual"], [5, 6, "auto_convnet", 0.75]]}',
        )
        assert positions(file) == [[3, 4.5], [5, 6]] and file.notes == ()
        np.testing.assert_array_equal(file.table["score"], [np.nan, 0.75])

    def test_lists(self, read):
        file = read("a.json", '[{"x": 1, "y": 2, "score": 3}, {"x": 4, "y": 5, "score": 6}]')
        assert positions(file) == [[1, 2], [4, 5]] and file.table["score"].tolist() == [3, 6]

    @pytest.mark.parametrize("text", ["{", "{}", "[]", "[1]", '[{"a": 1}]', "7", "null"])
    def test_other_json_is_not_taken_for_coordinates(self, read, text):
        with pytest.raises(NoCoordinatesError, match=r"^a\.json: "):
            read("a.json", text)

    def test_our_labels_are_named(self, read):
        with pytest.raises(NoCoordinatesError, match="napari-so3 labels 1"):
            read("a.json", '{"format": "napari-so3 labels 1", "micrographs": {}}')

    @pytest.mark.parametrize(
        "text", ['{"boxes": [[1]]}', '{"boxes": [["a", 2, 3]]}', '[{"x": 1, "y": 2}, {"x": 1}]']
    )
    def test_damaged_json(self, read, text):
        with pytest.raises(CoordinateError, match=r"^a\.json: ") as caught:
            read("a.json", text)
        assert not isinstance(caught.value, NoCoordinatesError)


class TestCryosparc:
    FIELDS = (
        ("uid", "<u8"),
        ("location/micrograph_path", "S40"),
        ("location/micrograph_shape", "<u4", (2,)),
        ("location/center_x_frac", "<f4"),
        ("location/center_y_frac", "<f4"),
    )

    def save(self, path, rows, fields=FIELDS):
        with path.open("wb") as file:
            np.save(file, np.array(rows, dtype=list(fields)))
        return path

    def test_fractions_become_pixels_and_y_is_turned(self, tmp_path):
        rows = [
            (1, b">J1/imported/123_a.mrc", (1000, 2000), 0.25, 0.125, 0.5),
            (2, b"J1/b.mrc", (4000, 3000), 0.5, 1.0, 0.75),
        ]
        fields = (*self.FIELDS, ("pick_stats/ncc_score", "<f4"))
        file = read_coordinate_file(self.save(tmp_path / "picked_particles.cs", rows, fields))
        assert positions(file) == [[500, 875], [1500, 0]]
        assert file.table["micrograph"].tolist() == ["J1/imported/123_a.mrc", "J1/b.mrc"]
        assert file.table["score"].tolist() == [0.5, 0.75]
        assert file.notes == ("y was counted from the lower edge in cryoSPARC and is turned",)

    def test_without_scores(self, tmp_path):
        path = self.save(tmp_path / "a.cs", [(1, b"a.mrc", (10, 10), 0.5, 0.5)])
        assert "score" not in read_coordinate_file(path).table

    def test_python_objects_are_not_read(self, tmp_path):
        path = tmp_path / "a.cs"
        with path.open("wb") as file:
            np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(CoordinateError, match=r"^a\.cs: .*Python objects"):
            read_coordinate_file(path)

    @pytest.mark.parametrize("content", [b"", b"\x94CSDAT rest", b"x y\n1 2\n", b"\x93NUMPY"])
    def test_what_is_no_table_of_numpy(self, tmp_path, content):
        (tmp_path / "a.cs").write_bytes(content)
        with pytest.raises(CoordinateError, match=r"^a\.cs: it is (no table|damaged)"):
            read_coordinate_file(tmp_path / "a.cs")

    def test_places_that_are_no_numbers(self, tmp_path):
        path = self.save(tmp_path / "a.cs", [(1, b"a.mrc", (10, 10), np.nan, 0.5)])
        with pytest.raises(CoordinateError, match="not finite"):
            read_coordinate_file(path)


class TestTables:
    @pytest.mark.parametrize(
        "text",
        [
            "x,y,score\n1,2,3\n",
            "X Y  Score\n1 2 3\n",
            "x;y;confidence\n1;2;3\n",
            "\ufeff# made by hand\nname\tx_px\ty_px\tscore\na\t1\t2\t3\n",
            '"x", "y", "score"\n"1", "2", "3"\n',
            "_rlnCoordinateX\t_rlnCoordinateY\trlnAutopickFigureOfMerit\n1\t2\t3\n",
        ],
    )
    def test_headings_are_recognised(self, read, text):
        file = read("a.csv", text)
        assert file.format == "table" and positions(file) == [[1, 2]]
        assert file.table["score"].tolist() == [3]

    def test_topaz_with_scores_and_depth(self, read):
        text = "image_name\tx_coord\ty_coord\tz_coord\tscore\nNA\t1\t2\t0\t-1.5\n"
        file = read("a.tab", text)
        assert file.format == "Topaz table" and file.table["micrograph"].tolist() == ["NA"]
        assert file.table["score"].tolist() == [-1.5] and "tomogram" in file.notes[0]

    def test_points_of_napari_have_rows_first(self, read):
        file = read("a.csv", "index,axis-0,axis-1\n0,20.5,10\n")
        assert positions(file) == [[10, 20.5]] and "axis-0 is y" in file.notes[0]

    @pytest.mark.parametrize(
        "text", ["1 2\n3 4\n", "1,2\n3,4\n", "# x y\n1\t2\n\n3\t4", "1;2\n3;4"]
    )
    def test_without_headings(self, read, text):
        assert positions(read("a.txt", text)) == [[1, 2], [3, 4]]

    def test_a_third_column_without_heading_is_said_to_be_left_out(self, read):
        file = read("a.txt", "1 2 9\n3 4 9\n")
        assert list(file.table) == ["x", "y"] and "third column" in file.notes[0]

    def test_boxes_in_disguise_are_not_taken_for_centres(self, read):
        with pytest.raises(CoordinateError, match=r"^a\.txt: .*ending \.box"):
            read("a.txt", "1 2 180 180\n")

    def test_every_digit_is_kept(self, read):
        x, y = 132.30613425925927, 0.1 + 0.2
        assert positions(read("a.csv", f"x,y\n{x!r},{y!r}\n")) == [[x, y]]

    def test_candidates_of_ours(self, tmp_path):
        table = make_table(
            np.array([[20.0, 10.0]]),
            np.array([1.5], np.float32),
            np.zeros(1, int),
            np.zeros((1, 3)),
        )
        Picks(table, "/data/m.mrc", {"box": 180}).write_csv(tmp_path / "m.csv")
        file = read_coordinate_file(tmp_path / "m.csv")
        row = file.table.iloc[0].to_dict()
        assert row == {"x": 10, "y": 20, "score": 1.5, "micrograph": "/data/m.mrc", "box": 180}
        assert file.format == "picks of napari-so3" and "below the threshold" in file.notes[0]
        (tmp_path / "bad.csv").write_text(MARK + "{\ny,x\n")
        with pytest.raises(CoordinateError, match=r"^bad\.csv: its first line is damaged"):
            read_coordinate_file(tmp_path / "bad.csv")

    @pytest.mark.parametrize(
        "text", ["", "\n\n", "# only\n", "a,b\n1,2\n", "hello world\n", "x\n1\n"]
    )
    def test_other_text_is_not_taken_for_coordinates(self, read, text):
        with pytest.raises(NoCoordinatesError, match=r"^a\.txt: "):
            read("a.txt", text)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("x,y\n1,2\n3,\n", "y of row 2"),
            ("x,y\n1,2\ninf,4\n", "x of row 2 is not a number .inf"),
            ("x,y\n1,2,3\n", "regular table|other number|another number"),
            ("x,y\n1,2\n3,4,5\n", "regular table"),
            ("1,2\n3,4,5\n", "regular table"),
        ],
    )
    def test_damaged_tables(self, read, text, words):
        with pytest.raises(CoordinateError, match=rf"^a\.csv: .*({words})"):
            read("a.csv", text)


class TestList:
    def project(self, tmp_path):
        """A RELION project with a list of two files of picks."""
        folder = tmp_path / "project" / "AutoPick" / "job006"
        (folder / "Micrographs").mkdir(parents=True)
        rows = []
        for i, name in enumerate("ab"):
            star = folder / "Micrographs" / f"{name}_autopick.star"
            write_picks_star(star, "wrong.mrc", [i + 1.0], [5.0], [0.5])
            rows.append((f"Raw/{name}.mrc", star.relative_to(tmp_path / "project").as_posix()))
        return folder / "autopick.star", rows

    def test_the_files_are_found_from_anywhere(self, tmp_path):
        path, rows = self.project(tmp_path)
        write_autopick_star(path, rows)
        file = read_coordinate_file(path)
        assert file.format == LIST and file.notes == ()
        assert positions(file) == [[1, 5], [2, 5]]
        assert file.table["micrograph"].tolist() == ["Raw/a.mrc", "Raw/b.mrc"]

    def test_a_copied_list_finds_its_neighbours(self, tmp_path):
        write_picks_star(tmp_path / "a_autopick.star", "a.mrc", [1.0], [2.0], [0.0])
        write_autopick_star(tmp_path / "autopick.star", [("a.mrc", "gone/a_autopick.star")])
        assert positions(read_coordinate_file(tmp_path / "autopick.star")) == [[1, 2]]

    def test_missing_files_are_listed(self, tmp_path):
        path, rows = self.project(tmp_path)
        write_autopick_star(path, [*rows, ("c.mrc", "AutoPick/job006/c.star")])
        file = read_coordinate_file(path)
        assert len(file.table) == 2
        assert file.notes == ("of 3 listed files 1 could not be found: AutoPick/job006/c.star",)
        write_autopick_star(path, [("c.mrc", "no/c.star")])
        with pytest.raises(CoordinateError, match=r"^autopick\.star: none of the 1 files"):
            read_coordinate_file(path)

    def test_a_list_of_itself_is_no_endless_story(self, tmp_path):
        write_autopick_star(tmp_path / "l.star", [("a.mrc", "l.star")])
        with pytest.raises(CoordinateError, match=r"^l\.star: none"):
            read_coordinate_file(tmp_path / "l.star")

    def test_a_folder_reads_the_files_once(self, tmp_path):
        path, rows = self.project(tmp_path)
        write_autopick_star(path, rows)
        (path.parent / "log.txt").write_text("all went well\n")
        (path.parent / "job.star").write_text("data_job\n\n_rlnJobTypeLabel relion.autopick\n")
        (path.parent / "a.mrc").write_bytes(b"\0" * 2000)
        found = [file.path.name for file in read_coordinate_folder(tmp_path)]
        assert found == ["a_autopick.star", "b_autopick.star"]
        (path.parent / "bad.box").write_text("1 2 3 four\n")
        with pytest.raises(CoordinateError, match=r"^bad\.box"):
            list(read_coordinate_folder(tmp_path))


def test_placeholders_among_scores_are_missing_scores(read):
    head = "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnAutopickFigureOfMerit\n"
    table = read("a.star", head + "1 2 -999\n3 4 0.5\n").table
    np.testing.assert_array_equal(table["score"], [np.nan, 0.5])
    assert "score" not in read("a.star", head + "1 2 -9999\n").table


def test_the_content_counts_more_than_the_ending(read):
    star = "# version 50001\n\ndata_\n\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 2\n3 4\n"
    assert read("a.txt", star).format == "RELION STAR"
    assert read("a.txt", '{"boxes": [[1, 2, "manual"]]}').format == "JSON"


def test_missing_files_folders_and_pictures(tmp_path):
    (tmp_path / "folder.star").mkdir()
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00x"[:2] + b"abc")
    for name in ("none.star", "none.cs", "folder.star", "a.csv", "b.csv"):
        with pytest.raises(CoordinateError, match=rf"^{name}: "):
            read_coordinate_file(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(["a.star", "a.box", "a.cbox", "a.json", "a.csv", "a.txt"]),
    st.text(alphabet="xy123.,-;\t\n {}[]\"'#_data", max_size=80),
)
def test_no_text_raises_anything_else(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with warnings.catch_warnings(action="ignore"):
        try:
            read_coordinate_file(tmp_path / name)
        except CoordinateError as error:
            assert str(error).startswith(f"{name}: ") and "\n" not in str(error)


def test_json_of_eman_may_hold_numbers_of_any_kind(read):
    content = {"boxes": [[10**3, 2.5, "manual", None]]}
    assert positions(read("a_info.json", json.dumps(content))) == [[1000, 2.5]]
