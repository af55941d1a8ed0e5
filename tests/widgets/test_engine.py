"""Picking a session into its folder, without a window."""

import numpy as np
import pytest
import starfile
import torch

from napari_so3.io.star import read_coordinates
from napari_so3.picking.picker import load_picker
from napari_so3.picking.score import Scorer
from napari_so3.session.pool import load_run
from napari_so3.widgets.engine import Engine, Problem, Progress
from napari_so3.widgets.pick_job import Begun, Failed, Finished, Picked, PickJob, RunChosen

NAMES = ("a", "b", "c")


@pytest.fixture
def paths(write_mrc):
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(3, 120, 150)).astype(np.float32)
    return {name: write_mrc(f"{name}.mrc", noise[i]) for i, name in enumerate(NAMES)}


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def pick(engine, paths, model, tmp_path):
    """Pick with the settings of the fixtures but for those that are given."""

    def run(names=NAMES, which="these", **settings):
        job = {
            **{"root": tmp_path / "napari-so3", "paths": paths, "run": "", "picked": ()},
            **{"model": str(model), "diameter": 100.0, "pixel_size": None},
            **{"threshold": None, "device": "cpu"},
            **settings,
        }
        return list(engine.pick_session(PickJob(names=tuple(names), which=which, **job)))

    return run


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def folder(events, tmp_path):
    (chosen,) = only(events, RunChosen)
    return tmp_path / "napari-so3" / "picks" / chosen.run


def stamps(events, tmp_path):
    tables = sorted((folder(events, tmp_path) / "candidates").glob("*.csv"))
    return {table.stem: table.stat().st_mtime_ns for table in tables}


def test_what_is_told_is_what_the_folder_holds(pick, tmp_path):
    events = pick()
    chosen = only(events, RunChosen)[0]
    assert (chosen.suggested, chosen.in_plane, chosen.candidates) == (0.0, 4, {})
    assert [(e.index, e.total, e.name) for e in only(events, Begun)] == [
        (i, 3, name) for i, name in enumerate(NAMES)
    ]
    assert only(events, Progress)[-1].done == only(events, Progress)[-1].total == 16
    assert events[-1] == Finished(3, 0)
    items = {}
    for loading in load_run(folder(events, tmp_path), NAMES):
        items |= loading.items
    for picked in only(events, Picked):
        assert len(picked.candidates) > 0
        for column in ("y", "x", "logit", "rotation", "edge"):
            there = getattr(items[picked.name], column)
            np.testing.assert_array_equal(getattr(picked.candidates, column), there)


def test_what_is_there_is_used_again_left_alone_or_made_anew(pick, tmp_path):
    first = pick()
    run, before = folder(first, tmp_path).name, stamps(first, tmp_path)

    these = pick(["b"], run=run)
    assert [e.reused for e in only(these, Picked)] == [True]
    assert only(these, RunChosen)[0].candidates is None
    unpicked = pick(which="unpicked", run=run, picked={"a", "c"})
    assert [e.name for e in only(unpicked, Picked)] == ["b"]
    assert pick(which="unpicked", run=run, picked=NAMES)[-1] == Finished(0, 0)
    assert stamps(first, tmp_path) == before

    again = pick(["a", "b"], "again", run=run)
    assert [e.reused for e in only(again, Picked)] == [False, False]
    after = stamps(first, tmp_path)
    assert [after[name] > before[name] for name in NAMES] == [True, True, False]


def test_other_settings_make_another_run(pick, tmp_path):
    first = pick(["a"])
    run = folder(first, tmp_path).name
    second = pick(["b"], diameter=140.0, run=run)
    assert folder(second, tmp_path).name != run
    third = pick(["c"], pixel_size=4.0)
    assert folder(third, tmp_path).name == f"{run}-4Apx"
    back = pick(which="unpicked", run=folder(second, tmp_path).name, picked={"b"})
    assert set(only(back, RunChosen)[0].candidates) == {"a"}
    assert [e.name for e in only(back, Picked)] == ["b", "c"]


