import json

import numpy as np
import pytest
from scipy.special import logit
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.io.star import write_picks_star
from napari_so3.picking.picks import Picks, make_table

DIAMETER, PIXEL = 80.0, 4.0  # so the match radius is 5 pixels
TRUTH = np.array([[20.0, 20.0], [60.0, 30.0], [40.0, 90.0], [80.0, 80.0]])
OFF = np.array([[3.0, 0.0], [0.0, -4.0], [20.0, 20.0], [0.0, 6.0]])
LOGITS = np.array([3.0, 2.0, 1.0, 0.0])  # right, right, wrong, 6 pixels off


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80"})
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def label_file(path, points=TRUTH, micrograph="Micrographs/m.mrc"):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picks_star(path, micrograph, points[:, 1], points[:, 0], np.zeros(len(points)))
    return path


@pytest.fixture
def picked(tmp_path):
    """Folder of picks with one micrograph, as `pick` leaves it."""
    table = make_table(TRUTH + OFF, LOGITS, np.zeros(4, int), np.zeros((1, 3)))
    picks = Picks(table, "/data/m.mrc", {"pixel_size": PIXEL, "shape": [100, 120]})
    folder = tmp_path / "picks"
    (folder / "candidates").mkdir(parents=True)
    picks.write_csv(folder / "candidates" / "m.csv")
    picks.above(0.9).write_star(folder / "m_autopick.star")
    return folder


def test_all_candidates_count_at_a_quarter_diameter(tmp_path, picked):
    label_file(tmp_path / "labels" / "m_manualpick.star")
    text = run(
        *("evaluate", picked, "--labels", tmp_path / "labels", "-d", DIAMETER),
        *("-o", tmp_path / "out"),
    )
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert figures["average_precision"] == pytest.approx(0.5)
    assert figures["picks"] == 4 and figures["match_radius_pixels"] == [5.0, 5.0]
    assert figures["best"]["threshold"] == 2 and figures["best"]["f1"] == pytest.approx(2 / 3)
    assert figures["at_recall"]["0.8"] is None
    assert "match radius 20 Å = 5 pixels" in text and "random points" in text
    assert "suggested threshold: 0.8808, where F1 is highest" in text  # log-odds 2
    assert "precision at 90% recall not reached" in text
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_wider_radius_finds_more(tmp_path, picked):
    label = label_file(tmp_path / "m.star")
    text = run("evaluate", picked, "--labels", label, "-d", DIAMETER, "--radius", 24.1)
    assert "recall of all picks 0.7500" in text


def test_names_without_partner_are_said(tmp_path, picked):
    labels = tmp_path / "labels"
    for name in ("m", "one", "two", "three", "vier"):
        label_file(labels / f"{name}.star", micrograph=f"{name}.mrc")
    text = run("evaluate", picked, "--labels", labels, "-d", DIAMETER)
    assert text.startswith("1 micrograph with picks and labels")
    assert "4 micrographs with labels but no picks, left out: one, three, two and 1 more" in text
    label_file(labels / "m.star", TRUTH[:0])
    assert "no micrograph has both" in run("evaluate", picked, "-l", labels, "-d", 80, code=2)
    (labels / "m.star").unlink()
    text = run("evaluate", picked, "--labels", labels, "-d", DIAMETER, code=2)
    assert "first picks are of m, the first labels of one." in text


def test_star_files_of_other_programs_need_the_pixel_size(tmp_path, picked):
    label = label_file(tmp_path / "m.star")
    other = tmp_path / "other" / "deep"
    other.mkdir(parents=True)
    at = TRUTH + OFF
    write_picks_star(other / "m_autopick.star", "elsewhere/m.mrc", at[:, 1], at[:, 0], LOGITS)
    (other / "job.star").write_text("data_job\n\n_rlnJobTypeLabel relion.autopick\n")
    options = ["evaluate", tmp_path / "other", "-l", label, "-d", DIAMETER]
    assert "--pixel-size" in run(*options, code=2)
    text = run(*options, "-p", PIXEL, "--shape", 100, 120)
    assert "average precision 0.5000" in text and "at score 2" in text
    assert "calibration" not in text


def test_one_star_file_for_all_micrographs(tmp_path, picked):
    (picked / "candidates" / "n.csv").write_text(
        (picked / "candidates" / "m.csv").read_text().replace("/data/m.mrc", "/data/n.mrc")
    )
    table = (
        "data_particles\n\nloop_\n_rlnMicrographName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
    )
    for name, points in (("m", TRUTH), ("n", TRUTH + OFF)):
        table += "".join(f"000001@mc/{name}.mrc {x} {y}\n" for y, x in points)
    (tmp_path / "particles.star").write_text(table.replace("000001@", ""))
    text = run("evaluate", picked, "-l", tmp_path / "particles.star", "-d", DIAMETER)
    assert "2 micrographs with picks and labels" in text
    assert "labels, picks 8, 8" in text


def test_a_user_is_warned_of_labels_in_other_pixels_and_of_missing_ones(tmp_path, picked):
    label = label_file(tmp_path / "m.star", TRUTH * 4)
    text = run("evaluate", picked, "-l", label, "-d", DIAMETER, "--incomplete")
    assert "Warning: 3 labels outside of the micrograph" in text
    assert "lower bounds" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{tmp}/nothing", "-l", "{label}", "-d", 80], "no such file"),
        (["{picked}", "-l", "{tmp}/nothing", "-d", 80], "no such file"),
        (["{picked}", "-l", "{tmp}/empty", "-d", 80], "no files with coordinates"),
        (["{picked}", "-l", "{tmp}/twice", "-d", 80], "both of the micrograph m"),
        (["{picked}", "-l", "{tmp}/broken", "-d", 80], "bad.star"),
        (["{picked}", "-l", "{label}", "-d", -80], "radius"),
        (["{picked}", "-l", "{label}", "-d", 80, "-p", 0], "pixel size"),
        (["{picked}", "-l", "{label}", "-d", 80, "-o", "{label}"], "cannot be written"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, picked, arguments, says):
    label = label_file(tmp_path / "m.star")
    (tmp_path / "empty").mkdir()
    label_file(tmp_path / "twice" / "m.star")
    label_file(tmp_path / "twice" / "m_autopick.star")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bad.star").write_text(
        "data_\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n1 two\n"
    )
    places = {"tmp": tmp_path, "picked": picked, "label": label}
    text = run(
        "evaluate",
        *(a.format(**places) if isinstance(a, str) else a for a in arguments),
        code=2,
    )
    assert says in text and "Traceback" not in text


def test_probabilities_are_those_of_the_thresholds(tmp_path, picked):
    label_file(tmp_path / "m.star")
    run("evaluate", picked, "-l", tmp_path / "m.star", "-d", DIAMETER, "-o", tmp_path / "out")
    best = json.loads((tmp_path / "out" / "evaluation.json").read_text())["best"]
    assert logit(best["probability"]) == pytest.approx(best["threshold"])
