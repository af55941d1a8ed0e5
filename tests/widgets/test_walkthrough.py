"""The whole day at the desk, in a real window with mouse and keyboard: docs/walkthrough.py."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from napari.settings import get_plugin_settings
from qtpy.QtCore import QTimer

from napari_so3.io.coordinates import read_coordinate_folder
from napari_so3.io.names import bare_name
from napari_so3.training.teach import TeachSettings

SCRIPT = Path(__file__).parents[2] / "docs" / "walkthrough.py"


@pytest.fixture(scope="module")
def walkthrough():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("walkthrough", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_teaching_makes_the_picks_better_and_they_are_exported_as_shown(
    walkthrough, viewer, tmp_path, monkeypatch
):
    monkeypatch.setattr(TeachSettings, "FINE_TUNING", 30)  # half of the usual, for the sake of time
    get_plugin_settings("napari-so3").picking.model = "general"
    truth = walkthrough.simulate(tmp_path / "mics", 6)
    (tmp_path / "out").mkdir()
    task = walkthrough.Task(
        tmp_path / "mics", truth, ("field_4", "field_5"), 170.0, 20, tmp_path / "out"
    )
    beats = []
    timer = QTimer(interval=50)
    timer.timeout.connect(lambda: beats.append(1))
    timer.start()
    viewer.window.resize(*walkthrough.SIZE)
    viewer.show()
    seen = []
    outcome = walkthrough.walk(viewer, task, seen.append)
    assert outcome.corrected == 20
    assert outcome.after > outcome.before + 0.05
    assert len(beats) > 100  # the window lived meanwhile
    assert seen[0] == "1-open" and seen[-1] == "9-import"

    written = {}
    for file in read_coordinate_folder(tmp_path / "out"):
        for name, part in file.table.groupby(file.table["micrograph"].map(bare_name)):
            written[name] = part[["x", "y"]].to_numpy()
    assert sorted(written) == sorted(name for name, xy in outcome.shown.items() if len(xy))
    for name, points in written.items():
        np.testing.assert_allclose(points, outcome.shown[name], atol=1e-3)
    assert sum(map(len, written.values())) > 20
