"""Look at how particles are turned with mouse and keyboard, and save pictures of the dock.

Usage: ``python docs/posing.py``, without a display under Xvfb::

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/posing.py

makes the pictures of docs/tutorial.md from simulated micrographs. ``python docs/posing.py FOLDER
--diameter 150 --model POSES.safetensors -o PICTURES`` makes them of micrographs of your own; those
do not belong in the docs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    _settings = tempfile.TemporaryDirectory(prefix="napari-so3-posing-")
    os.environ["NAPARI_CONFIG"] = str(Path(_settings.name) / "settings.yaml")
    os.environ["XDG_STATE_HOME"] = _settings.name
    if sys.platform == "linux":
        os.environ.setdefault("QT_QPA_PLATFORM", "xcb")  # under "offscreen" the canvas stays blank

import napari
import torch
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from walkthrough import IMAGES, SIZE, Person, Task, wait, wait_until

from napari_so3.io.volumes import write_image
from napari_so3.simulation.density import barrel
from napari_so3.simulation.files import write_truth
from napari_so3.simulation.micrograph import simulate_micrograph
from napari_so3.simulation.sample import SAMPLE_CONFIG
from napari_so3.simulation.views import Views
from napari_so3.widgets.desk_docks import open_desk

MICROGRAPHS = 3
DIAMETER = 150.0
PICK = 3  # number of the pick that is looked at, from 1
COLOURS = 255  # of the pictures
PICTURES = ("arrows", "picks", "views", "compare")
PICKS, VIEWS, COMPARE = range(3)  # tabs
ARROWS, PROJECTIONS = 1, 2  # rows of the list "Draw"
SIDE = Views(((0.0, 90.0), (25.0, 90.0), (0.0, 0.0)), width=12.0)  # views that barrels prefer


class Onlooker(Person):
    """Somebody who wants to know how the particles are turned."""

    def __init__(self, viewer, task, picture):
        super().__init__(viewer, task, picture)
        self.poses = open_desk(viewer)["Poses"]

    def choose_model(self, name):
        """Take a pose model."""
        self.tab("Poses")
        self.session.pose_model = name
        wait_until(lambda: self.poses.posing.model is not None)
        wait(1.0)

    def estimate(self):
        """Refine the poses of all micrographs."""
        self.click(self.poses.picks.form.refine)
        self.click(self.poses.picks.bar.all)
        wait(0.5)
        wait_until(lambda: not self.poses.picks.bar.running, 1200)
        wait(1.0)
        self.picture("arrows")

    def look(self):
        """Look at one pick, with the projections in the micrograph."""
        self.poses.picks.form.drawing.setFocus()
        QTest.keyClick(self.poses.picks.form.drawing, Qt.Key.Key_Down)
        for number in range(1, PICK + 1):
            self.click(self.poses.picks.pick.stepper.after)
            wait_until(
                lambda n=number: self.poses.picks.pick.stepper.number.text().startswith(f"{n} ")
            )
        wait(3.0)
        self.picture("picks")

    def look_at_views(self):
        """See which views there are, and select the picks of one."""
        self.poses.tabs.setCurrentIndex(VIEWS)
        wait(3.0)
        self.picture("views")

    def compare(self, file):
        """Compare with a file of poses."""
        self.poses.tabs.setCurrentIndex(COMPARE)
        wait(0.5)
        self.poses.compare.compare_with(file)
        wait(3.0)
        self.picture("compare")


def make_sample(folder):
    """Simulate micrographs of barrels with preferred views; the files of their truth."""
    truths = []
    for seed in range(MICROGRAPHS):
        made = simulate_micrograph(
            barrel(), replace(SAMPLE_CONFIG, views=SIDE), torch.Generator().manual_seed(seed)
        )
        name = f"barrels_{seed + 1}"
        write_image(folder / f"{name}.mrc", made.image, made.pixel_size)
        truths.append(folder.parent / f"{name}_truth.star")
        write_truth(truths[-1], made, f"{name}.mrc")
    return truths


def main() -> None:
    """Read the command line, look, and save the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="micrographs; simulated by default")
    parser.add_argument("--diameter", type=float, default=DIAMETER, help="Å")
    parser.add_argument("--model", default="barrel")
    parser.add_argument("--truth", type=Path, help="particles with poses to compare with")
    parser.add_argument("-o", "--output", type=Path, default=IMAGES)
    asked = parser.parse_args()
    if asked.folder and asked.output == IMAGES:
        parser.error("pictures of real micrographs do not belong in the docs: give -o")
    asked.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder, truth = Path(scratch) / "linked", asked.truth
        folder.mkdir()
        if asked.folder is None:
            truth = make_sample(folder)[0]
        else:
            for path in sorted(asked.folder.glob("*.mrc"))[:MICROGRAPHS]:
                (folder / path.name).symlink_to(path.resolve())
        viewer = napari.Viewer(title="napari")
        viewer.window.resize(*SIZE)
        wait(1.0)

        def picture(name):
            if name not in PICTURES:
                return
            shot = viewer.screenshot(canvas_only=False, flash=False)[..., :3].copy()
            few = Image.fromarray(shot).quantize(COLOURS, dither=Image.Dither.NONE)
            few.save(asked.output / f"pose-{name}.png", optimize=True)
            print(name, flush=True)

        person = Onlooker(viewer, Task(folder, {}, (), asked.diameter, 0, folder), picture)
        person.open()
        person.type_diameter()
        person.pick_all("")
        person.choose_model(asked.model)
        person.estimate()
        person.look()
        person.look_at_views()
        if truth is not None:
            person.compare(truth)
        viewer.close()


if __name__ == "__main__":
    main()
