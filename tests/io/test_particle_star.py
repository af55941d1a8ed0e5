"""STAR files of particles with poses are written as RELION means them, and come back."""

import numpy as np
import pandas as pd
import pytest
import starfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_so3.io.particle_star import image_names, write_particles_star
from napari_so3.io.particles import read_particles
from napari_so3.io.star import StarError

reuse_folder = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
row = st.tuples(
    *[st.floats(0, 5000)] * 2,
    st.floats(-180, 180),
    st.floats(0, 180),
    st.floats(-180, 180),
    *[st.floats(-50, 50)] * 2,
    st.floats(0, 1),
)
COLUMNS = ["x", "y", "rot", "tilt", "psi", "dx", "dy", "confidence"]


def _table(rows):
    return pd.DataFrame(rows, columns=COLUMNS, dtype=np.float64).assign(score=1.0)


@reuse_folder
@given(st.lists(row, min_size=1, max_size=8), st.floats(0.5, 10))
def test_poses_come_back(tmp_path, rows, pixel_size):
    tables = {"m/a.mrc": _table(rows), "m/b.mrc": _table(rows[:2])}
    write_particles_star(tmp_path / "p.star", tables, pixel_size, 64)
    back = read_particles(tmp_path / "p.star")
    whole = pd.concat(tables.values())
    for name in ("x", "y", "score", "confidence"):
        np.testing.assert_allclose(back.table[name], whole[name], atol=1e-6)
    expected = Rotation.from_euler("ZYZ", whole[["rot", "tilt", "psi"]].to_numpy(), degrees=True)
    np.testing.assert_allclose(back.matrices, expected.inv().as_matrix(), atol=1e-7)
    np.testing.assert_allclose(back.origins, -whole[["dy", "dx"]].to_numpy(), atol=1e-6)
    assert set(back.table["pixel_size"]) == set(back.table["micrograph_pixel_size"])
    assert back.table["pixel_size"][0] == pytest.approx(pixel_size, abs=1e-6)
    assert list(back.table["micrograph"]) == ["m/a.mrc"] * len(rows) + ["m/b.mrc"] * len(rows[:2])


def test_the_centre_is_the_coordinate_minus_the_origin(tmp_path):
    """A particle 8 Å right of and 4 Å above its pick, at 2 Å per pixel."""
    table = _table([(100, 200, 1, 2, 3, 8, -4, 0.5)])
    table["image"] = image_names("Extract/a.mrcs", 1, tmp_path / "p.star")
    write_particles_star(tmp_path / "p.star", {"a.mrc": table}, 2.0, 64)
    written = starfile.read(tmp_path / "p.star")["particles"].iloc[0]
    assert written["rlnCoordinateX"] - written["rlnOriginXAngst"] / 2.0 == 104
    assert written["rlnCoordinateY"] - written["rlnOriginYAngst"] / 2.0 == 198
    assert written["rlnImageName"] == "000001@Extract/a.mrcs"
    assert written["rlnParticleFigureOfMerit"] == 0.5
    assert written["rlnAutopickFigureOfMerit"] == 1.0
    assert tuple(written[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]]) == (1, 2, 3)


def test_without_poses_there_are_no_columns_of_poses(tmp_path):
    table = pd.DataFrame({"x": [1.0], "y": [2.0], "score": [3.0]})
    write_particles_star(tmp_path / "p.star", {"a.mrc": table}, 2.0, 64)
    text = (tmp_path / "p.star").read_text()
    assert not any(word in text for word in ("Angle", "Origin", "ParticleFigure", "ImageName"))
    assert read_particles(tmp_path / "p.star").matrices is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.assign(tilt=np.nan), "not finite"),
        (lambda t: t.drop(columns="psi"), "rot, tilt, psi are written together"),
        (lambda t: t.drop(columns="dx"), "dx, dy are written together"),
    ],
)
def test_poses_that_would_be_wrong_are_refused(tmp_path, change, says):
    with pytest.raises(StarError, match=says):
        write_particles_star(tmp_path / "p.star", {"a.mrc": change(_table([(0,) * 8]))}, 2.0, 64)
    assert not (tmp_path / "p.star").exists()


def test_all_micrographs_have_poses_or_none(tmp_path):
    tables = {"a.mrc": _table([(0,) * 8]), "b.mrc": _table([(0,) * 8])[["x", "y", "score"]]}
    with pytest.raises(StarError, match="some micrographs have"):
        write_particles_star(tmp_path / "p.star", tables, 2.0, 64)
