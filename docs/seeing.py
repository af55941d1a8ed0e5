"""Look at what the network sees with mouse and keyboard, and save a picture of every panel.

Usage: ``python docs/seeing.py``, without a display under Xvfb::

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/seeing.py

makes the pictures of docs/tutorial.md from simulated micrographs. ``python docs/seeing.py FOLDER
--diameter 150 --map MAP --symmetry D7 -o PICTURES`` makes them of micrographs of your own; those do
not belong in the docs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    _settings = tempfile.TemporaryDirectory(prefix="napari-so3-seeing-")
    os.environ["NAPARI_CONFIG"] = str(Path(_settings.name) / "settings.yaml")
    os.environ["XDG_STATE_HOME"] = _settings.name
    if sys.platform == "linux":
        os.environ.setdefault("QT_QPA_PLATFORM", "xcb")  # under "offscreen" the canvas stays blank

import napari
from gallery import make_sample
from qtpy.QtCore import QPoint
from qtpy.QtTest import QTest
from walkthrough import IMAGES, LEFT, SIZE, Person, Task, wait, wait_until

from napari_so3.simulation.volume import read_density
from napari_so3.training.matcher import make_matcher
from napari_so3.widgets.desk_docks import open_desk

MICROGRAPHS = 3  # at most
PICK = 2  # number of the pick that is explained, from 1
MAPS, WHY, BUDGET, CHECK = range(4)  # tabs
ROTATION, VIEW = 1, 5  # rows of the list "Draw"
UNUSED = ("1-open", "general-rotation", "general-view", "matcher-filters")  # in the tutorial


class Onlooker(Person):
    """Somebody who wants to know why."""

    def __init__(self, viewer, task, picture):
        super().__init__(viewer, task, picture)
        docks = open_desk(viewer)
        self.see, self.filters = docks["Rotations and score maps"], docks["3D filters"]

    def use(self, model):
        """Choose a model, and pick the micrograph with it."""
        self.tab("Pick")
        self.session.model = str(model)
        wait_until(lambda: self.pick.form.picker is not None)
        wait(1.0)
        self.click(self.pick.bar.button)
        wait_until(
            lambda: not self.pick.bar.running and self.session.picks_of(self.session.current)
        )
        wait(0.5)

    def look(self, name):
        """Press Look, and point at the best pick."""
        self.tab("See")
        self.see.tabs.setCurrentIndex(MAPS)
        self.click(self.see.maps.look.button)
        wait_until(lambda: self.see.seeing.maps is not None, 600)
        wait(0.5)
        place = self.pick.desk.picks.data[0]
        QTest.mouseClick(self.canvas, LEFT, pos=self.at(*place))
        wait_until(lambda: self.see.maps.pointer.holding)
        self.click_bar(self.see.maps.evidence.bars)
        self.draw(ROTATION, f"{name}-rotation")
        self.draw(VIEW, f"{name}-view")

    def click_bar(self, bars):
        """Turn to the strongest rotation at the pick."""
        QTest.mouseClick(bars, LEFT, pos=QPoint(20, 6))
        wait(0.3)

    def draw(self, row, name):
        """Choose what is drawn over the micrograph."""
        self.see.maps.picture.setCurrentIndex(row)
        wait(0.7)
        self.picture(name)

    def ask_why(self, name):
        """Go to a pick."""
        self.see.tabs.setCurrentIndex(WHY)
        wait(0.3)
        for number in range(1, PICK + 1):
            self.click(self.see.why.stepper.after)
            wait_until(lambda n=number: self.see.why.stepper.number.text().startswith(f"{n} "))
        wait_until(self.see.why.parts.isVisible, 300)
        wait(3.0)
        self.picture(name)

    def run(self, tab, panel, name):
        """Press the button of a tab, and wait."""
        self.see.tabs.setCurrentIndex(tab)
        wait(0.3)
        self.click(panel.bar.button)
        wait(0.5)
        wait_until(lambda: not panel.bar.running, 1200)
        wait(0.7)
        self.picture(name)

    def look_at_filters(self, name):
        """See the first filter of the model."""
        self.tab("Filters")
        wait_until(lambda: self.filters.view is not None and self.filters.bank is not None)
        wait(3.0)
        self.picture(name)


def look(viewer, sample, folder, picture):
    """Look with two models: one that was trained to pick, and a map."""
    matcher = folder.with_name("matcher.safetensors")
    density = read_density(sample["map_file"])
    make_matcher(density, sample["diameter"], sample["symmetry"]).save(matcher)
    person = Onlooker(viewer, Task(folder, {}, (), sample["diameter"], 0, folder), picture)
    person.open()
    person.type_diameter()
    person.use("general")
    person.look("general")
    person.ask_why("general-why")
    person.run(BUDGET, person.see.budget, "budget")
    person.run(CHECK, person.see.check, "check")
    person.look_at_filters("filters")
    person.use(matcher)
    person.look("matcher")
    person.ask_why("matcher-why")
    person.look_at_filters("matcher-filters")


def main() -> None:
    """Read the command line, look, and save the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="micrographs; simulated by default")
    parser.add_argument("--diameter", type=float, help="Å")
    parser.add_argument("--map", type=Path)
    parser.add_argument("--symmetry", default="C1")
    parser.add_argument("-o", "--output", type=Path, default=IMAGES)
    asked = parser.parse_args()
    if asked.folder and asked.output == IMAGES:
        parser.error("pictures of real micrographs do not belong in the docs: give -o")
    from screenshots import shrink

    asked.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        sample = {
            "folder": asked.folder,
            "diameter": asked.diameter,
            "map_file": asked.map,
            "symmetry": asked.symmetry,
        }
        if asked.folder is None:
            sample = make_sample(Path(scratch))
        folder = Path(scratch) / "linked"  # a session is kept beside its micrographs
        folder.mkdir()
        for path in sorted(sample["folder"].glob("*.mrc"))[:MICROGRAPHS]:
            (folder / path.name).symlink_to(path.resolve())
        viewer = napari.Viewer(title="napari")
        viewer.window.resize(*SIZE)
        wait(1.0)

        def picture(name):
            if name in UNUSED and asked.output == IMAGES:
                return
            shot = viewer.screenshot(canvas_only=False, flash=False)[..., :3].copy()
            shrink(shot).save(asked.output / f"see-{name}.png", optimize=True)
            print(name, flush=True)

        look(viewer, sample, folder, picture)
        viewer.close()


if __name__ == "__main__":
    main()
