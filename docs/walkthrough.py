"""Walk through a day at the picking desk with mouse and keyboard, and save a picture of every step.

Usage: ``python docs/walkthrough.py``, without a display under Xvfb::

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/walkthrough.py

makes the pictures of docs/tutorial.md from simulated micrographs, of which the truth is known: two
proteins are mixed in them, and the model is taught which of them is meant. With ``MICROGRAPHS
LABELS`` (two folders) and ``--diameter`` it walks through micrographs of your own instead, the
labels playing the person who corrects the picks; what is named with ``--validation`` is not
corrected, and tells how good the picks are. No picture of real micrographs belongs in the docs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

if __name__ == "__main__":
    _settings = tempfile.TemporaryDirectory(prefix="napari-so3-walkthrough-")
    os.environ["NAPARI_CONFIG"] = str(Path(_settings.name) / "settings.yaml")
    os.environ["XDG_STATE_HOME"] = _settings.name
    if sys.platform == "linux":
        os.environ.setdefault("QT_QPA_PLATFORM", "xcb")  # under "offscreen" the canvas stays blank

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog, QMainWindow, QTabBar
from scipy.spatial import cKDTree

from napari_so3.picking.collect import collect_labels, collect_picks
from napari_so3.picking.compare import evaluate_picks
from napari_so3.session.export import picks_table
from napari_so3.session.state import session_of
from napari_so3.widgets.desk_docks import open_desk
from napari_so3.widgets.settings import session_defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import napari
    from numpy.typing import NDArray

IMAGES = Path(__file__).parent / "images"
SIZE = (1366, 768)
LEFT = Qt.MouseButton.LeftButton
UNUSED = ("2-pick", "4-train", "6-again")  # pictures that the tutorial does not show


@dataclass(frozen=True)
class Task:
    """What there is to be done.

    Parameters
    ----------
    micrographs : Path
        Folder.
    truth : mapping
        Bare name to particles, (n, 2) y and x: what the person knows.
    validation : sequence of str
        Micrographs that are not corrected.
    diameter : float
        Å.
    corrections : int
        Picks to be corrected in all, as many wrong ones as particles that were missed or doubted.
    output : Path
        Folder of what is exported.
    """

    micrographs: Path
    truth: Mapping[str, NDArray[np.float64]]
    validation: Sequence[str]
    diameter: float
    corrections: int
    output: Path


@dataclass(frozen=True)
class Outcome:
    """What became of it: average precision on the validation micrographs, and what was exported."""

    before: float
    after: float
    shown: Mapping[str, NDArray[np.float64]]
    corrected: int


class Person:
    """Looks, clicks and types.

    Parameters
    ----------
    viewer : napari.Viewer
        Shown on a screen.
    task : Task
        What is to be done.
    pictures : callable
        Takes a picture of the window under a name.
    """

    def __init__(self, viewer: napari.Viewer, task: Task, pictures: Callable[[str], None]) -> None:
        self.viewer, self.task, self.picture = viewer, task, pictures
        docks = open_desk(viewer)
        self.micrographs, self.pick = docks["Micrographs"], docks["Pick particles"]
        self.label, self.exchange = docks["Label and train"], docks["Import and export"]
        self.session = self.pick.session
        widgets = QApplication.allWidgets()
        self.canvas = next(w for w in widgets if type(w).__name__.startswith("CanvasBackend"))
        wait(0.5)

    # ------------------------------------------------------------------ hands

    def click(self, widget):
        """Click the middle of a widget."""
        QTest.mouseClick(widget, LEFT)
        wait(0.05)

    def type(self, box, number):
        """Type a number over the one in a box."""
        line = box.lineEdit()
        self.click(line)
        QTest.keyClick(line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(line, number)
        QTest.keyClick(line, Qt.Key.Key_Return)

    def tab(self, title):
        """Click a tab of the docks."""
        for bar in QApplication.allWidgets():
            if isinstance(bar, QTabBar) and isinstance(bar.parent(), QMainWindow):
                for i in range(bar.count()):
                    if bar.tabText(i) == title:
                        QTest.mouseClick(bar, LEFT, pos=bar.tabRect(i).center())
                        wait(0.3)
                        return
        raise LookupError(title)

    def choose(self, button, downs):
        """Open a menu with the mouse and choose an entry with the keyboard."""

        def press():
            menu = QApplication.activePopupWidget()
            for _ in range(downs):
                QTest.keyClick(menu, Qt.Key.Key_Down)
            QTest.keyClick(menu, Qt.Key.Key_Return)

        QTimer.singleShot(300, press)
        self.click(button)

    def at(self, y, x):
        """Find a place of the micrograph on the canvas."""
        camera, size = self.viewer.scene.camera, self.canvas.size()
        scale = self.pick.desk.micrograph.pixel_size
        dy, dx = (np.array([y, x]) * scale - camera.center[-2:]) * camera.zoom
        return QPoint(round(size.width() / 2 + dx), round(size.height() / 2 + dy))

    def press(self, key, place=None):
        """Press a key in the canvas, with the mouse at a place (y, x)."""
        if place is not None:
            scale = self.pick.desk.micrograph.pixel_size
            near = 3 / self.viewer.scene.camera.zoom  # Å
            QTest.mouseMove(self.canvas, self.at(*place))
            wait_until(
                lambda: np.allclose(
                    self.viewer.cursor.position[-2:], np.array(place) * scale, atol=near
                )
            )
        QTest.keyClick(self.canvas, key)
        QApplication.processEvents()

    def drag(self, widget, path):
        """Press the mouse at the first place, move along, and release at the last."""
        kinds = [QEvent.Type.MouseButtonPress, *[QEvent.Type.MouseMove] * len(path)]
        for kind, place in zip(
            [*kinds, QEvent.Type.MouseButtonRelease], [path[0], *path, path[-1]], strict=True
        ):
            moves = kind == QEvent.Type.MouseMove
            none = Qt.MouseButton.NoButton
            pressed = none if kind == QEvent.Type.MouseButtonRelease else LEFT
            there = QPointF(widget.mapToGlobal(place))
            event = QMouseEvent(
                kind,
                QPointF(place),
                there,
                none if moves else LEFT,
                pressed,
                Qt.KeyboardModifier.NoModifier,
            )
            QApplication.sendEvent(widget, event)
            wait(0.05)

    # ------------------------------------------------------------------ the day

    def open(self):
        """Open the folder of micrographs."""
        self.tab("Images")
        with patch.object(
            QFileDialog, "getExistingDirectory", lambda *_: str(self.task.micrographs)
        ):
            self.click(self.micrographs.open_folder)
        wait_until(lambda: self.pick.desk.image is not None)
        self.type(self.micrographs.display.lowpass, "20")
        wait(1.0)
        self.picture("1-open")

    def pick_all(self, name, of_all=True):
        """Pick what is not picked yet with this model and diameter."""
        self.tab("Pick")
        wait_until(lambda: self.pick.form.device.currentText().startswith(("CPU", "GPU")))
        if of_all:
            self.choose(self.pick.bar.more, 2)
        else:
            self.click(self.pick.bar.button)
        wait_until(lambda: not self.pick.bar.running, 1200)
        wait(1.0)
        self.picture(name)

    def type_diameter(self):
        """Type the diameter."""
        self.tab("Pick")
        self.type(self.pick.form.diameter, f"{self.task.diameter:g}")
        assert self.session.diameter == self.task.diameter

    def correct(self):
        """Say of the most doubtful picks whether they are particles, micrograph by micrograph."""
        self.tab("Label")
        names = [n for n in self.session.names if n in self.task.truth]
        names = [n for n in names if n not in self.task.validation]
        each, done = -(-self.task.corrections // len(names)), 0
        self.pick.desk.show(self.session.names[0])
        while done < self.task.corrections:
            name = self.session.current
            wait_until(lambda name=name: self.pick.desk.name == name)
            wait(0.3)
            if name in names:
                for right, place in self._doubts(name, min(each, self.task.corrections - done)):
                    self.press(Qt.Key.Key_X if right else Qt.Key.Key_Z, place)
                    kind, *there = self.session.marks.of(name).marks[-1]
                    assert kind == ("positive" if right else "negative")
                    assert np.allclose(there, place, atol=5), f"{there} instead of {place}"
                    done += 1
                if name == names[0]:
                    self.picture("3-correct")
            self.press(Qt.Key.Key_N)  # the next micrograph
        count = sum(len(self.session.marks.of(name).marks) for name in names)
        assert count == done, f"{count} labels for {done} keys"
        return done

    def _doubts(self, name, n):
        """Wrong picks with the best scores, and right ones with the worst, in turns."""
        candidates, _ = self.session.picks_of(name)
        places = np.column_stack([candidates.y, candidates.x])
        far, _ = cKDTree(self.task.truth[name]).query(places)
        radius = self.task.diameter / 4 / candidates.pixel_size
        wrong = iter(places[far > 2 * radius])
        right = iter(places[far < radius][::-1][len(places[far < radius]) // 4 :])
        return [(i % 2 == 0, next(right if i % 2 == 0 else wrong)) for i in range(n)]

    def train(self):
        """Teach the model."""
        self.label.tabs.setCurrentIndex(2)
        wait(0.3)
        panel = self.label.train
        wait_until(lambda: panel.train.isEnabled())
        self.click(panel.train)
        wait_until(lambda: panel.stop.isEnabled(), 300)
        before, seen = self.session.model, time.monotonic()
        while self.session.model == before:
            wait(0.2)
            if time.monotonic() > seen + 15 and seen:
                self.picture("4-train")
                seen = np.inf
            assert not panel.train.isEnabled() or self.session.model != before, panel.status.text()
        wait(0.5)
        self.picture("4-trained")
        self.click(panel.made.compare)
        wait_until(lambda: panel.made.compare.text() == "Compare", 300)
        wait(0.5)
        self.picture("5-compare")
        self.label.tabs.setCurrentIndex(0)

    def move_threshold(self):
        """Drag the line of the histogram a little to the right."""
        self.tab("Pick")
        histogram = self.pick.choice.histogram
        before = self.session.limit()
        box = histogram.getPlotItem().getViewBox()
        (lowest, highest), _ = box.viewRange()
        places = []
        for value in np.linspace(before, before + 0.06 * (highest - lowest), 6):
            scene = box.mapViewToScene(QPointF(value, 0.5))
            places.append(histogram.mapFromScene(scene))
        self.drag(histogram.viewport(), places)
        wait(0.5)
        assert self.session.limit() > before
        self.picture("7-threshold")

    def export(self):
        """Write the picks as RELION's files, and read them again."""
        self.tab("Exchange")
        dock = self.exchange
        with patch.object(QFileDialog, "getExistingDirectory", lambda *_: str(self.task.output)):
            self.click(dock.export)
            wait_until(lambda: dock.status.text().startswith("Wrote"), 300)
            self.picture("8-export")
            self.click(dock.open_folder)
        wait_until(lambda: dock.as_picks.isVisible(), 300)
        wait(0.3)
        self.picture("9-import")

    def shown(self):
        """Give what is shown now, by micrograph."""
        tables = {name: picks_table(self.session, name) for name in self.session.names}
        return {name: t[["x", "y"]].to_numpy() for name, t in tables.items() if t is not None}


