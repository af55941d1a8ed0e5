"""The preferences of napari that a session begins with."""

from __future__ import annotations

from typing import Any

from napari.settings import get_plugin_settings
from scipy.special import logit


def session_defaults() -> dict[str, Any]:
    """Read the page "Picking" of napari's preferences.

    Returns
    -------
    dict
        Fields of a `Session`.
    """
    picking = get_plugin_settings("napari-so3").picking
    threshold = min(max(picking.threshold, 0.0), 1.0 - 1e-9)
    return {
        "model": picking.model,
        "diameter": picking.diameter,
        "threshold": float(logit(threshold)) if threshold > 0 else None,
        "device": picking.device,
    }
