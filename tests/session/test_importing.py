import mrcfile
import numpy as np
import pandas as pd
import pytest

from napari_so3.io.coordinates import CoordinateError, write_coordinates
from napari_so3.session.importing import ImportPlan, plan_import, use_as_labels, use_as_picks
from napari_so3.session.journal import SessionError
from napari_so3.session.pool import load_run
from napari_so3.session.state import Session

SHAPE, PIXEL_SIZE, DIAMETER = (240, 360), 4.0, 100.0


def draw(points):
    """A micrograph of noise with dark discs of the particle's diameter."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = rng.normal(size=SHAPE)
    for centre in points:
        image -= 1.5 * (np.hypot(y - centre[0], x - centre[1]) < DIAMETER / PIXEL_SIZE / 2)
    return image.astype(np.float32)


@pytest.fixture
def truth():
    """Particles of two micrographs, (n, 2) y and x; none of them in the mirror place of another."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(20, 220, 45), np.arange(20, 340, 40)), -1).reshape(-1, 2)
    return {name: grid[rng.random(len(grid)) < 0.5] + rng.integers(-6, 7) for name in ("a", "b")}


@pytest.fixture
def session(tmp_path, truth):
    folder = tmp_path / "mics"
    folder.mkdir()
    for name in (*truth, "c"):
        with mrcfile.new(folder / f"{name}.mrc") as mrc:
            mrc.set_data(draw(truth.get(name, ())))
            mrc.voxel_size = PIXEL_SIZE
    made = Session(diameter=DIAMETER)
    made.save_in(folder / "napari-so3")
    made.add_micrographs([folder / f"{name}.mrc" for name in "abc"])
    yield made
    made.close()


@pytest.fixture
def write(tmp_path):
    """Write coordinates of micrographs as a Topaz table, whose names are a cryoSPARC job's."""

    def to(tables, score=None):
        named = {}
        for name, points in tables.items():
            table = pd.DataFrame({"x": points[:, 1], "y": points[:, 0]})
            if score is not None:
                table["score"] = score[: len(table)]
            named[f"{'1' * 21}_{name}_patch_aligned_doseweighted.mrc"] = table
        path = tmp_path / "picks.csv"
        write_coordinates(path, "csv", named, box=40, pixel_size=None)
        return path

    return to


def plan_of(session, path):
    *progress, plan = plan_import(session, path)
    assert isinstance(plan, ImportPlan)
    assert [step.done for step in progress] == list(range(1, len(plan.found) + 1))
    return plan


def test_what_there_is_is_said_before_anything_is_used(session, truth, write):
    plan = plan_of(session, write(truth | {"other": np.ones((3, 2))}))
    assert sorted(plan.found) == ["a", "b"]
    assert plan.points == len(truth["a"]) + len(truth["b"])
    said = "\n".join(plan.sentences())
    assert "2 of 3 micrographs matched; 1 without picks (c.mrc)" in said
    assert "1 name of picks matches nothing" in said
    assert said.count("fit the micrograph as they are") == 2
    assert not session.marks.all and not session.run


@pytest.mark.parametrize("turned", [False, True])
def test_labels_come_where_the_particles_are(session, truth, write, turned):
    given = {
        k: np.column_stack([SHAPE[0] - 1 - v[:, 0], v[:, 1]]) if turned else v
        for k, v in truth.items()
    }
    plan = plan_of(session, write(given))
    assert plan.reading == ("y turned" if turned else "as they are")
    assert use_as_labels(session, plan, plan.reading) == plan.points
    for name, points in truth.items():
        found = session.marks.of(name).points("positive")
        np.testing.assert_allclose(found, points, atol=0.01)
    assert session.marks.undo() == "b" and not session.marks.of("b").marks
    assert session.marks.of("a").marks


def test_coordinates_outside_of_the_micrograph_are_left_out(session, truth, write):
    outside = np.vstack([truth["a"], [[-5.0, 10.0], [10.0, 5000.0]]])
    plan = plan_of(session, write({"a": outside}))
    assert use_as_labels(session, plan) == len(truth["a"])


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (np.linspace(7, -7, 60), np.linspace(7, -7, 60)),  # log-odds
        (
            np.linspace(0.99, 0.02, 60),
            np.log(np.linspace(0.99, 0.02, 60) / np.linspace(0.01, 0.98, 60)),
        ),
        (None, np.zeros(60)),
    ],
)
def test_picks_of_another_program_become_a_run(session, truth, write, score, expected):
    session.threshold, session.hidden_views = 3.0, (1,)
    run = use_as_picks(session, plan_of(session, write(truth, score)))
    assert session.run == run == "imported-picks"
    candidates, shown = session.picks_of("a")
    assert shown.all() and len(candidates) == len(truth["a"])
    np.testing.assert_allclose(candidates.logit, expected[: len(candidates)], atol=1e-3)
    np.testing.assert_allclose(np.column_stack([candidates.y, candidates.x]), truth["a"], atol=1e-3)
    loaded = next(iter(load_run(session.run_folder, session.names)))
    assert loaded.total == 2  # they are in files
    assert use_as_picks(session, plan_of(session, write(truth, score))) == "imported-picks-2"


def test_picks_need_a_pixel_size(session, truth, write, tmp_path):
    with mrcfile.open(tmp_path / "mics" / "a.mrc", "r+") as mrc:
        mrc.voxel_size = 1.0  # stands for unknown
    plan = plan_of(session, write(truth))
    with pytest.raises(SessionError, match="pixel size of a "):
        use_as_picks(session, plan)
    assert not session.run


def test_a_micrograph_that_cannot_be_read_is_named(session, truth, write, tmp_path):
    (tmp_path / "mics" / "b.mrc").write_bytes(b"broken")
    plan = plan_of(session, write(truth))
    assert sorted(plan.found) == ["a"]
    assert any("b.mrc" in note for note in plan.notes)


def test_a_folder_without_coordinates_is_refused(session, tmp_path):
    with pytest.raises(CoordinateError, match="no coordinates"):
        list(plan_import(session, tmp_path / "mics"))
