"""MRC files made here; `test_io_odd_files.py` opens real odd ones."""

import bz2
import gzip
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mrcfile.dtypes import HEADER_DTYPE

from napari_so3.io.micrographs import MicrographError, read_micrograph

MODES = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12, "c8": 4}
IMAGE = np.random.default_rng(0).normal(0, 30, (12, 9)).astype("f4")


def mrc_bytes(data, order="<", **changes):
    """File content of an array (ny, nx) or (nz, ny, nx) at 1.5 Å/px, with header fields changed."""
    nx, ny, nz = (*data.shape[::-1], 1)[:3]
    header = np.zeros((), HEADER_DTYPE.newbyteorder(order))
    fields = {"nx": nx, "ny": ny, "nz": nz, "mx": nx, "my": ny, "mz": nz, "map": b"MAP "}
    fields |= {"mapc": 1, "mapr": 2, "maps": 3}
    fields["mode"] = MODES[data.dtype.str[1:]]
    fields["cella"] = (1.5 * nx, 1.5 * ny, 1.5 * nz)
    fields["machst"] = (0x44, 0x44, 0, 0) if order == "<" else (0x11, 0x11, 0, 0)
    for key, value in (fields | changes).items():
        header[key] = value
    extended = b"\1" * max(0, int(header["nsymbt"]))
    return header.tobytes() + extended + data.astype(data.dtype.newbyteorder(order)).tobytes()


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.mrc"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def refused(write):
    """Read content that must be refused in one sentence that begins with the file's name."""

    def refused(content, name="a.mrc"):
        with pytest.raises(MicrographError) as caught:
            read_micrograph(write(content, name))
        text = str(caught.value)
        assert text.startswith(f"{name}: ") and text.endswith(".") and "\n" not in text
        return text

    return refused


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4"])
def test_every_mode_in_both_byte_orders(write, dtype, order):
    data = (IMAGE + 40000 if dtype == "u2" else IMAGE).astype(dtype)
    micrograph = read_micrograph(write(mrc_bytes(data, order)))
    np.testing.assert_array_equal(micrograph.data, data)
    assert micrograph.pixel_size == 1.5 and micrograph.pixel_size_source == "header"
    assert micrograph.warnings == ()
    as_float = micrograph.to_float32()
    assert type(as_float) is np.ndarray and as_float.dtype.str == np.dtype("f4").str
    assert as_float.flags.c_contiguous
    np.testing.assert_array_equal(as_float, data.astype("f4"))
    as_float[0, 0] += 1  # a copy, which may be changed
    np.testing.assert_array_equal(micrograph.data, data)


@pytest.mark.parametrize("width", [8, 9])
def test_packed_4_bit_low_nibble_first_rows_padded(write, width):
    pixels = np.random.default_rng(1).integers(0, 16, (5, width), dtype="u1")
    padded = np.pad(pixels, ((0, 0), (0, width % 2)))
    packed = padded[:, ::2] | padded[:, 1::2] << 4
    header = mrc_bytes(np.zeros((5, width), "i1"), mode=101)[:1024]
    micrograph = read_micrograph(write(header + packed.tobytes()))
    np.testing.assert_array_equal(micrograph.data, pixels)


def test_unsigned_bytes_of_imod(write):
    data = np.arange(108, dtype="u1").reshape(12, 9) * 2
    stamp = b"\0" * 40 + np.array([1146047817, 0], "<i4").tobytes() + b"\0" * 36
    path = write(mrc_bytes(data.view("i1"), extra2=np.void(stamp)))
    np.testing.assert_array_equal(read_micrograph(path).data, data)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz", "a.mrc.bz2"])
def test_content_tells_the_compression(write, compress, name):
    micrograph = read_micrograph(write(compress(mrc_bytes(IMAGE)), name))
    np.testing.assert_array_equal(micrograph.data, IMAGE)
    assert micrograph.name == "a"


