from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_so3.io.micrographs import Micrograph
from napari_so3.io.models import ModelFileError
from napari_so3.picking.picker import Picker, load_picker
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.training import teach as teaching
from napari_so3.training.advice import divide
from napari_so3.training.fit import FitProgress
from napari_so3.training.labels import Labels
from napari_so3.training.losses import Loss
from napari_so3.training.settle import Candidates, calibrate, calibrate_to_number, find_candidates
from napari_so3.training.teach import (
    Note,
    TeachSettings,
    TrainError,
    choose_loss,
    teach,
)
from napari_so3.training.tiles import LabelledMicrograph

CPU = torch.device("cpu")
PLACES = np.array([[i, j] for i in range(30, 170, 35) for j in range(25, 170, 35)], float)


def micrograph(seed, n=None, complete=True):
    """Dark discs on a lattice, of which the first n are labelled."""
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((200, 190)).astype(np.float32)
    y, x = np.mgrid[:200, :190]
    places = PLACES + rng.uniform(-4, 4, PLACES.shape)
    for p in places:
        image -= 2.5 * (np.hypot(y - p[0], x - p[1]) < 8)
    labels = Labels(places[:n], complete=complete)
    return LabelledMicrograph(Micrograph(Path(f"m{seed}.mrc"), image, 8.0, "given"), labels, 160.0)


@pytest.fixture(scope="module")
def start():
    torch.manual_seed(0)
    config = PickerConfig(channels=2, kernels=(9, 5, 5, 5), grid=RotationGrid(2, 4))
    return Picker(PickerNet(config).eval(), "start", 16.0, fingerprint="abc")


@pytest.fixture(scope="module")
def taught(start):
    micrographs = {f"m{i}": micrograph(i, 8, complete=False) for i in range(2)}
    settings = TeachSettings(from_scratch=True, steps=40, expected=len(PLACES), tiles=2)
    return list(teach(micrographs, start, settings, "mine"))


def average_precision(picker, unseen):
    found = find_candidates(picker, unseen, CPU)
    order = np.argsort(-found.logits)
    right = found.right[order]
    n = sum(len(m.labels.positives) for m in unseen)
    return float((np.cumsum(right) / np.arange(1, len(right) + 1) * right).sum() / n)


def test_a_few_labels_teach_to_find_the_rest(taught, start):
    made = taught[-1]
    unseen = [micrograph(100), micrograph(101)]
    assert average_precision(made, unseen) > 0.9
    assert average_precision(made, unseen) > average_precision(start, unseen) + 0.2


def test_the_threshold_lets_as_many_through_as_expected(taught):
    found = find_candidates(taught[-1], [micrograph(0), micrograph(1)], CPU)
    assert abs(int((found.logits >= 0).sum()) - 2 * len(PLACES)) <= 6
    assert taught[-1].threshold == 0.5


def test_a_training_tells_what_it_does(taught):
    notes = [e.text for e in taught if isinstance(e, Note)]
    assert "16 particles in 2 micrographs" in notes[0] and "none is held out" in notes[0]
    steps = [e for e in taught if isinstance(e, FitProgress)]
    assert [e.step for e in steps] == list(range(1, 81)) and steps[-1].steps == 80


def test_the_new_model_is_an_ordinary_one(taught, tmp_path):
    made = taught[-1]
    made.save(tmp_path / "mine.safetensors")
    again = load_picker(tmp_path / "mine.safetensors")
    assert again.name == "mine" and again.net.config.grid == RotationGrid(2, 4)
    assert again.calibration == pytest.approx(made.calibration)
    assert again.training["start"] == "from scratch"


def test_fine_tuning_leaves_the_start_alone_and_begins_from_it(start):
    before = {k: v.clone() for k, v in start.net.state_dict().items()}
    micrographs = {"a": micrograph(0)}
    *_, made = teach(micrographs, start, TeachSettings(steps=2))
    for name, value in start.net.state_dict().items():
        assert torch.equal(value, before[name])
    for ours, theirs in zip(made.net.parameters(), start.net.parameters(), strict=True):
        assert 0 < float((ours - theirs).detach().abs().max()) < 0.01, "one small step"
    assert made.training["start"] == "start abc"