def test_picking_ahead_stays_in_the_run(pick, tmp_path):
    run = folder(pick(["a"]), tmp_path).name
    assert only(pick(["b"], "ahead", run=run, diameter=140.0), Picked | RunChosen | Problem) == []
    assert [e.name for e in only(pick(["b"], "ahead", run=run), Picked)] == ["b"]


def test_one_more_micrograph_touches_no_other_file(pick, tmp_path):
    here = folder(pick(["a", "b"]), tmp_path)
    stars = [here / "a_autopick.star", here / "b_autopick.star"]
    before = [star.stat().st_mtime_ns for star in stars]
    pick(["c"], threshold=3.0)
    assert [star.stat().st_mtime_ns for star in stars] == before
    listed = starfile.read(here / "autopick.star")["rlnMicrographName"]
    assert [name.rpartition("/")[2] for name in listed] == ["a.mrc", "b.mrc", "c.mrc"]


@pytest.mark.parametrize("threshold", [-1.0, 0.3])
def test_the_coordinate_file_is_that_of_the_threshold(pick, tmp_path, threshold):
    events = pick(["a"], threshold=threshold)
    (picked,) = only(events, Picked)
    saved = read_coordinates(folder(events, tmp_path) / "a_autopick.star")
    assert len(saved) == (picked.candidates.logit >= threshold).sum()


def test_scores_beyond_the_digits_of_a_probability_are_written(pick, model, tmp_path):
    picker = load_picker(model)
    with torch.no_grad():
        picker.net.head.weight *= 1000.0
    picker.save(model)
    events = pick(["a"], threshold=45.0)
    (picked,) = only(events, Picked)
    assert picked.candidates.logit.max() > 45.0
    saved = read_coordinates(folder(events, tmp_path) / "a_autopick.star")
    assert len(saved) >= (picked.candidates.logit >= 45.0).sum()


def test_a_file_that_cannot_be_read_does_not_end_the_run(pick, paths):
    paths["b"].write_bytes(b"nonsense")
    events = pick()
    (failed,) = only(events, Failed)
    assert failed.name == "b"
    assert failed.reason.startswith("b.mrc: ")
    assert events[-1] == Finished(2, 1)


def test_what_is_no_model_is_told_in_one_sentence(pick, tmp_path):
    (tmp_path / "x.safetensors").write_text("nothing")
    (problem,) = only(pick(model=str(tmp_path / "x.safetensors")), Problem)
    assert problem.sentence.startswith("x.safetensors: ")


def test_other_rotations_are_picked_into_another_folder(pick, engine, model, tmp_path):
    own = only(pick(["a"]), RunChosen)[0].run
    assert only(pick(["a"], rotations=(4, 4)), RunChosen)[0].run == own
    events = pick(["a"], rotations=(6, 8))
    (chosen,) = only(events, RunChosen)
    assert (chosen.in_plane, only(events, Progress)[-1].total) == (8, 48)
    assert chosen.run == own.replace("-100A", "-6x8-100A")
    setup = engine.look_up(str(model), "cpu", rotations=(6, 8))
    assert (setup.own, len(setup.picker.net.config.grid)) == (16, 48)


def test_a_folder_that_cannot_be_written_is_told(pick, tmp_path):
    (tmp_path / "napari-so3").write_text("a file")
    (problem,) = only(pick(), Problem)
    assert "napari-so3" in problem.sentence


def test_the_network_is_made_ready_once(pick, monkeypatch):
    pick(["a"])
    monkeypatch.setattr(Scorer, "__init__", lambda *_: pytest.fail("made ready again"))
    assert pick(["b", "c"])[-1] == Finished(2, 0)


def test_models_of_the_session_can_be_chosen(engine, model, tmp_path):
    (tmp_path / "models").mkdir()
    taught = tmp_path / "models" / "taught.safetensors"
    taught.write_bytes(model.read_bytes())
    setup = engine.look_up(str(model), "cpu", tmp_path)
    assert setup.models[-1] == str(taught)
    assert "general" in setup.models
