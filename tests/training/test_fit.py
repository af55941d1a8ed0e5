import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_so3.io.models import ModelFileError, write_model_file
from napari_so3.so3.layers import SO3BatchNorm2d
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training.fit import FitConfig, fit
from napari_so3.training.losses import Loss
from napari_so3.training.tiles import NEGATIVE, POSITIVE, Batch

SMALL = PickerConfig(channels=2, kernels=(5, 3, 3, 3), grid=RotationGrid(1, 4))
FIELD = SMALL.receptive_field
QUICK = FitConfig(epochs=4, steps_per_epoch=5, learning_rate=1e-2, schedule="one-cycle")


def draw(step, rng):
    """Crops with a bright dot in the middle, or none."""
    images = rng.standard_normal((16, 1, FIELD, FIELD)).astype(np.float32)
    particle = rng.random(16) < 0.5
    middle = FIELD // 2
    images[particle, :, middle - 2 : middle + 3, middle - 2 : middle + 3] += 2.0
    target = np.where(particle, POSITIVE, NEGATIVE).astype(np.int8)
    return Batch(torch.from_numpy(images), torch.from_numpy(target)[:, None, None])


def new_net(seed=0):
    torch.manual_seed(seed)
    return PickerNet(SMALL)


def weights(net):
    return torch.cat([v.double().flatten() for v in net.state_dict().values()])


def test_training_lowers_the_loss():
    net = new_net()
    config = replace(QUICK, epochs=8)
    progress = list(fit(net, draw, config))
    assert [p.step for p in progress] == list(range(1, 41))
    losses = [p.loss for p in progress]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert not net.training
    last = progress[-1]
    assert (last.epoch, last.epochs, last.steps) == (8, 8, 40)
    assert last.eta_seconds == 0.0 and last.images_per_second > 0


def test_the_rate_of_one_cycle_rises_and_falls_to_zero():
    rates = [p.learning_rate for p in fit(new_net(), draw, replace(QUICK, epochs=6))]
    top = int(np.argmax(rates))
    assert 0 < top < 6 and rates[top] == pytest.approx(1e-2, rel=0.1)
    assert all(np.diff(rates[: top + 1]) > 0) and all(np.diff(rates[top:]) < 0)
    assert rates[-1] == pytest.approx(0.0, abs=1e-8)


def test_plateaus_lower_the_rate_and_end_the_training():
    config = FitConfig(epochs=50, steps_per_epoch=1, patience=1, stop_patience=4, learning_rate=1.0)
    figures = iter([0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    progress = list(fit(new_net(), draw, config, lambda net: next(figures)))
    rates = [round(p.learning_rate, 6) for p in progress]
    assert rates == [1.0, 1.0, 1.0, 0.3, 0.3, 0.3, 0.09, 0.09]
    assert [p.best for p in progress] == [0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6]


def test_plateau_needs_a_validation():
    with pytest.raises(ValueError, match="validation"):
        next(fit(new_net(), draw, FitConfig()))


def test_once_it_is_enough_the_step_is_validated_and_the_best_weights_are_kept():
    seen = []

    def validate(net):
        seen.append(weights(net))
        return [0.3, 0.9, 0.5][len(seen) - 1]

    net, said = new_net(), []
    for progress in fit(net, draw, QUICK, validate, enough=lambda: bool(said)):
        if progress.step == 11:
            said.append(True)
    assert progress.step == 12 and progress.validation == 0.5 and progress.best == 0.9
    assert torch.equal(weights(net), seen[1]) and not torch.equal(seen[1], seen[2])


def test_the_best_weights_are_kept_however_the_training_ends():
    seen = []

    def validate(net):
        seen.append(weights(net))
        return {1: 0.3, 2: 0.9}.get(len(seen), 0.1)

    net = new_net()
    for progress in fit(net, draw, QUICK, validate):
        if progress.step == 18:
            break
    assert len(seen) == 3
    torch.testing.assert_close(weights(net), seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_validation_sees_a_network_in_evaluation_and_leaves_training_alone():
    def validate(net):
        assert not net.training and not torch.is_grad_enabled()
        torch.rand(100)
        return 0.5

    with_it, without = new_net(), new_net()
    last = [p.loss for p in fit(with_it, draw, QUICK, validate)]
    assert last == [p.loss for p in fit(without, draw, QUICK)]


def test_frozen_norms_keep_their_statistics():
    def statistics(net):
        norms = [m for m in net.modules() if isinstance(m, SO3BatchNorm2d)]
        return torch.cat([torch.cat((m.running_mean, m.running_var)) for m in norms])

    for frozen in (True, False):
        net = new_net()
        before = statistics(net)
        list(fit(net, draw, replace(QUICK, epochs=1, freeze_norm=frozen)))
        assert torch.equal(before, statistics(net)) == frozen


@pytest.mark.parametrize("validated", [False, True])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, validated):
    """Ten kills at random steps: the same weights, to the last bit."""

    def validate(net):
        return float(net.head.bias.detach().sin())

    config = replace(
        QUICK, epochs=6, schedule="plateau" if validated else "one-cycle", stop_patience=3
    )
    judge = validate if validated else None
    whole = new_net()
    undisturbed = [p.loss for p in fit(whole, draw, config, judge)]
    file = tmp_path / "training.checkpoint"
    rng = np.random.default_rng(0)
    for kill in range(10):
        net = new_net(seed=kill + 1)
        if kill == 0:
            net = new_net()
        steps = fit(net, draw, config, judge, file)
        for _ in range(int(rng.integers(1, 9))):
            next(steps, None)
        del steps  # what a SIGKILL leaves: the file
    net = new_net(seed=99)
    losses = [p.loss for p in fit(net, draw, config, judge, file)]
    assert losses == undisturbed[len(undisturbed) - len(losses) :]
    assert torch.equal(weights(net), weights(whole))
    assert [p for p in tmp_path.iterdir() if p != file] == [], "no leftovers"
    again = new_net(seed=7)
    assert list(fit(again, draw, config, judge, file)) == [], "a finished training is finished"
    assert torch.equal(weights(again), weights(whole))


def test_checkpoints_of_other_trainings_are_refused(tmp_path):
    file = tmp_path / "training.checkpoint"
    list(fit(new_net(), draw, QUICK, None, file))
    with pytest.raises(ModelFileError, match=r"training\.checkpoint.*other settings"):
        next(fit(new_net(), draw, replace(QUICK, seed=1), None, file))
    with pytest.raises(ModelFileError, match="other settings"):
        next(fit(PickerNet(replace(SMALL, channels=3)), draw, QUICK, None, file))
    write_model_file(file, {"kind": "picker"}, {"a": torch.zeros(1)})
    with pytest.raises(ModelFileError, match="not a checkpoint"):
        next(fit(new_net(), draw, QUICK, None, file))


def test_the_loss_of_the_configuration_is_used():
    heavy = replace(QUICK, epochs=1, loss=Loss(positive_weight=1e4))
    a = next(fit(new_net(), draw, QUICK)).loss
    assert next(fit(new_net(), draw, heavy)).loss != pytest.approx(a)


def test_a_loss_that_explodes_is_said():
    def nonsense(step, rng):
        batch = draw(step, rng)
        return Batch(batch.images * math.nan, batch.targets)

    with pytest.raises(ValueError, match="learning rate"):
        next(fit(new_net(), nonsense, QUICK))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_lowers_the_loss():
    net = new_net().cuda()
    losses = [p.loss for p in fit(net, draw, replace(QUICK, epochs=8))]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
