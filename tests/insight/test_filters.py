"""Filters are shown as what the network convolves with, and exported in RELION's convention."""

import mrcfile
import numpy as np
import pytest
import starfile
import torch

from napari_so3.insight.filters import OVERSAMPLE, filter_bank, silent_channels
from napari_so3.io.volumes import read_volume
from napari_so3.picking.picker import Picker
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix, random_rotations
from napari_so3.so3.template import TemplateConfig, TemplateNet
from napari_so3.so3.turning import sample_volume

GRID = RotationGrid(4, 8)
KERNELS = (9, 5, 5, 3)
DIAMETER = 150.0


def layered(basis="blob"):
    torch.manual_seed(3)
    net = PickerNet(PickerConfig(2, KERNELS, basis=basis, grid=GRID)).eval()
    with torch.no_grad():
        for norm in (net.norm1, net.norm2, net.norm3):
            norm.running_var.uniform_(0.5, 3.0)
            norm.weight.uniform_(0.5, 2.0)
    return Picker(net, "layers", 20.0)


def template():
    return Picker(TemplateNet(TemplateConfig(size=15, grid=GRID)).eval(), "template", 12.0)


def layers_of(picker):
    net = picker.net
    return (net.lift, net.conv2, net.conv3, net.head)


def likeness(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


@pytest.mark.parametrize("basis", ["blob", "voxel"])
def test_projections_are_the_filters_of_the_network(basis):
    picker = layered(basis)
    bank = filter_bank(picker)
    assert [layer.shape for layer in bank.layers] == [(2, 1), (4, 2), (8, 4), (1, 8)]
    with torch.no_grad():
        for i, convolution in enumerate(layers_of(picker)):
            filters = convolution.filters().numpy()
            out, channel = filters.shape[1] - 1, filters.shape[2] - 1
            assert bank.projections(i, out, channel) == pytest.approx(
                filters[:, out, channel], abs=1e-6
            )


def test_projections_of_a_template_are_those_of_the_network():
    picker = template()
    with torch.no_grad():
        filters = picker.net.filters().numpy()
    assert filter_bank(picker).projections(0, 0, 0) == pytest.approx(filters, abs=1e-6)


@pytest.mark.parametrize("basis", ["blob", "voxel", "map"])
def test_the_volume_is_what_is_projected(basis):
    picker = template() if basis == "map" else layered(basis)
    bank = filter_bank(picker)
    size = bank.layers[0].size
    volume = bank.volume(0, 0, 0)
    n = 3 * (size + 4 if basis == "blob" else size)
    assert volume.shape == (n, n, n)
    first = n // 2 - 3 * (size // 2)
    pixels = slice(first, first + 3 * size, 3)
    turns = random_rotations(4, torch.Generator().manual_seed(2))
    projections = bank.projections(0, 0, 0, turns.numpy())
    for r, projection in zip(turns, projections, strict=True):
        seen = sample_volume(volume, n // 2, n, 1.0, r).sum(axis=0)[pixels, pixels]
        disc = np.hypot(*np.mgrid[:size, :size] - (size - 1) / 2) < (size - 1) / 2
        right, mirrored = (likeness(s[disc], projection[disc]) for s in (seen, seen[:, ::-1]))
        assert right > (0.99 if basis == "blob" else 0.9) and mirrored < right - 0.05
    if basis == "blob":
        assert seen / (3 * size) == pytest.approx(
            projection, abs=0.02 * float(np.abs(projection).max())
        )


def test_norms_hold_the_batch_norm():
    picker = layered()
    before = filter_bank(picker).layers
    with torch.no_grad():
        picker.net.norm2.weight[1] *= -3.0
        picker.net.norm2.running_var[2] = 4 * (picker.net.norm2.running_var[2] + 1e-5) - 1e-5
    after = filter_bank(picker).layers
    assert after[1].norms[1] == pytest.approx(3 * before[1].norms[1])
    assert after[1].norms[2] == pytest.approx(before[1].norms[2] / 2, rel=1e-4)
    assert after[1].norms[3] == pytest.approx(before[1].norms[3])
    assert after[3].norms == pytest.approx(before[3].norms)


def test_dead_filters_and_silent_channels_are_found():
    picker = layered()
    with torch.no_grad():
        picker.net.conv2.weight[2, 1] *= 1e-3
        picker.net.norm1.bias[1] = -100.0
    bank = filter_bank(picker)
    assert np.argwhere(bank.layers[1].dead).tolist() == [[2, 1]]
    assert not bank.layers[0].dead.any()
    pixels = np.random.default_rng(0).standard_normal((150, 130)).astype(np.float32)
    silent = silent_channels(picker, pixels)
    assert silent[0].tolist() == [False, True]
    assert [len(channels) for channels in silent] == [2, 4, 8, 1]
    assert not silent[1].all() and not silent[3].any()


def test_spectrum_of_a_single_blob():
    picker = layered()
    with torch.no_grad():
        picker.net.lift.weight.zero_()
        middle = picker.net.lift.weight.shape[-1] // 2
        picker.net.lift.weight[0, 0, middle] = 1.0
    frequency, power = filter_bank(picker).power_spectrum(0, 0, 0).T
    assert frequency[0] == 0 and frequency[-1] == pytest.approx(0.5)
    expected = np.exp(-((2 * np.pi * 0.6 * frequency) ** 2))
    assert power / power[0] == pytest.approx(expected, rel=0.1)


def test_voxels_have_the_size_of_the_working_pixels():
    bank = filter_bank(layered())
    assert bank.pixel_size(0, DIAMETER) == pytest.approx(7.5)
    assert bank.pixel_size(1, DIAMETER) == pytest.approx(15.0)  # behind the stride of 2


def test_relion_projects_the_exported_volume_to_the_exported_images(tmp_path):
    picker = layered()
    with torch.no_grad():
        picker.net.lift.weight.abs_().pow_(3)
    bank = filter_bank(picker)
    bank.export_volume(tmp_path / "filter.mrc", 0, 1, 0, DIAMETER)
    star = bank.export_projections(tmp_path / "filter.mrcs", 0, 1, 0, DIAMETER)
    values, voxel_size = read_volume(tmp_path / "filter.mrc")
    assert voxel_size == pytest.approx(7.5 / OVERSAMPLE)
    with mrcfile.open(tmp_path / "filter.mrcs") as mrc:
        images, pixel_size = mrc.data.copy(), float(mrc.voxel_size.x)
        assert mrc.is_image_stack()
    assert pixel_size == pytest.approx(7.5)
    tables = starfile.read(star)
    particles, optics = tables["particles"], tables["optics"]
    assert float(optics["rlnImagePixelSize"].iloc[0]) == pytest.approx(7.5)
    assert particles["rlnImageName"].iloc[8] == f"000009@{tmp_path / 'filter.mrcs'}"
    angles = (particles[f"rlnAngle{name}"].to_numpy() for name in ("Rot", "Tilt", "Psi"))
    relion = DensityMap(values.copy(), voxel_size, "filter").project(
        euler_to_matrix(*angles), images.shape[1:], pixel_size
    )
    for image, expected in zip(images, relion.numpy(), strict=True):
        assert likeness(image, expected) > max(0.95, likeness(image[::-1], expected) + 0.02)


def test_a_name_that_star_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    from napari_so3.io.star import StarError

    with pytest.raises(StarError, match="rename"):
        filter_bank(layered()).export_projections(tmp_path / "a  b.mrcs", 0, 0, 0, DIAMETER)
    assert not list(tmp_path.iterdir())
