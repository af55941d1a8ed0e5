"""What is told of a pick is what the network has done there."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_so3.insight.averages import PicksOn
from napari_so3.insight.evidence import weigh
from napari_so3.insight.explain import (
    TELL,
    ExplainProgress,
    Explanation,
    _pixels_around,
    explain,
    first_filters,
)
from napari_so3.insight.rotation_maps import see_rotations
from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.pick import PickSettings, pick, prepare
from napari_so3.picking.picker import Picker, load_picker
from napari_so3.picking.score import Scorer
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import TemplateConfig, TemplateNet

SETTINGS = PickSettings(100.0)
CPU = torch.device("cpu")


@pytest.fixture
def micrograph(noise_mrc):
    return read_micrograph(noise_mrc("field.mrc", (160, 190), pixel_size=4.0))


@pytest.fixture
def picker(tiny_model):
    loaded = load_picker(tiny_model)  # shared by all who load it
    return replace(loaded, net=deepcopy(loaded.net))


@pytest.fixture
def template():
    """A picker from a map: two blobs without symmetry."""
    net = TemplateNet(TemplateConfig(size=11, grid=RotationGrid(6, 4)))
    axis = np.arange(11) - 5.0
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    blobs = np.exp(-((x - 2) ** 2 + y**2 + z**2) / 4) + np.exp(-(x**2 + (y - 3) ** 2 + z**2) / 3)
    with torch.no_grad():
        net.volume.copy_(torch.from_numpy(blobs.astype(np.float32)))
    return Picker(net.eval(), "blobs", 10.0)


def last(steps):
    *_, result = steps
    return result


@pytest.fixture
def look(micrograph):
    def look(picker):
        scorer = Scorer(picker.net, CPU)
        maps = last(see_rotations(micrograph, picker, SETTINGS, scorer))
        found = last(pick(micrograph, picker, SETTINGS, scorer))
        return maps, PicksOn.of(found, 0.0)

    return look


@pytest.mark.parametrize("kind", ["picker", "template"])
def test_a_pick_is_explained_by_what_the_network_did_there(kind, request, micrograph, look):
    picker = request.getfixturevalue(kind)
    maps, picks = look(picker)
    image = prepare(micrograph, picker, SETTINGS)
    for i in (0, len(picks) // 2):
        place = float(picks.y[i]), float(picks.x[i])
        e = last(explain(place, maps, micrograph, picker, SETTINGS, [picks]))
        assert isinstance(e, Explanation)
        assert e.rotation == picks.rotation[i] == int(np.argmax(e.evidence.logits))
        expected = weigh(maps.at(*place), maps.aggregation, maps.prior, maps.calibration)
        np.testing.assert_allclose(e.evidence.shares, expected.shares)
        # the middle of each picture is the pick
        size = SETTINGS.BOX * SETTINGS.diameter
        for picture, step in ((e.seen, e.step), (e.raw, e.raw_step), (e.response, e.response_step)):
            assert picture.shape[0] == picture.shape[1]
            assert picture.shape[0] % 2 == 1
            assert abs(picture.shape[0] * step - size) <= 2 * step
        row, column = (round(c / s) for c, s in zip(place, image.scale, strict=True))
        assert abs(row * image.scale[0] - place[0]) <= image.scale[0] / 2
        near = image.pixels[row - 1 : row + 2, column - 1 : column + 2].numpy()
        middle = e.seen[e.seen.shape[0] // 2, e.seen.shape[1] // 2]
        assert near.min() - 1 < middle < near.max() + 1
        assert e.step == pytest.approx(10.0 if kind == "template" else 5.0, rel=0.05)


def test_the_score_is_that_of_the_rotation_around_the_pick(picker, micrograph, look):
    maps, _ = look(picker)
    row, column = (int(v) for v in np.argwhere(maps.best > 0)[100])
    place = row * maps.scale[0], column * maps.scale[1]
    e = last(explain(place, maps, micrograph, picker, SETTINGS))
    half = e.response.shape[0] // 2
    own = np.asarray(maps.stack[e.rotation], np.float32)
    assert e.response[half, half] == pytest.approx(own[row, column], abs=0.01)
    assert e.rotation == maps.best[row, column]


def test_raw_pixels_are_those_of_the_file(micrograph):
    data = np.asarray(micrograph.data)
    np.testing.assert_array_equal(_pixels_around(data, (50.4, 60.6), 7), data[47:54, 58:65])
    corner = _pixels_around(data, (0.0, 189.0), 9)
    np.testing.assert_array_equal(corner[4:, :5], data[:5, 185:])
    np.testing.assert_array_equal(corner, corner[::-1])
    np.testing.assert_array_equal(corner, corner[:, ::-1])


def test_filters_are_what_the_network_convolves_with(picker, template):
    net = picker.net
    with torch.no_grad():
        net.norm1.weight.copy_(torch.tensor([-2.0, 0.5]))
        net.norm1.running_var.copy_(torch.tensor([1.0, 4.0]))
        expected = net.lift.filters()[5, :, 0]
    gain = torch.tensor([-2.0, 0.25])[:, None, None]
    np.testing.assert_allclose(first_filters(picker, 5), gain * expected, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        views = template.net.filters()
    for rotation in (0, 7, 23):
        found = first_filters(template, rotation)
        np.testing.assert_allclose(found, views[rotation][None], atol=1e-5)


def test_other_picks_are_averaged_without_this_one(picker, micrograph, look):
    maps, picks = look(picker)
    rotation, n = np.unique(picks.rotation[picks.rotation % 4 > 0], return_counts=True)
    often = rotation[n.argmax()]
    i = int(np.flatnonzero(picks.rotation == often)[0])
    place = float(picks.y[i]), float(picks.x[i])
    *progress, e = explain(place, maps, micrograph, picker, SETTINGS, [picks])
    view = picks.rotation // 4 == often // 4
    assert e.same_rotation.n == n.max() - 1
    assert (e.same_view.n, e.same_view.total) == (min(view.sum() - 1, 200), view.sum() - 1)
    assert e.same_view.micrographs == 1
    assert e.same_rotation.image.shape == e.same_view.image.shape == e.seen.shape
    assert all(isinstance(p, ExplainProgress) and p.done <= p.total for p in progress)
    assert len(progress) == progress[-1].total // TELL
    alone = last(explain(place, maps, micrograph, picker, SETTINGS))
    assert alone.same_rotation.image is None
    assert alone.same_view.n == 0


def test_it_can_be_left_at_any_step(picker, micrograph, look, monkeypatch):
    maps, picks = look(picker)
    calls = []
    monkeypatch.setattr("napari_so3.insight.explain.TELL", 1)
    monkeypatch.setattr(
        "napari_so3.insight.averages.Cutter.__call__",
        lambda *_: calls.append(1) or np.zeros((3, 3)),
    )
    steps = explain((40.0, 40.0), maps, micrograph, picker, SETTINGS, [picks])
    next(steps)
    steps.close()
    assert len(calls) == 1


def test_words(picker, micrograph, look):
    maps, picks = look(picker)
    place = float(picks.y[0]), float(picks.x[0])
    e = last(explain(place, maps, micrograph, picker, SETTINGS, [picks]))
    words, share = e.sentence(), 100 * e.evidence.shares[e.rotation]
    assert words.startswith(f"Seen most by the matched rotation {maps.rotations.name(e.rotation)}")
    assert f": {share:.0f} % of the evidence; it has won {e.same_rotation.total} other" in words
    assert "pose" not in words
    of_map = replace(e, rotations=replace(maps.rotations, is_map=True))
    assert of_map.sentence().startswith("Matches the pose rot")
    alone = replace(e, same_rotation=replace(e.same_rotation, total=0))
    assert alone.sentence().endswith("it has won no other pick.")
