"""The dock "Poses", with clicks: poses that are known are shown where and as the particles lie."""

import numpy as np
import pandas as pd
import pytest
import torch
from labelling import PIXEL_SIZE, PLACES, SHOWN, Mouse, open_dock, open_session
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QFileDialog, QMainWindow, QTabBar

from napari_so3.io.particle_star import write_particles_star
from napari_so3.poses.errors import pose_errors
from napari_so3.poses.estimator import PoseEstimator
from napari_so3.poses.poses import COLUMNS, Poses, matrices_to_angles
from napari_so3.poses.reference import Reference
from napari_so3.session.export import read_candidates
from napari_so3.simulation.density import barrel
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.pose_networks import PoseConfig, PoseNet
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix
from napari_so3.training.matcher import make_matcher
from napari_so3.widgets.camera_rotation import rotation_of
from napari_so3.widgets.desk_docks import open_desk
from napari_so3.widgets.layers import KEY
from napari_so3.widgets.pose_form import PICKER
from napari_so3.widgets.pose_layers import FEATURES
from napari_so3.widgets.pose_panel import CHANGED
from napari_so3.widgets.pose_pick import NO_POSE

LEFT = Qt.MouseButton.LeftButton
DIAMETER, PIXELS = 150.0, 20.0  # Å; working pixels across it
ANGLES = np.array([(10, 85, 30), (25, 88, 100), (5, 10, 0), (40, 45, 160), *[(0, 90, 0)] * 5])
TRUTH = euler_to_matrix(*ANGLES.T).numpy()
WRONG = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ TRUTH  # turned by 90 degrees in plane


@pytest.fixture(scope="module")
def density():
    """A barrel on voxels."""
    axis = (torch.arange(48, dtype=torch.float64) - 24) * 5.0
    atoms = barrel()
    x, y, z = (
        torch.exp(-((axis[:, None] - atoms.positions[:, i]) ** 2) / (2 * atoms.sigma**2))
        for i in range(3)
    )
    values = torch.einsum("zn,yn,xn,n->zyx", z, y, x, atoms.amplitudes)
    return DensityMap(values.float().numpy(), 5.0, "barrel")


@pytest.fixture(scope="module")
def pose_model(density, tmp_path_factory):
    """A pose model with random weights, and the map of the barrel."""
    torch.manual_seed(0)
    grid = RotationGrid.reduced("D7", 6, 8)
    net = PoseNet(PoseConfig(channels=2, hidden=8, grid=grid)).eval()
    reference = Reference.of(density, DIAMETER / PIXELS, DIAMETER)
    path = tmp_path_factory.mktemp("model") / "tiny_pose.safetensors"
    PoseEstimator(net, "tiny pose", PIXELS, DIAMETER, reference=reference).save(path)
    return path


@pytest.fixture
def desk(viewer, tmp_path, write_mrc, qtbot, model):
    """A session whose micrographs show barrels, dark, at `PLACES` in the poses `TRUTH`."""
    views = barrel().project(torch.from_numpy(TRUTH), (61, 61), PIXEL_SIZE).numpy()

    def write(name, noise, pixel_size):
        image = np.pad(0.3 * noise, 31)
        for view, (y, x) in zip(views, PLACES.astype(int), strict=True):
            image[y + 1 : y + 62, x + 1 : x + 62] -= 6 * view / views.max()
        return write_mrc(name, image[31:-31, 31:-31].astype(np.float32), pixel_size)

    desk = open_session(viewer, tmp_path, write)
    desk.session.update({"model": str(model), "diameter": DIAMETER})
    qtbot.waitUntil(lambda: desk.name == "m0")
    return desk


@pytest.fixture
def dock(viewer, desk, pose_model, qtbot):
    """The dock with the pose model; it is closed before napari looks for what is left."""
    desk.session.pose_model = str(pose_model)
    dock = open_dock(viewer, qtbot, "Poses")
    qtbot.waitUntil(lambda: dock.posing.model is not None, timeout=20_000)
    yield dock
    if dock.parent() is not None:
        viewer.window.remove_dock_widget(dock)


