"""What an evaluation leaves in a folder: figures as JSON, the curve as CSV and as a picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from napari_so3.io.files import atomic_path
from napari_so3.picking.calibrate import reliability
from napari_so3.picking.compare import RECALLS, EvaluationError

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from napari_so3.picking.calibrate import Reliability
    from napari_so3.picking.compare import Evaluation
    from napari_so3.picking.evaluate import Curve, OperatingPoint

CURVE_FILE, PICTURE_FILE, FIGURES_FILE = "curve.csv", "curve.png", "evaluation.json"
BLUE, GREY = "#1f6fb4", "0.55"


def write_report(folder: Path, evaluation: Evaluation) -> None:
    """Write `FIGURES_FILE`, `CURVE_FILE` and `PICTURE_FILE`.

    Parameters
    ----------
    folder : Path
        Made if missing; files of these names are replaced.
    evaluation : Evaluation
        What to write.

    Raises
    ------
    EvaluationError
        If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / FIGURES_FILE) as temporary:
            text = json.dumps(figures(evaluation), indent=1, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        with atomic_path(folder / CURVE_FILE) as temporary:
            curve_table(evaluation).to_csv(
                temporary, index=False, lineterminator="\n", float_format="%.6g"
            )
        with atomic_path(folder / PICTURE_FILE) as temporary:
            draw_curves(evaluation).savefig(temporary, dpi=150, bbox_inches="tight")
    except OSError as error:
        raise EvaluationError(
            f"{folder}: cannot be written ({error.strerror or error})."
        ) from error


def calibration(evaluation: Evaluation) -> Reliability | None:
    """Compare the probabilities with the truth; None where the scores are no log-odds."""
    if not evaluation.log_odds or not len(evaluation.scores):
        return None
    return reliability(expit(evaluation.scores), evaluation.right)


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """Collect all figures but the curve, as JSON-ready values; what is not reached is None."""
    e, reliable = evaluation, calibration(evaluation)
    return {
        "average_precision": e.curve.average_precision,
        "mean_average_precision": e.mean_average_precision,
        "chance_average_precision": e.chance.average_precision,
        "best": _point(e.curve.best, e.log_odds),
        "at_recall": {f"{r:g}": _point(e.curve.at_recall(r), e.log_odds) for r in RECALLS},
        "recall_of_all_picks": e.recall,
        "expected_calibration_error": None if reliable is None else reliable.error,
        "match_radius_angstrom": e.radius,
        "match_radius_pixels": [round(r, 6) for r in e.radius_pixels],
        "labels": e.labels,
        "labels_complete": e.complete,
        "picks": len(e.scores),
        "micrographs": [
            {
                "name": m.name,
                "labels": m.labels,
                "picks": m.picks,
                "average_precision": m.curve.average_precision,
                "best": _point(m.curve.best, e.log_odds),
            }
            for m in e.micrographs
        ],
        "micrographs_without_labels": list(e.unlabelled),
    }


def _point(point: OperatingPoint | None, log_odds: bool) -> dict[str, float] | None:
    if point is None:
        return None
    probability = {"probability": point.probability} if log_odds else {}
    return {
        "threshold": point.threshold,
        **probability,
        "precision": point.precision,
        "recall": point.recall,
        "f1": point.f1,
    }


def curve_table(evaluation: Evaluation) -> pd.DataFrame:
    """Tabulate the pooled curve.

    Parameters
    ----------
    evaluation : Evaluation
        What to tabulate.

    Returns
    -------
    DataFrame
        ``threshold``, ``probability`` (where the scores are log-odds), ``precision``, ``recall``
        and ``f1``, highest threshold first.
    """
    curve = evaluation.curve
    table = pd.DataFrame({"threshold": curve.threshold})
    if evaluation.log_odds:
        table["probability"] = expit(curve.threshold)
    return table.assign(precision=curve.precision, recall=curve.recall, f1=curve.f1)


def draw_curves(evaluation: Evaluation) -> Figure:
    """Draw precision against recall, and beside it how reliable the probabilities are.

    Parameters
    ----------
    evaluation : Evaluation
        What to draw.

    Returns
    -------
    matplotlib.figure.Figure
        One panel, or two where the scores are log-odds.
    """
    from matplotlib.figure import Figure  # half a second that only pictures are worth

    reliable = calibration(evaluation)
    panels = 1 if reliable is None else 2
    figure = Figure(figsize=(4.8 * panels, 5.8), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_precision_recall(axes[0], evaluation)
    if reliable is not None:
        _draw_reliability(axes[1], reliable)
    for panel in axes:
        panel.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)
    n = len(evaluation.micrographs)
    figure.suptitle(
        f"{evaluation.labels} labels in {n} micrograph{'s' if n > 1 else ''}, "
        f"match radius {evaluation.radius:.4g} Å",
        fontsize="medium",
    )
    return figure


def _draw_precision_recall(axes: Axes, evaluation: Evaluation) -> None:
    curve, best = evaluation.curve, evaluation.curve.best
    for one in evaluation.micrographs if len(evaluation.micrographs) > 1 else ():
        axes.plot(*_steps(one.curve), color=BLUE, alpha=0.2, linewidth=0.8)
    axes.plot(*_steps(curve), color=BLUE, label=f"picks, AP {curve.average_precision:.3f}")
    chance = evaluation.chance
    axes.plot(
        *_steps(chance),
        color=GREY,
        linestyle="--",
        label=f"chance, AP {chance.average_precision:.3f}",
    )
    if best is not None:
        where = f"P ≥ {best.probability:.3g}" if evaluation.log_odds else f"≥ {best.threshold:.3g}"
        axes.plot(
            best.recall, best.precision, "o", color=BLUE, label=f"best F1 {best.f1:.3f}, {where}"
        )
    precision = "Precision" if evaluation.complete else "Precision (lower bound)"
    axes.set(xlabel="Recall", ylabel=precision)


def _steps(curve: Curve) -> tuple[Any, Any]:
    """Recall and precision, from recall 0 on."""
    first = curve.precision[:1]
    return np.append(0.0, curve.recall), np.append(first if len(first) else 0.0, curve.precision)


def _draw_reliability(axes: Axes, reliable: Reliability) -> None:
    full = reliable.count > 0
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="P is right")
    axes.plot(
        reliable.probability[full],
        reliable.right[full],
        "o-",
        color=BLUE,
        label=f"picks, calibration error {reliable.error:.3f}",
    )
    share = reliable.count / reliable.count.sum()
    edges = np.linspace(0, 1, len(share) + 1)
    axes.stairs(share, edges, fill=True, color=BLUE, alpha=0.15, label="share of the picks")
    axes.set(xlabel="P of the model", ylabel="Part of the picks that is right")
