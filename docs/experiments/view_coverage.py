"""When are views called preferred? ``python docs/experiments/view_coverage.py``.

Simulated poses, no images: how often even views raise a false alarm, how often preferred ones are
found, what errors of the poses do to both, and what share of the views is said to be covered.
Prints tables.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from napari_so3.poses.blur import measure_blur
from napari_so3.poses.cells import cells, count
from napari_so3.poses.chance import ALARM, draw, unevenness
from napari_so3.poses.coverage import view_coverage
from napari_so3.simulation.views import Views
from napari_so3.so3.rotations import euler_to_matrix, random_rotations
from napari_so3.so3.symmetry import symmetry_group

NUMBERS = (50, 100, 200, 500, 1000)
GROUPS = ("C1", "D7")
WIDTHS = (0.1, 0.2, 0.5, 1.0)  # radians, about one view
SIDE, TIPPED = 90.0, 10.0  # degrees: tilt of side views, and its standard deviation
WRONG = (0.0, 0.3, 0.6, 0.8)  # shares of poses that are guesses
HALF_SIDE = 0.5  # share of side views among even ones
MEASURED = 5000  # simulated particles that tell what an estimator does


def even(n: int, generator: torch.Generator) -> np.ndarray:
    """Draw poses of all views."""
    return random_rotations(n, generator).numpy()


def around(width: float):
    """Make a function that draws poses around one view, which is random."""

    def drawn(n: int, generator: torch.Generator) -> np.ndarray:
        rot, height = torch.rand(2, generator=generator)
        view = float(360 * rot), float(torch.rad2deg(torch.acos(2 * height - 1)))
        return Views((view,), float(np.degrees(width))).draw(n, generator).numpy()

    return drawn


def side(n: int, generator: torch.Generator) -> np.ndarray:
    """Draw side views."""
    rot, psi = 360 * torch.rand(2, n, generator=generator)
    tilt = SIDE + TIPPED * torch.randn(n, generator=generator)
    return euler_to_matrix(rot, tilt, psi).numpy()


def half_side(n: int, generator: torch.Generator) -> np.ndarray:
    """Draw side views and as many even ones."""
    n_side = round(HALF_SIDE * n)
    return np.concatenate([side(n_side, generator), even(n - n_side, generator)])


def guess(poses: np.ndarray, wrong: float, generator: torch.Generator) -> np.ndarray:
    """Replace a share of poses by guesses."""
    guessed = torch.rand(len(poses), generator=generator).numpy() < wrong
    return np.where(guessed[:, None, None], even(len(poses), generator), poses)


def share_of_alarms(drawn, n: int, group: np.ndarray, sets: int, wrong: float = 0.0) -> float:
    """Tell how many of so many sets of `n` poses are called preferred."""
    areas, generator = cells().areas, torch.Generator().manual_seed(n)
    limit = np.sort(unevenness(draw(n, areas, seed=0), areas, group))
    found = 0
    for _ in range(sets):
        views = guess(drawn(n, generator), wrong, generator)[:, 2]
        seen = unevenness(count(views, np.full(n, 1 / n)), areas, group)
        at_least = len(limit) - np.searchsorted(limit, seen)
        found += (1 + at_least) / (1 + len(limit)) < ALARM
    return found / sets


def print_table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n{'|--' * len(heads)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def tell_alarms(sets: int) -> None:
    """Print how often views are called preferred."""
    cases = {"even": even, **{f"one view ± {w} rad": around(w) for w in WIDTHS}}
    cases |= {"side views ± 10°": side, "half of them side views": half_side}
    rows = []
    for name in GROUPS:
        group = symmetry_group(name).numpy()
        for words, drawn in cases.items():
            shares = (share_of_alarms(drawn, n, group, sets) for n in NUMBERS)
            rows.append([name, words, *(f"{100 * s:.1f} %" for s in shares)])
    print_table("Called preferred", ["group", "views", *map(str, NUMBERS)], rows)


def tell_errors(sets: int) -> None:
    """Print what guessed poses do."""
    rows = []
    for name in GROUPS:
        group = symmetry_group(name).numpy()
        for wrong in WRONG:
            generator = torch.Generator().manual_seed(1)
            true = even(MEASURED, generator)
            blur = measure_blur(guess(true, wrong, generator), true, group)
            alarms = (share_of_alarms(d, 200, group, sets, wrong) for d in (even, half_side, side))
            power = view_coverage(even(200, generator), group, blur=blur).power
            cells_ = (f"{100 * s:.1f} %" for s in (*alarms, power))
            rows.append([name, f"{100 * wrong:.0f} %", f"{blur.clarity:.2f}", *cells_])
    heads = ["group", "guessed", "clarity", "even", "half side views", "side views", "power"]
    print_table("Called preferred, 200 poses", heads, rows)


def tell_shares() -> None:
    """Print what share of the views is said to be covered."""
    rows = []
    parts = {"all": -1.0, "half of them": 0.0, "a quarter": 0.5, "a tenth": 0.8}
    for words, least in parts.items():
        row = [words]
        for n in NUMBERS:
            poses = even(50 * n, torch.Generator().manual_seed(n))
            kept = poses[poses[:, 2, 2] >= least][:n]
            coverage = view_coverage(kept, symmetry_group("C1").numpy())
            row.append(f"{100 * coverage.share:.0f} %, {100 * coverage.half:.0f} %")
        rows.append(row)
    heads = ["views that there are", *map(str, NUMBERS)]
    print_table("Share that is covered, share that half of the picks show (C1)", heads, rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=500, help="of poses, per case")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    began = time.process_time()
    tell_alarms(arguments.sets)
    tell_errors(arguments.sets)
    tell_shares()
    print(f"\n{time.process_time() - began:.0f} s")


if __name__ == "__main__":
    main()
