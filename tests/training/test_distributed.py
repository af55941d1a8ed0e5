import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.distributed import Processes, process_group
from napari_so3.training.fit import FitConfig, fit
from napari_so3.training.tiles import NEGATIVE, POSITIVE, Batch

SMALL = PickerConfig(channels=2, kernels=(5, 3, 3, 3), grid=RotationGrid(1, 4))
FIELD = SMALL.receptive_field
CONFIG = FitConfig(
    epochs=2, steps_per_epoch=3, learning_rate=1e-2, schedule="one-cycle", freeze_norm=True
)


def crops(step, rank):
    """Half particles, half not: every process' loss has the same weights."""
    rng = np.random.default_rng((step, rank))
    images = torch.from_numpy(rng.standard_normal((8, 1, FIELD, FIELD)).astype(np.float32))
    target = torch.tensor([POSITIVE, NEGATIVE] * 4, dtype=torch.int8)[:, None, None]
    return Batch(images + 2.0 * (target == POSITIVE)[:, None], target)


def weights(net):
    return torch.cat([v.double().flatten() for v in net.state_dict().values()]).numpy()


def work(folder):
    """What each process does: train on its own crops, from its own first weights."""
    with process_group() as device:
        rank = Processes().rank
        assert device == torch.device("cpu") and Processes().count == 2
        torch.manual_seed(rank)
        net = PickerNet(SMALL)
        progress = list(
            fit(
                net,
                lambda step, rng: crops(step, rank),
                CONFIG,
                validate=lambda net: 0.1,
                checkpoint=folder / "training.checkpoint",
            )
        )
        assert {p.validation for p in progress} == {None, 0.1}
        np.save(folder / f"{rank}.npy", weights(net))
    if sys.platform == "linux":
        threads = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
        assert not [name for name in threads if "gloo" in name], "they may abort the exit"


def test_two_processes_train_as_one_with_both_batches(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import test_distributed as t; "
        "t.work(pathlib.Path(sys.argv[2]))"
    )
    here = os.path.dirname(__file__)
    running = []
    for rank in range(2):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", code, here, str(tmp_path)],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in running:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    first, second = (np.load(tmp_path / f"{rank}.npy") for rank in range(2))
    np.testing.assert_allclose(first, second, atol=1e-7)

    torch.manual_seed(0)  # the first process' weights count
    net = PickerNet(SMALL)

    def both(step, rng):
        a, b = crops(step, 0), crops(step, 1)
        return Batch(torch.cat((a.images, b.images)), torch.cat((a.targets, b.targets)))

    list(fit(net, both, CONFIG, validate=lambda net: 0.1))
    np.testing.assert_allclose(first, weights(net), atol=1e-5)


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with process_group() as device:
        assert device is None
        processes = Processes()
        assert (processes.rank, processes.count, processes.same(0.25)) == (0, 1, 0.25)
        net = torch.nn.Linear(1, 1)
        assert processes.wrap(net) is net


@pytest.mark.parametrize("value", [0.1, -3.0])
def test_one_process_agrees_with_itself(value):
    assert Processes().same(value) == value
