import numpy as np
from napari.utils.notifications import notification_manager

from napari_so3.io.star import read_coordinates
from napari_so3.widgets.writer import write_star


def test_any_2d_points_can_be_saved_but_hidden_ones_are_not(viewer, tmp_path):
    layer = viewer.add_points([[1.5, 2.5], [3, 4], [5, 6]], name="by hand", shown=[1, 0, 1])
    path = tmp_path / "points.star"
    assert layer.save(str(path), plugin="napari-so3") == [str(path)]
    saved = read_coordinates(path)
    np.testing.assert_allclose(saved[["y", "x"]], [[1.5, 2.5], [5, 6]])
    assert set(saved["micrograph"]) == {"by hand"}


def test_micrographs_inside_the_working_folder_are_named_relative_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note = {"micrograph": str(tmp_path / "Micrographs" / "a.mrc")}
    write_star("a.star", np.ones((1, 2)), {"metadata": {"napari-so3": note}})
    assert read_coordinates("a.star")["micrograph"].tolist() == ["Micrographs/a.mrc"]


def test_what_cannot_be_saved_is_told_in_one_sentence(tmp_path):
    for path, points in (
        (tmp_path / "missing" / "a.star", np.ones((1, 2))),
        (tmp_path / "b.star", np.ones((1, 3))),
    ):
        assert write_star(str(path), points, {"name": "points"}) == []
        note = notification_manager.records[-1]
        assert str(note.severity) == "error"
        assert path.name in note.message
        assert not path.exists()
