"""Real odd and broken files; every one opens right or fails in one sentence."""

import os
from pathlib import Path

import numpy as np
import pytest

from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.io.star import StarError, read_coordinates

# name: (correlation with the plain image that at least it must have, words of its only warning)
OPENS = {
    "mode2_float32.mrc": (1, None),
    "mode0_int8.mrc": (0.999, None),
    "mode1_int16.mrc": (0.999, None),
    "mode6_uint16_above32767.mrc": (0.999, None),
    "mode12_float16.mrc": (0.999, None),
    "mode101_4bit_packed.mrc": (0.98, None),
    "mode101_4bit_odd_width.mrc": (0.98, "360 pixels wide but the image 359"),
    "bigendian_mode1.mrc": (0.999, None),
    "bigendian_mode2.mrc": (1, None),
    "lying_machine_stamp_says_big_is_little.mrc": (1, None),
    "pre2000_no_map_id.mrc": (1, None),
    "gz.mrc.gz": (1, None),
    "bz2.mrc.bz2": (1, None),
    "gzip_content_named_plain.mrc": (1, None),
    "fei1_ext_128k.mrc": (1, None),
    "extra_trailing_1000B.mrc": (1, None),
    "mrcs_stack_of_1.mrcs": (1, None),
    "voxel_zero.mrc": (1, None),
    "axes_213.mrc": (1, "2, 1, 3"),
    "unicode dir é/name with space µ.mrc": (1, None),
    "nan_inf.mrc": (None, "101 of 144000 pixels"),
    "constant_zero_variance.mrc": (None, "constant"),
    "hot_pixels_1e9.mrc": (None, None),
    "inverted_contrast_negative_stain_like.mrc": (None, None),
    "one_row_1x360.mrc": (None, None),
    "tiny_8x8.mrc": (None, None),
}
FAILS = {
    "empty_0B.mrc": "empty",
    "truncated_header_500B.mrc": "500 of 1024",
    "truncated_half.mrc": "288512 of 577024 bytes are missing",
    "huge_dims_300000.mrc": "300000 x 300000",
    "negative_nx.mrc": "-5 x 400",
    "nsymbt_1e9.mrc": "1000000000 of",
    "unknown_mode_99.mrc": "mode 99",
    "mode4_complex64_fft.mrc": "Fourier transform",
    "movie_20_frames_mode0.mrc": "motion-correct it first and pick on the sum",
    "volume_64.mrc": "3D map or tomogram",
    "really_a_png.mrc": "PNG image",
}


@pytest.fixture
def odd(data_dir):
    return data_dir / "odd_mrc"


@pytest.mark.parametrize("name", OPENS)
def test_opens(odd, name):
    least, words = OPENS[name]
    micrograph = read_micrograph(odd / name)
    assert micrograph.pixel_size == (
        None if "voxel_zero" in name else pytest.approx(1.5, rel=0.003)
    )
    assert len(micrograph.warnings) == (words is not None)
    assert words is None or words in micrograph.warnings[0]
    if least is not None:
        plain = read_micrograph(odd / "mode2_float32.mrc").to_float32()
        image = micrograph.to_float32()
        assert image.shape[0] == 400
        close = np.corrcoef(image.ravel(), plain[:, : image.shape[1]].ravel())[0, 1]
        assert close >= least - 1e-6


@pytest.mark.parametrize("name", FAILS)
def test_fails_in_one_sentence(odd, name):
    with pytest.raises(MicrographError) as caught:
        read_micrograph(odd / name)
    text = str(caught.value)
    assert text.startswith(f"{name}: ") and FAILS[name] in text
    assert "\n" not in text and text.endswith(".")


@pytest.mark.parametrize("name", ["micrograph_float32.tif", "micrograph_uint16.tif"])
def test_tiff_written_by_python_agrees_with_mrc_only_as_stored(odd, name):
    plain = read_micrograph(odd / "mode2_float32.mrc").to_float32()
    stored = read_micrograph(odd / name, reverse_tiff_rows=False).to_float32()
    assert np.corrcoef(stored.ravel(), plain.ravel())[0, 1] > 0.999
    reversed_rows = read_micrograph(odd / name).to_float32()
    np.testing.assert_array_equal(reversed_rows, stored[::-1])


def test_no_odd_file_is_forgotten(odd):
    files = (Path(folder) / file for folder, _, files in os.walk(odd) for file in files)
    names = {file.relative_to(odd).as_posix() for file in files if ".mrc" in file.name}
    assert names - OPENS.keys() - FAILS.keys() <= {"symlink.mrc"}  # a text file in some copies


@pytest.mark.parametrize(
    ("name", "count", "columns"),
    [
        ("relion3.0_autopick_Ucsf_stack_1142.star", 45, {"score"}),
        ("Gautomatch_Falcon_14_33_35.star", 308, {"score"}),
        ("CASSPER_Falcon_14_33_35.star", 567, set()),
        ("crYOLO_TcdA1-0010.star", 87, set()),
        ("cryosegnet_tab_no_loop_blank.star", 629, {"micrograph"}),
        ("cryoemmae_prediction.star", 124, {"micrograph"}),
        ("relion3.1_optics_header_in_body.star", 2, {"micrograph"}),
        ("relion31.6opticsgroups.star", 139, {"micrograph", "score"}),
        ("relion5.star", 17, {"micrograph", "score"}),
        ("relion_old_data_images_topaz10025.star", 1500, {"micrograph"}),
    ],
)
def test_coordinates_of_other_programs(data_dir, name, count, columns):
    table = read_coordinates(data_dir / "coordinate_formats" / "star" / name)
    assert len(table) == count and set(table) == {"x", "y"} | columns
    assert table[["x", "y"]].to_numpy().min() >= 0


def test_every_star_file_is_read_or_refused(data_dir):
    for path in sorted((data_dir / "coordinate_formats" / "star").glob("*.star")):
        try:
            read_coordinates(path)
        except StarError as error:
            assert str(error).startswith(path.name) and "\n" not in str(error)
