"""Train ours on few labels: ``python docs/experiments/few_labels.py DATA -o FOLDER``.

Fine-tuning of a model and training from scratch, on the draws of ``common.draw_labels``: the very
labels that ``topaz.py`` is trained on. Both are told the mean number of particles in
a micrograph. The validation micrographs are picked up to the border, as Topaz does it, and all
candidates scored. Results are added to FOLDER/few_labels.csv (what is there already is not run
again); at the end all counts are summed up, together with the tables of ``--compare``.

A model that has seen the training micrographs of a set with all their labels, as the bundled one
has, is no fair start on that set: give one trained without it (``-m``).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from common import CASES, COUNTS, DRAWS, add_row, draw_labels, has_row, measure

from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.pick import PickSettings, pick
from napari_so3.picking.picker import Picker, load_picker
from napari_so3.picking.picks import Picks
from napari_so3.picking.score import Scorer
from napari_so3.training.labels import Labels
from napari_so3.training.teach import TeachSettings, teach
from napari_so3.training.tiles import LabelledMicrograph

if TYPE_CHECKING:
    from common import Case, Quality

TABLE = "few_labels.csv"
STARTS = {"pretrained": False, "scratch": True}  # whether from scratch


def train(data: Path, what: Case, count: int, draw: int, start: Picker, scratch: bool) -> Picker:
    """Train on one draw of labels, with the draw as seed."""
    micrographs = {
        stem: LabelledMicrograph(
            read_micrograph(what.micrograph(data, stem), what.pixel_size),
            Labels(points),
            what.diameter,
        )
        for stem, points in draw_labels(data, what, count, draw).items()
    }
    expected = what.mean_labels(data)
    settings = TeachSettings(from_scratch=scratch, expected=expected, seed=draw)
    *_, made = teach(micrographs, start, settings)
    if not isinstance(made, Picker):
        raise TypeError("the training ended without a picker")
    return made


def validate(data: Path, what: Case, picker: Picker) -> Quality:
    """Pick the validation micrographs up to the border."""
    labels = what.labels(data, held_out=True)
    scorer = Scorer(picker.net, torch.device("cpu"))
    settings = PickSettings(what.diameter, margin=0.0)
    found = {}
    for stem in labels:
        micrograph = read_micrograph(what.micrograph(data, stem), what.pixel_size)
        for event in pick(micrograph, picker, settings, scorer):
            if isinstance(event, Picks):
                found[stem] = event.table[["y", "x", "logit"]].to_numpy()
    return measure(found, labels, what.radius)


def run_one(arguments: argparse.Namespace, what: Case, count: int, draw: int, start: str) -> None:
    """Train, validate, add the row; a count of 0 is the model as it comes."""
    table = arguments.output / TABLE
    model = load_picker(arguments.model)
    key = {"method": "napari-so3", "start": start, "data": what.key, "count": count, "draw": draw}
    if has_row(table, **key, note=model.name):
        return
    wall, cpu = time.perf_counter(), time.process_time()
    made = train(arguments.data, what, count, draw, model, STARTS[start]) if count else model
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    quality = validate(arguments.data, what, made)
    add_row(
        table,
        **key,
        AP=quality.ap,
        F1=quality.f1,
        seconds=wall,
        cpu_seconds=cpu,
        note=model.name,
    )


def summarise(tables: list[Path]) -> str:
    """Average precision, mean ± standard deviation over draws, and median CPU time of a training.

    Parameters
    ----------
    tables : list of Path
        Results of this script and of ``topaz.py``.

    Returns
    -------
    str
        A Markdown table: one row per data set and count, one column per method, start and note.
    """
    rows = pd.concat([pd.read_csv(table, keep_default_na=False) for table in tables])
    rows["case"] = rows["data"] + " | " + rows["count"].astype(str)
    rows["column"] = rows["method"] + ", " + rows["start"] + ", " + rows["note"]
    columns = list(dict.fromkeys(rows["column"]))
    lines = [f"| data | labels | {' | '.join(columns)} |", "|--" * (len(columns) + 2) + "|"]
    for case, group in rows.sort_values(["data", "count"]).groupby("case", sort=False):
        cells = [_cell(group[group["column"] == column]) for column in columns]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    spread = f" ± {rows['AP'].std():.3f}" if len(rows) > 1 else ""
    cost = f"n = {len(rows)}, {rows['cpu_seconds'].median():.0f} s"
    return f"{rows['AP'].mean():.3f}{spread} ({cost})"


def main() -> None:
    """Read the command line and run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-m", "--model", default="general", help="to start from")
    parser.add_argument("--sets", nargs="+", default=["apoferritin", "beta_gal"], choices=CASES)
    parser.add_argument("--counts", nargs="*", type=int, default=(0, *COUNTS))
    parser.add_argument("--draws", nargs="*", type=int, default=DRAWS)
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; Topaz has one")
    parser.add_argument("--compare", nargs="*", type=Path, default=[], help="tables of topaz.py")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for draw in arguments.draws:
        for count in arguments.counts:
            for start in arguments.starts:
                for name in arguments.sets:
                    if count or (draw == 0 and start == "pretrained"):
                        run_one(arguments, CASES[name], count, draw, start)
    print(summarise([arguments.output / TABLE, *arguments.compare]))


if __name__ == "__main__":
    main()
