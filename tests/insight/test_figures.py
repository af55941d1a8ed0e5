"""Figures say what they show, at a scale, and leave no window behind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from napari_so3.insight import figures_style as style
from napari_so3.insight.averages import Average, PicksOn
from napari_so3.insight.budget import Budget, BudgetRow
from napari_so3.insight.evidence import evidence_at
from napari_so3.insight.explain import Explanation
from napari_so3.insight.figures import (
    Area,
    aggregation_figure,
    budget_figure,
    explanation_figure,
    filters_figure,
    likeness_figure,
    orientation_figure,
    rotation_montage,
    self_check_figure,
    spectra_figure,
)
from napari_so3.insight.figures_explain import filter_sheet
from napari_so3.insight.figures_maps import LEGEND
from napari_so3.insight.filters import OVERSAMPLE, filter_bank
from napari_so3.insight.likeness import Likeness
from napari_so3.insight.orientation_map import colour_of_psi, colour_of_view, orientation_image
from napari_so3.insight.self_check import SelfCheck, Turned
from napari_so3.picking.picker import load_picker
from napari_so3.picking.preprocess import WorkingImage

PIXEL_SIZE, SHAPE = 2.0, (200, 240)  # of the micrograph; maps have 4 x 4 of its pixels per pixel
DIAMETER = 60.0
PLACES = np.array([(40.0, 60.0), (100.0, 120.0), (160.0, 200.0)])
WON = np.array([1, 6, 6])


@pytest.fixture
def maps(make_maps):
    """Maps of 2 views of 4 in-plane angles, which answer at three places."""
    logits = np.full((8, 50, 60), -8.0)
    for (y, x), rotation in zip(PLACES / 4, WON, strict=True):
        logits[rotation, int(y), int(x)] = 5.0
    return make_maps(logits, 4)


@pytest.fixture
def image():
    pixels = np.random.default_rng(0).normal(size=(100, 120)).astype(np.float32)
    return WorkingImage(torch.from_numpy(pixels), (2.0, 2.0), (4.0, 4.0))


@pytest.fixture
def picks():
    y, x = PLACES.T
    return PicksOn(Path("a.mrc"), y, x, np.array([3.0, 2.0, 1.0]), WON, PIXEL_SIZE)


def texts(figure):
    """Everything that is written in a figure."""
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")) if t.get_text()]


def says(figure, words):
    return any(words in text for text in texts(figure))


def rings(ax):
    return [p for p in ax.patches if isinstance(p, Circle)]


@pytest.fixture(autouse=True)
def no_window():
    """Nothing of pyplot, whose figures stay in memory."""
    yield
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


@pytest.fixture
def written(tmp_path):
    """Write a figure without a complaint, such as that its parts do not fit."""

    def written(figure):
        assert isinstance(figure, Figure)
        path = tmp_path / "figure.png"
        figure.savefig(path, dpi=50)
        return path.stat().st_size > 0

    return written


@pytest.mark.parametrize(("by", "group"), [("rotation", WON), ("view", WON // 4)])
def test_montage_shows_where_each_rotation_answers(maps, image, picks, written, by, group):
    figure = rotation_montage(maps, image, picks, DIAMETER, by=by)
    micrograph, first, second = figure.axes[:3]
    colours = [ring.get_edgecolor() for ring in rings(micrograph)]
    assert len(colours) == 3
    assert colours[1] == colours[2] != colours[0]
    np.testing.assert_allclose(rings(micrograph)[0].center, PLACES[0][::-1] * PIXEL_SIZE)
    assert rings(micrograph)[0].radius == pytest.approx(0.6 * DIAMETER)
    for ax, which, colour in ((first, group[1], colours[1]), (second, group[0], colours[0])):
        assert [ring.get_edgecolor() for ring in rings(ax)] == [colour] * (group == which).sum()
        p = ax.images[0].get_array()
        left, right, bottom, top = ax.images[0].get_extent()
        for ring in rings(ax):  # the brightest pixels are in the middle of the rings
            x, y = ring.center
            column = int((x - left) / (right - left) * p.shape[1])
            row = int((y - top) / (bottom - top) * p.shape[0])
            assert p[row, column] > 0.8
        assert (np.asarray(p) > 0.8).sum() == (group == which).sum()
    assert says(figure, "2 picks") and says(figure, "1 pick")
    assert says(figure, "Å") and says(figure, "P of a particle, by this one alone")
    assert written(figure)


def test_montage_without_picks(maps, image, picks, written):
    nothing = PicksOn(picks.path, *(v[:0] for v in (picks.y, picks.x, picks.logit, picks.rotation)))
    assert written(rotation_montage(maps, image, nothing, DIAMETER))


def test_area_is_cut_out_at_its_place(maps, image, picks):
    area = Area(100.0, 120.0, 120.0)
    figure = rotation_montage(maps, image, picks, DIAMETER, area)
    assert says(figure, "psi 180°:\n2 picks") or says(figure, "2 picks")  # of the whole micrograph
    for ax in figure.axes[:2]:
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert (left + right) / 2 == pytest.approx(240.0, abs=8)
        assert (bottom + top) / 2 == pytest.approx(200.0, abs=8)
        assert right - left == bottom - top == pytest.approx(120.0, abs=8)
    assert len(figure.axes) < 6  # rotations that won nothing in it are not shown


def test_aggregation_says_shares_and_probabilities(maps, image, written):
    figure = aggregation_figure(maps, image, tuple(PLACES[1]))
    evidence = evidence_at(maps, *PLACES[1])
    bars = next(ax for ax in figure.axes if len(ax.patches) == 8)
    assert bars.patches[0].get_width() == pytest.approx(100 * evidence.shares[6])
    assert bars.get_yticklabels()[0].get_text() == maps.rotations.name(6)
    assert says(figure, f"all together: P {evidence.probability:.3f}")
    assert says(figure, f"{evidence.effective_number:.1f} of 8 rotations have a say")
    assert says(figure, "At least one rotation (AL1)") and says(figure, "The best rotation alone")
    cross = [tuple(float(v[0]) for v in line.get_data()) for line in figure.axes[1].lines[-1:]]
    assert cross == [(PLACES[1][1] * PIXEL_SIZE, PLACES[1][0] * PIXEL_SIZE)]
    assert written(figure)


def pixel_at(ax, x, y):
    """Colour of a legend at a place of its axes."""
    for shown in ax.images:
        left, right, bottom, top = shown.get_extent()
        if left <= x <= right and bottom <= y <= top:
            picture = np.asarray(shown.get_array())
            row = int((top - y) / (top - bottom) * picture.shape[0])
            return picture[row, int((x - left) / (right - left) * picture.shape[1])]
    return None


def test_legend_of_in_plane_angles_has_the_colours_of_the_map(maps, image, written):
    figure = orientation_figure(maps, image, "in-plane")
    np.testing.assert_array_equal(
        figure.axes[1].images[0].get_array(), orientation_image(maps, "in-plane")
    )
    for psi in (10.0, 100.0, 250.0):
        x, y = 0.8 * np.cos(np.deg2rad(psi)), 0.8 * np.sin(np.deg2rad(psi))
        near = np.abs(pixel_at(figure.axes[2], x, y)[:3].astype(int) - colour_of_psi(psi))
        assert near.max() < 6
    assert says(figure, "counter-clockwise") and not says(figure, "pose")
    assert written(figure)


def test_legend_of_views_shows_both_halves_of_the_sphere(maps, image, written):
    figure = orientation_figure(maps, image, "view")
    for d in ((0.0, 0.0, 1.0), (0.6, 0.0, 0.8), (0.0, 0.6, 0.8), (0.0, 0.0, -1.0), (0.6, 0, -0.8)):
        half = 1 if d[2] > 0 else -1
        pixel = pixel_at(figure.axes[2], half * d[0], d[1] + half * LEGEND)
        assert np.abs(pixel[:3].astype(int) - colour_of_view(np.array(d))).max() < 6
        assert pixel[3] == 255
    assert says(figure, "matched view") and says(figure, "tilt 0")
    of_map = replace(maps, rotations=replace(maps.rotations, is_map=True))
    assert not says(orientation_figure(of_map, image, "view"), "matched")
    assert written(figure)


@pytest.fixture
def explanation(maps):
    average = Average(np.ones((31, 31), np.float32), 200, 1234, 7)
    rng = np.random.default_rng(0)
    return Explanation(
        Path("somewhere/a.mrc"), (100.0, 120.0), DIAMETER, maps.rotations, 6,
        evidence_at(maps, 100.0, 120.0), rng.normal(size=(45, 45)), 2.0,
        rng.normal(size=(31, 31)), 3.0, average, replace(average, image=None, n=0, total=0),
        rng.normal(size=(3, 9, 9)), rng.normal(size=(11, 11)), 8.0,
    )  # fmt: skip


def test_explanation_counts_what_is_averaged(explanation, written):
    figure = explanation_figure(explanation)
    assert says(figure, explanation.sentence()) and says(figure, "a.mrc, pick at x 120, y 100")
    assert says(figure, "best 200 of 1,234 other picks") and says(figure, "no other pick")
    assert says(figure, "First 3 filters\nat this rotation")
    assert sum("Å" in text for text in texts(figure)) >= 5  # a scale for every picture
    assert written(figure)
    of_map = replace(explanation, rotations=replace(explanation.rotations, is_map=True))
    assert says(explanation_figure(of_map), "Projection of the map\nin this pose")


def test_filters_lie_side_by_side():
    sheet = filter_sheet(np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 2, 2)))
    nan = np.nan
    expected = [[0, 0, nan, 1, 1]] * 2 + [[nan] * 5] + [[2, 2, nan, nan, nan]] * 2
    np.testing.assert_array_equal(sheet, expected)


def test_filters_are_called_filters(tiny_model, written):
    bank = filter_bank(load_picker(tiny_model))
    figure = filters_figure(bank, DIAMETER, 1, 2, 1)
    assert says(figure, "layer 2, filter 3 of 4 on input 2 of 2")
    assert says(figure, "a filter, not a map: its hand is unknown")
    volume = bank.volume(1, 2, 1)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), volume[len(volume) // 2])
    left, right = figure.axes[0].get_xlim()
    assert right - left == pytest.approx(bank.pixel_size(1, DIAMETER) * len(volume) / OVERSAMPLE)
    assert written(figure)


def test_dead_filters_are_counted(tiny_model, written):
    picker = load_picker(tiny_model)
    bank = filter_bank(picker)
    norms = bank.layers[0].norms.copy()
    norms[0, 0] = 1e-5 * norms[1, 0]
    dead = replace(bank, layers=(replace(bank.layers[0], norms=norms), *bank.layers[1:]))
    total = sum(layer.norms.size for layer in bank.layers)
    assert says(spectra_figure(bank, DIAMETER), f"0 of {total} filters are dead")
    figure = spectra_figure(dead, DIAMETER)
    assert says(figure, f"1 of {total} filters are dead")
    assert written(figure)


def test_likeness_says_resolution_and_hand(written):
    fsc = np.column_stack([np.linspace(0.01, 0.1, 10), np.linspace(1.0, 0.1, 10)])
    likeness = Likeness(0.8, -1, np.eye(3), np.zeros(3), fsc, 0.6, 0.3)
    figure = likeness_figure(likeness, "the ribosome")
    assert says(figure, f"Alike down to {likeness.resolution(0.5):.0f} Å (FSC 0.5)")
    assert says(figure, "mirrored fits better") and says(figure, "the ribosome")
    assert written(figure)


def test_budget_says_how_many_rotations_are_enough(written):
    rows = tuple(
        BudgetRow(s, 8, 0.1 * s, 100, kept, kept, 0, 0.0)
        for s, kept in ((1, 0.7), (4, 0.98), (8, 0.993), (32, 1.0))
    )
    figure = budget_figure(Budget(rows, (4, 8), 3, 0.5))
    assert says(figure, "64 rotations keep 99.3 % of the picks") and says(figure, "3 micrographs")
    assert written(figure)
    none = budget_figure(Budget((rows[0], rows[1], rows[3]), (4, 8), 1, 0.5))
    assert says(none, "Fewer rotations keep less than 99 % of the picks")


def test_self_check_draws_shares_and_says_them(written):
    values = dict.fromkeys(Turned.__dataclass_fields__, 0.0)
    values |= {"words": "turned by 90°", "moved": 0.97, "rotation_kept": np.nan, "closed": True}
    turned = Turned(**values | {"psi": 90.0, "psi_seen": 90.0})
    mirrored = replace(turned, words="mirrored", psi=None, psi_seen=None, moved=0.5)
    check = SelfCheck((turned, mirrored), 45, 0.5, 25.0, 5.0)
    figure = self_check_figure(check)
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == pytest.approx([97.0, 50.0, 0.0, 0.0])
    assert says(figure, "45 picks") and says(figure, "within 25 Å")
    assert written(figure)


def test_scale_bars_have_round_lengths():
    for most, length in ((0.9, 0.5), (1.0, 1.0), (37.0, 20.0), (99.0, 50.0), (250.0, 200.0)):
        assert style.round_length(most) == length


def test_scale_bars_are_as_long_as_they_say():
    ax = style.new_figure(2, 2).subplots()
    style.picture(ax, np.zeros((40, 50)), (3.0, 5.0))
    (line,) = ax.lines
    assert np.ptp(line.get_xdata()) == 50.0
    assert ax.texts[0].get_text() == "50 Å"
    assert ax.get_xlim() == (-2.5, 247.5)
    assert ax.get_ylim() == (118.5, -1.5)  # row 0 on top
