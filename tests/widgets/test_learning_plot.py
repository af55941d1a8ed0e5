from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_so3.training.fit import FitProgress
from napari_so3.widgets.learning_plot import Curves, LearningPlot, duration


def progress(step, loss=1.0, validation=None, best=None):
    return FitProgress(step, 60, 1, 3, loss, validation, best, 1e-3, 1.0, 1.5, 41.0)


def test_the_progress_in_words():
    curves = Curves()
    curves.add(progress(1))
    assert curves.describe(progress(1)) == "step 1 of 60, 41 s left"
    curves.add(progress(20, validation=0.71, best=0.71))
    curves.add(progress(34, validation=0.5, best=0.71))
    said = curves.describe(progress(34, best=0.71))
    assert said == "step 34 of 60, 41 s left, best AUPRC 0.71 at step 20"
    assert curves.describe(progress(34, best=0.8)).endswith("best AUPRC 0.80")
    assert [duration(s) for s in (0, 99, 100, 5399, 5400)] == [
        "0 s", "99 s", "2 min", "90 min", "1.5 h"
    ]  # fmt: skip


def test_the_smoothed_loss_is_a_mean():
    curves = Curves()
    for step in range(1, 50):
        curves.add(progress(step, loss=2.0 + (step % 2)))
    assert curves.smooth[0] == 3.0 and abs(curves.smooth[-1] - 2.5) < 0.05


def test_the_plot_follows_the_theme(qtbot):
    window, plot = QWidget(), LearningPlot()
    QVBoxLayout(window).addWidget(plot)
    qtbot.addWidget(window)
    seen = []
    for background, text in (("black", "white"), ("white", "black")):
        window.setStyleSheet(f"background: {background}; color: {text}")
        window.show()
        image = plot.grab().toImage()
        colours = [image.pixelColor(2, 2).name(), plot.getAxis("bottom").pen().color().name()]
        seen.append(colours)
    assert seen == [["#000000", "#ffffff"], ["#ffffff", "#000000"]]
