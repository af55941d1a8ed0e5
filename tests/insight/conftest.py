"""Maps of made-up logits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_so3.insight.evidence import weigh
from napari_so3.insight.rotation_maps import RotationMaps, Rotations
from napari_so3.so3.rotations import RotationGrid


@pytest.fixture
def rotations() -> Callable[[int, int], Rotations]:
    """Make the rotations of a grid: ``rotations(n_views, n_psi)``."""

    def make(n_views: int, n_psi: int) -> Rotations:
        grid = RotationGrid(n_views, n_psi)
        return Rotations(grid.euler_angles, grid.directions.numpy(), n_psi)

    return make


@pytest.fixture
def make_maps(rotations: Callable[[int, int], Rotations]) -> Callable[..., RotationMaps]:
    """Make maps of logits (R, h, w): ``make_maps(logits, n_psi, calibration=(0.5, -1.0))``."""

    def make(logits: NDArray[Any], n_psi: int, **options: Any) -> RotationMaps:
        stack = np.asarray(logits, np.float16)
        how, prior = options.get("aggregation", "al1"), options.get("prior", 0.5)
        joined = weigh(stack, how, prior).logit.astype(np.float32)
        best = stack.argmax(axis=0).astype(np.int16)
        return RotationMaps(
            stack, joined, best, (4.0, 4.0), 2.0, rotations(len(stack) // n_psi, n_psi), **options
        )

    return make
