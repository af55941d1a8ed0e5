"""What the tests of teaching share: a session of tiny micrographs, and its labels."""

import re
import time

import mrcfile
import numpy as np

from napari_so3.session.state import Session
from napari_so3.training import fit as fitting
from napari_so3.training import teach as teaching

SHAPE, PIXEL_SIZE, DIAMETER = (150, 180), 5.0, 100.0
PLACES = np.array([(y, x) for y in (40.0, 80.0, 120.0) for x in (30.0, 80.0, 130.0)])


def make_session(folder, model, n=5):
    """Make a session of micrographs m0, m1, ... with dark discs, none of which is labelled."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    discs = sum(np.hypot(y - place[0], x - place[1]) < 9 for place in PLACES)
    paths = [folder / "mics" / f"m{i}.mrc" for i in range(n)]
    paths[0].parent.mkdir()
    for path in paths:
        with mrcfile.new(path) as mrc:
            mrc.set_data((rng.normal(size=SHAPE) - 2.0 * discs).astype(np.float32))
            mrc.voxel_size = PIXEL_SIZE
    session = Session(model=str(model), diameter=DIAMETER, device="cpu")
    session.save_in(folder / "mics" / "napari-so3")
    session.add_micrographs(paths)
    return session


def label(session, names=("m0", "m1", "m2", "m3"), places=PLACES):
    """Label the particles of micrographs."""
    for name in names:
        session.marks.mark(name, "positive", places, 5.0)


def shorten(monkeypatch):
    """Let a training be of 6 steps in 3 epochs."""
    monkeypatch.setattr(teaching.TeachSettings, "FINE_TUNING", 6)
    monkeypatch.setattr(teaching.TeachSettings, "FROM_SCRATCH", 4)
    monkeypatch.setattr(teaching, "STEPS_PER_EPOCH", 2)
    monkeypatch.setattr(teaching, "TILE", 16)


def slow_down(monkeypatch):
    """Let a training have 60 steps that take a moment each; give a list that grows with them."""
    steps, step = [], fitting._step

    def wait_and_step(*arguments):
        time.sleep(0.05)
        steps.append(1)
        return step(*arguments)

    monkeypatch.setattr(fitting, "_step", wait_and_step)
    monkeypatch.setattr(teaching.TeachSettings, "FINE_TUNING", 60)
    return steps


def plain(label):
    """Text of a label without its colours."""
    return re.sub("<[^>]*>", "", label.text()).replace("\u00a0", " ")
