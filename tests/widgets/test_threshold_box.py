import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import Qt

from napari_so3.widgets.threshold_box import ThresholdBox, parse_probability, probability_text


@given(st.floats(-600, 600))
def test_no_probability_is_written_as_0_or_1(log_odds):
    text = probability_text(log_odds)
    assert parse_probability(text) == pytest.approx(log_odds, abs=0.06, rel=0.01)


@pytest.mark.parametrize(
    ("text", "probability"), [("0.5", 0.5), (" 0.95 ", 0.95), ("1 - 0.1", 0.9), ("1-5e-2", 0.95)]
)
def test_probabilities_can_be_typed(text, probability):
    expected = math.log(probability / (1 - probability))
    assert parse_probability(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "0", "1", "-0.1", "1.5", "high", "1 - ", "nan", "0.5.5"])
def test_what_is_no_probability_is_refused(text):
    assert parse_probability(text) is None


@pytest.fixture
def box(qtbot):
    box = ThresholdBox()
    qtbot.addWidget(box)
    return box


def test_slider_probability_and_log_odds_agree(box, qtbot):
    with qtbot.waitSignal(box.changed) as told:
        box.slider.setValue(3.0)
    assert told.args == [3.0]
    assert box.log_odds.value() == 3.0
    assert box.probability.text() == "0.953"


def test_typing_a_probability_moves_the_slider(box, qtbot):
    box.probability.selectAll()
    with qtbot.waitSignal(box.changed) as told:
        qtbot.keyClicks(box.probability, "0.9")
        qtbot.keyClick(box.probability, Qt.Key.Key_Return)
    assert told.args[0] == pytest.approx(math.log(9))
    assert box.slider.value() == pytest.approx(math.log(9))


def test_typing_nonsense_changes_nothing(box, qtbot):
    box.set_value(2.0)
    box.probability.selectAll()
    with qtbot.assertNotEmitted(box.changed):
        qtbot.keyClicks(box.probability, "2")
        qtbot.keyClick(box.probability, Qt.Key.Key_Return)
    assert box.probability.text() == probability_text(2.0)


def test_a_threshold_beyond_the_slider_is_kept(box):
    box.set_value(50.0)
    assert box.value == 50.0
    assert box.slider.value() == box.slider.maximum()
    box.set_range(-6.0, 84.0)
    assert box.slider.value() == 50.0


def test_showing_a_threshold_tells_nothing(box, qtbot):
    with qtbot.assertNotEmitted(box.changed):
        box.set_value(1.0)
        box.set_range(-6.0, 20.0)
