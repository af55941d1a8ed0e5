"""Coordinates are turned, exchanged and shifted; the micrograph must tell."""

import numpy as np
import pandas as pd
import pytest

from napari_so3.io.coordinates import read_coordinate_file
from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.orientation import AS_THEY_ARE, READINGS, check_orientation, read_as

SHAPE, DIAMETER = (500, 620), 24.0
INVERSE = {name: name for name in READINGS} | {"corners": "shifted", "shifted": "corners"}


def scatter(seed, n=60, distance=30.0):
    """Places (y, x) that keep a distance."""
    rng, points = np.random.default_rng(seed), np.zeros((0, 2))
    while len(points) < n:
        place = rng.uniform(20, np.array(SHAPE) - 20)
        if len(points) == 0 or np.hypot(*(points - place).T).min() > distance:
            points = np.vstack([points, place])
    return points


def micrograph(points, contrast=0.5, seed=1):
    """Dark discs in noise, on ice that becomes thicker to one side."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.random.default_rng(seed).normal(size=SHAPE) + y / 100
    for row, column in points:
        image -= contrast * (np.hypot(y - row, x - column) < DIAMETER / 2)
    return image.astype(np.float32)


def table(points, **columns):
    return pd.DataFrame({"x": points[:, 1], "y": points[:, 0], **columns})


@pytest.fixture(scope="module")
def scene():
    points = scatter(0)
    return micrograph(points), points


def test_readings_are_exact():
    corner = np.array([[0.0, 0.0]])
    found = {name: read_as(corner, name, SHAPE, 40)[0].tolist() for name in READINGS}
    assert found == {
        "as they are": [0, 0],
        "y turned": [499, 0],  # the first row is the last one
        "x turned": [0, 619],
        "both turned": [499, 619],
        "exchanged": [0, 0],
        "corners": [20, 20],
        "shifted": [-20, -20],
    }
    assert read_as(np.array([[3.0, 7.0]]), "exchanged", SHAPE, 40).tolist() == [[7, 3]]


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("box", [None, 40.0])
def test_every_reading_is_recognised(scene, reading, box):
    image, points = scene
    edge = 1.5 * DIAMETER if box is None else box
    given = table(read_as(points, reading, SHAPE, edge), **({} if box is None else {"box": box}))
    check = check_orientation(image, given, DIAMETER)
    assert check.best == INVERSE[reading]
    best = check.readings[check.best]
    assert best.evidence > 1 and best.error < 0.3
    if reading == AS_THEY_ARE:
        assert check.sentence() == "The coordinates fit the micrograph as they are."
    else:
        assert f"Read {READINGS[check.best]}, the coordinates fit" in check.sentence()
        assert f"{best.evidence:.2f} ± {best.error:.2f}, against" in check.sentence()


def test_candidates_are_evidence_too(scene):
    _, points = scene
    rng = np.random.default_rng(3)
    near = points + rng.normal(size=points.shape) * 2
    rest = rng.uniform(0, 1, (200, 2)) * SHAPE
    found = table(np.vstack([near, rest]))
    found["logit"] = np.r_[rng.normal(3, 1, len(near)), rng.normal(-3, 1, len(rest))]
    for reading in READINGS:
        given = table(read_as(points, reading, SHAPE, 1.5 * DIAMETER))
        check = check_orientation(found, given, DIAMETER, SHAPE)
        assert check.best == INVERSE[reading]


def test_candidates_everywhere_are_no_evidence():
    rng = np.random.default_rng(4)
    found = table(rng.uniform(0, 1, (4000, 2)) * SHAPE, score=rng.normal(size=4000))
    check = check_orientation(found, table(rng.uniform(0, 1, (300, 2)) * SHAPE), DIAMETER, SHAPE)
    for fit in check.readings.values():
        assert abs(fit.evidence) < 5 * fit.error
    assert "does not tell" in check.sentence()
    empty = check_orientation(found[:0], table(rng.uniform(0, 400, (30, 2))), DIAMETER, SHAPE)
    assert empty.best == AS_THEY_ARE and "does not tell" in empty.sentence()


@pytest.mark.parametrize("seed", range(25))
def test_random_places_raise_no_alarm(scene, seed):
    image, _ = scene
    rng = np.random.default_rng(100 + seed)
    centres = rng.uniform(0, 1, (12, 2)) * SHAPE  # in clusters, which are not independent
    near = (centres[:, None] + rng.normal(size=(12, 10, 2)) * 15).reshape(-1, 2)
    for points in (rng.uniform(0, 1, (120, 2)) * SHAPE, near):
        check = check_orientation(image, table(points), DIAMETER)
        assert check.best == AS_THEY_ARE
        assert "does not tell" in check.sentence()


def test_few_particles_that_are_missed_or_false_do_not_matter(scene):
    image, points = scene
    mixed = np.vstack([points[:25], np.random.default_rng(5).uniform(0, 1, (25, 2)) * SHAPE])
    assert check_orientation(image, table(mixed), DIAMETER).best == AS_THEY_ARE
    turned = table(read_as(mixed, "y turned", SHAPE, 1.0))
    assert check_orientation(image, turned, DIAMETER).best == "y turned"


def test_noise_and_bad_pixels_do_not_fool_it():
    points = scatter(2, 120)
    image = micrograph(points, contrast=0.2)
    image[7, ::50], image[200:203, 300] = np.nan, 1e9
    assert check_orientation(image, table(points), DIAMETER).best == AS_THEY_ARE
    turned = table(read_as(points, "exchanged", SHAPE, 1.0))
    assert check_orientation(image, turned, DIAMETER).best == "exchanged"


def test_too_few_none_and_outside(scene):
    image, points = scene
    few = check_orientation(image, table(read_as(points[:4], "y turned", SHAPE, 1)), DIAMETER)
    assert few.best == AS_THEY_ARE
    assert few.sentence() == "4 coordinates are too few to tell whether they fit the micrograph."
    assert "0 coordinates" in check_orientation(image, table(points[:0]), DIAMETER).sentence()
    far = check_orientation(image, table(np.vstack([points, points + 4000])), DIAMETER)
    assert far.outside == 60 and far.sentence().endswith("; 60 of 120 are outside of it.")


def test_what_is_outside_has_no_evidence():
    points = np.array([[0.0, 0.0], [0.0, 619.0], [499.0, 0.0], [499.0, 619.0]])
    image = micrograph(points, 2.0)  # particles in the corners, which are nearest to all outside
    far = table(np.vstack([points + 3000, points - 3000] * 3))
    check = check_orientation(image, far, DIAMETER)
    assert check.readings[AS_THEY_ARE].evidence == 0 and check.outside == 24


def test_a_small_shift_is_not_mistaken_for_corners(scene):
    image, points = scene
    check = check_orientation(image, table(points - 4, box=8.0), DIAMETER)
    corners, here = check.readings["corners"], check.readings[AS_THEY_ARE]
    assert corners.evidence > here.evidence > corners.evidence / 2 and corners.chance < 1e-6
    assert check.best == AS_THEY_ARE


def test_that_they_are_on_bright_spots_does_not_make_another_reading_right():
    points = scatter(6)
    image = micrograph(points, contrast=-1.0)
    check = check_orientation(image, table(points), DIAMETER)
    assert check.readings["y turned"].chance < 1e-6
    assert check.best == AS_THEY_ARE and "particles are bright" in check.sentence()


def test_a_trace_of_evidence_is_not_enough_however_sure_it_is(scene):
    image, points = scene
    rng = np.random.default_rng(7)
    few = read_as(np.repeat(points, 3, axis=0) + rng.normal(size=(180, 2)), "y turned", SHAPE, 1)
    many = rng.uniform(0, 1, (4000, 2)) * SHAPE
    check = check_orientation(image, table(np.vstack([few, many])), DIAMETER)
    fit = check.readings["y turned"]
    assert fit.chance < 1e-6 and 0.1 < fit.evidence < 0.3
    assert fit.evidence > 2 * abs(check.readings[AS_THEY_ARE].evidence)
    assert check.best == AS_THEY_ARE


def test_a_place_that_is_given_many_times_is_not_many(scene):
    image, points = scene
    again = np.repeat(read_as(points[:1], "y turned", SHAPE, 1), 5, axis=0)
    again += np.random.default_rng(0).normal(size=again.shape) * 0.01
    check = check_orientation(image, table(again), DIAMETER)
    assert check.readings["y turned"].chance < 1e-6 and check.best == AS_THEY_ARE


def test_flat_and_tiny_images_say_nothing():
    points = table(np.random.default_rng(0).uniform(0, 9, (20, 2)))
    for image in (np.zeros((60, 60)), np.full((60, 60), np.nan), np.zeros((3, 2))):
        check = check_orientation(image, points, DIAMETER)
        assert check.best == AS_THEY_ARE and "does not tell" in check.sentence()


def test_wrong_use_is_refused(scene):
    image, points = scene
    with pytest.raises(ValueError, match="diameter"):
        check_orientation(image, table(points), 0)
    with pytest.raises(ValueError, match="3 dimensions"):
        check_orientation(image[None], table(points), 5)
    with pytest.raises(ValueError, match="shape"):
        check_orientation(table(points, score=1.0), table(points), 5)


@pytest.mark.parametrize(
    ("folder", "name", "diameter"),
    [
        ("bgal_10017", "Falcon_2012_06_12-14_33_35_0", 180 / 7.08),
        ("apoferritin_10146", "May08_03_05_02", 130 / 1.5),
        ("t20s_10025", "14sep05c_c_00003gr_00014sq_00011hl_00003es", 150 / 7.894),
    ],
)
def test_labels_of_real_micrographs(data_dir, folder, name, diameter):
    image = read_micrograph(data_dir / folder / "micrographs" / f"{name}.mrc").to_float32()
    given = read_coordinate_file(data_dir / folder / "coordinates" / f"{name}.star").table
    assert "fit the micrograph as they are" in check_orientation(image, given, diameter).sentence()
    points = given[["y", "x"]].to_numpy()
    for reading in READINGS:
        turned = table(read_as(points, reading, image.shape, 1.5 * diameter))
        assert check_orientation(image, turned, diameter).best == INVERSE[reading]


def test_picks_of_other_programs_are_turned_against_cryoppp(data_dir):
    formats = data_dir / "coordinate_formats"
    path = data_dir / "bgal_10017" / "micrographs" / "Falcon_2012_06_12-14_33_35_0.mrc"
    image, best = read_micrograph(path).to_float32(), {}
    for name in (
        *("box/crYOLO_5col_Falcon_14_33_35.box", "box/topaz_5col_Falcon_14_33_35.box"),
        *("star/CASSPER_Falcon_14_33_35.star", "star/Gautomatch_Falcon_14_33_35.star"),
        "txt_csv_json/cryoppp.csv",
    ):
        small = read_coordinate_file(formats / name).table[["y", "x"]].to_numpy() / 4
        best[name] = check_orientation(image, table(small), 180 / 7.08).best
    assert best.pop("txt_csv_json/cryoppp.csv") == AS_THEY_ARE
    assert set(best.values()) == {"y turned"}
