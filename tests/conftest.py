"""What all tests share: a napari without the user's settings, seeded numbers, the real data."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from napari_so3.picking.picker import Picker
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid

if "napari.settings" in sys.modules:
    raise RuntimeError("napari read the user's settings before the tests could point it elsewhere")

_napari_home = tempfile.TemporaryDirectory(prefix="napari-so3-tests-")
os.environ["NAPARI_CONFIG"] = str(Path(_napari_home.name) / "settings.yaml")
os.environ["QT_API"] = "pyqt6"
if sys.platform == "linux":
    os.environ["QT_QPA_PLATFORM"] = "xcb"  # under "offscreen" the canvas silently stays blank

DATA = Path(os.environ.get("NAPARI_SO3_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real micrographs and their coordinates."""
    if not DATA.is_dir():
        pytest.skip(f"no real data in {DATA}: set NAPARI_SO3_DATA to the folder that holds them")
    return DATA


@pytest.fixture(scope="session")
def qapp_args() -> list[str]:
    """Arguments of the QApplication, which would end the whole run where there is no display."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        pytest.skip("no display: install Xvfb (Debian: apt-get install xvfb) or set DISPLAY")
    return [sys.argv[0]]


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def _seeds() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model file of a small network with random weights, which picks something anywhere."""
    torch.manual_seed(7)
    config = PickerConfig(channels=2, kernels=(9, 5, 5, 3), grid=RotationGrid(4, 4))
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    Picker(PickerNet(config).eval(), "tiny", training={"data": ["none"]}).save(path)
    return path


@pytest.fixture
def noise_mrc(tmp_path: Path) -> Callable[..., Path]:
    """Write an MRC micrograph of noise: ``noise_mrc("a.mrc", shape=(96, 128), pixel_size=4.0)``."""

    def write(
        name: str, shape: tuple[int, int] = (96, 128), pixel_size: float = 4.0, seed: int = 0
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        with mrcfile.new(path) as mrc:
            mrc.set_data(noise)
            mrc.voxel_size = pixel_size
        return path

    return write
