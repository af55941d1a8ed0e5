"""Score maps as a file that NumPy reads."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.insight.rotation_maps import RotationMaps


def save_maps(path: Path, maps: RotationMaps) -> None:
    """Write the maps of all rotations as NPZ, one after another: they need not fit into memory.

    `numpy.load` gives ``stack`` (R, h, w) float16 logits of every rotation, ``log_odds`` (h, w)
    float32 calibrated log-odds of all together, ``best`` (h, w) int16 the rotation with the largest
    logit, ``angles`` (R, 3) rot, tilt and psi in degrees, ``scale`` micrograph pixels per map pixel
    along y and x, and ``pixel_size`` Å per pixel of the micrograph.

    Parameters
    ----------
    path : Path
        File; replaced as a whole.
    maps : RotationMaps
        Of a micrograph.
    """
    arrays: dict[str, NDArray[Any]] = {
        "log_odds": maps.log_odds,
        "best": maps.best,
        "angles": maps.rotations.angles,
        "scale": np.array(maps.scale),
        "pixel_size": np.array(maps.pixel_size),
    }
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        header = {"descr": "<f2", "fortran_order": False, "shape": tuple(maps.stack.shape)}
        with archive.open("stack.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for rotation in range(len(maps.rotations)):
                file.write(np.asarray(maps.stack[rotation], dtype="<f2").tobytes())
