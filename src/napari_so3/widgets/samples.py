"""The sample of napari's File > Open Sample: a micrograph of which the truth is known."""

from __future__ import annotations

from typing import Any

from napari_so3.widgets.layers import ANGSTROM, KEY, RINGS, contrast_limits

NAME = "simulated"


def simulated_micrograph() -> list[tuple[Any, dict[str, Any], str]]:
    """Simulate the sample; it takes some seconds.

    Returns
    -------
    list of tuple
        An Image layer, and a Points layer of the true particles with their RELION angles as
        features (see docs/layers.md).
    """
    # torch takes seconds to import
    from napari_so3.simulation.sample import sample_micrograph

    sample = sample_micrograph()
    placement = {
        "scale": (sample.pixel_size,) * 2,
        "units": ANGSTROM,
        "axis_labels": ("y", "x"),
    }
    image = {
        "name": NAME,
        "contrast_limits": contrast_limits(sample.image),
        "metadata": {
            KEY: {
                "kind": "micrograph",
                "path": None,
                "pixel_size": sample.pixel_size,
                "pixel_size_source": "given",
            }
        },
    }
    truth = {
        "name": f"{NAME} truth",
        "features": sample.truth[["rot", "tilt", "psi"]],
        "size": 8,
        "metadata": {KEY: {"kind": "truth", "micrograph": NAME}},
        **RINGS,
        "face_color": "#ffb000",
        "border_color": "black",
        "border_width": 0.15,
    }
    return [
        (sample.image, image | placement, "image"),
        (sample.truth[["y", "x"]].to_numpy(), truth | placement, "points"),
    ]
