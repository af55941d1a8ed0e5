"""What the tests of labelling share: a session on a desk, and the mouse in the canvas."""

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMainWindow

from napari_so3.picking.picks import CANDIDATES, Picks, make_table
from napari_so3.session.pool import Candidates
from napari_so3.widgets.desk import desk_of

SHAPE, PIXEL_SIZE, DIAMETER = (150, 180), 5.0, 100.0
RADIUS = DIAMETER / 2 / PIXEL_SIZE  # pixels
PLACES = np.array([(y, x) for y in (30.0, 75.0, 120.0) for x in (30.0, 75.0, 120.0)])
LOGITS = np.arange(4.0, -5.0, -1.0).astype(np.float32)
SHOWN = PLACES[:4]  # those above the threshold
THRESHOLD = 0.5
PAUSE = 15  # ms; vispy and napari leave moves out that follow each other more quickly
NONE = Qt.KeyboardModifier.NoModifier
SHIFT, CTRL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier


def open_session(viewer, folder, write_mrc, n=3):
    """Make a session of micrographs of noise, all picked at `PLACES`, and show the first."""
    desk = desk_of(viewer)
    session = desk.session
    noise = np.random.default_rng(1).normal(size=(n, *SHAPE)).astype(np.float32)
    session.save_in(folder / "napari-so3")
    session.update({"diameter": DIAMETER, "threshold": THRESHOLD, "in_plane": 4})
    session.add_micrographs([write_mrc(f"m{i}.mrc", noise[i], PIXEL_SIZE) for i in range(n)])
    session.set_run("run")
    (session.run_folder / CANDIDATES).mkdir(parents=True)
    known = {"pixel_size": PIXEL_SIZE, "shape": list(SHAPE), "diameter": DIAMETER}
    known |= {"model": "tiny", "pixel_size_source": "header"}
    for name in session.names:
        table = make_table(PLACES, LOGITS, np.arange(len(PLACES)), np.zeros((16, 3)))
        picks = Picks(table, f"{name}.mrc", known)
        picks.write_csv(session.run_folder / CANDIDATES / f"{name}.csv")
        session.pool.put(name, Candidates.of(picks))
    desk.show("m0")
    return desk


def open_dock(viewer, qtbot, name="Label and train"):
    """Open a dock beside the micrograph, whose layers then fill a canvas of a known size."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-so3", name)
    window = dock.window()
    window.resize(1200, 700)
    window.show()
    qtbot.waitExposed(window)
    canvas, sizes = find_canvas(), []

    def is_still():
        sizes.append(canvas.size())
        return len(sizes) > 3 and len(set(map(str, sizes[-3:]))) == 1

    qtbot.waitUntil(is_still)
    viewer.reset_view()
    QApplication.processEvents()
    return dock


def find_canvas():
    """Find Qt's widget of the canvas in the middle of the window; docks may have their own."""
    return next(w for w in QApplication.allWidgets() if _is_canvas(w))


def _is_canvas(widget):
    window = widget.window()
    return (
        type(widget).__name__.startswith("CanvasBackend")
        and isinstance(window, QMainWindow)
        and window.centralWidget().isAncestorOf(widget)
    )


class Mouse:
    """Mouse and keyboard in the canvas; places are pixels of the micrograph."""

    def __init__(self, viewer):
        self._viewer = viewer
        self.canvas = find_canvas()

    def at(self, point):
        """Find a place on the screen."""
        camera, size = self._viewer.scene.camera, self.canvas.size()
        y, x = (np.asarray(point) * PIXEL_SIZE - camera.center[-2:]) * camera.zoom
        return QPoint(round(size.width() / 2 + x), round(size.height() / 2 + y))

    def move(self, point):
        self._viewer.mouse_over_canvas = True
        self._send(QEvent.Type.MouseMove, point, NONE)

    def click(self, point, modifier=NONE):
        self.move(point)
        self._send(QEvent.Type.MouseButtonPress, point, modifier)
        self._send(QEvent.Type.MouseButtonRelease, point, modifier)

    def drag(self, points, modifier=NONE):
        """Press at the first place, move through the others, and release at the last."""
        places = [self.at(point) for point in points]  # before the picture moves
        self._send(QEvent.Type.MouseButtonPress, places[0], modifier)
        for place in places[1:]:
            self._send(QEvent.Type.MouseMove, place, modifier, pressed=True)
        self._send(QEvent.Type.MouseButtonRelease, places[-1], modifier)

    def _send(self, kind, point, modifier, pressed=False):
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        place = point if isinstance(point, QPoint) else self.at(point)
        there = QPointF(self.canvas.mapToGlobal(place))
        button = none if kind == QEvent.Type.MouseMove else left
        held = left if pressed or kind == QEvent.Type.MouseButtonPress else none
        event = QMouseEvent(kind, QPointF(place), there, button, held, modifier)
        QApplication.sendEvent(self.canvas, event)
        if kind == QEvent.Type.MouseMove:
            QTest.qWait(PAUSE)

    def key(self, key, modifier=NONE):
        QTest.keyClick(self.canvas, key, modifier)