def test_a_checkpoint_of_other_labels_is_not_gone_on_with(start, tmp_path):
    settings, file = TeachSettings(steps=20, tiles=1), tmp_path / "mine.checkpoint"

    def begin(one, model=start):
        events = teach({"a": one}, model, settings, checkpoint=file)
        for event in events:
            if isinstance(event, FitProgress) and event.step == 20:
                events.close()
        return list(tmp_path.iterdir())

    assert begin(micrograph(0)), "a stopped training leaves a checkpoint"
    with pytest.raises(ModelFileError, match="other settings"):
        begin(micrograph(0, 12))
    torch.manual_seed(5)
    other = replace(start, net=PickerNet(start.net.config).eval())
    with pytest.raises(ModelFileError, match="other settings"):
        begin(micrograph(0), other)


def test_complete_labels_make_calibrated_probabilities(start):
    micrographs = {f"m{i}": micrograph(i) for i in range(2)}
    *_, made = teach(micrographs, start, TeachSettings(from_scratch=True, steps=40, tiles=2))
    found = find_candidates(made, [micrograph(50), micrograph(51)], CPU)
    p = 1 / (1 + np.exp(-found.logits))
    assert abs(p.mean() - found.right.mean()) < 0.05


def test_with_enough_micrographs_some_are_held_out(start):
    micrographs = {f"m{i}": micrograph(i) for i in range(5)}
    training, held_out = divide(micrographs)
    assert len(held_out) == 1 and len(training) == 4 and not set(training) & set(held_out)
    events = list(teach(micrographs, start, TeachSettings(steps=2, tiles=1)))
    validations = [e.validation for e in events if isinstance(e, FitProgress)]
    assert validations[-1] is not None
    assert "1 micrograph held out" in events[0].text


def stopping(step, micrographs, start, settings, **options):
    """Train, and say that it is enough while a step is under way; return events."""
    said, events = [], []
    for event in teach(micrographs, start, settings, enough=lambda: bool(said), **options):
        events.append(event)
        if isinstance(event, FitProgress) and event.step == step - 1:
            said.append(True)
    return events


def test_told_enough_a_training_ends_after_the_step_and_makes_a_picker(start, tmp_path):
    micrographs = {f"m{i}": micrograph(i) for i in range(5)}
    settings = TeachSettings(steps=40, tiles=1)
    events = stopping(3, micrographs, start, settings, checkpoint=tmp_path / "mine.checkpoint")
    steps = [e for e in events if isinstance(e, FitProgress)]
    assert [e.step for e in steps] == [1, 2, 3] and steps[-1].steps == 40
    assert steps[-1].validation == steps[-1].best is not None, "the last step is validated"
    made = events[-1]
    assert made.training["stopped"] == "by the user at step 3 of 40"
    assert made.training["validation AUPRC"] == pytest.approx(steps[-1].best, abs=1e-4)
    assert made.calibration != (1.0, 0.0)
    moved = [
        float((ours - theirs).abs().max())
        for ours, theirs in zip(
            made.net.state_dict().values(), start.net.state_dict().values(), strict=True
        )
    ]
    assert max(moved) > 0
    made.save(tmp_path / "mine.safetensors")
    assert find_candidates(load_picker(tmp_path / "mine.safetensors"), [micrograph(50)], CPU)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.safetensors"], "no checkpoint is left"


def test_from_scratch_the_second_phase_is_left_out(start):
    settings = TeachSettings(from_scratch=True, steps=20, tiles=1)
    events = stopping(2, {"a": micrograph(0)}, start, settings)
    assert events[-1].training["stopped"] == "by the user at step 2 of 40"
    assert events[-1].net.config.grid == start.net.config.grid
    assert sum(isinstance(e, FitProgress) for e in events) == 2


