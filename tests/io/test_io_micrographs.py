import os

import numpy as np
import pytest
from PIL import Image

from napari_so3.io.micrographs import (
    MicrographError,
    find_micrographs,
    micrograph_name,
    read_micrograph,
)

tifffile = pytest.importorskip("tifffile")
IMAGE = np.random.default_rng(0).integers(0, 255, (12, 9), dtype="u1")


def refusal(path, **options):
    with pytest.raises(MicrographError) as caught:
        read_micrograph(path, **options)
    text = str(caught.value)
    assert text.startswith(f"{path.name}: ") and text.endswith(".") and "\n" not in text
    return text


class TestTiff:
    @pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "f4", "f8"])
    def test_rows_are_reversed_as_em_programs_do_and_that_is_said(self, tmp_path, dtype):
        tifffile.imwrite(tmp_path / "a.tif", IMAGE.astype(dtype))
        micrograph = read_micrograph(tmp_path / "a.tif")
        np.testing.assert_array_equal(micrograph.to_float32(), IMAGE[::-1].astype(dtype))
        assert micrograph.to_float32().flags.c_contiguous
        (warning,) = micrograph.warnings
        assert "reversed" in warning
        assert micrograph.pixel_size is None

    def test_rows_as_stored(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", IMAGE)
        micrograph = read_micrograph(tmp_path / "a.tif", reverse_tiff_rows=False)
        np.testing.assert_array_equal(micrograph.data, IMAGE)
        assert micrograph.warnings == ()

    @pytest.mark.parametrize("compression", ["zlib", "lzw"])
    def test_compressed(self, tmp_path, compression):
        if compression == "lzw":
            pytest.importorskip("imagecodecs")
        tifffile.imwrite(tmp_path / "a.tiff", IMAGE, compression=compression)
        np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tiff").data, IMAGE[::-1])

    def test_missing_codec(self, tmp_path, monkeypatch):
        tifffile.imwrite(tmp_path / "a.tif", IMAGE, compression="zlib")

        def fail(*args, **kwargs):
            raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

        monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
        assert "pip install imagecodecs" in refusal(tmp_path / "a.tif")

    @pytest.mark.parametrize(
        ("per_unit", "unit", "size"),
        [
            (1e8 / 1.5, "CENTIMETER", 1.5),
            (2.54e8 / 1.1, "INCH", 1.1),
            (300, "INCH", None),
            (1e8 / 1.5, "NONE", None),
            (1e8, "CENTIMETER", None),
        ],
    )
    def test_pixel_size_of_the_resolution_tags(self, tmp_path, per_unit, unit, size):
        resolution = (per_unit, per_unit)
        tifffile.imwrite(tmp_path / "a.tif", IMAGE, resolution=resolution, resolutionunit=unit)
        assert read_micrograph(tmp_path / "a.tif").pixel_size == size

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (np.zeros((5, 12, 9), "u2"), "stack of 5 images; motion-correct it first"),
            (np.zeros((12, 9, 3), "u1"), "colour"),
            (np.zeros((12, 9, 4), "u1"), "colour"),
            (np.zeros((12, 9), "c8"), "real numbers"),
        ],
    )
    def test_refusals(self, tmp_path, data, words):
        photometric = "rgb" if data.shape[-1] < 5 else "minisblack"
        tifffile.imwrite(tmp_path / "a.tif", data, photometric=photometric)
        assert words in refusal(tmp_path / "a.tif")

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_truncated_anywhere(self, tmp_path, compression):
        tifffile.imwrite(tmp_path / "a.tif", IMAGE, compression=compression)
        content = (tmp_path / "a.tif").read_bytes()
        for length in (*range(0, 200, 7), len(content) - 1):
            (tmp_path / "b.tif").write_bytes(content[:length])
            text = refusal(tmp_path / "b.tif")
        assert "1 bytes are missing" in text or compression

    def test_another_format(self, tmp_path):
        (tmp_path / "a.tif").write_bytes(b"MAP " * 500)
        assert "not a TIFF" in refusal(tmp_path / "a.tif")

    def test_a_header_that_promises_gigabytes(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", IMAGE, compression="zlib")
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
            for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                tiff.pages.first.tags[tag].overwrite(16000)
        assert "16000 x 16000 pixels in a file of" in refusal(tmp_path / "a.tif")


class TestPictures:
    def test_png_is_not_turned(self, tmp_path):
        Image.fromarray(IMAGE).save(tmp_path / "a.png")
        micrograph = read_micrograph(tmp_path / "a.png", 2.0)
        np.testing.assert_array_equal(micrograph.data, IMAGE)
        assert micrograph.warnings == () and micrograph.pixel_size_source == "given"

    def test_sixteen_bits(self, tmp_path):
        data = IMAGE.astype("u2") * 200
        Image.fromarray(data).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_micrograph(tmp_path / "a.png").data, data)

    def test_jpeg_in_colour_becomes_grey_and_that_is_said(self, tmp_path):
        Image.fromarray(np.full((8, 16, 3), (10, 100, 200), "u1")).save(tmp_path / "a.jpg")
        micrograph = read_micrograph(tmp_path / "a.jpg")
        assert micrograph.data.shape == (8, 16) and micrograph.pixel_size is None
        assert "turned to grey" in micrograph.warnings[0]

    def test_refusals(self, tmp_path):
        Image.fromarray(IMAGE).save(tmp_path / "a.png")
        content = (tmp_path / "a.png").read_bytes()
        (tmp_path / "cut.png").write_bytes(content[:-40])
        assert "truncated" in refusal(tmp_path / "cut.png")
        (tmp_path / "text.png").write_bytes(b"text")
        assert "not a PNG" in refusal(tmp_path / "text.png")
        frames = [Image.fromarray(IMAGE), Image.fromarray(255 - IMAGE)]
        frames[0].save(tmp_path / "two.png", save_all=True, append_images=frames[1:])
        assert "2 images" in refusal(tmp_path / "two.png")


