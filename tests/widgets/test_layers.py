import numpy as np
import pandas as pd
import pytest
from napari.layers import Image

from napari_so3.io.star import read_coordinates
from napari_so3.picking.picks import COLUMNS, Picks
from napari_so3.widgets.layers import (
    FEATURES,
    KEY,
    LayerError,
    apply_threshold,
    find_picks_layer,
    micrograph_of,
    pixel_size_of,
    set_pixel_size,
    set_shown,
    show_picks,
)


def show(viewer, image, picks, threshold):
    """Show the picks from a threshold on."""
    return show_picks(viewer, image, picks, picks.table["logit"].to_numpy() >= threshold)


def make_picks(logits, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.random((len(logits), len(COLUMNS))) * 100, columns=COLUMNS)
    table["logit"] = np.asarray(logits, dtype=float)
    table["rotation"] = np.arange(len(logits))
    return Picks(table, "field.mrc", {"diameter": 100.0, "pixel_size": 5.0, "model": "tiny"})


@pytest.fixture
def image(viewer):
    return viewer.add_image(
        np.zeros((100, 120), np.float32),
        name="field",
        scale=(5, 5),
        units=("angstrom", "angstrom"),
    )


def test_picks_become_rings_of_the_size_of_the_particle(viewer, image):
    picks = make_picks([3.0, 1.0, -2.0])
    layer = show(viewer, image, picks, 0.0)
    assert layer.name == "field picks"
    np.testing.assert_allclose(layer.data, picks.table[["y", "x"]])
    assert tuple(layer.features.columns) == FEATURES
    np.testing.assert_allclose(layer.features["score"], [3.0, 1.0, -2.0])
    assert layer.shown.tolist() == [True, True, False]
    assert layer.size.tolist() == [20.0, 20.0, 0.0]  # pixels
    assert tuple(layer.scale) == (5.0, 5.0)
    assert layer.units == image.units
    assert layer.metadata[KEY]["model"] == "tiny"
    assert (layer.face_color[:, 3] == 0).all()


def test_new_picks_take_the_place_of_the_old_ones(viewer, image):
    show(viewer, image, make_picks([3.0, 1.0, -2.0]), 0.0)
    for n in (1, 6, 0, 2):
        picks = make_picks(np.arange(n)[::-1], seed=n)
        layer = show(viewer, image, picks, 0.5)
        assert len(viewer.layers) == 2
        np.testing.assert_allclose(layer.data.reshape(-1, 2), picks.table[["y", "x"]])
        np.testing.assert_allclose(layer.features["score"], picks.table["logit"])
        np.testing.assert_allclose(layer.features["rotation"], picks.table["rotation"])
        assert layer.shown.sum() == max(n - 1, 0)


def test_hidden_picks_are_not_drawn(viewer, image, picture):
    layer = show(viewer, image, make_picks(np.linspace(0, 1, 50)), 0.0)

    def green():
        red, green, _ = np.moveaxis(picture(), -1, 0)
        return int((green - red > 40).sum())

    every = green()
    apply_threshold(layer, 0.9)
    some = green()
    apply_threshold(layer, 2.0)
    assert every > 3 * some > 0
    assert green() == 0
    apply_threshold(layer, 0.0)
    assert green() == every


def test_points_added_by_hand_are_picks_without_a_score(viewer, image, tmp_path):
    layer = show(viewer, image, make_picks([3.0, 1.0]), 0.0)
    layer.add([[10.0, 20.0]])
    apply_threshold(layer, 2.0)
    assert layer.shown.tolist() == [True, False, True]
    path = tmp_path / "edited.star"
    layer.save(str(path), plugin="napari-so3")
    saved = read_coordinates(path)
    np.testing.assert_allclose(saved[["y", "x"]].iloc[1], (10.0, 20.0))
    np.testing.assert_array_equal(saved["score"], [3.0, np.nan])


def test_only_what_changes_is_drawn_and_once(viewer, image):
    layer = show(viewer, image, make_picks([3.0, 1.0, 0.0]), 0.5)
    drawn = []
    layer.events.set_data.connect(drawn.append)
    set_shown(layer, np.array([True, True, False]))
    assert drawn == []
    set_shown(layer, np.array([True, False, True]))
    assert len(drawn) == 1
    assert layer.shown.tolist() == [True, False, True]
    assert layer.size.tolist() == [20.0, 0.0, 20.0]
    layer.add([[10.0, 20.0]])
    set_shown(layer, np.array([False, False, True]))
    assert layer.shown.tolist() == [False, False, True, True]


def test_the_micrographs_of_a_session_share_a_layer(viewer, image):
    note = {"path": "/a/one.mrc", "session": True}
    image.metadata[KEY] = dict(note)
    image.scale = (20.0, 20.0)  # binned for display
    layer = show(viewer, image, make_picks([3.0, 1.0]), 0.0)
    assert tuple(layer.scale) == (5.0, 5.0)
    loose = viewer.add_image(np.zeros((50, 50)), name="loose", scale=(5, 5))
    loose.metadata[KEY] = {"path": "/a/one.mrc"}
    assert find_picks_layer(viewer, loose) is None
    image.metadata[KEY] = note | {"path": "/a/two.mrc"}
    picks = make_picks([1.0])
    picks.provenance["pixel_size"] = 4.0
    assert show(viewer, image, picks, 0.0) == layer
    assert tuple(layer.scale) == (4.0, 4.0)
    assert layer.metadata[KEY]["micrograph"] == "/a/two.mrc"


def test_each_micrograph_has_picks_of_its_own(viewer, image):
    other = viewer.add_image(np.zeros((50, 50)), name="other", scale=(5, 5))
    first = show(viewer, image, make_picks([1.0]), 0.0)
    second = show(viewer, other, make_picks([1.0, 2.0]), 0.0)
    assert first != second
    assert find_picks_layer(viewer, image) == first
    assert find_picks_layer(viewer, other) == second


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ((1.5, 1.5), "angstrom", (1.5, "given")),
        ((0.15, 0.15), "nm", (1.5, "given")),
        ((1.0, 1.0), "pixel", (None, "unknown")),
        ((1.5, 1.5), "pixel", (None, "unknown")),
        ((1.5, 2.0), "angstrom", (None, "unknown")),
    ],
)
def test_pixel_size_of_any_image(scale, units, expected):
    layer = Image(np.zeros((9, 9)), scale=scale, units=(units, units))
    assert pixel_size_of(layer) == expected


def test_a_corrected_pixel_size_moves_the_picks_along(viewer, image):
    picks = show(viewer, image, make_picks([1.0]), 0.0)
    set_pixel_size(viewer, image, 4.0)
    assert pixel_size_of(image) == (4.0, "given")
    assert tuple(picks.scale) == (4.0, 4.0)


def test_only_single_grey_images_are_micrographs():
    stack = Image(np.zeros((3, 8, 9)), name="stack")
    with pytest.raises(LayerError, match=r"stack is a stack \(9 × 8 × 3\)"):
        micrograph_of(stack)
    colour = Image(np.zeros((8, 9, 3)), rgb=True, name="photo")
    with pytest.raises(LayerError, match="photo is a colour image"):
        micrograph_of(colour)


def test_of_a_pyramid_the_finest_level_is_picked():
    data = np.zeros((64, 64))
    layer = Image([data, data[::2, ::2]], multiscale=True)
    assert micrograph_of(layer).data.shape == (64, 64)
