"""Folders of picks: resumed, re-thresholded, never half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import starfile
import torch

from napari_so3.io.star import read_coordinates
from napari_so3.picking import batch as batch_module
from napari_so3.picking import listing
from napari_so3.picking.batch import (
    BatchSettings,
    Begun,
    Done,
    Failed,
    check_names,
    open_folder,
    pick_many,
)
from napari_so3.picking.listing import OutputError
from napari_so3.picking.pick import PickError, PickSettings
from napari_so3.picking.picker import load_picker
from napari_so3.picking.picks import Picks
from napari_so3.picking.picks import read_provenance as read

CPU = torch.device("cpu")


@pytest.fixture
def batch(tiny_model):
    return BatchSettings(load_picker(tiny_model), PickSettings(60.0), 0.5)


def run(paths, output, batch, overwrite=False):
    open_folder(output, batch, overwrite)
    return [e for e in pick_many(paths, output, batch, CPU) if isinstance(e, Done | Failed)]


def snapshot(folder):
    return {
        p.relative_to(folder): (p.stat().st_mtime_ns, p.read_bytes())
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_files_for_relion(tmp_path, noise_mrc, batch, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [noise_mrc(f"Micrographs/m{i}.mrc", seed=i) for i in range(3)]
    output = tmp_path / "AutoPick"
    done = run(paths, output, batch)
    assert [e.path for e in done] == paths
    jobs = starfile.read(output / "autopick.star", always_dict=True)
    assert list(jobs) == ["coordinate_files"]
    table = jobs["coordinate_files"]
    assert list(table["rlnMicrographName"]) == [f"Micrographs/m{i}.mrc" for i in range(3)]
    for event, star in zip(done, table["rlnMicrographCoordinates"], strict=True):
        assert (tmp_path / star).is_file()
        points = read_coordinates(tmp_path / star)
        assert len(points) == event.picks <= event.candidates
        assert event.candidates > 0
        assert (points["score"] >= 0).all()


def test_done_micrographs_are_not_done_again(tmp_path, noise_mrc, batch, monkeypatch):
    paths = [noise_mrc(f"m{i}.mrc", seed=i) for i in range(3)]
    output = tmp_path / "out"
    run(paths[:2], output, batch)
    before = snapshot(output / "candidates")
    again = run(paths, output, batch)
    assert [e.reused for e in again] == [True, True, False]
    after = snapshot(output / "candidates")
    assert all(after[k] == v for k, v in before.items())
    assert len(starfile.read(output / "autopick.star")) == 3


def test_another_threshold_needs_no_network(tmp_path, noise_mrc, batch, monkeypatch):
    paths = [noise_mrc(f"m{i}.mrc", seed=i) for i in range(2)]
    output = tmp_path / "out"
    low = run(paths, output, BatchSettings(batch.picker, batch.settings, 0.0))
    monkeypatch.setattr(batch_module.Scorer, "score", lambda *_: pytest.fail("scored again"))
    high = run(paths[:1], output, BatchSettings(batch.picker, batch.settings, 0.9))
    assert high[0].reused
    assert high[0].picks < low[0].picks == low[0].candidates
    # the micrograph that was not named follows: a folder is in one state
    candidates = Picks.read_csv(output / "candidates/m1.csv")
    assert len(read_coordinates(output / "m1_autopick.star")) == len(candidates.above(0.9))


def test_a_micrograph_that_changed_is_picked_again(tmp_path, noise_mrc, batch):
    path = noise_mrc("m.mrc")
    run([path], tmp_path / "out", batch)
    path.unlink()
    noise_mrc("m.mrc", seed=5)
    assert not run([path], tmp_path / "out", batch)[0].reused


def test_all_can_be_picked_again(tmp_path, noise_mrc, batch, monkeypatch):
    paths, output = [noise_mrc("a.mrc"), noise_mrc("b.mrc", seed=1)], tmp_path / "out"
    run(paths, output, batch)
    before = snapshot(output / "candidates")
    events = pick_many(paths, output, batch, CPU, again=True)
    for event in events:
        if isinstance(event, Begun) and event.index == 1:
            break
        if isinstance(event, Done):
            assert not event.reused
    next(events)  # in the middle of the second one
    events.close()
    after = snapshot(output / "candidates")
    assert set(after) == set(before)  # candidates stay until there are new ones
    assert [after[name] != before[name] for name in sorted(before)] == [True, False]


def test_one_more_micrograph_leaves_the_others_alone(tmp_path, noise_mrc, batch, monkeypatch):
    paths = [noise_mrc(f"m{i}.mrc", seed=i) for i in range(3)]
    output = tmp_path / "out"
    run(paths[:2], output, batch)
    before = snapshot(output)
    opened = []
    monkeypatch.setattr(
        listing, "read_provenance", lambda path: opened.append(path.stem) or read(path)
    )
    scorer = batch_module.Scorer(batch.picker.net, CPU)
    high = BatchSettings(batch.picker, batch.settings, 0.9)
    monkeypatch.setattr(batch_module, "Scorer", lambda *_: pytest.fail("made ready again"))
    *_, done = pick_many(paths[2:], output, high, CPU, scorer, rest=False)
    assert isinstance(done, Done)
    after = snapshot(output)
    changed = {str(name) for name in after if after[name] != before.get(name)}
    assert changed == {"autopick.star", "m2_autopick.star", str(Path("candidates/m2.csv"))}
    assert set(opened) == {"m2"}
    table = starfile.read(output / "autopick.star")
    assert [Path(name).name for name in table["rlnMicrographName"]] == [p.name for p in paths]
    # what is not in the list is looked up
    (output / "autopick.star").unlink()
    list(pick_many(paths[:1], output, high, CPU, scorer, rest=False))
    assert starfile.read(output / "autopick.star").equals(table)


def test_damaged_candidates_are_made_again(tmp_path, noise_mrc, batch):
    path, output = noise_mrc("m.mrc"), tmp_path / "out"
    run([path], output, batch)
    table = output / "candidates/m.csv"
    whole = table.read_text()
    table.write_text(whole.splitlines()[0] + "\ny,x\n1,2\n")
    (again,) = run([path], output, batch)
    assert not again.reused
    assert table.read_text() == whole


def test_a_micrograph_that_broke_leaves_the_list(tmp_path, noise_mrc, batch):
    paths, output = [noise_mrc("a.mrc"), noise_mrc("b.mrc", seed=1)], tmp_path / "out"
    run(paths, output, batch)
    paths[0].write_bytes(b"nonsense")
    failed, _ = run(paths, output, batch)
    assert isinstance(failed, Failed)
    listed = starfile.read(output / "autopick.star", always_dict=True)["coordinate_files"]
    assert [name.endswith("b.mrc") for name in listed["rlnMicrographName"]] == [True]


def test_a_micrograph_that_vanishes_is_named(tmp_path, noise_mrc, batch):
    path, output = noise_mrc("a.mrc"), tmp_path / "out"
    path.unlink()
    (failed,) = run([path], output, batch)
    assert failed.reason.startswith("a.mrc: ")


def test_one_bad_file_does_not_end_the_run(tmp_path, noise_mrc, batch):
    good = [noise_mrc("a.mrc"), noise_mrc("z.mrc")]
    bad = tmp_path / "b.mrc"
    bad.write_bytes(good[0].read_bytes()[:2000])
    unknown = noise_mrc("c.mrc", pixel_size=0.0)
    events = run([good[0], bad, unknown, good[1]], tmp_path / "out", batch)
    assert [type(e) for e in events] == [Done, Failed, Failed, Done]
    assert events[1].reason.startswith("b.mrc: ")
    assert "pixel size" in events[2].reason
    assert len(starfile.read(tmp_path / "out/autopick.star")) == 2


def test_other_settings_need_another_folder(tmp_path, noise_mrc, batch):
    path, output = noise_mrc("m.mrc"), tmp_path / "out"
    run([path], output, batch)
    before = snapshot(output)
    other = BatchSettings(batch.picker, PickSettings(80.0), 0.5)
    with pytest.raises(OutputError, match=r"diameter 60\.0, now 80\.0"):
        run([path], output, other)
    assert snapshot(output) == before
    assert not run([path], output, other, overwrite=True)[0].reused


def test_a_folder_that_cannot_be_used_is_named(tmp_path, batch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        open_folder(tmp_path / "file", batch)
    (tmp_path / "out").mkdir()
    for text in ("{", "[]"):
        (tmp_path / "out/picking.json").write_text(text)
        with pytest.raises(OutputError, match="damaged"):
            open_folder(tmp_path / "out", batch)


def test_two_micrographs_of_one_name_are_refused(tmp_path):
    with pytest.raises(PickError, match=r"share the name m1"):
        check_names([tmp_path / "a/m1.mrc", tmp_path / "m2.mrc", tmp_path / "b/m1.tif"])


def test_stopping_keeps_what_is_done(tmp_path, noise_mrc, batch):
    paths = [noise_mrc(f"m{i}.mrc", seed=i) for i in range(3)]
    output = tmp_path / "out"
    open_folder(output, batch)
    events = pick_many(paths, output, batch, CPU)
    for event in events:
        if isinstance(event, Begun) and event.index == 1:
            break
    events.close()
    assert [p.name for p in (output / "candidates").iterdir()] == ["m0.csv"]
    assert [e.reused for e in run(paths, output, batch)] == [True, False, False]


@pytest.mark.skipif(os.name == "nt", reason="kills with a POSIX signal")
def test_a_killed_run_goes_on_where_it_was(tmp_path, noise_mrc, tiny_model):
    """20 micrographs, SIGKILL in the middle, the same command again."""
    for i in range(20):
        noise_mrc(f"mics/m{i:02}.mrc", shape=(256, 256), seed=i)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "napari_so3.cli", "pick", str(tmp_path / "mics")]
    command += ["-d", "60", "-m", str(tiny_model), "-o", str(output), "--device", "cpu"]
    run_ = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    candidates = output / "candidates"
    while len(list(candidates.glob("m*.csv"))) < 5:
        assert run_.poll() is None, run_.stderr.read()
        time.sleep(0.01)
    run_.send_signal(signal.SIGKILL)
    run_.communicate()
    before = snapshot(candidates)
    finished = [name for name in before if not name.name.startswith(".")]
    assert 5 <= len(finished) < 20
    for name in finished:
        Picks.read_csv(candidates / name)

    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.count("picked before") == len(finished)
    after = snapshot(candidates)
    assert all(after[name] == before[name] for name in finished)
    assert not list(output.rglob(".*")), "leftovers of the killed run"
    assert len(starfile.read(output / "autopick.star")) == 20
    # the result is that of a run that was left alone
    shutil.rmtree(output)
    subprocess.run(command, capture_output=True, check=True)
    for name, (_, content) in after.items():
        assert same_picks(content, (candidates / name).read_bytes())


def same_picks(a: bytes, b: bytes) -> bool:
    head_a, *rows_a = a.decode().splitlines()
    head_b, *rows_b = b.decode().splitlines()
    assert json.loads(head_a.split(": ", 1)[1]) == json.loads(head_b.split(": ", 1)[1])
    numbers = [np.loadtxt(r[1:], delimiter=",", ndmin=2) for r in (rows_a, rows_b)]
    np.testing.assert_allclose(numbers[0][:, :3], numbers[1][:, :3], atol=2e-3)
    return True
