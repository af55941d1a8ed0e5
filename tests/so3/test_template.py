"""A map as a network: matched rotations, normalisation, equivariance, dense use, gradients."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_so3.simulation.density import PseudoAtoms
from napari_so3.so3.aggregation import RotationStream
from napari_so3.so3.projection import centred_coordinates
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import TemplateConfig, TemplateNet, TemplateScorer

CPU = torch.device("cpu")
SIZE, WIDTH = 17, 1.3
CONFIG = TemplateConfig(SIZE, grid=RotationGrid(7, 8), prior=0.01)
ATOMS = torch.tensor(
    [[0.0, 0.0, 0.0], [4.5, 0.0, 0.5], [0.5, 4.0, -1.0], [0.0, 1.5, 5.0], [-3.0, 2.0, 1.0]]
).double()
WEIGHTS = torch.tensor([1.0, 1.4, 0.8, 1.2, 0.6]).double()


@pytest.fixture(scope="module")
def net():
    """A template of five blobs without any symmetry, evaluated on the voxels."""
    axis = centred_coordinates(SIZE)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    away = torch.stack((x, y, z), dim=-1)[..., None, :] - ATOMS
    net = TemplateNet(CONFIG).eval()
    blobs = torch.exp(-(away**2).sum(-1) / (2 * WIDTH**2)) @ WEIGHTS
    net.volume.data = blobs.float()
    return net


def images(rotations):
    """The same particle as pseudo-atoms see it, by the convention of RELION; variance 1."""
    projections = PseudoAtoms(ATOMS, WEIGHTS, WIDTH).project(rotations, (SIZE, SIZE), 1.0)
    return (projections / projections.std(dim=(1, 2), keepdim=True))[:, None]


def test_each_rotation_of_the_grid_matches_itself(net):
    with torch.no_grad():
        responses = net.responses(images(CONFIG.grid.matrices))[..., 0, 0]
    torch.testing.assert_close(responses.argmax(dim=1), torch.arange(len(CONFIG.grid)))
    assert float(responses.diagonal().min()) > 0.98
    assert float(responses.abs().max()) <= 1.0 + 1e-6


def test_transposed_and_mirrored_rotations_would_not_match(net):
    matrices = CONFIG.grid.matrices
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0])).double()
    for wrong in (matrices.mT, matrices @ mirror):
        with torch.no_grad():
            best = net.responses(images(wrong))[..., 0, 0].argmax(dim=1)
        assert float((best == torch.arange(len(matrices))).double().mean()) < 0.5


def test_responses_do_not_depend_on_contrast_and_brightness(net):
    x = torch.randn(1, 1, 40, 40)
    with torch.no_grad():
        expected = net.responses(x)
        torch.testing.assert_close(net.responses(3.0 * x - 1.0), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(net.responses(-x), -expected)
        net_of_stronger_map = TemplateNet(CONFIG)
        net_of_stronger_map.load_state_dict(net.state_dict())
        net_of_stronger_map.volume.data *= 7.0
        torch.testing.assert_close(net_of_stronger_map.responses(x), expected)


def test_bright_dirt_does_not_win(net):
    x = 0.3 * torch.randn(1, 1, 60, 90)
    x[0, 0, 20 : 20 + SIZE, 15 : 15 + SIZE] += 2.0 * images(CONFIG.grid.matrices[11:12])[0, 0]
    yy, xx = torch.meshgrid(torch.arange(60), torch.arange(90), indexing="ij")
    x[0, 0] += 25.0 * ((yy - 28) ** 2 + (xx - 65) ** 2 < 30)
    with torch.no_grad():
        responses, joined = net.responses(x)[0], net(x)[0]
    rotation, place = divmod(int(responses.argmax()), joined.numel())
    assert (rotation, *divmod(place, joined.shape[1])) == (11, 20, 15)
    # AL1 adds up the rotations, which draws its peak a little towards where many fit
    y, x = divmod(int(joined.argmax()), joined.shape[1])
    assert max(abs(y - 20), abs(x - 15)) <= 2


def test_blank_images_give_finite_scores(net):
    with torch.no_grad():
        assert torch.isfinite(net(torch.zeros(1, 1, 30, 30))).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_quarter_turns_of_the_image_roll_the_rotations(net, stride):
    turned = TemplateNet(replace(CONFIG, stride=stride))
    turned.load_state_dict(net.state_dict())
    x = torch.randn(1, 1, 41, 35)
    with torch.no_grad():
        expected = torch.rot90(turned.rotation_logits(x), 1, (-2, -1))
        got = turned.rotation_logits(torch.rot90(x, 1, (-2, -1)))
        shift = CONFIG.grid.psi_shift(2)
        torch.testing.assert_close(got[:, shift], expected, atol=1e-4, rtol=0)
        assert float((got - expected).abs().max()) > 0.1


def test_filters_agree_with_those_of_a_grid_without_quarter_turns(net):
    """The exact rot90 of the first quarter is what the projection of the others gives."""
    with torch.no_grad():
        filters = net.filters()
        odd = net.with_grid(RotationGrid(7, 2)).filters()  # psi 0 and 180
    torch.testing.assert_close(filters.reshape(7, 8, SIZE, SIZE)[:, [0, 4]].flatten(0, 1), odd,
                               atol=1e-5, rtol=0)  # fmt: skip


def test_the_map_is_band_limited_whatever_the_weights():
    torch.manual_seed(3)
    config = TemplateConfig(21, band=0.2, grid=RotationGrid(1, 4))
    net = TemplateNet(config)
    net.ball.fill_(1.0)
    power = torch.fft.rfftn(net.density().detach()).abs()
    f = torch.fft.fftfreq(21) ** 2
    s = (f[:, None, None] + f[:, None] + torch.fft.rfftfreq(21) ** 2).sqrt()
    assert float(power[s > 0.2].max()) < 1e-4 * float(power.max())


def run(net, x, workers, keep=None) -> RotationStream:
    *counts, stream = TemplateScorer(net, CPU, workers).stream(x, 4, keep)
    assert counts[-1] == len(net.config.grid)
    return stream


@pytest.mark.parametrize(("stride", "shape"), [(1, (17, 17)), (1, (43, 59)), (2, (64, 37))])
@pytest.mark.parametrize("workers", [1, 2])
def test_dense_scores_are_those_of_the_network(net, stride, shape, workers):
    net = net if stride == 1 else TemplateNet(replace(CONFIG, stride=stride)).eval()
    x = torch.randn(1, 1, *shape)
    with torch.no_grad():
        logits, joined = net.rotation_logits(x)[0], net(x)[0]
    kept = np.zeros(logits.shape, np.float16)
    stream = run(net, x, workers, kept.__setitem__)
    torch.testing.assert_close(stream.finish(), joined, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(kept, logits.numpy(), atol=2e-2, rtol=2e-3)
    same = stream.best_rotation == logits.argmax(dim=0)
    assert float(same.double().mean()) > 0.99


def test_a_training_step_improves_the_loss(net):
    learner = TemplateNet(CONFIG)
    learner.load_state_dict(net.state_dict())
    torch.manual_seed(0)
    rotations = CONFIG.grid.matrices[torch.randint(len(CONFIG.grid), (16,))]
    x = torch.randn(32, 1, SIZE, SIZE)
    x[:16] += 0.7 * images(rotations)
    y = torch.arange(32) < 16
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-2)
    losses = []
    for _ in range(4):
        loss = F.binary_cross_entropy_with_logits(learner(x)[:, 0, 0], y.float())
        optimiser.zero_grad()
        loss.backward()
        for name in ("volume", "gain", "offset"):
            assert float(getattr(learner, name).grad.abs().max()) > 0, name
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_changing_the_grid_keeps_the_map(net):
    other = net.with_grid(RotationGrid(3, 4))
    assert len(other.config.grid) == 12
    torch.testing.assert_close(other.density(), net.density())
    assert other.training == net.training


def test_the_configuration_survives_json():
    config = TemplateConfig(21, 2, 0.3, RotationGrid.reduced("D7", 84, 8), "max", 0.2)
    assert TemplateConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.receptive_field == 21


@pytest.mark.parametrize("bad", [{"size": 16}, {"size": 1}, {"stride": 0}, {"band": 0.0}])
def test_impossible_shapes_are_refused(bad):
    with pytest.raises(ValueError, match=r"template|stride"):
        TemplateConfig(**bad)