@pytest.mark.parametrize("name", ["a.mrc", "a.tif", "a.png"])
def test_missing_files_and_folders(tmp_path, name):
    assert "No such file" in refusal(tmp_path / name)
    (tmp_path / name).mkdir()
    refusal(tmp_path / name)


def test_unknown_ending(tmp_path):
    (tmp_path / "a.dm4").touch()
    assert "ending" in refusal(tmp_path / "a.dm4")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("x/a.mrc", "a"),
        ("a.b_1.5.mrc.gz", "a.b_1.5"),
        ("a.mrc.bz2", "a"),
        ("A.MRCS", "A"),
        ("a.tiff", "a"),
        ("a.JPG", "a"),
        ("a.mrc.tif", "a.mrc"),
        ("a b µ.png", "a b µ"),
        ("a.v2", "a.v2"),
    ],
)
def test_names(file, name):
    assert micrograph_name(file) == name


class TestFind:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("b.mrc", "a.mrc", "c.MRC.gz", "d.tif", "e.mrcs", "f[1].png"):
            (tmp_path / name).touch()
        for name in (".hidden.mrc", "notes.txt", "x.star", "sub/deep.mrc"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "folder.mrc").mkdir()
        return tmp_path

    def names(self, paths):
        return [path.name for path in find_micrographs(paths)]

    def test_folder(self, folder):
        expected = ["a.mrc", "b.mrc", "c.MRC.gz", "d.tif", "e.mrcs", "f[1].png"]
        assert self.names([folder]) == expected

    def test_each_file_once_whatever_names_it(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        paths = ["b.mrc", str(folder / "b.mrc"), folder / "*.mrc", os.path.join(".", "sub")]
        assert self.names(paths).count("b.mrc") == 1
        assert sorted(self.names(paths)) == ["a.mrc", "b.mrc", "deep.mrc"]

    def test_recursive_pattern_and_names_with_brackets(self, folder):
        assert "deep.mrc" in self.names([folder / "**" / "*.mrc"])
        assert self.names([folder / "f[1].png"]) == ["f[1].png"]

    @pytest.mark.parametrize("what", ["nothing.mrc", "*.jpeg", "notes.txt", "folder.mrc"])
    def test_what_finds_nothing_is_named(self, folder, what):
        with pytest.raises(MicrographError) as caught:
            find_micrographs([folder / "a.mrc", folder / what])
        assert str(caught.value).startswith(f"{what}: ")
