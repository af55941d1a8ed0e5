import subprocess
import sys

import numpy as np
import pytest

from napari_so3.training.advice import FEWEST_TO_HOLD_OUT, check_labels, hold_out
from napari_so3.training.labels import Labels


def points(n, step=50.0, first=0.0):
    return np.column_stack([np.full(n, 10.0 + first), 10.0 + step * np.arange(n)])


def labelled(n_micrographs, positives=20, negatives=10, complete=False):
    one = Labels(points(positives), points(negatives, first=60.0), complete=complete)
    return {f"m{i}.mrc": one for i in range(n_micrographs)}


def said(labels, *arguments):
    return [(a.level, a.text) for a in check_labels(labels, *arguments)]


def texts(labels, *arguments):
    return " ".join(text for _, text in said(labels, *arguments))


@pytest.mark.parametrize(
    ("n", "begins"), [(0, "0 labelled particles are"), (1, "1 labelled particle is")]
)
def test_too_few_labels_forbid_a_training(n, begins):
    ((level, text),) = said({"m.mrc": Labels(points(n), points(30, first=60.0))})
    assert level == "stop" and text.startswith(begins) and "label at least 5, better 50" in text
    assert said({})[0][0] == "stop"


def test_good_labels_need_no_warning():
    ((level, text),) = said(labelled(10, complete=True), 100.0, {"m0.mrc": 4.0})
    assert level == "info"
    assert "160 particles in 8 micrographs; 2 micrographs held out" in text
    assert all(name in text for name in hold_out(labelled(10)))


def test_with_few_micrographs_none_is_held_out():
    assert hold_out(labelled(FEWEST_TO_HOLD_OUT - 1)) == []
    assert len(hold_out(labelled(FEWEST_TO_HOLD_OUT))) == 1
    assert "none is held out" in texts(labelled(3))


def test_micrographs_without_particles_are_never_held_out():
    empty = {f"a{i}.mrc": Labels(complete=True) for i in range(6)}
    assert hold_out(empty | labelled(3)) == []
    assert set(hold_out(empty | labelled(5))) <= set(labelled(5))


def test_few_particles_and_few_micrographs_are_warned_of():
    levels = {text: level for level, text in said(labelled(1, 8))}
    few = [text for text in levels if "8 particles are few" in text]
    one = [text for text in levels if "three micrographs" in text]
    assert few and one and levels[few[0]] == levels[one[0]] == "warn"
    assert "are few" not in texts(labelled(3)) and "carry further" not in texts(labelled(3))


def test_the_balance_of_negatives_is_judged():
    warnings = [text for level, text in said(labelled(3, 20, 61)) if level == "warn"]
    assert len(warnings) == 1 and "183 non-particles for 60 particles" in warnings[0]
    assert "non-particles" not in texts(labelled(3, 20, 60))
    assert "No non-particles are labelled" in texts(labelled(3, 20, 0))
    assert "No non-particles" not in texts(labelled(3, 20, 0, complete=True))


def test_incomplete_held_out_micrographs_make_the_auprc_a_lower_bound():
    assert "lower bound" in texts(labelled(5))
    assert "lower bound" not in texts(labelled(5, complete=True))
    assert "lower bound" not in texts(labelled(3))


def test_an_empty_complete_micrograph_is_pointed_at():
    labels = labelled(3) | {"empty.mrc": Labels(negatives=points(2), complete=True)}
    assert "without a particle: empty.mrc; all of it" in texts(labels)


def test_marks_nearer_than_a_quarter_of_the_diameter_are_found():
    near = Labels(np.array([[10, 10], [10, 15.9]] + [[200, 60 * i] for i in range(6)], float))
    assert "1 pair of labels is nearer than a quarter of the diameter (24 Å), in m0.mrc" in texts(
        labelled(3) | {"m0.mrc": near}, 96.0, {"m0.mrc": 4.0, "m1.mrc": 4.0}
    )
    assert "nearer" not in texts({"m0.mrc": near}, 94.0, {"m0.mrc": 4.0})
    assert "nearer" not in texts({"m0.mrc": near}, 96.0), "the pixel size is not known"
    both = Labels(points(8), points(8, first=1.0))
    assert "8 pairs of labels are nearer" in texts({"m0.mrc": both}, 96.0, {"m0.mrc": 4.0})


def test_advice_does_not_wait_for_torch():
    code = "import sys, napari_so3.training.advice as a; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
