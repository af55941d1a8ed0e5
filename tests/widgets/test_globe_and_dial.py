import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QHelpEvent, QImage
from qtpy.QtWidgets import QApplication, QToolTip

from napari_so3.insight.orientation_map import colour_of_psi
from napari_so3.widgets.dial import Dial
from napari_so3.widgets.globe import Globe

LEFT = Qt.MouseButton.LeftButton
AXES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
COLOURS = np.array([RED, GREEN, BLUE, YELLOW], dtype=np.uint8)


@pytest.fixture
def globe(qtbot):
    globe = Globe()
    globe.setStyleSheet("background: black; color: white")
    globe.resize(200, 200)
    qtbot.addWidget(globe)
    globe.set_views(AXES, colours=COLOURS)
    globe.show_direction((1, 0, 0))
    globe.show()
    return globe


@pytest.fixture
def dial(qtbot):
    dial = Dial()
    dial.setStyleSheet("background: black; color: white")
    dial.resize(150, 150)
    qtbot.addWidget(dial)
    dial.set_angles(np.arange(8) * 45.0)
    dial.show()
    return dial


def where(widget, colour):
    """Find the middle of a colour in a widget, right and up of its middle; and its area."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    height, width = image.height(), image.width()
    bits = image.constBits()
    bits.setsize(4 * height * width)
    pixels = np.frombuffer(bits, np.uint8).reshape(height, width, 4)[..., 2::-1].astype(int)
    rows, columns = np.nonzero(np.abs(pixels - colour).max(axis=-1) < 30)
    if len(rows) == 0:
        return None, 0
    return np.array([columns.mean() - width / 2, height / 2 - rows.mean()]), len(rows)


def test_east_is_right_and_north_up(globe):
    assert np.hypot(*where(globe, RED)[0]) < 2  # in front
    east, north = where(globe, GREEN)[0], where(globe, BLUE)[0]
    assert east[0] > 70 and abs(east[1]) < 2
    assert north[1] > 70 and abs(north[0]) < 2
    globe.show_direction((0, 0, 1))
    assert where(globe, RED)[0][1] < -70  # seen from above, rot 0 is below and rot 90 to the right
    assert where(globe, GREEN)[0][0] > 70


def test_what_is_behind_is_faint(globe):
    globe.show_direction((0.8, 0, -0.5))
    assert where(globe, YELLOW)[1] > 50
    globe.show_direction((0.8, 0, 0.5))
    assert where(globe, YELLOW)[1] == 0


def test_a_click_chooses_a_view_and_tells(globe, qtbot):
    with qtbot.waitSignal(globe.chosen) as told:
        qtbot.mouseClick(globe, LEFT, pos=globe.place_of(2).toPoint() + QPoint(2, 3))
    assert told.args == [2] and globe.view == 2
    assert np.hypot(*where(globe, RED)[0]) < 2  # the globe stays: one has found the view by eye
    with qtbot.assertNotEmitted(globe.chosen):
        qtbot.mouseClick(globe, LEFT, pos=QPoint(2, 2))


def test_what_is_chosen_elsewhere_comes_to_the_front_and_is_large(globe, qtbot):
    globe.show_direction((1, 1, 0))
    _, before = where(globe, GREEN)
    with qtbot.assertNotEmitted(globe.chosen):
        globe.choose(1)
    place, area = where(globe, GREEN)
    assert np.hypot(*place) < 2
    assert area > 1.5 * before


def test_a_drag_turns_the_globe_and_chooses_nothing(globe, qtbot):
    with qtbot.assertNotEmitted(globe.chosen):
        qtbot.mousePress(globe, LEFT, pos=QPoint(100, 100))
        for x, y in ((110, 105), (130, 115)):
            qtbot.mouseMove(globe, QPoint(x, y))
        qtbot.mouseRelease(globe, LEFT, pos=QPoint(130, 115))
    right, up = where(globe, RED)[0]
    assert right == pytest.approx(30, abs=4) and up == pytest.approx(-15, abs=4)


def test_values_are_sizes(globe):
    globe.set_views(AXES, [0.2, 1.0, 1.0, 0.0], COLOURS)
    globe.show_direction((1, 1, 0))
    assert where(globe, GREEN)[1] > 3 * where(globe, RED)[1] > 0


def test_the_tooltip_names_the_angles(globe):
    def hover(at):
        point = at.toPoint()
        event = QHelpEvent(QHelpEvent.Type.ToolTip, point, globe.mapToGlobal(point))
        QApplication.sendEvent(globe, event)
        return QToolTip.text()

    assert "rot 90°, tilt 90°" in hover(globe.place_of(1))
    assert "drag" in hover(QPointF(5, 5))


def test_another_grid_forgets_the_view_that_is_gone(globe):
    globe.choose(3)
    globe.set_views(AXES[:2])
    assert globe.view == -1
    globe.set_views(np.zeros((0, 3)))
    globe.grab()


def test_the_needle_turns_as_a_picture_is_turned(dial):
    picture = np.zeros((9, 9))
    picture[4, 8] = 1.0  # at psi 0
    for quarter in range(4):
        dial.choose(2 * quarter)
        row, column = np.argwhere(np.rot90(picture, quarter))[0]
        image = dial.grab().toImage()
        middle = np.array([dial.width() / 2, dial.height() / 2])
        on_needle = middle + 4.0 * np.array([column - 4, row - 4])  # rows go down
        opposite = middle - 4.0 * np.array([column - 4, row - 4])
        bright = [image.pixelColor(*map(int, at)).lightness() for at in (on_needle, opposite)]
        assert bright[0] > 200 > bright[1]


def test_clicks_and_drags_choose_the_nearest_angle(dial, qtbot):
    with qtbot.waitSignal(dial.chosen) as told:
        qtbot.mouseClick(dial, LEFT, pos=QPoint(75, 20))
    assert told.args == [2]  # 90 degrees: above
    with qtbot.assertNotEmitted(dial.chosen):
        qtbot.mouseClick(dial, LEFT, pos=QPoint(77, 22))  # the same
        qtbot.mouseClick(dial, LEFT, pos=QPoint(76, 76))  # the middle is no angle
    qtbot.mousePress(dial, LEFT, pos=QPoint(20, 75))
    qtbot.mouseMove(dial, QPoint(75, 130))
    assert dial.index == 6


def test_values_are_sizes_on_the_dial(dial):
    dial.set_angles([0.0, 90.0, 180.0], [1.0, 0.2, 1.0])
    colours = [tuple(int(c) for c in colour_of_psi(psi)) for psi in (90.0, 180.0)]
    assert where(dial, colours[1])[1] > 3 * where(dial, colours[0])[1] > 0
