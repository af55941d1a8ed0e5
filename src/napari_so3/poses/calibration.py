"""How large the errors of a pose estimator are, and how sure it may be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.poses.distribution import NEAR
from napari_so3.poses.estimator import PoseEstimator
from napari_so3.so3.pose_networks import PoseNet
from napari_so3.so3.rotations import geodesic_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.poses.distribution import PoseDistribution
    from napari_so3.poses.source import PoseImages
    from napari_so3.training.fit import Validate

TEMPERATURES = np.geomspace(0.25, 64.0, 65)


def judge_by_error(images: PoseImages) -> Validate:
    """Give a validation for `fit`: minus the mean error on some images, radians."""

    def validate(net: torch.nn.Module) -> float:
        assert isinstance(net, PoseNet)
        return -float(errors(_estimate(net, images.images), images.rotations).mean())

    return validate


@torch.inference_mode()
def _estimate(net: PoseNet, images: Tensor) -> PoseDistribution:
    return PoseEstimator(net, "", 1.0, 1.0).estimate(images)


def errors(distribution: PoseDistribution, rotations: Tensor) -> Tensor:
    """Angles from the likeliest poses to the true ones, up to symmetry.

    Parameters
    ----------
    distribution : PoseDistribution
        Of n images.
    rotations : Tensor
        (n, 3, 3) true ones.

    Returns
    -------
    Tensor
        (n,) float64 radians.
    """
    return angles_between(distribution.mode, rotations, distribution.group)


def angles_between(
    poses: NDArray[np.float64], rotations: Tensor, group: NDArray[np.float64]
) -> Tensor:
    """Angles (n,) from poses (n, 3, 3) to rotations (n, 3, 3), up to symmetry (G, 3, 3)."""
    copies = rotations.double().cpu()[:, None] @ torch.from_numpy(group)
    return geodesic_distance(torch.from_numpy(poses)[:, None], copies).amin(dim=1)


def calibrate(estimator: PoseEstimator, images: PoseImages) -> tuple[PoseEstimator, str]:
    """Find the temperature at which confidences are right, and the spread of right poses.

    Parameters
    ----------
    estimator : PoseEstimator
        Just trained.
    images : PoseImages
        That it has not seen.

    Returns
    -------
    estimator : PoseEstimator
        With temperature and spread.
    words : str
        How large its errors are.
    """
    plain = replace(estimator, temperature=1.0)
    distribution = plain.estimate(images.images)
    best, degrees = (math.inf, 1.0, 0.1), np.zeros(0)
    for temperature in TEMPERATURES:
        scaled = replace(distribution, logits=distribution.logits / np.float32(temperature))
        poses, shares = scaled.top(1)
        angles = angles_between(poses[:, 0], images.rotations, scaled.group).numpy()
        right = angles <= NEAR
        p = np.clip(shares[:, 0], 1e-4, 1 - 1e-4)
        loss = -float(np.where(right, np.log(p), np.log(1 - p)).mean())
        if loss < best[0]:
            spread = math.sqrt(float((angles[right] ** 2).mean()) / 3) if right.any() else NEAR
            best, degrees = (loss, float(temperature), spread), np.degrees(angles)
    made = replace(estimator, temperature=best[1], spread=best[2])
    words = (
        f"On {len(degrees)} particles that it has not seen: median error "
        f"{np.median(degrees):.1f} degrees, mean {degrees.mean():.1f}, "
        f"{100 * (degrees <= 10).mean():.0f} % within 10 degrees, "
        f"{100 * (degrees <= 30).mean():.0f} % within 30."
    )
    return made, words
