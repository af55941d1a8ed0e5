"""Crops and averages: a mark that one knows, turned and moved, comes out where it should."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from napari_so3.insight.averages import (
    MOST,
    Averager,
    Cutter,
    Kin,
    Pick,
    PicksOn,
    cut_all,
    find_kin,
    sample,
)
from napari_so3.picking.picks import Picks, make_table

NOWHERE = Pick(Path("elsewhere.mrc"), 0.0, 0.0, 1.0)


def mark(size=61, turn=0.0, shift=(0.0, 0.0), blur=2.0):
    """An L of dark blobs about the middle, turned as psi turns a particle."""
    axis = np.arange(size) - (size - 1) / 2
    a = np.deg2rad(turn)
    image = np.zeros((size, size))
    for right, up in ((0, 0), (0, 9), (0, 18), (9, 0)):
        x = right * np.cos(a) - up * np.sin(a) + shift[1]
        y = -(right * np.sin(a) + up * np.cos(a)) + shift[0]  # rows grow downwards
        image -= np.exp(-((axis[:, None] - y) ** 2 + (axis - x) ** 2) / (2 * blur**2))
    return image.astype(np.float32)


def test_marks_turn_as_psi_does():
    np.testing.assert_allclose(mark(turn=90), np.rot90(mark()), atol=1e-6)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_quarter_turn_is_rot90(quarters):
    image = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    square = sample(image, (20.0, 24.0), (1.0, 1.0), 15)
    np.testing.assert_allclose(square, image[13:28, 17:32], atol=1e-5)
    turned = sample(image, (20.0, 24.0), (1.0, 1.0), 15, 90.0 * quarters)
    np.testing.assert_allclose(turned, np.rot90(square, quarters), atol=1e-4)


def test_what_turns_back_is_the_mark_again():
    for turn in (30.0, 75.0, 200.0):
        back = sample(mark(turn=turn), (30.0, 30.0), (1.0, 1.0), 41, -turn)
        np.testing.assert_allclose(back, mark(41), atol=0.02)


def test_pixels_need_not_be_square():
    stretched = ndimage.zoom(mark(), (2.0, 1.0), order=3, grid_mode=True, mode="nearest")
    centre = (30.0 * 2 + 0.5, 30.0)
    square = sample(stretched, centre, (2.0, 1.0), 31)
    np.testing.assert_allclose(square, mark(31), atol=0.05)


def crop_of(pixel_size, shift=(0.0, 0.0), turn=0.0, size=241):
    """Cut the same particle, 2 Å per pixel in `mark`, out of a micrograph of any pixel size."""
    n = 2 * round(size / pixel_size) + 1
    axis = (np.arange(n) - (n - 1) / 2) * pixel_size / 2  # in pixels of 2 Å
    big = mark(401, turn, shift, blur=4.0)
    y, x = (np.arange(401) - 200 - s for s in shift)
    big += 0.2 * np.cos(np.hypot(y[:, None], x) / 4)  # on flat ground, particles are hot pixels
    at = np.meshgrid(axis + 200, axis + 200, indexing="ij")
    data = ndimage.map_coordinates(big, at, order=3)
    place = tuple((n - 1) / 2 + 2 * s / pixel_size for s in shift)
    cut = Cutter(31, 4.0, -1, np.zeros(1), 0.0)
    return cut(data, place, pixel_size, -turn)


def test_crops_are_the_same_whatever_the_pixel_size_the_place_and_the_turn():
    expected = crop_of(1.0)
    for options in (
        {"pixel_size": 2.0},
        {"pixel_size": 1.5, "shift": (10.3, -6.7)},
        {"pixel_size": 1.0, "turn": 50.0},
    ):
        found = crop_of(**options)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    assert expected.mean() == pytest.approx(0, abs=1e-5)
    assert expected.std() == pytest.approx(1, abs=1e-5)
    assert expected[15, 15] > 2  # dark particles become bright


def test_crops_at_the_border_are_mirrored():
    data = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    cut = Cutter(21, 1.0, -1, np.zeros(1), 0.0)
    corner = cut(data, (0.0, 0.0), 1.0, 0.0)
    np.testing.assert_allclose(corner, corner[::-1], atol=1e-3)
    np.testing.assert_allclose(corner, corner[:, ::-1], atol=1e-3)


def picks_on(path, logits, rotations, y=None):
    logits, n = np.asarray(logits, np.float32), len(logits)
    y = np.arange(n) * 50.0 if y is None else y
    return PicksOn(Path(path), np.asarray(y), np.zeros(n), logits, np.asarray(rotations), 2.0)


def test_kin_are_the_best_that_the_rotations_won_without_the_pick_itself():
    a = picks_on("a.mrc", [5.0, 4.0, 3.0, 2.0], [8, 9, 8, 3])
    b = picks_on("b.mrc", [4.5, 1.0], [8, 8])
    assert find_kin([a, b], range(8, 9), NOWHERE) == Kin(((0, 0), (1, 0), (0, 2), (1, 1)), 4)
    assert find_kin([a, b], range(8, 16), NOWHERE).total == 5
    without = find_kin([a, b], range(8, 9), Pick(Path("a.mrc"), 0.4, 0.0, 1.0))
    assert without == Kin(((1, 0), (0, 2), (1, 1)), 3)  # b.mrc has a pick at the same place
    assert find_kin([a, b], range(5, 6), NOWHERE) == Kin((), 0)


def test_of_many_kin_the_best_are_taken_and_all_are_counted():
    logits = np.random.default_rng(0).permutation(500).astype(np.float32)
    kin = find_kin([picks_on("a.mrc", logits, np.zeros(500, int))], range(1), NOWHERE)
    assert (len(kin.picks), kin.total) == (MOST, 500)
    assert min(logits[i] for _, i in kin.picks) == 500 - MOST


@pytest.fixture
def micrographs(tmp_path):
    """Two files with the mark at four in-plane angles each, in noise, and their picks."""
    rng, found = np.random.default_rng(3), []
    for name in "ab":
        data = rng.normal(scale=0.3, size=(300, 300)).astype(np.float32)
        places, psi = [(75, 75), (75, 224), (224, 75), (224, 224)], rng.permutation(8)[:4]
        for (y, x), j in zip(places, psi, strict=True):
            data[y - 30 : y + 31, x - 30 : x + 31] += mark(turn=45.0 * j)
        path = tmp_path / f"{name}.mrc"
        with mrcfile.new(path) as mrc:
            mrc.set_data(data)
            mrc.voxel_size = 2.0
        y, x = np.array(places, float).T
        found.append(PicksOn(path, y, x, np.ones(4, np.float32), 8 + psi))
    return found


def average(picks, psi, upright=0.0):
    """Average the picks of view 1 of 8 in-plane angles."""
    averager = Averager(find_kin(picks, range(8, 16), NOWHERE))
    cut = Cutter(41, 2.0, -1, psi, upright)
    for pick, crop in cut_all(picks, sorted(averager.members), cut):
        if crop is not None:
            averager.add(pick, crop)
    return averager.finish()


def test_turned_picks_of_a_view_add_up_to_the_mark(micrographs):
    psi = np.tile(np.arange(8) * 45.0, 2)
    for upright in (0.0, 90.0):
        mean = average(micrographs, psi, upright)
        assert (mean.n, mean.total, mean.micrographs) == (8, 8, 2)
        likeness = np.corrcoef(mean.image.ravel(), -mark(41, upright).ravel())[0, 1]
        assert likeness > 0.85
    wrong = average(micrographs, -psi)
    assert np.corrcoef(wrong.image.ravel(), -mark(41).ravel())[0, 1] < 0.7


def test_what_cannot_be_read_is_left_out(micrographs):
    micrographs[0].path.unlink()
    mean = average(micrographs, np.tile(np.arange(8) * 45.0, 2))
    assert (mean.n, mean.total, mean.micrographs) == (4, 8, 1)
    micrographs[1].path.write_bytes(b"torn")
    nothing = average(micrographs, np.zeros(16))
    assert nothing.image is None and nothing.n == 0


def test_a_table_of_picks_gives_those_above_the_threshold():
    places = np.array([(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)])
    logits = np.array([2.0, 0.1, -1.0], np.float32)
    table = make_table(places, logits, np.array([3, 1, 2]), np.zeros((4, 3)))
    on = PicksOn.of(Picks(table, "some/where.mrc", {"pixel_size": 1.5}), 0.5)
    assert len(on) == 2
    assert list(on.rotation) == [3, 1] and list(on.x) == [2.0, 4.0]
    assert (on.path, on.pixel_size) == (Path("some/where.mrc"), 1.5)
