import numpy as np
import pytest

from napari_so3.picking.batch import BatchSettings, open_folder, pick_many
from napari_so3.picking.pick import PickSettings, choose_device
from napari_so3.picking.picker import load_picker
from napari_so3.picking.picks import Picks
from napari_so3.widgets.show import main, read, show


@pytest.fixture
def candidates(micrograph, model, tmp_path):
    output = tmp_path / "picks"
    batch = BatchSettings(load_picker(model), PickSettings(90.0), 0.5, pixel_size=4.0)
    open_folder(output, batch)
    list(pick_many([micrograph], output, batch, choose_device("cpu")))
    return output / "candidates" / "field_01.csv"


def test_the_demo_opens_with_its_picks_and_the_dock(viewer, micrograph, candidates):
    show(viewer, *read(micrograph, candidates))
    image, picks = viewer.layers
    assert tuple(image.scale) == tuple(picks.scale) == (4.0, 4.0)
    table = Picks.read_csv(candidates).table
    np.testing.assert_allclose(picks.data, table[["y", "x"]])
    (dock,) = viewer.window.dock_widgets.values()
    assert dock.session.diameter == 90.0
    assert f"of {len(table)} candidates" in dock.count.text()


def test_a_missing_file_is_told_in_one_sentence(capsys, tmp_path, micrograph, monkeypatch):
    monkeypatch.setattr("napari_so3.widgets.show.napari.Viewer", lambda **_: pytest.fail("opened"))
    assert main([str(micrograph), str(tmp_path / "no.csv")]) == 2
    assert capsys.readouterr().err.startswith("Error: no.csv: cannot be read")
