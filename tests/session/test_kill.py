"""Kill -9 at random moments: a session opens again, and at most the last action is lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from napari_so3.picking.picker import Picker, load_picker
from napari_so3.session.pool import load_run
from napari_so3.session.state import Session
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid

sys.path.insert(0, str(Path(__file__).parent))
from killable import act, picking, summary, training

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
KILLS = 20


@pytest.fixture
def start(tmp_path):
    """Start a worker; give its process number and what it acknowledges into."""
    quiet = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    zygote = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("killable.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | quiet,
    )
    assert zygote.stdout.readline() == "ready\n"
    count = iter(range(10_000))

    def begin(verb, folder, seed=0):
        acknowledged = tmp_path / f"acknowledged{next(count)}"
        acknowledged.touch()
        zygote.stdin.write(f"{verb}\t{folder}\t{acknowledged}\t{seed}\n")
        zygote.stdin.flush()
        return int(zygote.stdout.readline()), acknowledged

    yield begin
    zygote.stdin.close()
    zygote.wait()
    zygote.stdout.close()


def kill(pid):
    """Kill a process, and wait until it is gone."""
    with suppress(ProcessLookupError):  # it may be done
        os.kill(pid, signal.SIGKILL)
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.001)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.001)


def test_labelling_loses_at_most_the_last_action(session, start):
    folder, random_delay = session.folder, random.Random(0)
    session.close()
    actions = 0
    for seed in range(KILLS):
        expected, rng = Session.look_at(folder), np.random.default_rng(seed)
        pid, acknowledged = start("label", folder, seed)
        wait_for(lambda file=acknowledged: file.stat().st_size)
        time.sleep(random_delay.uniform(0, 0.05))
        kill(pid)
        said = acknowledged.read_text()
        assert "FAILED" not in said, said
        again = Session()
        again.open(folder)  # nothing is locked, and nothing is damaged
        for _ in range(said.count("done")):
            act(expected, rng)
        states = [summary(expected)]
        act(expected, rng)  # this one may have been kept before it was acknowledged
        states.append(summary(expected))
        assert summary(again) in states
        again.close()
        actions += said.count("done")
    assert actions > KILLS


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Folder of a session with micrographs, labels and a tiny model; and what comes of them."""
    folder = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    paths = [folder / f"m{i}.mrc" for i in range(6)]
    for path in paths:
        with mrcfile.new(path) as mrc:
            mrc.set_data(rng.normal(size=(200, 240)).astype(np.float32))
            mrc.voxel_size = 5.0
    torch.manual_seed(0)
    config = PickerConfig(channels=2, kernels=(9, 5, 5, 3), grid=RotationGrid(4, 4))
    Picker(PickerNet(config).eval(), "tiny", 10.0, threshold=0.5).save(folder / "tiny.safetensors")
    session = Session(model=str(folder / "tiny.safetensors"), diameter=100.0)
    session.save_in(folder / "napari-so3")
    session.add_micrographs(paths)
    for name in session.names[:5]:
        session.marks.mark(name, "positive", rng.uniform(30, 170, (6, 2)), near=1)
    session.close()
    return folder


@pytest.fixture
def fresh(desk, tmp_path):
    """Make copies of that folder; give the folder of the session in it."""

    def copy(name):
        shutil.copytree(desk, tmp_path / name)
        return tmp_path / name / "napari-so3"

    return copy


def finish(folder, work):
    """Open a session, let it work to the end, and close it."""
    session = Session()
    session.open(folder)
    done = list(work(session))
    session.close()
    return done


def test_picking_loses_at_most_the_micrograph_at_hand(fresh, start):
    expected = dict(finish(fresh("whole"), picking))
    assert len(expected) == 6
    folder, random_delay, picked = fresh("killed"), random.Random(1), set()
    for _ in range(KILLS):
        pid, acknowledged = start("pick", folder)
        time.sleep(random_delay.uniform(0.05, 0.4))
        kill(pid)
        said = acknowledged.read_text()
        assert "FAILED" not in said, said
        picked |= set(said.split())
        session = Session.look_at(folder)
        items = {}
        if session.run:
            for loading in load_run(session.run_folder, session.names):
                assert not loading.problems  # no table is half written
                items |= loading.items
        assert picked <= set(items)
    again = dict(finish(folder, picking))
    assert not picked & set(again)  # nothing is picked twice
    for name, candidates in (items | again).items():
        np.testing.assert_array_equal(candidates.logit, expected[name].logit)
    assert set(items | again) == set(expected)


def test_a_killed_training_ends_with_the_same_model(fresh, start):
    whole = fresh("whole")
    made = finish(whole, training)[-1]
    folder, random_delay, steps = fresh("killed"), random.Random(2), []
    for _ in range(5):
        pid, acknowledged = start("train", folder)
        wait_for(lambda file=acknowledged: "FitProgress" in file.read_text())
        time.sleep(random_delay.uniform(0, 0.6))
        kill(pid)
        said = acknowledged.read_text()
        assert "FAILED" not in said, said
        steps.append(said.count("FitProgress"))
        Session.look_at(folder)
        models = list((folder / "models").glob("*.safetensors"))
        assert all(load_picker(path) for path in models)  # none is half written
    if not models:
        models = [finish(folder, training)[-1].path]
    whole_net, killed_net = load_picker(made.path).net, load_picker(models[0]).net
    for name, value in whole_net.state_dict().items():
        torch.testing.assert_close(killed_net.state_dict()[name], value, rtol=0, atol=0)
    assert sum(steps) > 0
