"""The dock "3D filters": what is seen in 3D is what is projected, hand and depth included."""

import mrcfile
import numpy as np
import pytest
import starfile
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget
from scipy import ndimage

from napari_so3.picking.picker import Picker, load_picker
from napari_so3.so3.rotations import RotationGrid, euler_to_matrix
from napari_so3.so3.template import TemplateConfig, TemplateNet
from napari_so3.widgets.camera_rotation import rotation_of, set_frame, turn_camera
from napari_so3.widgets.tabs import join_tabs

WAIT = 15_000  # milliseconds
N, MIDDLE = 41, 20
ZOOM = 3.6  # pixels of the screen per voxel
BLOBS = {1.0: (10, 2, -8), 0.6: (-4, 9, 6), 0.35: (-6, -8, -2)}  # brightness to x, y, z
TURNS = [(0, 0, 0), (30, 50, 70), (200, 130, 310)]


def three_blobs():
    volume = np.zeros((N, N, N), np.float32)
    for weight, (x, y, z) in BLOBS.items():
        volume[MIDDLE + z, MIDDLE + y, MIDDLE + x] = weight
    volume = ndimage.gaussian_filter(volume, 1.6)
    return volume / volume.max()


def places_in(picture, n=3):
    """Give x and y from the middle of the n bright spots, the brightest first."""
    spots, count = ndimage.label(picture > 0.2 * picture.max())
    assert count == n
    brightness = [picture[spots == i].max() for i in range(1, n + 1)]
    centres = np.array(ndimage.center_of_mass(picture, spots, range(1, n + 1)))
    middle = (np.array(picture.shape) - 1) / 2
    return (centres - middle)[np.argsort(brightness)[::-1], ::-1]


def seen(canvas):
    for _ in range(3):
        QApplication.processEvents()
    return canvas.picture()[..., :3].astype(float).mean(axis=-1)


def test_blobs_are_seen_where_the_projection_has_them_and_near_is_in_front(filters):
    canvas = filters.view.canvas
    canvas.set_style("Brightest")
    canvas.show_volume(three_blobs(), ZOOM)
    for euler in TURNS:
        r = euler_to_matrix(*euler).numpy()
        canvas.turn(r)
        expected = np.array([(r @ place)[:2] for place in BLOBS.values()]) * ZOOM
        assert places_in(seen(canvas)) == pytest.approx(expected, abs=2.0)
    # In perspective what is nearer (z below 0: z points away) is farther from the middle.
    canvas.turn(np.eye(3))
    flat = np.linalg.norm(places_in(seen(canvas)), axis=1)
    canvas.viewer.scene.camera.perspective = 60
    deep = np.linalg.norm(places_in(seen(canvas)), axis=1)
    assert deep[0] > 1.1 * flat[0]  # z = -8
    assert deep[1] < 0.98 * flat[1]  # z = +6


def test_camera_and_rotation_are_one_and_the_same():
    camera = ViewerModel(ndisplay=3).scene.camera
    set_frame(camera)
    for euler in [*TURNS, (10, 90, 0), (10, 180, 20), (0, 90, 90)]:
        r = euler_to_matrix(*euler).numpy()
        turn_camera(camera, r)
        assert rotation_of(camera) == pytest.approx(r, abs=1e-6)


# ---------------------------------------------------------------------- the dock


def open_filters(viewer, qtbot):
    """Open the dock, and wait for the filters of the tiny model."""
    viewer.show()
    _, dock = viewer.window.add_plugin_dock_widget("napari-so3", "3D filters")
    qtbot.waitUntil(lambda: dock.bank is not None and not dock.loading.running, timeout=WAIT)
    return dock


@pytest.fixture
def filters(viewer, qtbot):
    """The dock; the test still has it when napari looks for what is left, so that it is closed."""
    dock = open_filters(viewer, qtbot)
    yield dock
    viewer.window.remove_dock_widget(dock)


def drag(widget, qtbot, way):
    """Drag the canvas with the mouse."""
    surface = next(part for part in widget.findChildren(QWidget) if "Canvas" in type(part).__name__)
    middle = surface.rect().center()
    qtbot.mousePress(surface, Qt.MouseButton.LeftButton, pos=middle)
    for share in (0.3, 0.6, 1.0):
        qtbot.mouseMove(surface, middle + QPoint(round(way[0] * share), round(way[1] * share)))
        qtbot.wait(20)
    qtbot.mouseRelease(surface, Qt.MouseButton.LeftButton, pos=middle + QPoint(*way))
    qtbot.wait(50)


def test_it_shows_what_the_network_convolves_with(filters, qtbot, model):
    net = load_picker(model).net
    filters.view.slider.setValue(6)
    filters.choice.layer.setCurrentIndex(1)
    filters.choice.out.setCurrentIndex(3)
    filters.choice.channel.setCurrentIndex(1)
    expected = net.conv2.filters().detach().numpy()[6, 3, 1]
    assert filters.view.projection.image == pytest.approx(expected, abs=1e-6)
    assert "7 of 16" in filters.view.name.text()
    assert "not maps: their hand is unknown" in filters.note.text()
    assert filters.choice.layer.count() == 4

    filters.choice.layer.setCurrentIndex(1)
    qtbot.wait(50)
    at = filters.plot.place_of(5).toPoint() - QPoint(0, 3)
    qtbot.mouseClick(filters.plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert filters.choice.now == (1, 2, 1)


def test_slider_globe_mouse_and_camera_turn_together(filters, qtbot):
    view = filters.view
    view.slider.setValue(6)  # view 1, third angle in plane
    assert view.globe.view == 1
    assert rotation_of(view.canvas.viewer.scene.camera) == pytest.approx(view.rotation, abs=1e-6)
    view.globe.choose(3)
    at = view.globe.place_of(3).toPoint()
    qtbot.mouseClick(view.globe, Qt.MouseButton.LeftButton, pos=at)
    assert view.slider.value() == 14 and view.index == 14
    assert view.projection.image == pytest.approx(filters.bank.projections(0, 0, 0)[14], abs=1e-6)

    view.turn_to(0)
    before = view.projection.image.copy()
    drag(view.canvas, qtbot, (40, 15))
    assert view.index == -1 and "by hand" in view.name.text()
    assert rotation_of(view.canvas.viewer.scene.camera) == pytest.approx(view.rotation, abs=1e-6)
    expected = filters.bank.projections(0, 0, 0, view.rotation[None])[0]
    assert view.projection.image == pytest.approx(expected)
    assert np.abs(view.projection.image - before).max() > 0.05 * np.abs(before).max()
    rot, tilt = np.radians(view.globe.middle)
    middle = (np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt))
    assert middle == pytest.approx(view.rotation[2], abs=1e-6)

    view.turn_to(0)
    near = -view.rotation[2]  # the point of the particle that is nearest to the observer
    drag(view.canvas, qtbot, (40, 0))
    assert (view.rotation @ near)[0] > 0.1