@pytest.fixture
def picks(dock):
    return dock.picks


@pytest.fixture
def pick(picks):
    return picks.pick


def known(n=9, alternatives=(TRUTH, WRONG), shares=(0.8, 0.15)):
    """Poses of the first places, in another order than the candidates."""
    table = pd.DataFrame(np.full((n, len(COLUMNS)), np.nan), columns=list(COLUMNS))
    table[["y", "x"]], table[["dy", "dx"]] = PLACES[:n], 0.0
    table[["rot", "tilt", "psi"]] = matrices_to_angles(alternatives[0][:n])
    table["confidence"] = np.linspace(0.9, 0.5, n)
    stacked = np.stack([each[:n] for each in alternatives], axis=1)
    poses = Poses(table, stacked, np.tile(shares, (n, 1)), "D7", "m0.mrc")
    return poses.take(np.arange(n)[::-1])


def click(qtbot, button):
    qtbot.mouseClick(button, LEFT)


def idle(picks, qtbot):
    qtbot.waitUntil(lambda: not picks.bar.running, timeout=30_000)


def layer(viewer, kind):
    found = [each for each in viewer.layers if each.metadata.get(KEY, {}).get("kind") == kind]
    return found[0] if found else None


def features(desk):
    return desk.picks.features[list(FEATURES)].to_numpy()


def look_at(viewer, pick, qtbot, place):
    Mouse(viewer).click(place)
    qtbot.waitUntil(lambda: shows(pick, place), timeout=20_000)


def shows(pick, place):
    looked = pick._looked
    return looked is not None and looked.job.place == tuple(place) and pick.pictures.isVisible()


def test_a_button_gives_poses_to_the_picks_which_are_shown_and_kept(
    viewer, desk, dock, picks, qtbot
):
    rings, places = desk.picks, desk.picks.data.copy()
    assert picks.count.text() == "0 of 4 picks of this micrograph have a pose."
    click(qtbot, picks.bar.button)
    assert picks.bar.button.text() == "Cancel"
    idle(picks, qtbot)
    poses = desk.session.poses.get("m0")
    np.testing.assert_allclose(poses.table[["y", "x"]], SHOWN)
    assert picks.bar.status.text() == "4 poses with tiny pose."
    assert picks.count.text() == "4 of 4 picks of this micrograph have a pose."
    assert desk.picks is rings and np.array_equal(rings.data, places)
    table = poses.table[["rot", "tilt", "psi", "confidence"]].to_numpy()
    np.testing.assert_allclose(features(desk)[:4], table)
    assert np.isnan(features(desk)[4:]).all()
    assert list(rings.features["rotation"]) == list(range(9))
    views = layer(viewer, "views")
    assert len(views.data) == 4 and tuple(views.scale) == (PIXEL_SIZE, PIXEL_SIZE)
    assert viewer.layers.selection.active == desk.image
    assert sorted((desk.session.folder / "poses").rglob("*.csv"))[0].name == "m0.csv"

    desk.session.threshold = -0.5  # one more pick, which has no pose
    qtbot.waitUntil(lambda: rings.shown.sum() == 5)
    assert picks.count.text() == "4 of 5 picks of this micrograph have a pose."
    np.testing.assert_allclose(features(desk)[:4], table)
    desk.session.threshold = 2.5
    qtbot.waitUntil(lambda: len(views.data) == 2)
    assert layer(viewer, "views") == views
    np.testing.assert_allclose(features(desk)[:4], table)

    session, folder = desk.session, desk.session.folder
    session.close()
    session.open(folder)
    assert len(session.pool) == 0  # the docks that open a session load its candidates
    read_candidates(session)
    desk.show("m0")
    qtbot.waitUntil(lambda: picks.count.text().startswith("2 of 2"), timeout=20_000)
    np.testing.assert_allclose(features(desk)[:4], table, atol=1e-3)


