"""Where the time goes inside a process that has started: the stages from file to picks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import DIAMETER, EDGE, GRIDS, PIXEL_SIZE
from grouped import score as score_grouped
from measure import Cost, Costs

from napari_so3.io.micrographs import Micrograph, read_micrograph
from napari_so3.picking.pick import PickSettings, find_picks, prepare
from napari_so3.picking.picker import Picker, load_picker
from napari_so3.picking.preprocess import (
    WINDOW,
    WorkingImage,
    fourier_resample,
    mend_pixels,
    normalise_locally,
)
from napari_so3.picking.score import Scorer, ScoreMaps

SETTINGS = PickSettings(DIAMETER)