def test_dead_and_silent_ones_are_marked(filters, qtbot, tmp_path, model, micrograph):
    picker = load_picker(model)
    net = picker.net.with_grid(picker.net.config.grid)
    net.conv2.weight.data[2] *= 1e-4
    net.norm1.bias.data[1] = -1000.0
    path = tmp_path / "dead.safetensors"
    Picker(net, "dead", 10.0).save(path)
    filters.session.model = str(path)
    qtbot.waitUntil(lambda: filters.bank.model == "dead", timeout=WAIT)
    filters.choice.layer.setCurrentIndex(1)
    assert filters.choice.out.itemText(2) == "3 (dead)"
    assert "2 dead" in filters.note.text()
    filters.choice.layer.setCurrentIndex(0)
    assert "silent" not in filters.choice.out.itemText(1)
    filters.session.add_micrographs([micrograph])
    filters.desk.show("field_01")
    qtbot.waitUntil(lambda: "silent" in filters.choice.out.itemText(1), timeout=WAIT)
    assert "1 of 2 channels silent" in filters.note.text()


def test_montage_and_export(filters, qtbot, viewer, tmp_path, monkeypatch):
    camera = viewer.scene.camera.zoom, viewer.scene.camera.center
    filters.tools.montage.click()
    qtbot.waitUntil(lambda: not filters.tools.runner.running, timeout=WAIT)
    other = filters.tools.montage_viewer
    try:
        layer = other.layers[0]
        assert layer.data == pytest.approx(filters.bank.projections(0, 0, 0))
        assert tuple(layer.scale) == pytest.approx((1, 10, 10))
        assert layer.metadata["napari-so3"]["kind"] == "projections"
        other.dims.set_current_step(0, 9)
        assert "rotation 10 of 16" in other.canvas.overlays.text.text
        assert (viewer.scene.camera.zoom, viewer.scene.camera.center) == camera
        assert len(viewer.layers) == 0
    finally:
        other.close()
    for ending, action in ((".mrc", 0), (".mrcs", 1)):
        path = tmp_path / f"filter{ending}"
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, p=path: (str(p), ""))
        filters.tools.export.menu().actions()[action].trigger()
        qtbot.waitUntil(lambda: not filters.tools.runner.running, timeout=WAIT)
        assert f"Wrote filter{ending}" in filters.status.text()
        with mrcfile.open(path) as mrc:
            assert mrc.data.shape == ((39, 39, 39), (16, 9, 9))[action]
            assert float(mrc.voxel_size.x) == pytest.approx((10 / 3, 10)[action], rel=1e-5)
    particles = starfile.read(tmp_path / "filter.star")["particles"]
    assert particles["rlnAngleTilt"].to_numpy() == pytest.approx(
        filters.bank.rotations.angles[:, 1], abs=1e-5
    )


def test_a_template_is_compared_with_a_map(viewer, qtbot, tmp_path, monkeypatch):
    filters = open_filters(viewer, qtbot)  # it is open when napari ends
    assert filters.tools.compare.isHidden()
    path = tmp_path / "template.safetensors"
    net = TemplateNet(TemplateConfig(size=15, grid=RotationGrid(4, 4)))
    Picker(net.eval(), "template", 12.0).save(path)
    filters.session.model = str(path)
    qtbot.waitUntil(lambda: filters.bank.model == "template", timeout=WAIT)
    assert not filters.tools.compare.isHidden()
    axis = np.arange(24) - 12
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    values = np.exp(-(x**2 + (y - 2) ** 2 + (z / 2) ** 2) / 20).astype(np.float32)
    file = tmp_path / "map.mrc"
    with mrcfile.new(file) as mrc:
        mrc.set_data(values)
        mrc.voxel_size = 6.0
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    filters.tools.compare.click()
    assert filters.tools.compare.text() == "Stop"
    qtbot.waitUntil(lambda: not filters.tools.runner.running, timeout=WAIT)
    assert "correlation" in filters.status.text() and "not a map" in filters.status.text()
    assert filters.plots.currentText() == "FSC with the map"


def test_it_waits_behind_other_tabs_until_somebody_looks(viewer, qtbot):
    viewer.show()
    add = viewer.window.add_plugin_dock_widget
    _, dock = add("napari-so3", "3D filters")
    _, other = add("napari-so3", "Import and export")
    join_tabs(dock)
    join_tabs(other)
    qtbot.wait(400)
    assert dock.view is None
    join_tabs(dock)  # to the front
    qtbot.waitUntil(lambda: dock.bank is not None and not dock.loading.running, timeout=WAIT)
    assert dock.view is not None
