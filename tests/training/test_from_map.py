"""A map becomes a picker that finds its particle in micrographs like the user's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_so3.io.micrographs import Micrograph
from napari_so3.picking.picker import Picker
from napari_so3.simulation.ctf import CTF, apply_ctf
from napari_so3.simulation.estimate import NoiseSpectrum, estimate_noise
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import TemplateConfig, TemplateNet
from napari_so3.training import from_map
from napari_so3.training.fit import FitProgress
from napari_so3.training.from_map import MapSettings, learn_map, look, with_spectrum
from napari_so3.training.teach import Note, TrainError

VOXEL = 5.0  # Å


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small micrographs, so that tests are quick."""
    for name, value in {"ACROSS": 9, "MOST": 40, "MICROGRAPHS": 2, "CALIBRATION": 2}.items():
        monkeypatch.setattr(from_map, name, value)


@pytest.fixture(scope="module")
def density() -> DensityMap:
    z, y, x = np.mgrid[-20:20, -20:20, -20:20] * VOXEL
    places = ((0, 0), (45, 0), (0, 60))
    values = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + z**2) / 400) for a, b in places)
    return DensityMap((values * (values > 0.05)).astype(np.float32), VOXEL, "blobs")


@pytest.fixture(scope="module")
def start() -> Picker:
    torch.manual_seed(0)
    net = PickerNet(PickerConfig(channels=2, kernels=(5, 5, 5, 5), grid=RotationGrid(2, 4)))
    return Picker(net.eval(), "start", 10.0, fingerprint="abc")


def _micrograph(image: np.ndarray, pixel_size: float | None) -> Micrograph:
    return Micrograph(Path("own.mrc"), image.astype(np.float32), pixel_size, "given")


def _with_rings(defocus: float, seed: int) -> Micrograph:
    generator = torch.Generator().manual_seed(seed)
    ctf = CTF(defocus_u=defocus, defocus_v=defocus)
    ice = apply_ctf(torch.randn((512, 512), generator=generator), ctf, 1.5)
    noise = 0.5 * torch.randn((512, 512), generator=generator)
    return _micrograph((ice / ice.std() + noise).numpy(), 1.5)


def test_notes_and_steps_and_then_a_calibrated_picker(density, start):
    settings = MapSettings(steps=3)
    events = list(learn_map(density, start, settings, (), "mine"))
    kinds = [type(event) for event in events]
    n = kinds.count(Note)
    assert n >= 2 and kinds == [Note] * n + [FitProgress] * 3 + [Picker]
    assert f"{density.diameter:.0f} Å" in events[0].text
    made = events[-1]
    assert made.name == "mine" and made.pixels_per_diameter == 10.0
    assert made.calibration != (1.0, 0.0) and made.threshold == 0.5
    assert made.training["start"] == "start abc" and "blobs" in made.training["data"][0]


def test_the_starting_model_is_left_alone_and_a_seed_repeats(density, start):
    before = {k: v.clone() for k, v in start.net.state_dict().items()}
    one, two = (list(learn_map(density, start, MapSettings(steps=2)))[-1] for _ in range(2))
    for key, value in start.net.state_dict().items():
        assert torch.equal(value, before[key])
        assert torch.equal(one.net.state_dict()[key], two.net.state_dict()[key])
    assert any(not torch.equal(v, before[k]) for k, v in one.net.state_dict().items())


def test_the_loss_falls(density, start):
    events = learn_map(density, start, MapSettings(steps=40))
    losses = [event.loss for event in events if isinstance(event, FitProgress)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_simulated_particles_are_dark_at_their_labels(density):
    scene, _ = look(density, MapSettings(), ())
    scene = replace(scene, defocus=(9_000.0, 9_000.0))
    rng = np.random.default_rng(1)
    contrast = []
    for _ in range(3):
        made = scene.simulate(rng)
        assert made.labels.complete and made.diameter == density.diameter
        image = made.micrograph.to_float32()
        y, x = made.labels.positives.round().astype(int).T
        contrast.append((image[y, x].mean() - image.mean()) / image.std())
    assert np.mean(contrast) < -0.3


def test_the_users_micrographs_decide(density):
    own = [_with_rings(12_000.0, 0), _with_rings(18_000.0, 1)]
    scene, notes = look(density, MapSettings(), own)
    assert len(scene.spectra) == 2
    low, high = scene.defocus
    assert low < 12_000.0 < 18_000.0 < high
    assert high / low < 2.0
    assert scene.pixel_size == pytest.approx(density.diameter / 24)  # finer is not looked at
    assert "2 of your micrographs" in " ".join(notes) and "1.1 to 2.0 µm" in " ".join(notes)


def test_the_defocus_of_the_micrographs_is_simulated(density):
    scene = from_map.Scene(density, 200.0, 6.0, defocus=(21_000.0, 22_000.0))
    drawn = [scene.configure(np.random.default_rng(seed)).ctf for seed in range(5)]
    assert all(21_000 <= ctf.defocus_u <= 22_000 for ctf in drawn)
    assert all(0.95 * ctf.defocus_u <= ctf.defocus_v <= ctf.defocus_u for ctf in drawn)
    wide = [replace(scene, defocus=None).configure(np.random.default_rng(s)) for s in range(5)]
    assert not all(21_000 <= one.ctf.defocus_u <= 22_000 for one in wide)


def test_coarse_micrographs_keep_their_pixels(density):
    image = np.random.default_rng(0).normal(size=(300, 300))
    scene, notes = look(density, MapSettings(), [_micrograph(image, 9.0)])
    assert scene.pixel_size == 9.0 and scene.defocus is None
    assert "Thon rings" in " ".join(notes)
    given, _ = look(density, MapSettings(pixel_size=11.0), [_micrograph(image, None)])
    assert given.pixel_size == 11.0


def test_many_micrographs_are_sampled(density):
    image = np.random.default_rng(0).normal(size=(100, 100))
    scene, _ = look(density, MapSettings(), [_micrograph(image, 9.0)] * 30)
    assert 6 <= len(scene.spectra) <= 12


@pytest.mark.parametrize(("factor", "said"), [(1.2, False), (0.6, True), (1.6, True)])
def test_a_diameter_that_contradicts_the_map_is_said(density, factor, said):
    settings = MapSettings(diameter=factor * density.diameter)
    scene, notes = look(density, settings, ())
    assert scene.diameter == settings.diameter
    assert ("contradicts" in " ".join(notes)) == said


def test_a_filtered_image_has_the_wanted_spectrum():
    frequencies = np.linspace(0.002, 0.06, 30)
    wanted = NoiseSpectrum(frequencies, np.exp(-frequencies / 0.02))
    image = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
    found = estimate_noise(with_spectrum(image, 8.0, wanted), 8.0)
    ratio = found.power / np.interp(found.frequencies, frequencies, wanted.power)
    parts = [part.mean() for part in np.array_split(ratio, 6)]
    assert parts == pytest.approx([np.mean(parts)] * 6, rel=0.15)


def test_what_cannot_be_done_is_said(density, start):
    image = np.random.default_rng(0).normal(size=(100, 100))
    with pytest.raises(TrainError, match=r"own\.mrc.*pixel size"):
        look(density, MapSettings(), [_micrograph(image, None)])
    matcher = replace(start, net=TemplateNet(TemplateConfig(size=9, grid=RotationGrid(2, 4))))
    with pytest.raises(TrainError, match="matcher"):
        next(learn_map(density, matcher, MapSettings()))
