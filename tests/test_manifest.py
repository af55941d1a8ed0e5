import subprocess
import sys
from importlib import resources
from itertools import chain

import pytest
from npe2 import PluginManifest

from napari_so3.widgets import coordinate_reader, reader


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(resources.files("napari_so3") / "napari.yaml")


def test_napari_finds_the_manifest_of_the_installed_package(manifest):
    assert PluginManifest.from_distribution("napari-so3").contributions == manifest.contributions


def test_everything_it_names_can_be_imported(manifest):
    manifest.validate_imports()


def test_every_command_is_used(manifest):
    contributions = manifest.contributions
    used = {
        part.command
        for part in (
            *contributions.readers,
            *contributions.writers,
            *contributions.widgets,
            *contributions.sample_data,
            *chain.from_iterable(contributions.menus.values()),
        )
    }
    assert used == {command.id for command in contributions.commands}


def test_the_readers_are_asked_about_all_they_read(manifest):
    asked = {each.command: tuple(each.filename_patterns) for each in manifest.contributions.readers}
    assert asked["napari-so3.get_reader"] == reader.PATTERNS
    assert asked["napari-so3.get_coordinate_reader"] == coordinate_reader.PATTERNS


def test_the_docks_are_in_the_layers_menu(manifest):
    entries = manifest.contributions.menus["napari/layers/annotate"]
    docks = ("desk", "micrographs", "pick", "label")
    assert [entry.command for entry in entries] == [f"napari-so3.{name}" for name in docks]
    entries = manifest.contributions.menus["napari/layers/visualize"]
    docks = ("rotations", "filters", "poses")
    assert [entry.command for entry in entries] == [f"napari-so3.{name}" for name in docks]


def test_numbers_of_the_preferences_have_both_limits(manifest):
    # napari shows a number without a maximum as at most 99.99
    properties = manifest.contributions.configurations["picking"].properties
    assert set(properties) == {"model", "diameter", "threshold", "device"}
    for each in properties.values():
        if each.type == "number":
            assert each.minimum <= each.default <= each.maximum


def test_opening_the_dock_does_not_wait_for_torch():
    code = (
        "import sys, napari_so3.widgets.pick_dock, napari_so3.widgets.reader;"
        "import napari_so3.widgets.writer, napari_so3.widgets.samples;"
        "import napari_so3.widgets.coordinate_reader, napari_so3.widgets.rotations_dock;"
        "import napari_so3.widgets.poses_dock;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
