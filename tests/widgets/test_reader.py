import warnings

import mrcfile
import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager

from napari_so3.widgets.layers import contrast_limits
from napari_so3.widgets.reader import get_reader, read


@pytest.fixture
def messages():
    """Severity and text of what napari tells the user."""
    before = len(notification_manager.records)
    return lambda: [
        (str(note.severity), note.message) for note in notification_manager.records[before:]
    ]


def test_the_layer_lies_in_angstrom(viewer, micrograph, messages):
    (layer,) = viewer.open(str(micrograph), plugin="napari-so3")
    assert layer.name == "field_01"
    assert tuple(layer.scale) == (5.0, 5.0)
    assert [str(unit) for unit in layer.units] == ["angstrom", "angstrom"]
    assert layer.axis_labels == ("y", "x")
    assert layer.metadata["napari-so3"] == {
        "kind": "micrograph",
        "path": str(micrograph),
        "pixel_size": 5.0,
        "pixel_size_source": "header",
    }
    assert messages() == []


def test_pixels_are_not_read_into_memory(micrograph):
    ((data, _, kind),) = read(str(micrograph))
    assert kind == "image"
    assert isinstance(data, np.memmap)


def test_without_pixel_size_the_units_are_pixels(viewer, write_mrc):
    path = write_mrc("x.mrc", np.zeros((4, 5), np.float32), 0.0)
    (layer,) = viewer.open(str(path), plugin="napari-so3")
    assert tuple(layer.scale) == (1.0, 1.0)
    assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]
    assert layer.metadata["napari-so3"]["pixel_size_source"] == "unknown"


def test_contrast_ignores_hot_pixels_and_what_is_no_number(write_mrc):
    data = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    data[3, :3] = np.nan, np.inf, 1e9
    with warnings.catch_warnings(action="ignore"):  # mrcfile's, on NaN
        path = write_mrc("hot.mrc", data)
    ((_, attributes, _),) = read(str(path))
    low, high = attributes["contrast_limits"]
    assert -4 < low < -1.5
    assert 1.5 < high < 4


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_images_without_contrast_have_contrast_limits(value):
    low, high = contrast_limits(np.full((20, 20), value, np.float32))
    assert low < high


def test_every_dtype_of_an_mrc_file_is_drawn(viewer, picture, tmp_path):
    ramp = np.tile(np.arange(60), (60, 1))
    for dtype in (">f4", "<f2", ">f2", ">i2"):
        path = tmp_path / f"{dtype[-2:]}.mrc"
        with mrcfile.new(path, overwrite=True) as mrc:
            mrc.set_data(ramp.astype(dtype))
        (layer,) = viewer.open(str(path), plugin="napari-so3")
        assert layer.data.dtype.itemsize == np.dtype(dtype).itemsize
        assert picture().std() > 10, dtype
        viewer.layers.remove(layer)


def test_what_is_no_micrograph_is_told_in_one_sentence(viewer, write_mrc, messages):
    path = write_mrc("map.mrc", np.zeros((6, 6, 6), np.float32))
    assert viewer.open(str(path), plugin="napari-so3") == []
    ((severity, message),) = messages()
    assert severity == "error"
    assert message.startswith("map.mrc: it is a 3D map")
    assert len(viewer.layers) == 0


def test_what_is_odd_about_a_file_is_told_once(viewer, tmp_path, messages):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, np.arange(30, dtype=np.uint16).reshape(5, 6))
    (layer,) = viewer.open(str(path), plugin="napari-so3")
    np.testing.assert_array_equal(layer.data[0], np.arange(24, 30))  # the last row of the file
    ((severity, message),) = messages()
    assert severity == "warning"
    assert message.startswith("scan.tif: The rows of this TIFF are reversed")


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("a.mrc", True),
        ("A.MRC", True),
        ("a.mrcs", True),
        ("a.mrc.gz", True),
        ("a.mrc.bz2", True),
        ("a.tif", True),
        ("a.tiff", True),
        ("a.star", False),
        ("mrc", False),
        (["a.mrc", "b.mrc"], False),
    ],
)
def test_files_are_told_by_their_ending(path, ours):
    assert (get_reader(path) is not None) is ours
