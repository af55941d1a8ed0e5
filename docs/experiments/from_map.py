"""Pick T20S by its map alone: ``python docs/experiments/from_map.py DATA -o FOLDER``.

The general model, the matcher and a model that ``napari-so3 train --from-map`` makes from the map
and six unlabelled micrographs, each picked with a diameter of 150 Å: the recall of the labelled
particles among the best N picks of each micrograph, within 5 pixels. Prints a Markdown table and
writes the trained model to FOLDER; rows of ``no_labels.py`` about Topaz on T20S are added when
its table is in FOLDER.

A micrograph shows about 600 particles, of which 50 are labelled: picks that are all right find
N / 600 of the labels. The general model has been trained on this map and on the labels of the
three training micrographs, so that only the validation micrograph compares it with the others.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from common import CASES, recall_at
from no_labels import TABLE

from napari_so3.io.micrographs import find_micrographs, read_micrograph
from napari_so3.picking.pick import PickSettings, choose_device, pick
from napari_so3.picking.picker import Picker, load_picker
from napari_so3.picking.picks import Picks
from napari_so3.picking.score import Scorer
from napari_so3.simulation.volume import read_density
from napari_so3.training.from_map import MapSettings, learn_map
from napari_so3.training.matcher import make_matcher
from napari_so3.training.teach import Note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_so3.simulation.volume import DensityMap

MAP = "maps/densities/1pma_T20S_proteasome_28chains.mrc"
T20S = CASES["t20s"]
OWN = 6  # unlabelled micrographs
BEST = (100, 200, 300, 450, 600)


@dataclass(frozen=True)
class Row:
    """A model, how long it took to make (s), and its recalls on two sets of micrographs."""

    model: str
    seconds: float
    held_out: list[float]
    others: list[float]

    def line(self) -> str:
        """As a row of the table."""
        figures = [f"{value:.2f}" for value in (*self.held_out, *self.others)]
        return " | ".join(("", self.model, f"{self.seconds:.0f}", *figures, "")).strip()


def train(density: DensityMap, start: Picker, data: Path, steps: int, seed: int) -> Picker:
    """Make a picker from the map and unlabelled micrographs, not the one for validation."""
    paths = find_micrographs([data / T20S.micrographs])
    paths = [path for path in paths if not path.name.startswith(T20S.held_out)][:OWN]
    own = [read_micrograph(path, T20S.pixel_size) for path in paths]
    settings = MapSettings(diameter=T20S.diameter, steps=steps, seed=seed)
    for event in learn_map(density, start, settings, own, "from map", device=choose_device()):
        if isinstance(event, Note):
            print(event.text)
        elif isinstance(event, Picker):
            return event
    raise RuntimeError("the training gave no picker")


def find(data: Path, picker: Picker, stems: Iterable[str]) -> dict[str, NDArray]:
    """Pick up to the border: name of the micrograph to (n, 3) y, x and score."""
    scorer, found = Scorer(picker.net, choose_device()), {}
    for stem in stems:
        micrograph = read_micrograph(T20S.micrograph(data, stem), T20S.pixel_size)
        for event in pick(micrograph, picker, PickSettings(T20S.diameter, margin=0.0), scorer):
            if isinstance(event, Picks):
                found[stem] = event.table[["y", "x", "logit"]].to_numpy()
    return found


def judge(data: Path, picker: Picker, seconds: float, name: str) -> Row:
    """Pick the four labelled micrographs and find the recalls."""
    recalls = []
    for held_out in (True, False):
        labels = T20S.labels(data, held_out)
        found = find(data, picker, labels)
        recalls.append([recall_at(found, labels, T20S.radius, n) for n in BEST])
    return Row(name, seconds, *recalls)


def topaz_lines(table: Path) -> list[str]:
    """Rows of Topaz' pretrained networks, as far as ``no_labels.py`` has measured them."""
    if not table.exists():
        return []
    rows = pd.read_csv(table)
    rows = rows[(rows["data"] == T20S.key) & rows["method"].str.startswith("topaz")]
    known = [f"recall_{n}" for n in BEST if f"recall_{n}" in rows]
    empty = [""] * (2 * len(BEST) - len(known))
    return [
        " | ".join(
            (
                "",
                f"{row['method']}, {row['note']}",
                "0",
                *(f"{row[k]:.2f}" for k in known),
                *empty,
                "",
            )
        ).strip()
        for _, row in rows.iterrows()
    ]


def main() -> None:
    """Read the command line, make the models, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-m", "--model", default="general", help="to start from and compare with")
    parser.add_argument("--steps", type=int, default=MapSettings.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    density, general = read_density(arguments.data / MAP), load_picker(arguments.model)
    rows = [judge(arguments.data, general, 0.0, general.name)]
    started = time.perf_counter()
    matcher = make_matcher(density, T20S.diameter, "D7")
    rows.append(judge(arguments.data, matcher, time.perf_counter() - started, "matcher"))
    started = time.perf_counter()
    trained = train(density, general, arguments.data, arguments.steps, arguments.seed)
    seconds = time.perf_counter() - started
    trained.save(arguments.output / "from_map.safetensors")
    rows.append(judge(arguments.data, trained, seconds, f"trained, {arguments.steps} steps"))
    heads = [f"{what} {n}" for what in ("validation", "other 3") for n in BEST]
    print("", "model", "seconds to make", *heads, "", sep=" | ")
    print("|--" * (2 + len(heads)) + "|")
    print(*(row.line() for row in rows), *topaz_lines(arguments.output / TABLE), sep="\n")


if __name__ == "__main__":
    main()