@pytest.mark.parametrize(
    "changes",
    [
        {"map": b"\0\0\0\0", "machst": (0, 0, 0, 0)},
        {"machst": (0x11, 0x11, 0, 0)},
        {"nsymbt": 2048},
        {"ispg": 1},
        {"mapc": 0, "mapr": 0, "maps": 0},
    ],
)
def test_harmless_headers_are_read_without_a_word(write, changes):
    micrograph = read_micrograph(write(mrc_bytes(IMAGE, **changes) + b"trailing"))
    np.testing.assert_array_equal(micrograph.data, IMAGE)
    assert micrograph.pixel_size == 1.5 and micrograph.warnings == ()


def test_stack_of_one_is_an_image(write):
    micrograph = read_micrograph(write(mrc_bytes(IMAGE[None]), "µ dir/a b.c.mrcs"))
    np.testing.assert_array_equal(micrograph.data, IMAGE)
    assert micrograph.name == "a b.c"


def test_other_axes_are_said_and_never_applied(write):
    micrograph = read_micrograph(write(mrc_bytes(IMAGE, mapc=2, mapr=1)))
    np.testing.assert_array_equal(micrograph.data, IMAGE)
    (warning,) = micrograph.warnings
    assert "2, 1, 3" in warning and "as stored" in warning


