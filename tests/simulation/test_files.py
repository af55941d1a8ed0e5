import dataclasses
import json

import mrcfile
import numpy as np
import pytest
import starfile
import torch

from napari_so3.io.star import read_coordinates
from napari_so3.simulation.ctf import CTF
from napari_so3.simulation.density import barrel, random_protein
from napari_so3.simulation.files import SimulationPlan, simulate_many, write_simulation
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph

CONFIG = SimulationConfig(
    shape=(120, 150),
    pixel_size=8.0,
    n_particles=6,
    dose=30.0,
    ctf=CTF(
        voltage_kv=200.0, cs_mm=2.0, amplitude_contrast=0.07, defocus_u=2e4, defocus_v=1.9e4,
        astigmatism_angle=30.0, phase_shift=60.0,
    ),
)  # fmt: skip
PLAN = SimulationPlan(CONFIG, defocus=(1e4, 2e4), snr=(0.1, 0.4), carbon=0.5)
TWO = {
    "barrel": barrel(),
    "other": random_protein(torch.Generator().manual_seed(1), 120.0),
}


def contents(folder):
    """All files by name, without the times that headers and comments give."""
    return {
        p.name: mrcfile.read(p).tobytes()
        if p.suffix == ".mrc"
        else [line for line in p.read_text().splitlines() if not line.startswith("#")]
        for p in folder.iterdir()
    }


def test_files_say_what_is_in_the_micrograph(tmp_path):
    made = simulate_micrograph(barrel(), CONFIG, torch.Generator().manual_seed(0))
    write_simulation(tmp_path, "one", made, {"map": "barrel", "seed": 0})

    with mrcfile.open(tmp_path / "one.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, made.image)
        assert float(mrc.voxel_size.x) == pytest.approx(8.0)
    blocks = starfile.read(tmp_path / "one.star")
    optics, particles = blocks["optics"].iloc[0], blocks["particles"]
    assert optics["rlnMicrographPixelSize"] == 8.0
    assert optics["rlnVoltage"] == 200.0
    assert optics["rlnSphericalAberration"] == 2.0
    assert optics["rlnAmplitudeContrast"] == 0.07
    for star, value in (("U", 2e4), ("V", 1.9e4), ("Angle", 30.0)):
        assert (particles[f"rlnDefocus{star}"] == value).all()
    assert (particles["rlnPhaseShift"] == 60.0).all()
    assert set(particles["rlnMicrographName"]) == {"one.mrc"}
    for angle in ("Rot", "Tilt", "Psi"):
        expected = made.truth[angle.lower()]
        np.testing.assert_allclose(particles[f"rlnAngle{angle}"], expected, atol=1e-5)
    table = read_coordinates(tmp_path / "one.star")
    np.testing.assert_allclose(table[["y", "x"]], made.truth[["y", "x"]], atol=1e-5)
    record = json.loads((tmp_path / "one.json").read_text())
    assert record["map"] == "barrel"
    assert record["measured"] == {"particles": 6, "snr": made.snr, "dose": made.dose}


def test_many_draw_their_settings_from_the_plan(tmp_path):
    events = list(simulate_many(TWO, PLAN, tmp_path, 8, seed=3))

    assert [e.path.name for e in events][:3] == [
        "barrel_0000.mrc", "other_0001.mrc", "barrel_0002.mrc",
    ]  # fmt: skip
    assert not any(e.reused for e in events)
    records = [json.loads(e.path.with_suffix(".json").read_text()) for e in events]
    stated = np.array([r["settings"]["snr"] for r in records])
    assert ((stated >= 0.1) & (stated <= 0.4)).all()
    np.testing.assert_allclose([e.snr for e in events], stated, rtol=0.05)
    np.testing.assert_allclose([e.dose for e in events], 30.0, rtol=0.05)
    assert len({r["seed"] for r in records}) == 8
    assert 0 < sum(r["settings"]["carbon"] for r in records) < 8
    listed = starfile.read(tmp_path / "micrographs.star")["micrographs"]
    assert list(listed["rlnMicrographName"]) == [e.path.name for e in events]
    mean = (listed["rlnDefocusU"] + listed["rlnDefocusV"]) / 2
    assert mean.between(1e4, 2e4).all()
    assert mean.nunique() == 8


def test_a_run_that_was_stopped_goes_on_to_the_same_files(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    list(simulate_many(TWO, PLAN, whole, 4))

    begun = simulate_many(TWO, PLAN, parts, 4)
    next(begun), next(begun)
    begun.close()
    (parts / "barrel_0002.mrc").write_bytes(b"half")  # as if killed before its record
    events = list(simulate_many(TWO, PLAN, parts, 4))

    assert [e.reused for e in events] == [True, True, False, False]
    assert contents(parts) == contents(whole)


def test_other_settings_or_seeds_replace_what_is_there(tmp_path):
    list(simulate_many(TWO, PLAN, tmp_path, 2))
    before = contents(tmp_path)
    denser = dataclasses.replace(PLAN, config=dataclasses.replace(CONFIG, n_particles=7))
    assert [e.particles for e in simulate_many(TWO, denser, tmp_path, 2)] == [7, 7]
    assert not any(e.reused for e in simulate_many(TWO, denser, tmp_path, 2, seed=1))
    assert not any(e.reused for e in simulate_many(TWO, PLAN, tmp_path, 2))
    assert contents(tmp_path) == before


def test_a_micrograph_half_replaced_is_made_again(tmp_path, monkeypatch):
    """Killed between image and truth of other settings, the old record must not vouch for them."""
    list(simulate_many(TWO, PLAN, tmp_path, 1))
    before = contents(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("napari_so3.simulation.files.write_truth", killed)
        list(simulate_many(TWO, PLAN, tmp_path, 1, seed=1))
    assert [e.reused for e in simulate_many(TWO, PLAN, tmp_path, 1)] == [False]
    assert contents(tmp_path) == before


def test_foreign_proteins_are_found_for_a_single_map_too(tmp_path):
    plan = dataclasses.replace(PLAN, config=dataclasses.replace(CONFIG, n_foreign=2))
    assert [e.particles for e in simulate_many({"barrel": barrel()}, plan, tmp_path, 1)] == [6]


def test_impossible_plans_are_refused(tmp_path):
    for wrong in (
        {"snr": (0.4, 0.1)},
        {"defocus": (2.0, 1.0)},
        {"carbon": 2.0},
        {"astigmatism": -1},
    ):
        with pytest.raises(ValueError, match="must"):
            dataclasses.replace(PLAN, **wrong)
    with pytest.raises(ValueError, match="at least one"):
        next(simulate_many({}, PLAN, tmp_path, 1))
