"""Tables of particles: RELION's STAR files of all ages, cryoSPARC's .cs files, and what is bad."""

import mrcfile
import numpy as np
import pytest
import starfile
from scipy.spatial.transform import Rotation

from napari_so3.io.dialects.common import CoordinateError
from napari_so3.io.particle_images import read_particle_images
from napari_so3.io.particles import ParticleError, read_particles

OPTICS = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnVoltage #3
7 2.5 200
3 1.5 300
"""
PARTICLES = """
data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnAngleRot #3
_rlnAngleTilt #4
_rlnAnglePsi #5
_rlnOriginXAngst #6
_rlnOriginYAngst #7
000002@a.mrcs 3 10 20 30 1.5 -4
000001@a.mrcs 7 40 50 60 0 2
"""


@pytest.fixture
def stack(tmp_path):
    """Stack a.mrcs of three images, each filled with its number."""
    images = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 4, 6), np.float32)
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(images)
        mrc.set_image_stack()
    return images


def _write(path, text):
    path.write_text(text)
    return path


def _relion_matrix(rot, tilt, psi):
    """Euler_angles2matrix of RELION, written out."""
    a, b, g = np.radians((rot, tilt, psi))
    ca, cb, cg, sa, sb, sg = np.cos(a), np.cos(b), np.cos(g), np.sin(a), np.sin(b), np.sin(g)
    return [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]


def test_particles_take_the_columns_of_their_optics_group(tmp_path):
    found = read_particles(_write(tmp_path / "run_data.star", OPTICS + PARTICLES))
    assert found.program.startswith("RELION 3.1")
    assert list(found.table["pixel_size"]) == [1.5, 2.5]
    assert list(found.table["voltage"]) == [300, 200]
    assert list(found.table["stack"]) == ["a.mrcs"] * 2
    assert list(found.table["index"]) == [1, 0]
    np.testing.assert_array_equal(found.origins, [[-4, 1.5], [2, 0]])  # y, x
    expected = [_relion_matrix(10, 20, 30), _relion_matrix(40, 50, 60)]
    np.testing.assert_allclose(found.matrices, expected, atol=1e-12)


def test_shifts_before_relion_3_1_are_pixels_of_the_image(tmp_path):
    text = """
data_

