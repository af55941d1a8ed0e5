"""The code of docs/gallery.md runs, and its pictures are there."""

import importlib.util
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image

from napari_so3.so3.rotations import RotationGrid

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def gallery():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    """A small micrograph of noise with two dark discs."""
    data = np.random.default_rng(0).normal(size=(110, 121)).astype(np.float32)
    y, x = np.mgrid[:110, :121]
    for centre in ((40, 50), (75, 80)):
        data[np.hypot(y - centre[0], x - centre[1]) < 12] -= 3
    with mrcfile.new(tmp_path / "a.mrc") as mrc:
        mrc.set_data(data)
        mrc.voxel_size = 5.0
    return tmp_path


def test_every_picture_of_the_page_is_there_and_small(gallery):
    pictures = [block.picture for block in gallery.read_blocks(True) if block.picture]
    assert len(pictures) == len(set(pictures)) == 14
    without = {block.picture for block in gallery.read_blocks(False)}
    assert set(pictures) - without == {
        f"gallery-{name}.png"
        for name in ("views", "in-plane", "view", "why-matcher", "likeness", "poses")
    }
    text = (DOCS / "gallery.md").read_text()
    assert text.count("images/gallery-") == len(pictures)
    for picture in pictures:
        path = DOCS / "images" / picture
        assert path.stat().st_size < 200_000
        with Image.open(path) as image:
            assert min(image.size) > 200


def test_the_code_of_the_page_runs(gallery, folder, tiny_model, monkeypatch):
    monkeypatch.setattr(gallery, "DPI", 40)
    monkeypatch.setattr("napari_so3.insight.budget.survey_grids", lambda *_: ((1, 4), (4, 4)))
    monkeypatch.setattr("napari_so3.training.matcher.choose_grid", lambda _: RotationGrid(3, 4))
    monkeypatch.setattr("napari_so3.training.matcher.NOISE_SHAPE", (61, 61))
    monkeypatch.setattr("napari_so3.insight.likeness.SEARCHED", (4, 4))
    monkeypatch.setattr("napari_so3.insight.likeness.REFINED", 1)
    monkeypatch.setattr("napari_so3.picking.picker.bundled_models", lambda: {"general": tiny_model})
    map_file = folder / "maps" / "barrel.mrc"
    map_file.parent.mkdir()
    density = gallery.rasterise(gallery.barrel(), gallery.VOXEL_SIZE, "barrel")
    gallery.write_volume(map_file, density.values, gallery.VOXEL_SIZE)
    names = {"folder": folder, "diameter": 150.0, "map_file": map_file, "symmetry": "C1"}
    pictures = gallery.run(names, folder / "pictures")
    assert [path.name for path in pictures] == [
        block.picture for block in gallery.read_blocks(True) if block.picture
    ]
    for path in pictures:
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 5


def test_pictures_of_real_micrographs_do_not_go_into_the_docs(gallery, folder):
    with pytest.raises(gallery.typer.BadParameter, match="-o PICTURES"):
        gallery.main(folder)