def test_plain_files_are_mapped_not_read(write):
    path = write(mrc_bytes(IMAGE, nx=4096, ny=4096, mx=4096, my=4096, cella=(6144, 6144, 1)))
    with path.open("r+b") as file:
        file.truncate(1024 + 4 * 4096**2)
    tracemalloc.start()
    micrograph = read_micrograph(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert micrograph.data.shape == (4096, 4096) and peak < 2**20
    with pytest.raises(ValueError, match="read-only"):
        micrograph.data[0, 0] = 1


class TestPixels:
    def test_nan_and_infinity_are_counted_and_kept(self, write):
        data = IMAGE.copy()
        data[0, :2], data[3, 3] = np.nan, np.inf
        micrograph = read_micrograph(write(mrc_bytes(data)))
        (warning,) = micrograph.warnings
        assert warning.startswith("3 of 108 pixels are NaN or infinite")
        np.testing.assert_array_equal(micrograph.to_float32(), data)

    @pytest.mark.parametrize("dtype", ["i2", "f4"])
    def test_a_constant_image(self, write, dtype):
        (warning,) = read_micrograph(write(mrc_bytes(np.full((4, 5), 7, dtype)))).warnings
        assert "constant" in warning

    def test_nothing_but_nan(self, write):
        (warning,) = read_micrograph(write(mrc_bytes(np.full((4, 5), np.nan, "f4")))).warnings
        assert "All pixels" in warning


class TestPixelSize:
    def read(self, write, given=None, **changes):
        return read_micrograph(write(mrc_bytes(IMAGE, **changes)), given)

    @pytest.mark.parametrize("cell", [0.0, -13.5, np.nan, np.inf, 9.0])
    def test_unknown(self, write, cell):
        micrograph = self.read(write, cella=(cell, cell, cell))
        assert (micrograph.pixel_size, micrograph.pixel_size_source) == (None, "unknown")

    def test_float32_noise_is_rounded_away(self, write):
        assert self.read(write, cella=(9 * 7.08, 12 * 7.08, 7.08)).pixel_size == 7.08

    def test_shrunk_files_keep_the_grid_of_the_original(self, write):
        micrograph = self.read(write, mx=36, my=48, cella=(54, 72, 1.5))
        assert micrograph.pixel_size == 6.0
        (warning,) = micrograph.warnings
        assert "6 Å" in warning and "1.5 Å" in warning

    def test_a_unit_cell_is_unknown_in_shrunk_files_too(self, write):
        assert self.read(write, mx=36, my=48, cella=(36, 48, 1)).pixel_size is None

    def test_pixels_that_are_not_square(self, write):
        micrograph = self.read(write, cella=(13.5, 12 * 1.7, 1.5))
        assert micrograph.pixel_size == 1.5
        assert "not square" in micrograph.warnings[0] and "1.7" in micrograph.warnings[0]

    def test_given_overrides_and_silences_the_header(self, write):
        micrograph = self.read(write, 2.5, mx=36, my=48)
        assert (micrograph.pixel_size, micrograph.pixel_size_source) == (2.5, "given")
        assert micrograph.warnings == ()

    @pytest.mark.parametrize("size", [0.2, 20.0])
    def test_unusual(self, write, size):
        for micrograph in (
            self.read(write, size),
            self.read(write, cella=(9 * size, 12 * size, 1)),
        ):
            assert micrograph.pixel_size == size
            assert "outside the usual" in micrograph.warnings[0]

    @pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf])
    def test_given_nonsense(self, write, size):
        with pytest.raises(MicrographError, match=r"^a\.mrc: .*no positive number"):
            self.read(write, size)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "data", "changes", "words"),
        [
            ("a.mrc", np.zeros((20, 10, 9), "i1"), {"ispg": 0}, "movie.*motion-correct it first"),
            ("a.mrc", np.zeros((20, 10, 9), "f4"), {"ispg": 1}, "stack or volume.*motion-correct"),
            ("a.mrcs", np.zeros((8, 8, 8), "f4"), {"ispg": 1}, "stack"),
            ("a.mrc", np.zeros((8, 8, 8), "f4"), {"ispg": 1}, "3D map or tomogram"),
            ("a.mrc", np.zeros((8, 8), "c8"), {}, "Fourier transform"),
            ("a.mrc", IMAGE, {"mode": 99}, "mode 99"),
            ("a.mrc", IMAGE, {"nx": -5}, "damaged.*-5 x 12"),
            ("a.mrc", IMAGE, {"ny": 0}, "damaged"),
            ("a.mrc", IMAGE, {"nz": 0}, "damaged"),
            ("a.mrc", IMAGE, {"nsymbt": -3}, "damaged"),
            ("a.mrc", IMAGE, {"nx": 300000, "ny": 300000}, "more than any camera"),
        ],
    )
    def test_headers(self, refused, name, data, changes, words):
        text = refused(mrc_bytes(data, **changes), name)
        assert re.search(words, text)

    def test_says_how_many_bytes_are_missing(self, refused):
        content = mrc_bytes(IMAGE, nsymbt=512)
        assert "100 of 1968 bytes are missing" in refused(content[:-100])
        assert "100 of 1968 bytes are missing" in refused(gzip.compress(content[:-100]))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "empty"),
            (b"\0" * 500, "500 of 1024"),
            (b"\0" * 2000, "damaged"),
            (b"\x89PNG\r\n" + b"\0" * 2000, "PNG image"),
            (b"# a text file\n" * 200, "not an MRC file"),
            (b"\x1f\x8b" + b"\xff" * 2000, "compressed data"),
        ],
    )
    def test_other_content(self, refused, content, words):
        assert words in refused(content)

    @pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
    def test_cut_compressed_files(self, refused, compress):
        content = compress(mrc_bytes(IMAGE))
        for length in (5, 20, len(content) // 2, len(content) - 9):
            assert "truncated or damaged" in refused(content[:length])

    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    @pytest.mark.parametrize(
        "changes", [{"nx": 16384, "ny": 16384}, {"nx": 2**23}, {"nx": 9999, "nsymbt": 0}]
    )
    def test_hostile_headers_allocate_nothing(self, write, compress, changes):
        path = write(compress(mrc_bytes(IMAGE, **changes)))
        tracemalloc.start()
        with pytest.raises(MicrographError):
            read_micrograph(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**26

    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.binary(min_size=0, max_size=256), st.integers(0, 255))
    def test_no_header_raises_anything_else(self, write, noise, at):
        content = bytearray(mrc_bytes(IMAGE))
        content[at : at + len(noise)] = noise
        path = write(bytes(content))
        try:
            read_micrograph(path).warnings  # noqa: B018
        except MicrographError as error:
            assert str(error).startswith("a.mrc: ")
