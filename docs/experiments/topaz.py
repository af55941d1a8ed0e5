"""Train Topaz on few labels: ``python docs/experiments/topaz.py DATA -o FOLDER``.

Topaz (topaz-em 0.3.20, program ``topaz`` on PATH or named by NAPARI_SO3_TOPAZ) is trained on the
draws of ``common.draw_labels``, picks the validation micrographs, and is scored like everybody
else; the results are added to FOLDER/results.csv, and what is there already is not run again.

resnet8 with 32 units, GE-binomial and all the rest as it comes, from the pretrained network and
from scratch, but for the number of updates: its 10 epochs of 1000 updates take more than three
hours on one CPU core (1.2 s per update). ``--updates 150``, the default, is three minutes.

The fraction of positives is given as ``--pi`` and not as ``-n``: topaz-em 0.3.20 takes a particle
of radius 3 for 203 pixels, not 29 (``pixels_given_radius`` counts a cylinder), and then expects
seven times too many positives. ``--as-documented`` gives ``-n`` all the same.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from common import CASES, COUNTS, DRAWS, add_row, draw_labels, has_row, measure

from napari_so3.io.micrographs import read_micrograph

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common import Case
    from numpy.typing import NDArray

EPOCH = 50  # updates
TRAIN_RADIUS = 3  # pixels; Topaz' default
DISC, CYLINDER = 29, 203  # pixels of that radius, and what topaz-em 0.3.20 counts
PICK_RADII = (0.35, 0.5)  # diameters; the better one counts
FLOOR = -20.0  # log-odds; low enough for the whole curve


@dataclass(frozen=True)
class Cost:
    """Wall time and CPU time of a command, s."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Topaz:
    """The program, on one CPU core.

    Parameters
    ----------
    program : str
        Path of ``topaz``.
    """

    program: str

    @classmethod
    def find(cls) -> Topaz:
        """Find the program, or leave with a message."""
        program = os.environ.get("NAPARI_SO3_TOPAZ") or shutil.which("topaz")
        if program is None:
            sys.exit("no topaz: put topaz-em 0.3.20 on PATH, or name its program NAPARI_SO3_TOPAZ")
        return cls(program)

    def _run(self, *arguments: object) -> Cost:
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [self.program, *(str(argument) for argument in arguments)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return Cost(time.perf_counter() - started, cpu)

    def preprocess(self, micrographs: Iterable[Path], scale: int, folder: Path) -> list[Path]:
        """Downsample by Fourier cropping and normalise, unless FOLDER has them already."""
        micrographs = list(micrographs)
        missing = [path for path in micrographs if not (folder / path.name).exists()]
        if missing:
            self._run("preprocess", "-s", scale, "-j", 1, "-o", folder, *missing)
        return [folder / path.name for path in micrographs]

    def train(
        self,
        images: list[Path],
        points: list[NDArray[np.float64]],
        options: list[object],
        folder: Path,
        updates: int,
    ) -> tuple[Path, Cost]:
        """Train resnet8 on preprocessed micrographs.

        Parameters
        ----------
        images : list of Path
            Preprocessed micrographs.
        points : list of ndarray
            (n, 2) y and x for each, pixels of the preprocessed micrograph.
        options : list
            Further options of ``topaz train``.
        folder : Path
            For the lists and the models.
        updates : int
            A multiple of `EPOCH`.

        Returns
        -------
        model : Path
            The model of the last epoch: a pickle, for Topaz' own process only.
        cost : Cost
            Of the training.
        """
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            (image.stem, round(x), round(y))
            for image, labels in zip(images, points, strict=True)
            for y, x in labels
        ]
        targets = pd.DataFrame(rows, columns=["image_name", "x_coord", "y_coord"])
        targets.to_csv(folder / "targets.txt", sep="\t", index=False)
        listed = pd.DataFrame({"image_name": [i.stem for i in images], "path": images})
        listed.to_csv(folder / "images.txt", sep="\t", index=False)
        cost = self._run(
            *("train", "-d", -1, "-j", 1, "--model", "resnet8", "--method", "GE-binomial"),
            *("--radius", TRAIN_RADIUS, "--train-images", folder / "images.txt"),
            *("--train-targets", folder / "targets.txt", "--epoch-size", EPOCH),
            *("--num-epochs", updates // EPOCH, "--save-prefix", folder / "model"),
            *("--output", folder / "log.txt", *options),
        )
        return max(folder.glob("model_epoch*.sav"), key=lambda path: path.stat().st_mtime), cost

    def segment(
        self, model: str | Path, images: list[Path], folder: Path
    ) -> tuple[list[Path], Cost]:
        """Score every pixel; returns the score maps, TIFF."""
        cost = self._run("segment", "-d", -1, "-j", 1, "-m", model, "-o", folder, *images)
        return [folder / f"{image.stem}.tiff" for image in images], cost

    def extract(
        self, maps: list[Path], radius: int, output: Path
    ) -> dict[str, NDArray[np.float64]]:
        """Find the peaks of score maps.

        Returns
        -------
        dict
            Name to (n, 3) y, x (pixels of the map) and score.
        """
        self._run("extract", "-m", "none", "-r", radius, "-t", FLOOR, "-o", output, *maps)
        table = pd.read_csv(output, sep="\t", dtype={"image_name": str})
        columns = ["y_coord", "x_coord", "score"]
        return {m.stem: table[table["image_name"] == m.stem][columns].to_numpy() for m in maps}


@dataclass(frozen=True)
class Reading:
    """Micrographs as Topaz sees them.

    Parameters
    ----------
    images : dict
        Name to the preprocessed micrograph.
    ratio : dict
        Name to (2,) pixels of the micrograph per pixel of that, y and x.
    """

    images: dict[str, Path]
    ratio: dict[str, NDArray[np.float64]]


def preprocess(
    topaz: Topaz, data: Path, what: Case, stems: Iterable[str], scale: int, folder: Path
) -> Reading:
    """Preprocess micrographs of a data set and find by how much they have become smaller."""
    originals = {stem: what.micrograph(data, stem) for stem in stems}
    where = folder / "micrographs" / f"{what.key}_{scale}"
    images = dict(zip(originals, topaz.preprocess(originals.values(), scale, where), strict=True))
    ratio = {
        stem: np.divide(read_micrograph(path).data.shape, read_micrograph(images[stem]).data.shape)
        for stem, path in originals.items()
    }
    return Reading(images, ratio)


@dataclass(frozen=True)
class Picked:
    """Picks of the validation micrographs, the radius they are made with, and the cost to score."""

    picks: dict[str, NDArray[np.float64]]
    radius: int
    cost: Cost


def pick(
    topaz: Topaz, model: str | Path, reading: Reading, diameter: float, folder: Path
) -> list[Picked]:
    """Pick with a model, once for each of `PICK_RADII`.

    Parameters
    ----------
    topaz : Topaz
        The program.
    model : str or Path
        Bundled or trained model.
    reading : Reading
        Preprocessed micrographs.
    diameter : float
        Of the particle, pixels of the preprocessed micrograph.
    folder : Path
        For score maps and picks.

    Returns
    -------
    list of Picked
        Coordinates in pixels of the micrograph.
    """
    maps, cost = topaz.segment(model, list(reading.images.values()), folder / "maps")
    results = []
    for share in PICK_RADII:
        radius = round(share * diameter)
        found = topaz.extract(maps, radius, folder / f"picks_r{radius}.txt")
        picks = {
            stem: np.column_stack([table[:, :2] * reading.ratio[stem], table[:, 2]])
            for stem, table in found.items()
        }
        results.append(Picked(picks, radius, cost))
    return results


def positive_options(
    data: Path, what: Case, reading: Reading, n_labels: int, as_documented: bool
) -> list[object]:
    """Tell Topaz how many particles there are: the mean number of labels of training micrographs.

    Topaz takes what it believes to be the labelled fraction from ``--pi`` to get that of the
    unlabelled pixels; ``--pi`` is such that the difference comes out right.
    """
    per_micrograph = what.mean_labels(data)
    if as_documented:
        return ["-n", round(per_micrograph)]
    pixels = sum(read_micrograph(image).data.size for image in reading.images.values())
    unlabelled = per_micrograph * len(reading.images) - n_labels
    return ["--pi", (unlabelled * DISC + n_labels * CYLINDER) / pixels]


def run_one(
    topaz: Topaz, arguments: argparse.Namespace, what: Case, count: int, draw: int, start: str
) -> None:
    """Train on one draw, pick the validation micrographs, add the result to the table."""
    data, output, updates = arguments.data, arguments.output, arguments.updates
    key = {"method": "topaz", "start": start, "data": what.key, "count": count, "draw": draw}
    note = f"{updates} updates{', -n' if arguments.as_documented else ''}"
    scale = arguments.scale or what.topaz_scales[0]
    if scale != what.topaz_scales[0]:
        note += f", 1/{scale}"
    if has_row(output / "results.csv", **key, note=note):
        return
    folder = output / "_".join([*(str(value) for value in key.values()), re.sub(r"\W+", "", note)])
    drawn = draw_labels(data, what, count, draw)
    reading = preprocess(topaz, data, what, drawn, scale, output)
    points = [drawn[stem] / reading.ratio[stem] for stem in drawn]
    options = positive_options(data, what, reading, count, arguments.as_documented)
    options += ["--no-pretrained"] if start == "scratch" else []
    model, cost = topaz.train(list(reading.images.values()), points, options, folder, updates)
    labels = what.labels(data, held_out=True)
    reading = preprocess(topaz, data, what, labels, scale, output)
    results = pick(topaz, model, reading, what.diameter / what.pixel_size / scale, folder)
    quality = [measure(result.picks, labels, what.radius) for result in results]
    best = max(quality, key=lambda q: q.ap)
    add_row(
        output / "results.csv",
        **key,
        AP=best.ap,
        F1=best.f1,
        seconds=cost.seconds,
        cpu_seconds=cost.cpu_seconds,
        note=note,
    )


def main() -> None:
    """Read the command line and run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["apoferritin", "beta_gal"], choices=CASES)
    parser.add_argument("--counts", nargs="+", type=int, default=COUNTS)
    parser.add_argument("--draws", nargs="+", type=int, default=DRAWS)
    parser.add_argument("--starts", nargs="+", default=["pretrained", "scratch"])
    parser.add_argument("--updates", type=int, default=150, help="a multiple of 50")
    parser.add_argument("--scale", type=int, help="downsample by this instead of the set's own")
    parser.add_argument("--as-documented", action="store_true", help="give -n instead of --pi")
    arguments = parser.parse_args()
    topaz = Topaz.find()
    for draw in arguments.draws:
        for count in arguments.counts:
            for start in arguments.starts:
                for name in arguments.sets:
                    run_one(topaz, arguments, CASES[name], count, draw, start)


if __name__ == "__main__":
    main()
