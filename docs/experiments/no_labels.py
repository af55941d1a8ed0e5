"""Compare pickers without any labels: ``python docs/experiments/no_labels.py DATA -o FOLDER``.

Ours (``napari-so3 pick``), Topaz' pretrained networks, and on beta-gal the published picks of other
programs, on the validation micrographs. Ours picks up to the border (``--margin 0``), as Topaz does
and as the labels go; with its default margin, a quarter of a diameter, it would miss a tenth of the
labels of apoferritin. ``--simulated FOLDER
DIAMETER`` adds a folder of simulated micrographs (NAME.mrc beside NAME.star). The results are added
to FOLDER/no_labels.csv; what is there already is not run again.

Topaz gets the better of two downsamplings and of two pick radii. T20S has labels for a part of its
particles only: what counts there is the recall among the best 100, 200 and 300 picks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from common import (
    CASES,
    add_row,
    has_row,
    measure,
    read_candidates,
    recall_at,
    simulated_case,
)
from topaz import Topaz, pick, preprocess

if TYPE_CHECKING:
    import numpy as np
    from common import Case
    from numpy.typing import NDArray

TABLE = "no_labels.csv"
TOPAZ_MODELS = ("resnet16_u64", "resnet8_u64")
BEST = (100, 200, 300)
OTHERS = (
    *("repic_crYOLO", "repic_topaz", "repic_deepPicker"),
    *("cassper_crYOLO", "cassper_CASSPER", "cassper_Gautomatch"),
)


def add_result(
    output: Path,
    method: str,
    data: Path,
    what: Case,
    found: dict[str, NDArray[np.float64]],
    seconds: float | str,
    note: str,
) -> None:
    """Score picks and add the row; without scores there is no order, and F1 is that of all."""
    labels = what.labels(data, held_out=True)
    quality = measure(found, labels, what.radius)
    ranked = len({score for picks in found.values() for score in picks[:, 2]}) > 1
    recalls = {f"recall_{n}": recall_at(found, labels, what.radius, n) for n in BEST}
    add_row(
        output / TABLE,
        method=method,
        data=what.key,
        AP=quality.ap if ranked else "",
        F1=quality.f1 if ranked else quality.f1_all,
        F1_all=quality.f1_all,
        **(recalls if ranked else dict.fromkeys(recalls, "")),
        picks=quality.n_picks,
        seconds=seconds,
        note=note,
    )


def run_ours(data: Path, what: Case, model: str, output: Path) -> None:
    """Pick as a user does, but up to the border, and score all candidates."""
    name = Path(model).stem
    if has_row(output / TABLE, method=f"napari-so3 {name}", data=what.key):
        return
    stems = list(what.labels(data, held_out=True))
    folder = output / f"picks_{name}_{what.key}"
    program = str(Path(sys.executable).with_name("napari-so3"))
    settings = ["-d", str(what.diameter), "-p", str(what.pixel_size), "--margin", "0", "-m", model]
    micrographs = [str(what.micrograph(data, stem)) for stem in stems]
    started = time.perf_counter()
    subprocess.run(
        [program, "pick", *settings, "--overwrite", "-o", str(folder), *micrographs], check=True
    )
    seconds = time.perf_counter() - started
    add_result(
        output,
        f"napari-so3 {name}",
        data,
        what,
        read_candidates(folder),
        seconds,
        "all candidates, no margin",
    )


def run_topaz(topaz: Topaz, data: Path, what: Case, model: str, output: Path) -> None:
    """Pick with a pretrained network at two scales and two radii, and add all four rows."""
    stems = list(what.labels(data, held_out=True))
    for scale in what.topaz_scales:
        if has_row(output / TABLE, method=f"topaz {model} 1/{scale}", data=what.key):
            continue
        reading = preprocess(topaz, data, what, stems, scale, output)
        folder = output / f"pretrained_{model}_{what.key}_{scale}"
        across = what.diameter / what.pixel_size / scale
        for picked in pick(topaz, model, reading, across, folder):
            add_result(
                output,
                f"topaz {model} 1/{scale}",
                data,
                what,
                picked.picks,
                picked.cost.cpu_seconds,
                f"pick radius {picked.radius} px of {scale * what.pixel_size:.1f} Å",
            )


def add_others(data: Path, what: Case, output: Path) -> None:
    """Score the published picks of other programs on beta-gal."""
    folder = data / "bgal_10017" / "other_pickers"
    for method in OTHERS:
        found = {
            stem: pd.read_csv(folder / f"{stem}__{method}.csv", comment="#")[
                ["y_bin4", "x_bin4", "score"]
            ].to_numpy(float)
            for stem in what.labels(data, held_out=True)
        }
        if not has_row(output / TABLE, method=method, data=what.key):
            add_result(output, method, data, what, found, "", "published picks")


def main() -> None:
    """Read the command line and run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "-m", "--model", nargs="*", default=["general"], help="of ours; may be none"
    )
    parser.add_argument("--topaz", nargs="*", default=TOPAZ_MODELS, help="its networks, or none")
    parser.add_argument("--sets", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument(
        "--simulated", nargs=2, action="append", default=[], metavar=("FOLDER", "DIAMETER")
    )
    arguments = parser.parse_args()
    cases = [(arguments.data, CASES[name]) for name in arguments.sets]
    for folder, diameter in arguments.simulated:
        cases.append((Path(folder).parent, simulated_case(Path(folder), float(diameter))))
    for data, what in cases:
        for model in arguments.model:
            run_ours(data, what, model, arguments.output)
        for model in arguments.topaz:
            run_topaz(Topaz.find(), data, what, model, arguments.output)
        if what.key == "beta_gal":
            add_others(data, what, arguments.output)


if __name__ == "__main__":
    main()