loop_
_rlnMagnification #1
_rlnDetectorPixelSize #2
_rlnAngleRot #3
_rlnAngleTilt #4
_rlnAnglePsi #5
_rlnOriginX #6
_rlnOriginY #7
20000 5.0 1 2 3 4 -2
"""
    found = read_particles(_write(tmp_path / "old.star", text))
    assert found.table["pixel_size"][0] == pytest.approx(2.5)  # 5 µm / 20000
    np.testing.assert_allclose(found.origins, [[-5.0, 10.0]])
    without = text.replace("_rlnMagnification", "_rlnOther")
    found = read_particles(_write(tmp_path / "unknown.star", without))
    assert not found.origins.any() and any("left out" in note for note in found.notes)


def test_images_are_read_in_the_order_of_the_particles(tmp_path, stack):
    found = read_particles(_write(tmp_path / "a.star", OPTICS + PARTICLES))
    images = read_particle_images(found)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, stack[[1, 0]])
    np.testing.assert_array_equal(read_particle_images(found, [1]), stack[[0]])


def test_images_of_several_stacks_stay_with_their_particles(tmp_path, stack):
    with mrcfile.new(tmp_path / "b.mrc") as mrc:  # one image, not a stack
        mrc.set_data(np.full((4, 6), 9, np.float32))
    text = OPTICS + PARTICLES + "b.mrc 3 1 2 3 0 0\n000003@a.mrcs 3 1 2 3 0 0\n"
    images = read_particle_images(read_particles(_write(tmp_path / "a.star", text)), [2, 1, 0, 3])
    np.testing.assert_array_equal(images[:, 0, 0], [9, 0, 1, 2])


def test_stacks_are_found_relative_to_the_project(tmp_path, stack, monkeypatch):
    for folder in ("Extract/job003", "Refine3D/job007"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a.mrcs").rename(tmp_path / "Extract/job003/b.mrcs")
    text = (OPTICS + PARTICLES).replace("@a.mrcs", "@Extract/job003/b.mrcs")
    star = _write(tmp_path / "Refine3D/job007/run_data.star", text)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(read_particle_images(read_particles(star)), stack[[1, 0]])


def _cs(path, n=5, **columns):
    rng = np.random.default_rng(0)
    fields = {
        "uid": np.arange(n, dtype=np.uint64),
        "blob/path": np.array([b">J1/extract/a.mrc"] * n),
        "blob/idx": np.arange(n, dtype=np.uint32),
        "blob/psize_A": np.full(n, 2.0, np.float32),
        "ctf/df1_A": np.full(n, 15000, np.float32),
        "ctf/df_angle_rad": np.full(n, np.pi / 6, np.float32),
        "location/micrograph_path": np.array([b">J1/123456789012345678901_m_patch.mrc"] * n),
        "location/micrograph_shape": np.full((n, 2), (400, 600), np.uint32),  # ny, nx
        "location/center_x_frac": np.full(n, 0.25, np.float32),
        "location/center_y_frac": np.full(n, 0.25, np.float32),
        "alignments3D/pose": rng.normal(0, 1, (n, 3)).astype(np.float32),
        "alignments3D/shift": np.full((n, 2), (3, -1), np.float32),  # x, y
        "alignments3D/psize_A": np.full(n, 4.0, np.float32),
        **columns,
    }
    kinds = [(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    rows = np.empty(n, dtype=kinds)
    for name, values in fields.items():
        rows[name] = values
    with path.open("wb") as file:
        np.save(file, rows)
    return path, rows


def test_poses_of_cryosparc_are_those_of_relion(tmp_path):
    path, rows = _cs(tmp_path / "particles.cs")
    found = read_particles(path)
    turns = Rotation.from_rotvec(rows["alignments3D/pose"])
    angles = turns.as_euler("ZYZ", degrees=True)  # what pyem writes into STAR files
    np.testing.assert_allclose(found.matrices, [_relion_matrix(*a) for a in angles], atol=1e-6)
    np.testing.assert_allclose(found.origins[0], (-4, 12))  # y, x in Å: pixels of the alignment
    row = found.table.iloc[0]
    assert (row["x"], row["y"]) == pytest.approx((150, 300))  # y from the other edge
    assert row["stack"] == "J1/extract/a.mrc"
    assert row["pixel_size"] == 2.0
    assert row["defocus_angle"] == pytest.approx(30, abs=1e-4)


def test_real_files_of_cryosparc(data_dir):
    found = read_particles(data_dir / "coordinate_formats/cs/cryosparc_J2_particles_exported.cs")
    assert len(found) == 22 and found.matrices is None
    assert any("no poses" in note for note in found.notes)  # it has 2D classes
    assert found.table["pixel_size"][0] == pytest.approx(1.345)
    assert found.table["defocus_u"][0] == pytest.approx(16412.178)
    assert found.table["index"][0] == 0 and found.table["stack"][0].endswith("ali_DW.mrcs")


def test_real_files_of_relion(data_dir):
    folder = data_dir / "coordinate_formats/star"
    groups = read_particles(folder / "relion31.6opticsgroups.star")
    raw = starfile.read(folder / "relion31.6opticsgroups.star")
    sizes = dict(
        zip(raw["optics"]["rlnOpticsGroup"], raw["optics"]["rlnImagePixelSize"], strict=True)
    )
    expected = raw["particles"]["rlnOpticsGroup"].map(sizes)
    np.testing.assert_array_equal(groups.table["pixel_size"], expected)
    assert set(groups.table["pixel_size"]) == {1.24, 1.25}
    old = read_particles(folder / "aspire_incomplete_ctf.star")
    raw = starfile.read(folder / "aspire_incomplete_ctf.star").iloc[0]
    size = raw["rlnDetectorPixelSize"] * 1e4 / raw["rlnMagnification"]
    np.testing.assert_allclose(
        old.origins[0], raw[["rlnOriginY", "rlnOriginX"]].astype(float) * size
    )
    picks = read_particles(folder / "relion3.0_autopick_Ucsf_stack_1142.star")
    assert picks.matrices is None and any("no poses" in note for note in picks.notes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("000002@a.mrcs", "0@a.mrcs"), "row 1"),
        (("000002@a.mrcs", "x@a.mrcs"), "row 1"),
        ((" 3 10 20 30", " 5 10 20 30"), "optics group 5"),
        ((" 3 10 20 30", " 3 10 nan 30"), "rlnAngleTilt of row 1"),
        (("3 1.5 300", "3 0 300"), "rlnImagePixelSize is 0"),
        (("3 1.5 300", "3 1.5 abc"), "rlnVoltage of row 1"),
        ((PARTICLES, ""), "no particles"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path, change, says):
    text = (OPTICS + PARTICLES).replace(*change)
    with pytest.raises(CoordinateError, match=says) as caught:
        read_particles(_write(tmp_path / "bad.star", text))
    assert str(caught.value).startswith("bad.star: ") and "\n" not in str(caught.value)


def test_bad_files_of_cryosparc_are_refused(tmp_path):
    path, rows = _cs(tmp_path / "a.cs")
    rows["alignments3D/pose"][2, 1] = np.nan
    np.save(tmp_path / "nan.npy", rows)
    (tmp_path / "nan.npy").rename(tmp_path / "nan.cs")
    with pytest.raises(ParticleError, match=r"nan\.cs: .*alignments3D/pose"):
        read_particles(tmp_path / "nan.cs")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    (tmp_path / "objects.npy").rename(tmp_path / "objects.cs")
    with pytest.raises(CoordinateError, match="objects"):
        read_particles(tmp_path / "objects.cs")
    np.save(tmp_path / "plain.npy", np.zeros(3))
    (tmp_path / "plain.npy").rename(tmp_path / "plain.cs")
    with pytest.raises(CoordinateError, match=r"plain\.cs: it holds no particles"):
        read_particles(tmp_path / "plain.cs")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CoordinateError, match=r"a\.cs: "):
        read_particles(path)
    with pytest.raises(CoordinateError, match="cannot be opened"):
        read_particles(tmp_path / "missing.star")


def test_bad_stacks_are_refused(tmp_path, stack):
    star = _write(tmp_path / "a.star", OPTICS + PARTICLES)
    beyond = _write(tmp_path / "b.star", (OPTICS + PARTICLES).replace("000002@", "000004@"))
    with pytest.raises(ParticleError, match=r"image 4 of a\.mrcs, which has 3"):
        read_particle_images(read_particles(beyond))
    whole = (tmp_path / "a.mrcs").read_bytes()
    for broken in (whole[:-100], whole[:700], b"no image at all"):
        (tmp_path / "a.mrcs").write_bytes(broken)
        with pytest.raises(ParticleError, match=r"a\.mrcs: it is no stack"):
            read_particle_images(read_particles(star))
    (tmp_path / "a.mrcs").unlink()
    with pytest.raises(ParticleError, match=r"a\.star: the stack a\.mrcs .* is not there"):
        read_particle_images(read_particles(star))


def test_images_of_different_sizes_are_refused(tmp_path, stack):
    with mrcfile.new(tmp_path / "c.mrcs") as mrc:
        mrc.set_data(np.zeros((1, 8, 8), np.float32))
    text = (OPTICS + PARTICLES).replace("000001@a.mrcs", "000001@c.mrcs")
    with pytest.raises(ParticleError, match="differ in size"):
        read_particle_images(read_particles(_write(tmp_path / "a.star", text)))