def test_arrows_and_projections_lie_as_the_particles_do(viewer, desk, dock, picks, qtbot):
    desk.session.poses.put("m0", known())
    check_arrows(layer(viewer, "views"), desk.image.data)

    picks.form.drawing.setCurrentIndex(2)
    qtbot.waitUntil(lambda: layer(viewer, "pose projections") is not None, timeout=20_000)
    drawn = layer(viewer, "pose projections")
    assert layer(viewer, "views") is None
    assert viewer.layers.index(drawn) == viewer.layers.index(desk.image) + 1
    check_projections(drawn, desk.image.data)
    step = drawn.scale[0]
    desk.session.threshold = 3.5
    qtbot.waitUntil(lambda: not drawn.data[:, round(60 * PIXEL_SIZE / step) :].any())

    desk.show("m1")  # which has no poses
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert picks.count.text() == "0 of 1 picks of this micrograph have a pose."
    assert layer(viewer, "pose projections") is None
    assert not set(FEATURES) & set(desk.picks.features)
    desk.show("m0")
    qtbot.waitUntil(lambda: layer(viewer, "pose projections") is not None, timeout=20_000)
    viewer.layers.remove(layer(viewer, "pose projections"))
    assert picks.form.drawing.currentText() == "nothing"


def check_arrows(views, image):
    assert views.vector_style == "line"  # both ends of a D7 particle are alike
    order = [int(np.linalg.norm(SHOWN - (at + way / 2), axis=1).argmin()) for at, way in views.data]
    assert sorted(order) == [0, 1, 2, 3]
    for (begin, way), truth in zip(views.data[order][:2], TRUTH[:2], strict=True):
        y, x = np.round(begin + way / 2).astype(int)
        crop = np.clip(-image[y - 20 : y + 21, x - 20 : x + 21] - 1, 0, None)
        yx = np.stack(np.indices(crop.shape).reshape(2, -1)) - 20
        spread = (yx * crop.ravel()) @ yx.T
        longest = np.linalg.eigh(spread)[1][:, 1]
        assert np.abs(longest @ way) / np.linalg.norm(way) > 0.97
        assert np.linalg.norm(way) > 0.8 * DIAMETER / PIXEL_SIZE
        assert np.abs(way @ truth[1::-1, 2]) / np.linalg.norm(way) > 0.95
    lengths = np.linalg.norm(views.data[order, 1], axis=1)
    assert lengths[2] < 0.4 * lengths[0]  # the top


def check_projections(drawn, image):
    step = drawn.scale[0]
    assert step == pytest.approx(DIAMETER / PIXELS, rel=0.02)
    rows = np.rint(np.arange(drawn.data.shape[0]) * step / PIXEL_SIZE).astype(int)
    columns = np.rint(np.arange(drawn.data.shape[1]) * step / PIXEL_SIZE).astype(int)
    inside = rows < image.shape[0], columns < image.shape[1]
    image = -image[np.ix_(rows[inside[0]], columns[inside[1]])]
    picture = drawn.data[np.ix_(*inside)]
    top = slice(0, round(52 * PIXEL_SIZE / step))  # the first row of particles
    assert np.corrcoef(image[top].ravel(), picture[top].ravel())[0, 1] > 0.75
    assert not picture[round(100 * PIXEL_SIZE / step) :].any()  # no picks there


