"""A tiny network and a small micrograph, so that a run takes a blink, and the dock on a viewer."""

import mrcfile
import numpy as np
import pytest
import torch
from labelling import open_session
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_so3.picking.picker import Picker
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid


@pytest.fixture
def write_mrc(tmp_path):
    """Write an array as an MRC file."""

    def write(name, data, pixel_size=5.0):
        path = tmp_path / name
        with mrcfile.new(path, overwrite=True) as mrc:
            mrc.set_data(data)
            mrc.voxel_size = pixel_size
        return path

    return write


@pytest.fixture
def micrograph(write_mrc):
    """Path of a micrograph of noise."""
    noise = np.random.default_rng(1).normal(size=(150, 180)).astype(np.float32)
    return write_mrc("field_01.mrc", noise)


@pytest.fixture
def model(tmp_path):
    """Path of a random model."""
    config = PickerConfig(channels=2, kernels=(9, 5, 5, 3), grid=RotationGrid(4, 4))
    net = PickerNet(config).eval()
    with torch.no_grad():
        net.head.weight *= 0.1  # scores on both sides of the threshold
    path = tmp_path / "tiny.safetensors"
    Picker(net, "tiny", 10.0, threshold=0.5).save(path)
    return path


@pytest.fixture
def viewer(make_napari_viewer_proxy, plugin_settings, npe2pm, model):
    """A viewer with this plugin alone, whose preferences name the tiny model."""
    npe2pm.register(PluginManifest.from_distribution("napari-so3"))
    picking = get_plugin_settings("napari-so3").picking
    picking.model, picking.diameter, picking.device = str(model), 100.0, "cpu"
    return make_napari_viewer_proxy()


@pytest.fixture
def picture(viewer):
    """Give the pixels of the canvas, (h, w, 3); the viewer must be shown for that."""

    def grab():
        return viewer.screenshot(flash=False)[..., :3].astype(int)

    viewer.show()
    return grab


@pytest.fixture
def dock(viewer, qtbot):
    """The dock, once it knows the model and the devices."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-so3", "Pick particles")
    qtbot.waitUntil(lambda: dock.form.device.currentText().startswith("CPU"))
    return dock


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory, monkeypatch):
    """Keep the list of recent sessions of whoever runs the tests as it is."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setattr("napari_so3.session.folders.user_state_path", lambda *_, **__: folder)


@pytest.fixture
def desk(viewer, tmp_path, write_mrc, qtbot, model):
    """The desk of a session of three small micrographs with the random model."""
    desk = open_session(viewer, tmp_path, write_mrc)
    desk.session.model = str(model)
    qtbot.waitUntil(lambda: desk.name == "m0")
    return desk
