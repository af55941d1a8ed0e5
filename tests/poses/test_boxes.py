"""Boxes are cut as RELION cuts them."""

import mrcfile
import numpy as np
import pytest

from napari_so3.io.micrographs import read_micrograph
from napari_so3.io.particle_images import read_particle_images
from napari_so3.io.particle_star import image_names, write_particles_star
from napari_so3.io.particles import read_particles
from napari_so3.io.volumes import write_image_stack
from napari_so3.poses.boxes import BoxError, box_centres, extract_boxes


@pytest.fixture
def micrograph(tmp_path):
    """Micrograph 50 x 70 whose pixels are 1000 y + x."""
    y, x = np.mgrid[:50, :70]
    with mrcfile.new(tmp_path / "m.mrc") as mrc:
        mrc.set_data((1000 * y + x).astype(np.float32))
        mrc.voxel_size = 2.0
    return read_micrograph(tmp_path / "m.mrc")


def _cut(micrograph, *points):
    return extract_boxes(micrograph, np.array(points), 8, invert=False, normalise=False)


def test_the_pick_is_pixel_half_the_box(micrograph):
    (box,) = _cut(micrograph, (20.9, 30.2))
    assert box[4, 4] == 20_030  # fractions are dropped, not rounded
    assert box[0, 0] == 16_026 and box[-1, -1] == 23_033  # x - n/2 to x + n/2 - 1


def test_pixels_beyond_the_edge_repeat_the_nearest(micrograph):
    low, high = _cut(micrograph, (1, 2), (49, 69))
    assert (low[:3] == low[3]).all() and low[3, 2] == 0
    assert (low[:, :2] == low[:, 2:3]).all()
    assert (high[5:] == high[4]).all() and high[4, 4] == 49_069


def test_particles_become_white(micrograph):
    np.testing.assert_array_equal(
        extract_boxes(micrograph, np.array([[20, 30]]), 8, normalise=False),
        -_cut(micrograph, (20, 30)),
    )


def test_the_background_becomes_flat_with_deviation_one(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    image = 30 + 0.3 * y - 0.2 * x + 4.0 * rng.standard_normal((128, 128))
    image -= 50.0 * (np.hypot(y - 64, x - 64) < 12)  # a dark particle on ice that is not even
    with mrcfile.new(tmp_path / "m.mrc") as mrc:
        mrc.set_data(image.astype(np.float32))
    (box,) = extract_boxes(read_micrograph(tmp_path / "m.mrc"), np.array([[64, 64]]), 64)
    distance = np.hypot(*(np.mgrid[:64, :64] - 32))
    background = box[distance > 24]
    assert abs(background.mean()) < 1e-4 and background.std() == pytest.approx(1, abs=1e-4)
    rows = box[distance > 24] @ np.column_stack([g[distance > 24] for g in np.mgrid[:64, :64] - 32])
    assert abs(rows / len(background)).max() < 1e-3  # no slope is left
    assert box[distance < 10].mean() == pytest.approx(50 / 4, rel=0.1)


def test_pixels_that_are_no_numbers_do_not_spoil_a_box(tmp_path):
    image = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    with mrcfile.new(tmp_path / "m.mrc") as mrc:
        mrc.set_data(image)
        mrc.data[30, 30] = np.nan
    assert np.isfinite(extract_boxes(read_micrograph(tmp_path / "m.mrc"), [[32, 32]], 32)).all()


@pytest.mark.parametrize(
    ("box", "point", "says"), [(9, (20, 20), "even"), (8, (20, 80), "outside")]
)
def test_boxes_that_cannot_be_cut_are_refused(micrograph, box, point, says):
    with pytest.raises(BoxError, match=f"m: .*{says}"):
        extract_boxes(micrograph, np.array([point]), box)


def test_boxes_and_their_star_are_read_again(micrograph, tmp_path):
    """What is in the files leads to the same place in the micrograph."""
    import pandas as pd

    picks = np.array([[20.7, 30.3], [15.2, 40.9]])  # y, x
    centres = box_centres(picks)
    boxes = extract_boxes(micrograph, picks, 8, normalise=False)
    write_image_stack(tmp_path / "m.mrcs", boxes, 2.0)
    shift = (picks - centres) * 2.0
    table = pd.DataFrame(
        {"x": centres[:, 1], "y": centres[:, 0], "score": 1.0, "dx": shift[:, 1], "dy": shift[:, 0]}
    )
    table["image"] = image_names("m.mrcs", 2, tmp_path / "p.star")
    write_particles_star(tmp_path / "p.star", {"m.mrc": table}, 2.0, 8)
    back = read_particles(tmp_path / "p.star")
    np.testing.assert_array_equal(read_particle_images(back), boxes)
    found = back.table[["y", "x"]].to_numpy() - back.origins / 2.0
    np.testing.assert_allclose(found, picks, atol=1e-6)