def test_a_whole_training_was_not_stopped(taught):
    assert "stopped" not in taught[-1].training


def test_the_checkpoint_stays_until_the_picker_is_taken(start, tmp_path):
    settings = TeachSettings(steps=20, tiles=1)
    events = teach({"a": micrograph(0)}, start, settings, checkpoint=tmp_path / "c")
    picker = next(event for event in events if isinstance(event, Picker))
    assert list(tmp_path.iterdir()), "who is killed before saving it does not begin anew"
    events.close()
    again = teach({"a": micrograph(0)}, start, settings, checkpoint=tmp_path / "c")
    *rest, same = again
    assert not any(isinstance(event, FitProgress) for event in rest)
    for ours, theirs in zip(same.net.parameters(), picker.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert not list(tmp_path.iterdir())


def test_picking_before_and_after_the_steps_tells_how_far_it_is(start):
    micrographs = {f"m{i}": micrograph(i, 8, complete=False) for i in range(2)}
    events = list(teach(micrographs, start, TeachSettings(steps=1, tiles=1)))
    told = [(e.text, e.done, e.total) for e in events if isinstance(e, teaching.Working)]
    for text in ("Counting particles", "Calibrating"):
        done = [n for what, n, total in told if what == text and total == 2]
        assert sorted(set(done)) == [0, 1, 2] and done == sorted(done)


def test_the_time_left_counts_the_rotations_of_the_second_phase(start, monkeypatch):
    monkeypatch.setattr(teaching, "FAST_GRID", RotationGrid(1, 4))  # the last phase has 8
    settings = TeachSettings(from_scratch=True, steps=20, tiles=1)
    steps = [e for e in teach({"a": micrograph(0)}, start, settings) if isinstance(e, FitProgress)]
    first = steps[9]
    assert first.eta_seconds == pytest.approx(first.seconds_per_step * (10 + 20 * 2))
    assert steps[-1].eta_seconds == 0.0


def test_too_few_labels_are_refused(start):
    with pytest.raises(TrainError, match="2 labelled particles are too few"):
        next(teach({"a": micrograph(0, 2)}, start, TeachSettings()))


def test_the_shares_of_the_loss_follow_from_the_expected_number():
    one = micrograph(0, 5, complete=False)
    loss = choose_loss([one], 25.0, "nnpu")
    area = 200 * 190 * (8 / 160) ** 2
    assert loss.prior == pytest.approx(20 * np.pi * 0.01 / area)
    assert loss.trimmed == pytest.approx(20 * np.pi * 0.09 / area)
    assert choose_loss([one], 3.0, "nnpu").prior == pytest.approx(1e-4)
    assert choose_loss([micrograph(0)], 25.0, "trimmed") == Loss("trimmed")


def test_without_a_number_the_starting_model_counts(start, monkeypatch):
    monkeypatch.setattr(TeachSettings, "FINE_TUNING", 1)
    events = list(teach({"a": micrograph(0, 8, complete=False)}, start, TeachSettings()))
    assert any("particles in a micrograph" in e.text for e in events if isinstance(e, Note))
    assert events[-1].training["expected"] >= 8


def test_calibration_makes_probabilities_true(start):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=4000) * 3
    right = rng.random(4000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    scale, offset = calibrate(start, Candidates(logits, right, (4000,))).calibration
    assert scale == pytest.approx(0.5, rel=0.1) and offset == pytest.approx(-1, abs=0.15)


def test_calibration_to_a_number(start):
    logits = np.linspace(-5, 5, 101)
    found = Candidates(logits, np.zeros(101, bool), (101,))
    for number in (1, 30, 101, 500):
        scale, offset = calibrate_to_number(start, found, number, 2.0).calibration
        assert scale == 2.0
        assert int((scale * logits + offset >= 0).sum()) == min(number, 101)


def test_matchers_have_nothing_to_learn_from_labels(start):
    with pytest.raises(TrainError, match="matcher"):
        next(teach({"a": micrograph(0)}, replace(start, net=torch.nn.Identity()), TeachSettings()))
