"""What the experiments share: data sets, draws of labels, scores, and the table of results.

Coordinates are pixels of the micrograph, y (row) before x (column). Picks are arrays (n, 3) of y, x
and score; results are rows of a CSV file that an experiment adds to as they come.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_so3.io.micrographs import MicrographError, find_micrographs, read_micrograph
from napari_so3.io.star import read_coordinates
from napari_so3.picking.evaluate import match_points, precision_recall
from napari_so3.picking.picks import Picks
from napari_so3.training.datasets import (
    APOFERRITIN,
    BETA_GALACTOSIDASE,
    PROTEASOME,
    SINGLE_FRAMES,
    DataSet,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COUNTS = (10, 25, 50, 100)
DRAWS = (0, 1, 2, 3, 4)
MICROGRAPHS_PER_DRAW = 3
MATCH = 0.25  # diameters
TOPAZ_PIXELS = (22, 15)  # across a particle, as Topaz sees it


@dataclass(frozen=True, kw_only=True)
class Case(DataSet):
    """A data set of an experiment.

    Parameters
    ----------
    key : str
        Its name in tables and on the command line.
    radius : float
        A pick is right within this of a label, pixels; a quarter of the diameter.
    topaz_scales : tuple of int
        Factors by which Topaz downsamples, the first for its training: the particle must fit the
        receptive field of resnet8, 71 pixels.
    """

    key: str
    radius: float
    topaz_scales: tuple[int, ...]

    def micrograph(self, data: Path, stem: str) -> Path:
        """Path of a micrograph."""
        return data / self.micrographs / f"{stem}.mrc"

    def labels(self, data: Path, held_out: bool = False) -> dict[str, NDArray[np.float64]]:
        """Read the labels of the training or of the validation micrographs.

        Parameters
        ----------
        data : Path
            Data folder.
        held_out : bool
            Which of the two.

        Returns
        -------
        dict
            Name of the micrograph to (n, 2) y and x, pixels, in the order of the names.

        Raises
        ------
        StarError
            A coordinate file cannot be read.
        """
        labels = {}
        for star in sorted((data / self.coordinates).glob("*.star")):
            if star.name.startswith(self.held_out) == held_out:
                points = read_coordinates(star)[["y", "x"]].to_numpy()
                labels[star.stem] = points * self.coordinate_scale
        return labels

    def mean_labels(self, data: Path) -> float:
        """Mean number of labels of a training micrograph: how many particles to expect."""
        return float(np.mean([len(points) for points in self.labels(data).values()]))


def _case(what: DataSet, key: str, radius: float, topaz_scales: tuple[int, ...]) -> Case:
    return Case(**vars(what), key=key, radius=radius, topaz_scales=topaz_scales)


CASES = {
    case.key: case
    for case in (
        _case(APOFERRITIN, "apoferritin", 22.0, (4, 6)),
        _case(SINGLE_FRAMES, "single_frame", 11.0, (2, 3)),
        _case(BETA_GALACTOSIDASE, "beta_gal", 6.0, (1, 2)),
        _case(PROTEASOME, "t20s", 5.0, (1, 2)),
    )
}


def simulated_case(folder: Path, diameter: float) -> Case:
    """Describe a folder of simulated micrographs, NAME.mrc beside NAME.star, all of them held out.

    Parameters
    ----------
    folder : Path
        The folder; give its parent as the data folder.
    diameter : float
        Of the particle, Å.

    Returns
    -------
    Case
        With the pixel size of the first micrograph.

    Raises
    ------
    MicrographError
        There is no micrograph or it has no pixel size.
    """
    first = read_micrograph(find_micrographs([folder])[0])
    if first.pixel_size is None:
        raise MicrographError(f"{first.path.name}: its header has no pixel size.")
    across = diameter / first.pixel_size
    return Case(
        name=folder.name,
        key=folder.name,
        micrographs=folder.name,
        coordinates=folder.name,
        pixel_size=first.pixel_size,
        diameter=diameter,
        held_out=("",),
        radius=MATCH * across,
        topaz_scales=tuple(sorted({max(1, round(across / pixels)) for pixels in TOPAZ_PIXELS})),
    )


def draw_labels(data: Path, what: Case, count: int, draw: int) -> dict[str, NDArray[np.float64]]:
    """Draw the few labels that every picker is trained on.

    A draw is three training micrographs and an order of all their labels; ``count`` of them are
    taken, so that the larger counts of a draw contain the smaller ones.

    Parameters
    ----------
    data : Path
        Data folder.
    what : DataSet
        Which set.
    count : int
        Number of labels, on all three micrographs together.
    draw : int
        Seed.

    Returns
    -------
    dict
        Name of the micrograph to (n, 2) y and x, pixels; n may be 0.

    Raises
    ------
    ValueError
        The three micrographs have fewer labels.
    """
    rng = np.random.default_rng(draw)
    labels = what.labels(data)
    stems = sorted(rng.choice(sorted(labels), MICROGRAPHS_PER_DRAW, replace=False).tolist())
    owner = np.concatenate([np.full(len(labels[stem]), i) for i, stem in enumerate(stems)])
    if len(owner) < count:
        raise ValueError(f"{what.key}: the micrographs of draw {draw} have {len(owner)} labels.")
    points = np.concatenate([labels[stem] for stem in stems])
    chosen = rng.permutation(len(points))[:count]
    return {stem: points[chosen[owner[chosen] == i]] for i, stem in enumerate(stems)}


@dataclass(frozen=True)
class Quality:
    """How good the picks of a set of micrographs are, pooled.

    Parameters
    ----------
    ap : float
        Average precision.
    f1 : float
        Best F1 over all thresholds.
    f1_all : float
        F1 of all picks, for pickers without scores.
    n_picks : int
        Number of picks.
    """

    ap: float
    f1: float
    f1_all: float
    n_picks: int


def measure(
    found: dict[str, NDArray[np.float64]], labels: dict[str, NDArray[np.float64]], radius: float
) -> Quality:
    """Compare picks with the labels of the same micrographs.

    Parameters
    ----------
    found : dict
        Name of the micrograph to (n, 3) y, x and score, in any order.
    labels : dict
        Name of the micrograph to (n, 2) y and x.
    radius : float
        Match radius, pixels.

    Returns
    -------
    Quality
        Of all micrographs together, picks ranked by score over all of them.

    Raises
    ------
    KeyError
        A labelled micrograph has not been picked.
    """
    hits, scores = [], []
    for stem, points in labels.items():
        ranked = _best_first(found[stem])
        hits.append(match_points(ranked[:, :2], points, radius))
        scores.append(ranked[:, 2])
    n_labels = sum(len(points) for points in labels.values())
    curve = precision_recall(np.concatenate(scores), np.concatenate(hits), n_labels)
    if curve.best is None:
        return Quality(0.0, 0.0, 0.0, 0)
    n_picks = sum(len(part) for part in hits)
    return Quality(curve.average_precision, curve.best.f1, float(curve.f1[-1]), n_picks)


def _best_first(picks: NDArray[np.float64]) -> NDArray[np.float64]:
    return picks[np.argsort(-picks[:, 2], kind="stable")]


def recall_at(
    found: dict[str, NDArray[np.float64]],
    labels: dict[str, NDArray[np.float64]],
    radius: float,
    n: int,
) -> float:
    """Find the share of the labels that is among the ``n`` best picks of each micrograph."""
    hits = 0
    for stem, points in labels.items():
        hits += int(match_points(_best_first(found[stem])[:n, :2], points, radius).sum())
    return hits / sum(len(points) for points in labels.values())


def read_candidates(folder: Path) -> dict[str, NDArray[np.float64]]:
    """Read all candidates that ``napari-so3 pick -o FOLDER`` has written, above no threshold."""
    return {
        path.stem: Picks.read_csv(path).table[["y", "x", "logit"]].to_numpy()
        for path in sorted((folder / "candidates").glob("*.csv"))
    }


def add_row(table: Path, **row: object) -> None:
    """Add one result to a CSV file and print it; the first row names the columns of all."""
    new = not table.exists()
    table.parent.mkdir(parents=True, exist_ok=True)
    shown = {key: f"{v:.4f}" if isinstance(v, float) else str(v) for key, v in row.items()}
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, shown, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(shown)
    print(", ".join(f"{key} {value}" for key, value in shown.items()), flush=True)


def has_row(table: Path, **row: object) -> bool:
    """Whether the CSV file holds a result with these values, so that a cut run can go on."""
    if not table.exists():
        return False
    known = pd.read_csv(table, dtype=str)
    same = [known[key] == str(value) for key, value in row.items()]
    return bool(np.logical_and.reduce(same).any())