def walk(viewer: napari.Viewer, task: Task, picture: Callable[[str], None]) -> Outcome:
    """Do everything, from the folder of micrographs to the exported picks."""
    person = Person(viewer, task, picture)
    person.open()
    person.type_diameter()
    person.pick_all("2-pick", of_all=False)
    person.pick_all("2-all")
    before = precision(person, task)
    corrected = person.correct()
    person.train()
    person.pick_all("6-again")
    after = precision(person, task)
    person.move_threshold()
    shown = person.shown()
    person.export()
    return Outcome(before, after, shown, corrected)


def precision(person: Person, task: Task) -> float:
    """Average precision on the validation micrographs, of all candidates of the run."""
    picks = collect_picks(person.session.run_folder)
    names = [name for name in task.validation if name in picks]
    assert len(names) == len(task.validation), "not all of them are picked"
    found = evaluate_picks(
        {n: picks[n] for n in names}, {n: task.truth[n] for n in names}, task.diameter / 4
    )
    return found.curve.average_precision


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Let Qt work until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("nothing happened in time")
        QApplication.processEvents()
        time.sleep(0.005)


def wait(seconds: float) -> None:
    """Let Qt work for some time."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end)


def simulate(folder: Path, n: int = 6, shape: tuple[int, int] = (640, 760)) -> dict[str, NDArray]:
    """Simulate micrographs of barrels among another protein; give the truth."""
    import torch

    from napari_so3.io.volumes import write_image
    from napari_so3.simulation.ctf import CTF
    from napari_so3.simulation.density import barrel, random_protein
    from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph

    folder.mkdir(parents=True)
    other = random_protein(torch.Generator().manual_seed(5), 130.0)
    truth = {}
    for i in range(n):
        defocus = 15_000.0 + 2_000.0 * i
        config = SimulationConfig(
            shape,
            4.0,
            n_particles=36,
            snr=0.15,
            ctf=CTF(defocus_u=defocus, defocus_v=defocus - 300),
            structure=0.5,
            n_foreign=24,
            n_contaminants=1,
        )
        generator = torch.Generator().manual_seed(i)
        made = simulate_micrograph(barrel(), config, generator, [other])
        write_image(folder / f"field_{i}.mrc", made.image, made.pixel_size)
        truth[f"field_{i}"] = made.truth[["y", "x"]].to_numpy()
    return truth


def main() -> None:
    """Walk, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("micrographs", type=Path, nargs="?")
    parser.add_argument("labels", type=Path, nargs="?")
    parser.add_argument("--validation", nargs="*", default=())
    parser.add_argument("--diameter", type=float, default=170.0)
    parser.add_argument("--corrections", type=int, default=20)
    parser.add_argument("--model", default="general", help="to begin with")
    parser.add_argument("-o", "--pictures", type=Path, help="by default docs/images, if simulated")
    asked = parser.parse_args()
    import napari

    sys.path.insert(0, str(Path(__file__).parent))
    from screenshots import shrink

    with tempfile.TemporaryDirectory() as scratch:
        folder, output = Path(scratch) / "micrographs", Path(scratch) / "exported"
        output.mkdir()
        if asked.micrographs is None:
            truth, validation = simulate(folder, 8), ["field_6", "field_7"]
        else:
            folder.mkdir()
            for file in sorted(asked.micrographs.glob("*.mrc")):
                (folder / file.name).symlink_to(file.resolve())
            truth, validation = collect_labels(asked.labels), asked.validation
        pictures = asked.pictures or (IMAGES if asked.micrographs is None else output)
        pictures.mkdir(exist_ok=True)
        viewer = napari.Viewer(title="napari")
        viewer.window.resize(*SIZE)
        wait(1.0)

        def picture(name: str) -> None:
            if name in UNUSED and pictures == IMAGES:
                return
            shot = viewer.screenshot(canvas_only=False, flash=False)[..., :3].copy()
            shrink(shot).save(pictures / f"desk-{name}.png", optimize=True)
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)

        session_of(viewer, **session_defaults()).model = asked.model
        task = Task(folder, truth, validation, asked.diameter, asked.corrections, output)
        outcome = walk(viewer, task, picture)
        print(f"{outcome.corrected} corrections; average precision on {', '.join(validation)}:")
        print(f"before {outcome.before:.3f}, after {outcome.after:.3f}")
        viewer.close()


if __name__ == "__main__":
    main()