def test_a_click_on_a_pick_shows_it_beside_the_map_in_its_pose(
    viewer, desk, picks, pick, qtbot, monkeypatch, tmp_path
):
    desk.session.poses.put("m0", known())
    look_at(viewer, pick, qtbot, SHOWN[1])
    looked, pictures = pick._looked, pick.pictures
    assert looked.correlations[0] > 0.7 > 0.4 > looked.correlations[1]
    crop, projection = looked.crop, looked.projections[0]
    assert np.corrcoef(crop.ravel(), projection.ravel())[0, 1] > 0.7
    assert np.corrcoef(crop.ravel(), projection.T.ravel())[0, 1] < 0.5
    assert pick.sentence.text().startswith("Side view, 100° in plane, 85 % sure; next: ")
    assert pick.stepper.number.text() == "2 of 4 picks"
    assert f"r = {looked.correlations[0]:.2f}" in pictures.projection.caption.text()
    camera = pictures.canvas.viewer.scene.camera
    np.testing.assert_allclose(rotation_of(camera), TRUTH[1], atol=1e-5)

    row = pictures.table.visualItemRect(pictures.table.item(1, 0)).center()
    qtbot.mouseClick(pictures.table.viewport(), LEFT, pos=row)
    np.testing.assert_allclose(rotation_of(camera), WRONG[1], atol=1e-5)
    assert f"r = {looked.correlations[1]:.2f}" in pictures.projection.caption.text()
    click(qtbot, pick.stepper.before)
    qtbot.waitUntil(lambda: shows(pick, SHOWN[0]), timeout=20_000)
    np.testing.assert_allclose(rotation_of(camera), TRUTH[0], atol=1e-5)
    assert pictures.table.item(0, 3).text() == "80" and pictures.table.item(1, 3).text() == "15"
    check_map(pictures.canvas, pick._looked)

    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "p.pdf"), ""))
    click(qtbot, pick.save)
    qtbot.waitUntil(lambda: picks.bar.status.text() == "Saved p.pdf.", timeout=20_000)
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF")

    desk.picks.selected_data = {3}  # as in napari's own tools
    qtbot.waitUntil(lambda: shows(pick, SHOWN[3]), timeout=20_000)
    assert pick.stepper.number.text() == "4 of 4 picks"
    desk.show("m1")  # which has no poses
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert not pictures.isVisible() and pick.stepper.number.text() == "4 picks"


def check_map(canvas, looked):
    """Compare the map in 3D with the particle as it lies in the micrograph, at the same scale."""
    drawn = canvas.picture()[..., :3].astype(float).sum(axis=-1)
    yx = np.stack(np.nonzero(drawn > 60)).astype(float)
    longest = np.linalg.eigh(np.cov(yx))[1][:, 1]
    along = TRUTH[0][1::-1, 2]
    assert np.abs(longest @ along) / np.linalg.norm(along) > 0.97
    extent = np.ptp(along @ yx / np.linalg.norm(along))
    step = looked.step * len(looked.crop) / drawn.shape[0]
    assert extent * step == pytest.approx(DIAMETER, rel=0.25)


def test_all_leaves_out_what_is_done_and_selected_takes_only_those(desk, picks, pick, qtbot):
    assert not picks.bar.selected.isEnabled()
    Mouse(desk.viewer).click(SHOWN[2])
    qtbot.waitUntil(picks.bar.selected.isEnabled)
    assert pick.empty.text() == NO_POSE
    click(qtbot, picks.bar.selected)
    idle(picks, qtbot)
    store = desk.session.poses
    np.testing.assert_allclose(store.get("m0").table[["y", "x"]], SHOWN[2:3])
    before = store.get("m0").table["rot"].iloc[0]
    click(qtbot, picks.bar.all)
    idle(picks, qtbot)
    assert [len(store.get(name)) for name in desk.session.names] == [4, 4, 4]
    assert picks.bar.status.text() == "11 poses in 3 micrographs with tiny pose."
    assert before in store.get("m0").table["rot"].to_numpy()
    click(qtbot, picks.bar.all)
    idle(picks, qtbot)
    assert picks.bar.status.text() == "Nothing to do: all picks have poses."
    desk.show("m1")
    qtbot.waitUntil(lambda: desk.name == "m1")
    assert picks.count.text() == "4 of 4 picks of this micrograph have a pose."
    np.testing.assert_allclose(
        features(desk)[:4, 0], store.match("m1", SHOWN).table(["rot"])["rot"]
    )


