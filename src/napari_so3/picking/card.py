"""The card of a model: what it is and how it was made, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_so3.so3.networks import PickerConfig

if TYPE_CHECKING:
    from napari_so3.picking.picker import Picker


def card(picker: Picker) -> dict[str, str]:
    """Collect what there is to know of a model.

    Parameters
    ----------
    picker : Picker
        Model.

    Returns
    -------
    dict
        What is told, in a word or two, to what it is; this may have several lines. The record of
        the training comes last.
    """
    config = picker.net.config
    grid = config.grid
    if isinstance(config, PickerConfig):
        filters = f"{config.kernels} pixels, {config.channels} channels first, {config.basis}s"
    else:
        filters = f"one map of {config.size} pixels"
    return {
        "name": picker.name,
        "parameters": f"{sum(p.numel() for p in picker.net.parameters()):,}",
        "filters": filters,
        "rotations": f"{len(grid)} ({grid.n_directions} directions x {grid.n_psi} in plane), "
        f"joined by {config.aggregation}",
        "scale": f"{picker.pixels_per_diameter:g} pixels across a particle, "
        f"sees {config.receptive_field}",
        "particles": "dark" if picker.sign < 0 else "bright",
        "threshold": f"{picker.threshold:g}",
        "fingerprint": picker.fingerprint,
        **{str(key): _words(value) for key, value in picker.training.items()},
    }


def card_text(picker: Picker) -> str:
    """Write the card of a model as plain text, a line for each thing that is told.

    Parameters
    ----------
    picker : Picker
        Model.

    Returns
    -------
    str
        Further lines of one thing are indented.
    """
    return "\n".join(
        f"{key}: {value}".replace("\n", "\n    ") for key, value in card(picker).items()
    )


def _words(value: Any) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
