"""What a training does in its thread, without a window."""

import gc
import shlex
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from teaching import DIAMETER, PIXEL_SIZE, PLACES, label, make_session, shorten
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.picking.picker import load_picker
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import TemplateConfig, TemplateNet
from napari_so3.training.fit import FitProgress
from napari_so3.training.labels import read_labels
from napari_so3.widgets.engine import Note, Problem
from napari_so3.widgets.teach_engine import (
    Command,
    Made,
    TeachJob,
    labelled,
    teach_session,
    until,
    write_command,
)


@pytest.fixture
def session(tmp_path, model, monkeypatch):
    """A session of five micrographs, four of which are labelled."""
    shorten(monkeypatch)
    session = make_session(tmp_path, model)
    label(session)
    yield session
    session.close()


def job(session, name="trained"):
    marks = labelled(session)
    return TeachJob(
        folder=session.folder,
        paths={each: session.paths[each] for each in marks},
        marks=marks,
        model=session.model,
        diameter=session.diameter,
        pixel_size=session.pixel_size,
        device="cpu",
        name=name,
        from_scratch=False,
        enough=threading.Event(),
    )


def models(session):
    return sorted(p.name for p in (session.folder / "models").glob("*"))


def steps(events):
    return [event.step for event in events if isinstance(event, FitProgress)]


def test_micrographs_with_areas_and_ignored_places_alone_are_not_learnt_from(session):
    session.marks.mark("m4", "ignored", PLACES[:3], 5.0)
    assert set(labelled(session)) == {"m0", "m1", "m2", "m3"}
    session.marks.set_complete("m4", True)
    assert "m4" in labelled(session), "there is no particle on it"


def test_labels_are_written_in_pixels(session):
    session.marks.mark("m0", "ignored", [[10.0, 10.0]], 1.0)
    next(event for event in teach_session(job(session)) if isinstance(event, FitProgress))
    labels = read_labels(session.folder / "labels.json")
    assert set(labels) == {"m0", "m1", "m2", "m3"}
    np.testing.assert_array_equal(labels["m0"].positives, PLACES)
    np.testing.assert_allclose(labels["m0"].ignored_discs, [[10, 10, DIAMETER / 2 / PIXEL_SIZE]])


def test_no_model_is_overwritten(session, model):
    there = session.folder / "models" / "general-2.safetensors"
    there.parent.mkdir()
    there.write_bytes(model.read_bytes())
    *_, made = teach_session(job(session, "general"))  # a name that comes with the package
    assert isinstance(made, Made) and made.path.name == "general-3.safetensors"
    assert load_picker(made.path).name == "general-3"
    assert there.read_bytes() == model.read_bytes()


def test_the_command_line_learns_the_very_same(session, tmp_path):
    session.marks.mark("m1", "negative", [[10.0, 60.0]], 5.0)
    session.marks.set_complete("m2", True)
    *_, command = write_command(job(session), session)
    assert isinstance(command, Command)
    program, *arguments = shlex.split(command.text)
    assert (program, arguments[0]) == ("napari-so3", "train")
    *_, made = teach_session(job(session))
    there = arguments.index("-o") + 1
    assert arguments[there] == str(made.path)
    arguments[there] = str(tmp_path / "theirs.safetensors")
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))  # sums depend on it
    try:
        result = CliRunner().invoke(app, arguments)
    finally:
        torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    ours, theirs = load_picker(made.path), load_picker(arguments[there])
    for name, value in ours.net.state_dict().items():
        assert torch.equal(value, theirs.net.state_dict()[name]), name
    assert ours.calibration == theirs.calibration


def test_a_training_that_was_left_is_gone_on_with(session):
    events = teach_session(job(session))
    first = []
    for event in events:
        first.append(event)
        if steps(first) == [1, 2, 3]:
            events.close()
    assert models(session)[0].startswith(".training-")
    again = list(teach_session(job(session)))
    assert steps(again) == [3, 4, 5, 6] and isinstance(again[-1], Made)
    assert models(session) == ["trained.safetensors"], "the checkpoint has done its work"


def test_other_labels_begin_anew(session):
    events = teach_session(job(session))
    while steps([next(events)]) != [3]:
        pass
    events.close()
    before = models(session)
    session.marks.undo()
    events = teach_session(job(session))
    while not steps([event := next(events)]):
        pass
    events.close()
    assert event.step == 1
    assert not set(before) & set(models(session)), "nobody can go on with those"


def test_the_window_is_kept_alive(session):
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        events = until(threading.Event(), teach_session, job(session))
        assert any(isinstance(event, FitProgress) for event in events)
        assert torch.get_num_threads() == 3, "a core is left to it"
        assert gc.isenabled() and gc.get_freeze_count() > 100_000, "collections are short"
        events.close()
        assert torch.get_num_threads() == 4 and gc.get_freeze_count() == 0
    finally:
        torch.set_num_threads(before)


def test_cancelling_ends_after_the_step(session):
    cancelled = threading.Event()
    told = []
    for event in until(cancelled, teach_session, job(session)):
        told.append(event)
        if steps(told) == [1, 2]:
            cancelled.set()
    assert steps(told) == [1, 2] and "trained.safetensors" not in models(session)


def test_micrographs_that_cannot_be_read_are_left_out(session):
    session.paths["m1"].unlink()
    told = list(teach_session(job(session)))
    assert any(isinstance(e, Note) and e.text.startswith("Left out: m1.mrc") for e in told)
    assert told[-1].training["data"] == ["3 micrographs of the user"]
    assert "m1" not in read_labels(session.folder / "labels.json")


def test_what_cannot_be_done_is_said_in_a_sentence(session, model, tmp_path, monkeypatch):
    def problem(**changes):
        *_, last = teach_session(replace(job(session), **changes))
        assert isinstance(last, Problem) and "\n" not in last.sentence
        return last.sentence

    assert "nowhere: no such model" in problem(model="nowhere")
    assert "no device" in problem(device="abacus")
    net = TemplateNet(TemplateConfig(size=9, grid=RotationGrid(2, 4)))
    replace(load_picker(model), net=net, name="map").save(tmp_path / "map.safetensors")
    assert "map: a template matcher" in problem(model=str(tmp_path / "map.safetensors"))
    assert "a particle of 10 Å is 2 pixels wide" in problem(diameter=10.0)
    assert "0 labelled particles are too few" in problem(paths={}, marks={})
    (session.folder / "labels.json").unlink()
    (session.folder / "labels.json").mkdir()
    assert "labels.json: Is a directory" in problem()
    (session.folder / "labels.json").rmdir()

    def fail(*_arguments, **_options):
        raise RuntimeError("no kernel\nat all")

    with monkeypatch.context() as patch:
        patch.setattr("torch.optim.Adam", fail)
        assert problem() == "torch cannot go on: no kernel"
    for path in session.paths.values():
        path.write_bytes(b"no micrograph")
    assert "m0.mrc" in problem()
    assert models(session) == []