def test_a_run_is_cancelled_by_its_button_and_by_another_model(desk, dock, picks, qtbot):
    click(qtbot, picks.bar.all)
    click(qtbot, picks.bar.button)
    assert not picks.bar.running and picks.bar.status.text() == "Cancelled."
    assert picks.bar.all.isEnabled()
    click(qtbot, picks.bar.all)
    desk.session.diameter = 160.0
    assert not picks.bar.running and picks.bar.status.text() == CHANGED
    qtbot.waitUntil(lambda: dock.posing.model is not None, timeout=20_000)
    click(qtbot, picks.bar.button)
    idle(picks, qtbot)
    assert picks.count.text().startswith("4 of 4")


def test_a_model_chosen_with_keys_is_used_and_its_poses_are_its_own(
    viewer, desk, dock, picks, qtbot
):
    click(qtbot, picks.bar.button)
    idle(picks, qtbot)
    first, model = features(desk), picks.form.model
    qtbot.keyClick(model, Qt.Key.Key_Up)
    assert desk.session.pose_model == "barrel" and model.currentText() == "barrel"
    qtbot.waitUntil(lambda: is_ready(dock, "barrel"), timeout=20_000)
    assert picks.count.text() == "0 of 4 picks of this micrograph have a pose."
    assert layer(viewer, "views") is None and not set(FEATURES) & set(desk.picks.features)
    click(qtbot, picks.bar.button)
    idle(picks, qtbot)
    assert picks.bar.status.text() == "4 poses with barrel."
    errors = pose_errors(desk.session.poses.get("m0").matrices, TRUTH[:4], "D7")
    assert errors.median_deg < 20  # at random it is 62
    qtbot.keyClick(model, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: is_ready(dock, "tiny pose"), timeout=20_000)
    qtbot.waitUntil(lambda: picks.count.text().startswith("4 of 4"), timeout=20_000)
    np.testing.assert_allclose(features(desk), first, atol=1e-3)


def is_ready(dock, name):
    return dock.posing.model is not None and dock.posing.model.name == name


def test_rotations_of_a_matcher_are_poses_but_those_of_a_trained_picker_are_not(
    viewer, desk, dock, picks, pick, qtbot, density, tmp_path
):
    model = picks.form.model
    names = [model.itemText(i) for i in range(model.count())]
    assert PICKER not in names and names[-1] == "Open file…"
    desk.session.pose_model = "matcher"
    qtbot.waitUntil(lambda: "rotations are no poses" in picks.bar.status.text(), timeout=20_000)
    assert not picks.bar.button.isEnabled()
    path = tmp_path / "matcher.safetensors"
    matcher = make_matcher(density, DIAMETER, "D7")
    matcher.save(path)
    desk.session.model = str(path)
    qtbot.waitUntil(lambda: dock.posing.model is not None, timeout=30_000)
    assert model.currentText() == PICKER and not picks.form.refine.isEnabled()
    click(qtbot, picks.bar.button)
    idle(picks, qtbot)
    poses = desk.session.poses.get("m0")
    np.testing.assert_allclose(poses.matrices, matcher.net.config.grid.matrices[:4], atol=1e-6)
    assert np.isnan(features(desk)[:4, 3]).all()  # a matcher does not say how sure it is
    look_at(viewer, pick, qtbot, SHOWN[0])
    assert "sure" not in pick.sentence.text()
    assert pick.pictures.table.item(0, 3).text() == "—"


def test_a_region_of_views_selects_its_picks(viewer, desk, dock, picks, qtbot):
    desk.session.threshold = -9.0
    desk.session.poses.put("m0", known().take(np.arange(8)))  # all but that of the first pick
    tab(dock, qtbot, "Views")
    panel = dock.coverage
    qtbot.waitUntil(panel.parts.isVisible, timeout=20_000)
    place = panel.ellipse.place_of((0, 0, 1)).toPoint()
    qtbot.mouseClick(panel.ellipse, LEFT, pos=QPoint(place.x(), place.y() + 2))
    assert desk.picks.selected_data == {2}  # the only top view
    qtbot.mouseClick(panel.ellipse, LEFT, pos=QPoint(place.x(), place.y() + 2))
    assert desk.picks.selected_data == set()


