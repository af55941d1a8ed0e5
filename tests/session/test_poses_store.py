"""Poses of a session: kept on disk, found again by place, and told when they change."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from napari_so3.poses.poses import COLUMNS, Poses, PosesError, matrices_to_angles
from napari_so3.session.journal import SessionError
from napari_so3.session.poses import (
    HELD,
    POSES,
    Gathered,
    PoseStore,
    gather,
    merge,
    pose_run_name,
)
from napari_so3.session.state import Session


def make_poses(points, seed=0, k=3, **known):
    """Random poses at points (n, 2)."""
    points = np.asarray(points, float).reshape(-1, 2)
    n = len(points)
    turns = Rotation.random(n * k, np.random.default_rng(seed)).as_matrix().reshape(n, k, 3, 3)
    table = pd.DataFrame(0.0, index=range(n), columns=list(COLUMNS))
    table[["y", "x"]] = points
    table[["rot", "tilt", "psi"]] = matrices_to_angles(turns[:, 0])
    table["confidence"] = np.linspace(0.9, 0.1, n)
    shares = np.tile([0.7, 0.2, 0.1][:k], (n, 1))
    return Poses(table, turns, shares, "D7", "m.mrc", {"model": "demo", **known})


POINTS = np.array([[10.0, 20.0], [30.0, 40.0], [55.5, 60.25]])


@pytest.fixture
def store(tmp_path):
    made = PoseStore()
    made.use(tmp_path, "run")
    return made


def another(store):
    """A store of another process."""
    other = PoseStore()
    other.use(store.folder.parents[1], store.folder.name)
    return other


def test_what_is_written_is_there_in_another_process(store):
    store.write("m0", make_poses(POINTS))
    other = another(store)
    assert "m0" in other and "m1" not in other and other.get("m1") is None
    assert other.held("m0") is None  # nothing is read before it is asked for
    found = other.get("m0")
    np.testing.assert_allclose(found.matrices, store.get("m0").matrices, atol=1e-4)
    np.testing.assert_allclose(found.alternatives, store.get("m0").alternatives, atol=1e-4)
    assert (found.symmetry, found.provenance["model"]) == ("D7", "demo")
    assert other.held("m0") is found
    assert not list(store.folder.glob(".*"))  # no temporary files are left


def test_poses_are_found_by_the_place_of_the_pick(store):
    poses = make_poses(POINTS)
    store.write("m0", poses)
    moved = POINTS[[2, 0, 1]] + [[0.3, 0.3], [0.0, 0.0], [0.4, 0.4]]  # 0.57 pixels are too far
    found = store.match("m0", moved)
    assert list(found.rows) == [2, 0, -1] and list(found.known) == [True, True, False]
    np.testing.assert_allclose(found.matrices[:2], poses.matrices[[2, 0]])
    assert np.isnan(found.matrices[2]).all()
    table = found.table(["tilt", "confidence"])
    assert list(table.columns) == ["tilt", "confidence"] and table.iloc[2].isna().all()
    np.testing.assert_allclose(table["confidence"][:2], [0.1, 0.9])
    assert len(store.match("m0", np.zeros((0, 2))).table()) == 0
    assert store.match("m1", POINTS) is None


def test_poses_of_one_pick_are_put_beside_those_of_the_others(store):
    first, second = make_poses(POINTS), make_poses(POINTS[1:2] + 0.1, seed=5, k=1, model="new")
    store.write("m0", first)
    together = store.write("m0", second)
    assert len(together) == 3
    found = store.match("m0", POINTS)
    assert (found.rows >= 0).all()
    np.testing.assert_allclose(found.matrices[1], second.matrices[0], atol=1e-6)
    np.testing.assert_allclose(found.matrices[[0, 2]], first.matrices[[0, 2]], atol=1e-6)
    assert together.provenance["model"] == "new" and together.shares.shape == (3, 3)
    assert together.shares[0, 1] == 0 and np.isnan(together.alternatives[0, 1]).all()
    again = Poses.read_csv(store.folder / "m0.csv")
    np.testing.assert_allclose(again.shares.sum(axis=1), [0.7, 1, 1])


def test_merging_with_nothing_keeps_the_rest():
    poses, nothing = make_poses(POINTS), make_poses([])
    assert len(merge(nothing, poses)) == len(merge(poses, nothing)) == 3
    assert len(merge(nothing, nothing)) == 0


def test_only_put_and_use_tell(store):
    told = []
    store.changed.connect(told.append)
    poses = store.write("m0", make_poses(POINTS))
    store.get("m0")
    assert told == []
    store.put("m0", poses)
    assert told == ["m0"]
    root = store.folder.parents[1]
    store.use(root, "other")
    assert told == ["m0", ""] and len(store) == 0
    store.use(root, "other")
    assert told == ["m0", ""]


def test_what_comes_late_for_another_run_is_not_shown(store):
    root, late = store.folder.parents[1], make_poses(POINTS)

    def write_csv(path):
        Poses.write_csv(late, path)
        store.use(root, "other")  # the user chooses another run meanwhile

    object.__setattr__(late, "write_csv", write_csv)
    store.write("m0", late)
    assert "m0" not in store and store.get("m0") is None
    store.use(root, "run")
    assert "m0" in store


def test_without_folder_poses_are_in_memory():
    store = PoseStore()
    store.use(None, "run")
    store.put("m0", store.write("m0", make_poses(POINTS)))
    assert len(store.match("m0", POINTS).poses) == 3
    store.use(None, "other")
    assert "m0" not in store and store.get("m0") is None


def test_few_of_many_micrographs_stay_in_memory(store):
    for i in range(HELD + 10):
        store.write(f"m{i}", make_poses(POINTS, seed=i))
    assert sum(store.held(f"m{i}") is not None for i in range(HELD + 10)) == HELD
    assert len(store) == HELD + 10 and len(store.get("m0")) == 3
    assert store.held("m0") is not None


def test_a_damaged_table_is_named_and_can_be_replaced(store):
    store.write("m0", make_poses(POINTS))
    (store.folder / "m0.csv").write_text("y,x\n1,2\n")
    other = another(store)
    with pytest.raises(PosesError, match=r"m0\.csv"):
        other.get("m0")
    assert len(other.write("m0", make_poses(POINTS))) == 3
    assert len(Poses.read_csv(store.folder / "m0.csv")) == 3


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    store = PoseStore()
    store.use(tmp_path / "file", "run")
    with pytest.raises(SessionError, match="cannot be written"):
        store.write("m0", make_poses(POINTS))


def test_poses_of_all_micrographs_are_in_the_order_of_the_picks(store):
    a, b = make_poses(POINTS), make_poses(POINTS[:2], seed=1)
    store.write("m0", a)
    store.write("m2", b)
    store.write("m3", a)
    (store.folder / "m3.csv").write_text("torn")
    other = another(store)
    points = np.concatenate([POINTS[::-1], POINTS, POINTS[:1], POINTS, [[500.0, 500.0]]])
    owner = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4])
    *steps, found = gather(other, ["m0", "m1", "m2", "m3", "m4"], points, owner)
    assert isinstance(found, Gathered) and len(steps) == 2 and steps[0].total == 3
    np.testing.assert_allclose(found.matrices[:3], a.matrices[::-1], atol=1e-4)
    np.testing.assert_allclose(found.matrices[6], b.matrices[0], atol=1e-4)
    assert np.isnan(found.matrices[[3, 4, 5, 7, 8, 9, 10]]).all()
    np.testing.assert_allclose(found.confidence[:3], [0.1, 0.5, 0.9])
    assert len(found.problems) == 1 and "m3.csv" in found.problems[0]


def test_the_run_belongs_to_the_session(session):
    run = pose_run_name("my model", "abcdef1234", 150.0)
    assert run == "my_model-abcdef-150A"
    session.pose_run = run
    assert session.poses.folder == session.folder / POSES / run
    session.poses.write("m0", make_poses(POINTS))
    folder = session.folder
    session.close()
    assert session.poses.folder is None and "m0" not in session.poses
    seen = Session.look_at(folder)
    assert seen.pose_run == run and len(seen.poses.get("m0")) == 3
    opened = Session()
    opened.open(folder)
    assert len(opened.poses.get("m0")) == 3
    opened.pose_run = ""
    assert len(opened.poses) == 0
    opened.close()
