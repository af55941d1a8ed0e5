"""A session of thousands of micrographs, made in seconds: all are links to two files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import mrcfile
import numpy as np
import pandas as pd
from scipy.special import expit

from napari_so3.picking.picks import CANDIDATES, COLUMNS, Picks
from napari_so3.session.journal import SUBFOLDER
from napari_so3.session.state import Session

if TYPE_CHECKING:
    from pathlib import Path

RUN = "general-000000-150A"
SHAPES = ((4096, 4096), (4092, 5760))  # square, and a K3
PIXEL_SIZE, IN_PLANE, ROTATIONS = 1.0, 8, 32


def make_session(folder: Path, micrographs: int, candidates: int) -> Path:
    """Make micrographs, their candidates and a session; give its folder."""
    rng = np.random.default_rng(0)
    session = Session(diameter=150.0, run=RUN, in_plane=IN_PLANE)
    sources = []
    for i, shape in enumerate(SHAPES):
        sources.append(folder / f"source{i}.dat")
        with mrcfile.new(sources[-1]) as mrc:
            mrc.set_data(rng.normal(size=shape).astype(np.float32))
            mrc.voxel_size = PIXEL_SIZE * 1.0001  # 1 Å would stand for unknown
    paths = [folder / f"micrograph_{i:05}.mrc" for i in range(micrographs)]
    for i, path in enumerate(paths):
        os.link(sources[i % len(sources)], path)
    session.add_micrographs(paths)
    session.save_in(folder / SUBFOLDER)
    assert session.run_folder is not None
    tables = session.run_folder / CANDIDATES
    tables.mkdir(parents=True)
    bodies = []
    for shape in SHAPES:
        picks = Picks(_table(rng, candidates, shape), "NAME", _provenance(shape))
        picks.write_csv(tables / "body.csv")
        bodies.append((tables / "body.csv").read_text())
    (tables / "body.csv").unlink()
    for i, path in enumerate(paths):
        text = bodies[i % len(bodies)].replace('"NAME"', f'"{path.name}"', 1)
        (tables / f"{path.stem}.csv").write_text(text)
    session.close()
    return folder / SUBFOLDER


def _table(rng: np.random.Generator, n: int, shape: tuple[int, int]) -> pd.DataFrame:
    logits = np.sort(rng.normal(size=n) * 3)[::-1]
    rotation = rng.integers(ROTATIONS, size=n)
    columns = {
        "y": rng.uniform(0, shape[0] - 1, n),
        "x": rng.uniform(0, shape[1] - 1, n),
        "logit": logits,
        "probability": expit(logits),
        "rotation": rotation,
        "rot": 10.0 * (rotation // IN_PLANE),
        "tilt": 20.0 * (rotation // IN_PLANE),
        "psi": 45.0 * (rotation % IN_PLANE),
    }
    return pd.DataFrame(columns)[list(COLUMNS)]


def _provenance(shape: tuple[int, int]) -> dict[str, object]:
    return {
        "model": "general",
        "fingerprint": "000000",
        "diameter": 150.0,
        "distance": None,
        "margin": None,
        "pixel_size": PIXEL_SIZE * 1.0001,
        "pixel_size_source": "header",
        "shape": list(shape),
        "box": 226,
    }