def test_poses_are_compared_with_a_file(desk, dock, picks, qtbot, monkeypatch, tmp_path):
    desk.session.poses.put("m0", known())
    star = tmp_path / "particles.star"
    turned = TRUTH @ euler_to_matrix(0, 30, 0).numpy()
    write_star(star, TRUTH)
    tab(dock, qtbot, "Compare")
    panel = dock.compare
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(star), ""))
    click(qtbot, panel.bar.button)
    qtbot.waitUntil(panel.parts.isVisible, timeout=20_000)
    assert panel.table.item(0, 1).text() == "0.0°" and panel.table.item(0, 2).text() == "100 %"
    assert panel.table.item(1, 0).text() == "random"
    assert float(panel.table.item(1, 1).text()[:-1]) > 20
    write_star(star, turned)
    click(qtbot, panel.bar.button)
    qtbot.waitUntil(lambda: panel.parts.isVisible() and not panel.bar.running, timeout=20_000)
    assert float(panel.table.item(0, 1).text()[:-1]) > 5
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "e.png"), ""))
    click(qtbot, panel.save)
    qtbot.waitUntil(lambda: panel.bar.status.text() == "Saved e.png.", timeout=20_000)
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "no.star"), ""))
    click(qtbot, panel.bar.button)
    qtbot.waitUntil(lambda: "no.star" in panel.bar.status.text(), timeout=20_000)
    assert not panel.parts.isVisible()


def write_star(path, matrices):
    """Write the first picks of m0 as RELION has them."""
    rot, tilt, psi = matrices_to_angles(matrices).T
    table = pd.DataFrame({"y": PLACES[:, 0], "x": PLACES[:, 1]})
    table["rot"], table["tilt"], table["psi"], table["score"] = rot, tilt, psi, np.nan
    table[["dy", "dx"]] = 0.0
    write_particles_star(path, {"m0.mrc": table}, PIXEL_SIZE, 60)


def tab(dock, qtbot, title):
    """Click a tab of the dock."""
    tabs = dock.tabs
    at = next(i for i in range(tabs.count()) if tabs.tabText(i) == title)
    qtbot.mouseClick(tabs.tabBar(), LEFT, pos=tabs.tabBar().tabRect(at).center())
    qtbot.wait(50)


def test_it_leaves_the_viewer_as_it_was(viewer, desk, dock, pick, qtbot):
    desk.session.poses.put("m0", known())
    look_at(viewer, pick, qtbot, SHOWN[0])
    callbacks = len(viewer.mouse_drag_callbacks)
    viewer.window.remove_dock_widget(dock)
    assert layer(viewer, "views") is None and layer(viewer, "place") is None
    assert not set(FEATURES) & set(desk.picks.features)
    assert len(viewer.mouse_drag_callbacks) == callbacks - 1
    desk.session.poses.put("m0", known(4))
    desk.session.threshold = 1.5
    assert not set(FEATURES) & set(desk.picks.features)


def test_the_tabs_of_all_docks_fit_beside_each_other(viewer, qtbot):
    window = open_desk(viewer)["Poses"].window()
    window.resize(1366, 768)
    window.show()
    qtbot.waitExposed(window)
    bars = [b for b in window.findChildren(QTabBar) if isinstance(b.parent(), QMainWindow)]
    bar = max(bars, key=lambda each: each.count())
    assert [bar.tabText(i) for i in range(bar.count())] == [
        *("Images", "Pick", "Label", "See", "Filters", "Poses", "Exchange")
    ]
    qtbot.waitUntil(lambda: bar.width() >= bar.sizeHint().width())
