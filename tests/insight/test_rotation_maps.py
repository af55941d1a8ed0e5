import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_so3.insight import stack as module
from napari_so3.insight.evidence import evidence_at, weigh
from napari_so3.insight.orientation_map import probability_maps
from napari_so3.insight.rotation_maps import FRAME, RotationMaps, see_rotations
from napari_so3.io.micrographs import find_micrographs, read_micrograph
from napari_so3.picking import score
from napari_so3.picking.pick import PickError, PickSettings, pick
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import Scorer
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import TemplateConfig, TemplateNet

CPU = torch.device("cpu")


def see(micrograph, picker, settings) -> RotationMaps:
    *progress, maps = see_rotations(micrograph, picker, settings, Scorer(picker.net, CPU, 2))
    assert progress[-1].done == progress[-1].total
    return maps


@pytest.fixture
def picker(tiny_model):
    return replace(load_picker(tiny_model), calibration=(0.7, -0.3))


def peaks_of(maps, picks):
    """Give the rows and columns of the map pixels of picks."""
    return tuple(np.transpose([maps.pixel(*place) for place in picks.table[["y", "x"]].to_numpy()]))


@pytest.mark.parametrize("budget", [10, 10**9], ids=["file", "memory"])
def test_the_maps_are_those_of_the_picks(picker, noise_mrc, monkeypatch, budget):
    monkeypatch.setattr(module, "BUDGET", budget)
    monkeypatch.setattr(score, "TILE", 16)
    micrograph = read_micrograph(noise_mrc("a.mrc", shape=(181, 240), pixel_size=3.0))
    settings = PickSettings(100.0)
    maps = see(micrograph, picker, settings)
    *_, picks = pick(micrograph, picker, settings, Scorer(picker.net, CPU, 2))
    assert len(picks.table) > 5
    assert maps.stack.shape == (16, *maps.shape)
    assert len(maps.rotations) == 16
    assert (maps.aggregation, maps.pixel_size) == ("al1", 3.0)
    assert maps.fingerprint == picker.fingerprint
    at_peaks = peaks_of(maps, picks)
    np.testing.assert_array_equal(maps.best[at_peaks], picks.table["rotation"])
    below = picks.table["logit"] - maps.log_odds[at_peaks]  # peaks are refined between pixels
    assert (below > -1e-4).all()
    assert below.median() < 0.3


@pytest.mark.parametrize("budget", [10, 10**9], ids=["file", "memory"])
def test_the_rotations_join_to_the_whole(picker, noise_mrc, monkeypatch, budget):
    monkeypatch.setattr(module, "BUDGET", budget)
    micrograph = read_micrograph(noise_mrc("a.mrc", shape=(181, 240), pixel_size=3.0))
    maps = see(micrograph, picker, PickSettings(100.0))
    joined = weigh(np.asarray(maps.stack), maps.aggregation, maps.prior).logit
    np.testing.assert_allclose(joined, maps.logits, atol=0.02)
    evidence = evidence_at(maps, 60.0, 90.0)
    y, x = maps.pixel(60.0, 90.0)
    both = probability_maps(maps)
    assert evidence.probability == pytest.approx(both[0][y, x], abs=5e-3)
    assert evidence.probability_of_best == pytest.approx(both[1][y, x], abs=5e-3)
    np.testing.assert_array_equal(maps.stack.by_rotation, maps.stack[:].max(axis=(1, 2)))


def test_only_the_rotations_of_a_map_are_poses(picker, noise_mrc):
    net = TemplateNet(TemplateConfig(grid=RotationGrid(2, 4)))
    learned = replace(picker, net=net.eval(), pixels_per_diameter=10.0)
    of_a_map = replace(learned, training={FRAME: np.eye(3).tolist()})
    micrograph = read_micrograph(noise_mrc("a.mrc", shape=(181, 240), pixel_size=3.0))
    maps = see(micrograph, of_a_map, PickSettings(100.0))
    assert maps.rotations.is_map
    for other in (picker, learned):
        assert not see(micrograph, other, PickSettings(100.0)).rotations.is_map
    joined = weigh(np.asarray(maps.stack), maps.aggregation, maps.prior).logit
    np.testing.assert_allclose(joined, maps.logits, atol=0.02)


def test_a_disk_without_room_is_told_like_other_trouble(picker, noise_mrc, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "BUDGET", 10)
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: full)
    with pytest.raises(PickError, match=r"16 rotations take .* make room"):
        see(read_micrograph(noise_mrc("a.mrc")), picker, PickSettings(100.0))


def test_a_rotation_is_named_by_its_angles(rotations):
    made = rotations(12, 8)
    rot, tilt, psi = made.angles[13]
    assert made.name(13) == f"rot {rot:.0f}°, tilt {tilt:.0f}°, psi {psi:.0f}°"


def test_real_particles_are_sure_in_all_rotations_and_less_in_one(data_dir):
    path = find_micrographs([data_dir / "t20s_10025" / "micrographs"])[0]
    general, settings = load_picker("general"), PickSettings(150.0)
    maps = see(read_micrograph(path), general, settings)
    *_, picks = pick(read_micrograph(path), general, settings, Scorer(general.net, CPU, 2))
    at_peaks = peaks_of(maps, picks)
    assert (maps.best[at_peaks] == picks.table["rotation"]).mean() > 0.99
    sure = (picks.table["probability"] > 0.9).to_numpy()
    joined, best = (each[at_peaks][sure] for each in probability_maps(maps))
    assert joined.min() > best.max() > 0.5
    assert len(np.unique(maps.best[at_peaks][sure])) > len(maps.rotations) / 2
