"""``napari-so3 evaluate``: picks against labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from napari_so3.cli.common import (
    PixelSize,
    complain,
    console,
    count,
    say,
    say_left_out,
    user_errors,
)

if TYPE_CHECKING:
    from napari_so3.io.names import NameMatch
    from napari_so3.picking.compare import Evaluation
    from napari_so3.picking.evaluate import OperatingPoint

ROWS = 20  # micrographs that are listed one by one


def evaluate(
    picks: Annotated[
        Path,
        typer.Argument(
            help="Folder made by `napari-so3 pick` (all its candidates count), or a folder of "
            "files with scores (STAR, CBOX, Topaz, CSV, ...), or one of them.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            "-l",
            help="Folder of files with the true positions (STAR, .box, CBOX, Topaz, CSV, ...), or "
            "one of them; in pixels of the micrographs that were picked.",
            show_default=False,
        ),
    ],
    diameter: Annotated[
        float,
        typer.Option(
            "--diameter",
            "-d",
            help="Longest diameter of the particle in Å; it sets the match radius.",
            show_default=False,
        ),
    ],
    radius: Annotated[
        float | None,
        typer.Option(
            help="A pick is right within this distance of a label that no better pick has taken, "
            "in Å; by default a quarter of the diameter.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for evaluation.json, curve.csv and curve.png; made if missing.",
            show_default=False,
        ),
    ] = None,
    pixel_size: PixelSize = None,
    shape: Annotated[
        tuple[int, int] | None,
        typer.Option(
            min=1,
            metavar="ROWS COLUMNS",
            help="Size of the micrographs in pixels, for the chance level; by default what the "
            "candidates say, or else what the picks reach to.",
            show_default=False,
        ),
    ] = None,
    incomplete: Annotated[
        bool,
        typer.Option(
            "--incomplete", help="Not every particle has a label: precision is a lower bound."
        ),
    ] = False,
) -> None:
    """Compare picks with labels: precision and recall, the best threshold, the chance level.

    Picks and labels are paired by the name of the micrograph, without folders, endings,
    `_autopick`, and what cryoSPARC and motion correction add; what has no partner is left out and
    listed. The chance level is the average precision of as many random points.

    Example: `napari-so3 evaluate AutoPick --labels Manual/ --diameter 150 -o Evaluation`
    """
    with user_errors():
        from napari_so3.picking.collect import (
            collect_picks,
            count_outside,
            pair_by_name,
        )
        from napari_so3.picking.compare import evaluate_picks, suggest_threshold
        from napari_so3.training.labels import read_labels

        found = collect_picks(picks, pixel_size, shape)
        known = {name: each.positives for name, each in read_labels(labels).items()}
        wanted, match = pair_by_name(found, known)
        _say_names(match)
        if outside := count_outside(found, wanted):
            complain(
                "Warning",
                f"{count(outside, 'label')} outside of the micrograph; are the labels in pixels of "
                "the micrographs that were picked?",
            )
        distance = diameter / 4 if radius is None else radius
        result = evaluate_picks(found, wanted, distance, complete=not incomplete)
        if result.unlabelled:
            empty = count(len(result.unlabelled), "micrograph")
            say(f"{empty} with an empty list of labels, left out")
        console.print()
        console.print(_micrograph_table(result))
        console.print()
        console.print(_figure_table(result))
        console.print()
        if result.log_odds and len(result.scores):
            best = suggest_threshold(result)
            say(
                f"suggested threshold: {best.probability:.4g}, where F1 is highest "
                "(napari-so3 pick --threshold)"
            )
        if output is not None:
            from napari_so3.picking.report import FIGURES_FILE, PICTURE_FILE, write_report

            write_report(output, result)
            say(f"figures: {output / FIGURES_FILE}\npicture: {output / PICTURE_FILE}")


def _say_names(match: "NameMatch") -> None:
    say(f"{count(len(match.pairs), 'micrograph')} with picks and labels")
    for what, other, left in (
        ("picks", "labels", match.unmatched_micrographs),
        ("labels", "picks", match.unmatched_names),
    ):
        say_left_out(left, f"{count(len(left), 'micrograph')} with {what} but no {other}")
    for names, labels in match.ambiguous:
        say(f"unclear which labels ({', '.join(labels)}) are of {', '.join(names)}, left out")


def _micrograph_table(result: "Evaluation") -> Table:
    """List the micrographs with the lowest average precision, all if they are few."""
    worst = sorted(result.micrographs, key=lambda m: m.curve.average_precision)[:ROWS]
    left = len(result.micrographs) - len(worst)
    table = Table(box=None, caption=f"and {left} better micrographs" if left else None)
    table.add_column("micrograph", overflow="fold")
    for heading in ("labels", "picks", "AP", "best F1", "at P" if result.log_odds else "at score"):
        table.add_column(heading, justify="right", no_wrap=True)
    for m in sorted(worst, key=lambda m: m.name):
        best = m.curve.best
        table.add_row(
            Text(m.name),
            str(m.labels),
            str(m.picks),
            f"{m.curve.average_precision:.3f}",
            "–" if best is None else f"{best.f1:.3f}",
            _threshold(best, result.log_odds),
        )
    return table


def _threshold(point: "OperatingPoint | None", log_odds: bool) -> str:
    if point is None:
        return "–"
    return f"{point.probability:.3f}" if log_odds else f"{point.threshold:.3g}"


def _figure_table(result: "Evaluation") -> Table:
    """Figures of all micrographs together."""
    from napari_so3.picking.compare import RECALLS
    from napari_so3.picking.report import calibration

    low, high = (f"{r:.3g}" for r in result.radius_pixels)
    pixels = low if low == high else f"{low} to {high}"
    best, reliable = result.curve.best, calibration(result)
    rows = {
        "match radius": f"{result.radius:.4g} Å = {pixels} pixels",
        "labels, picks": f"{result.labels}, {len(result.scores)}",
        "average precision": f"{result.curve.average_precision:.4f}",
        "  mean of micrographs": f"{result.mean_average_precision:.4f}",
        "  of random points": f"{result.chance.average_precision:.4f}",
        "best F1": "–" if best is None else f"{best.f1:.4f} {_at(best, result.log_odds)}",
    }
    for recall in RECALLS:
        point = result.curve.at_recall(recall)
        reached = point and f"{point.precision:.4f} {_at(point, result.log_odds)}"
        rows[f"precision at {recall:.0%} recall"] = reached or "not reached"
    rows["recall of all picks"] = f"{result.recall:.4f}"
    if reliable is not None and result.complete:
        rows["calibration error"] = f"{reliable.error:.4f}"
    if not result.complete:
        rows["labels are incomplete"] = "precision and what follows from it are lower bounds"
    table = Table(show_header=False, box=None)
    for key, value in rows.items():
        table.add_row(Text(key, style="bold"), value)
    return table


def _at(point: "OperatingPoint", log_odds: bool) -> str:
    if not log_odds:
        return f"at score {point.threshold:.4g}"
    return f"at P {point.probability:.4f}, log-odds {point.threshold:.2f}"
