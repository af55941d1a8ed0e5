"""From a micrograph to picks, with the bundled model on simulated particles."""

import numpy as np
import pytest
import torch

from napari_so3.io.micrographs import Micrograph, read_micrograph
from napari_so3.io.star import read_coordinates
from napari_so3.picking.evaluate import average_precision, match_picks
from napari_so3.picking.pick import PickError, PickSettings, choose_device, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import ScoreProgress, Scorer
from napari_so3.simulation.density import barrel
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph

CPU = torch.device("cpu")
DIAMETER = 150.0
WORKING = DIAMETER / 20


@pytest.fixture(scope="module")
def simulated():
    config = SimulationConfig(shape=(430, 520), pixel_size=5.0, n_particles=60, snr=0.5)
    return simulate_micrograph(barrel(), config, torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def scorer():
    return Scorer(load_picker("general").net, CPU, 2)


def as_micrograph(tmp_path, image, pixel_size=5.0, name="m.mrc"):
    return Micrograph(tmp_path / name, image, pixel_size, "given")


def run(micrograph, scorer, **options):
    picker = load_picker("general")
    *_, picks = pick(micrograph, picker, PickSettings(DIAMETER, **options), scorer)
    return picks


def test_particles_are_found_where_they_are(tmp_path, simulated, scorer):
    picks = run(as_micrograph(tmp_path, simulated.image), scorer).above(0.5)
    truth = simulated.truth[["y", "x"]].to_numpy()
    hit = match_picks(picks, truth, DIAMETER / 4 / 5.0)
    assert hit.mean() > 0.8
    assert hit.sum() > 0.7 * len(truth)
    swapped = match_picks(picks, truth[:, ::-1], DIAMETER / 4 / 5.0)
    assert hit.sum() > 4 * swapped.sum()


TURNS = pytest.mark.parametrize(
    ("turn", "back"),
    [
        (lambda a: np.rot90(a), lambda y, x, ny, nx: (x, nx - 1 - y)),
        (lambda a: np.rot90(a, 2), lambda y, x, ny, nx: (ny - 1 - y, nx - 1 - x)),
        (lambda a: a[::-1], lambda y, x, ny, nx: (ny - 1 - y, x)),
        (lambda a: a.T, lambda y, x, ny, nx: (x, y)),
    ],
    ids=["quarter turn", "half turn", "mirror", "transpose"],
)


def moved_gaps(picks, turned, back, shape):
    """Distance in pixels from every pick to the nearest of the turned micrograph, turned back."""
    y, x = back(*turned.table[["y", "x"]].to_numpy().T, *shape)
    at = picks.table[["y", "x"]].to_numpy()
    return np.hypot(at[:, :1] - y, at[:, 1:] - x).min(axis=1)


@TURNS
def test_picks_turn_with_the_micrograph(tmp_path, simulated, scorer, turn, back):
    """These hollow barrels have flat peaks: two working pixels, one of the map, are allowed."""
    picks = run(as_micrograph(tmp_path, simulated.image), scorer).above(0.5)
    image = np.ascontiguousarray(turn(simulated.image))
    turned = run(as_micrograph(tmp_path, image), scorer).above(0.5)
    gaps = moved_gaps(picks, turned, back, simulated.image.shape) * 5.0
    assert len(picks) > 30
    assert (gaps <= 2 * WORKING).mean() >= 0.9
    assert np.median(gaps) < 0.5 * WORKING


@TURNS
def test_picks_turn_with_real_micrographs(tmp_path, data_dir, scorer, turn, back):
    """At the threshold of the model, at least 95 % move within one working pixel."""
    picker = load_picker("general")
    for path, pixel_size, diameter in [
        ("apoferritin_10146/micrographs/May08_05_57_01.mrc", 1.5, 130.0),
        ("bgal_10017/micrographs/Falcon_2012_06_12-16_44_07_0.mrc", 7.08, 180.0),
        ("t20s_10025/micrographs/14sep05c_c_00003gr_00014sq_00011hl_00003es.mrc", 7.894, 150.0),
    ]:
        image = read_micrograph(data_dir / path, pixel_size).to_float32()
        found = []
        for each in (image, np.ascontiguousarray(turn(image))):
            micrograph = as_micrograph(tmp_path, each, pixel_size)
            *_, picks = pick(micrograph, picker, PickSettings(diameter), scorer)
            found.append(picks.above(picker.threshold))
        gaps = moved_gaps(*found, back, image.shape) * pixel_size
        assert len(gaps) > 100
        assert (gaps <= diameter / 20).mean() >= 0.95, path


def test_pixel_size_only_scales_the_result(tmp_path, simulated, scorer):
    """The same image called twice as fine, of a particle half as large, gives the same pixels."""
    picker = load_picker("general")
    picks = run(as_micrograph(tmp_path, simulated.image), scorer)
    fine = as_micrograph(tmp_path, simulated.image, 2.5)
    *_, other = pick(fine, picker, PickSettings(DIAMETER / 2), scorer)
    columns = ["y", "x", "logit", "rotation"]
    np.testing.assert_allclose(other.table[columns], picks.table[columns], atol=1e-3)


def test_distance_and_margin_hold_in_angstrom(tmp_path, simulated, scorer):
    picks = run(as_micrograph(tmp_path, simulated.image), scorer, distance=200.0, margin=120.0)
    at = picks.table[["y", "x"]].to_numpy() * 5.0
    gap = np.linalg.norm(at[:, None] - at[None], axis=-1) + 1e9 * np.eye(len(at))
    assert gap.min() > 199.0
    assert at.min() >= 119.0
    assert (at <= np.array(simulated.image.shape) * 5.0 - 119.0).all()
    plain = run(as_micrograph(tmp_path, simulated.image), scorer)
    assert len(plain) > len(picks)
    assert plain.table["logit"].is_monotonic_decreasing


def test_progress_comes_before_the_result_and_can_be_left(tmp_path, simulated, scorer):
    picker = load_picker("general")
    steps = pick(as_micrograph(tmp_path, simulated.image), picker, PickSettings(DIAMETER), scorer)
    first = next(steps)
    assert isinstance(first, ScoreProgress)
    assert 0 < first.done < first.total == len(picker.net.config.grid)
    steps.close()


@pytest.mark.parametrize(
    ("image", "pixel_size", "says"),
    [
        (np.zeros((200, 200), np.float32), 5.0, "constant"),
        (np.full((200, 200), np.nan, np.float32), 5.0, "constant"),
        (np.random.default_rng(0).random((200, 200), np.float32), None, "pixel size"),
        (np.random.default_rng(0).random((20, 900), np.float32), 5.0, "does not fit"),
        (np.random.default_rng(0).random((50, 50), np.float32), 60.0, "less than 4 pixels"),
    ],
)
def test_what_cannot_be_picked_is_refused_in_a_sentence(tmp_path, scorer, image, pixel_size, says):
    micrograph = as_micrograph(tmp_path, image, pixel_size, "bad.mrc")
    with pytest.raises(PickError, match=rf"^bad\.mrc: .*{says}.*\.$"):
        run(micrograph, scorer)


@pytest.mark.parametrize(
    ("diameter", "pixel_size", "box"), [(150.0, 1.5, 150), (130.0, 1.5, 130), (131.0, 1.5, 132)]
)
def test_box_holds_one_and_a_half_diameters_and_is_even(diameter, pixel_size, box):
    assert PickSettings(diameter).box_size(pixel_size) == box


def test_settings_and_devices_are_checked():
    for diameter in (0.0, -5.0, float("nan"), 1e6):
        with pytest.raises(PickError, match="diameter"):
            PickSettings(diameter)
    assert choose_device("cpu") == CPU
    for name in ("tpu", "cuda:99", "meta"):
        with pytest.raises(PickError, match=r"\.$"):
            choose_device(name)


def test_real_micrographs_reach_their_goals(data_dir, scorer):
    """One held-out micrograph of each set, against its labels at a quarter of the diameter."""
    picker = load_picker("general")
    for folder, name, pixel_size, diameter, wanted in [
        ("apoferritin_10146", "May08_05_57_01", 1.5, 130.0, 0.85),
        ("bgal_10017", "Falcon_2012_06_12-16_44_07_0", 7.08, 180.0, 0.60),
    ]:
        micrograph = read_micrograph(data_dir / folder / f"micrographs/{name}.mrc", pixel_size)
        *_, picks = pick(micrograph, picker, PickSettings(diameter), scorer)
        labels = read_coordinates(data_dir / folder / f"coordinates/{name}.star")
        points = labels[["y", "x"]].to_numpy()
        hit = match_picks(picks, points, diameter / 4 / pixel_size)
        assert average_precision(hit, len(points)) >= wanted, folder
