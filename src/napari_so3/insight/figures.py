"""Figures for notebooks and papers, one per panel; they take what the panels show.

All return a `matplotlib.figure.Figure` that belongs to no window; write it with ``savefig``.
"""

from napari_so3.insight.figures_checks import budget_figure, self_check_figure
from napari_so3.insight.figures_explain import explanation_figure
from napari_so3.insight.figures_filters import filters_figure, likeness_figure, spectra_figure
from napari_so3.insight.figures_maps import (
    aggregation_figure,
    orientation_figure,
    rotation_montage,
)
from napari_so3.insight.figures_style import Area

__all__ = [
    "Area",
    "aggregation_figure",
    "budget_figure",
    "explanation_figure",
    "filters_figure",
    "likeness_figure",
    "orientation_figure",
    "rotation_montage",
    "self_check_figure",
    "spectra_figure",
]
