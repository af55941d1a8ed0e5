"""The pose model of the sample's barrels, from picks to a word about their views."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_so3.io.micrographs import Micrograph
from napari_so3.poses.blur import blur_of_confidence
from napari_so3.poses.coverage import view_coverage
from napari_so3.poses.coverage_words import words
from napari_so3.poses.errors import group_matrices, pose_errors
from napari_so3.poses.estimate import PoseSettings, estimate_poses
from napari_so3.poses.estimator import bundled_estimators, load_estimator
from napari_so3.simulation.density import barrel
from napari_so3.simulation.micrograph import simulate_micrograph
from napari_so3.simulation.sample import SAMPLE_CONFIG, sample_micrograph
from napari_so3.simulation.views import Views
from napari_so3.so3.rotations import euler_to_matrix


def estimated(made, refine=False):
    micrograph = Micrograph(Path("made.mrc"), made.image, made.pixel_size, "given")
    points = made.truth[["y", "x"]].to_numpy()
    *_, poses = estimate_poses(
        micrograph, points, load_estimator("barrel"), PoseSettings(refine=refine)
    )
    true = euler_to_matrix(*made.truth[["rot", "tilt", "psi"]].to_numpy().T).numpy()
    return poses, pose_errors(poses.matrices, true, "D7")


def test_models_are_there_by_name():
    assert "barrel" in bundled_estimators()
    for name, path in bundled_estimators().items():
        assert load_estimator(name).name == path.stem


def test_the_poses_of_the_sample_are_found_and_refined():
    poses, errors = estimated(sample_micrograph())
    refined, closer = estimated(sample_micrograph(), refine=True)
    assert errors.hits[15] > 0.85 and errors.median_deg < 10
    assert closer.median_deg < 3.5
    assert poses.table["confidence"].mean() == pytest.approx(errors.hits[15], abs=0.1)
    assert refined.table["correlation"].mean() > poses.table["correlation"].mean()


@pytest.mark.parametrize("refine", [False, True])
def test_preferred_views_are_told_from_even_ones(refine):
    group = group_matrices("D7")
    config = replace(SAMPLE_CONFIG, carbon=False, n_particles=150)
    for views, preferred in ((Views(), False), (Views(((0.0, 90.0),), width=8.0), True)):
        made = simulate_micrograph(
            barrel(), replace(config, views=views), torch.Generator().manual_seed(3)
        )
        poses, _ = estimated(made, refine)
        blur = blur_of_confidence(poses.table["confidence"].to_numpy())
        coverage = view_coverage(poses.matrices, group, blur=blur)
        assert coverage.is_preferred == preferred, words(coverage)
        assert ("side views" in words(coverage)) == preferred
    assert np.isfinite(coverage.effective_views)
