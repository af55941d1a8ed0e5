"""Time and peak memory from MRC files to picks: whole commands against two rivals.

"Every further micrograph" is what one more adds to a run: the cost without start-up.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from cases import EDGE, GRIDS, Pick, pick_grouped, pick_ours, pick_topaz
from measure import Costs
from scipy.spatial import cKDTree

from napari_so3.picking.picks import Picks

ROUNDS = 3
GROUPED_BYTES = 10e9  # the grouped convolution with 256 rotations of 512 x 512 working pixels


class Contest:
    """Measures a way of picking and files its cost under one or more grids."""

    def __init__(self, benchmark: Any, costs: Costs, paths: list[Path], folder: Path) -> None:
        self.benchmark, self.costs, self.paths, self.folder = benchmark, costs, paths, folder

    def enter(self, name: str, pick: Pick, tool: Path, grids: list[int]) -> Path:
        """Pick a few times; return the folder of the last picks."""
        rounds = []

        def work() -> None:
            rounds.append(pick(tool, self.paths, self.folder / f"round{len(rounds)}"))

        self.benchmark.pedantic(work, rounds=ROUNDS)
        self.benchmark.extra_info["peak_bytes"] = max(r.peak for r in rounds)
        for n in grids:
            single = f"R = {n}: one micrograph of {EDGE} x {EDGE}, start-up included"
            if len(self.paths) == 1:
                self.costs.add(single, name, rounds)
            else:
                further = f"R = {n}: every further micrograph"
                self.costs.add_further(further, single, name, rounds, len(self.paths))
        return self.folder / f"round{ROUNDS - 1}"


@pytest.fixture(params=[1, 3], ids=["1micrograph", "3micrographs"])
def contest(
    request: pytest.FixtureRequest,
    benchmark: Any,
    costs: Costs,
    micrographs: list[Path],
    tmp_path: Path,
) -> Contest:
    """Pick one micrograph, then several."""
    return Contest(benchmark, costs, micrographs[: request.param], tmp_path)


@pytest.mark.parametrize("rotations", GRIDS)
def test_ours(contest: Contest, models: dict[int, Path], rotations: int) -> None:
    folder = contest.enter("napari-so3", pick_ours, models[rotations], [rotations])
    assert len(Picks.read_csv(folder / "candidates" / "micrograph0.csv").above(0.5)) > 0


@pytest.mark.parametrize("rotations", GRIDS)
def test_grouped(contest: Contest, models: dict[int, Path], rotations: int, tmp_path: Path) -> None:
    needed = GROUPED_BYTES * (rotations / 256) * (EDGE / 4096) ** 2
    if psutil.virtual_memory().available < needed:
        pytest.skip(f"the grouped convolution needs {needed / 1e9:.0f} GB of free memory here")
    folder = contest.enter("(a) grouped convolution", pick_grouped, models[rotations], [rotations])
    theirs = Picks.read_csv(folder / "micrograph0.csv").above(0.5)
    pick_ours(models[rotations], contest.paths[:1], tmp_path / "ours")
    ours = Picks.read_csv(tmp_path / "ours" / "candidates" / "micrograph0.csv").above(0.5)
    tree = cKDTree(ours.table[["y", "x"]].to_numpy())
    apart, _ = tree.query(theirs.table[["y", "x"]].to_numpy())
    assert abs(len(theirs) - len(ours)) <= 0.02 * len(ours)
    assert np.mean(apart < 1.0) > 0.98  # the same picks but for rounding


def test_topaz(contest: Contest) -> None:
    topaz = os.environ.get("NAPARI_SO3_TOPAZ") or shutil.which("topaz")
    if topaz is None:
        pytest.skip("no topaz: put topaz-em 0.3.20 on PATH, or name its program NAPARI_SO3_TOPAZ")
    folder = contest.enter("(b) topaz", pick_topaz, Path(topaz), list(GRIDS))
    picks = pd.read_csv(folder / "picks.txt", sep="\t")
    assert (picks["score"] > 0).any()
