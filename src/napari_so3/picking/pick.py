"""The one verb: a micrograph in, its picks out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.picking.peaks import local_maxima, refine, suppress
from napari_so3.picking.picks import Picks, make_table
from napari_so3.picking.preprocess import preprocess
from napari_so3.picking.score import ScoreMaps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.preprocess import WorkingImage
    from napari_so3.picking.score import ScoreProgress, Scorer

FLOOR = -6.0  # log-odds; candidates below are noise and are not kept


class PickError(ValueError):
    """A micrograph cannot be picked; the text is one sentence for the user."""


@dataclass(frozen=True)
class PickSettings:
    """What the user decides; the diameter decides the rest.

    Parameters
    ----------
    diameter : float
        Particle diameter (its longest), Å. Sets the working pixel size, and unless they are given
        the suppression distance and the margin.
    distance : float, optional
        Smallest distance between two picks, Å; by default `DISTANCE` diameters.
    margin : float, optional
        Picks whose centre is closer to the border are dropped, Å; by default `MARGIN` diameters.
    """

    diameter: float
    distance: float | None = None
    margin: float | None = None

    DISTANCE = 0.5
    MARGIN = 0.25
    BOX = 1.5

    def __post_init__(self) -> None:
        if not 10.0 <= self.diameter <= 5000.0:
            raise PickError(
                f"a particle diameter of {self.diameter:g} Å is outside 10 to 5000 Å; "
                "give the longest diameter of the particle in Å."
            )

    @property
    def distance_angstrom(self) -> float:
        """Suppression distance, Å."""
        return self.DISTANCE * self.diameter if self.distance is None else self.distance

    @property
    def margin_angstrom(self) -> float:
        """Edge margin, Å."""
        return self.MARGIN * self.diameter if self.margin is None else self.margin

    def box_size(self, pixel_size: float) -> int:
        """Suggest a box for extraction: one and a half diameters, even as RELION wants it.

        Parameters
        ----------
        pixel_size : float
            Å per pixel of the micrograph.

        Returns
        -------
        int
            Edge of the box, micrograph pixels.
        """
        return 2 * math.ceil(self.BOX * self.diameter / pixel_size / 2)


def choose_device(name: str = "auto") -> torch.device:
    """Find the device to compute on.

    Parameters
    ----------
    name : str
        ``"auto"`` (a CUDA GPU if there is one, else the CPU), ``"cpu"``, ``"cuda"`` or
        ``"cuda:N"``.

    Returns
    -------
    torch.device
        An existing device.

    Raises
    ------
    PickError
        If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise PickError(f"{name!r} is no device; use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise PickError(
            f"{name}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA GPUs here; "
            "use --device cpu, or install a torch built for your GPU."
        )
    return device


def describe_device(device: torch.device) -> str:
    """Say in words where the work is done."""
    if device.type == "cuda":
        return f"GPU {torch.cuda.get_device_name(device)}"
    n = torch.get_num_threads()
    return f"CPU, {n} thread{'s' if n > 1 else ''}"


def prepare(micrograph: Micrograph, picker: Picker, settings: PickSettings) -> WorkingImage:
    """Read a micrograph and bring it to the scale of the model.

    Parameters
    ----------
    micrograph : Micrograph
        With a known pixel size.
    picker : Picker
        Sets the working pixel size.
    settings : PickSettings
        Particle diameter.

    Returns
    -------
    WorkingImage
        What the network sees.

    Raises
    ------
    PickError
        If the pixel size is unknown, the particle does not fit the micrograph or the image is
        constant.
    """
    if micrograph.pixel_size is None:
        raise PickError(
            f"{micrograph.path.name}: the file does not tell its pixel size; "
            "give it in Å (--pixel-size on the command line)."
        )
    extent = min(micrograph.data.shape) * micrograph.pixel_size
    if settings.diameter > extent:
        raise PickError(
            f"{micrograph.path.name}: a particle of {settings.diameter:g} Å does not fit a "
            f"micrograph {extent:.0f} Å wide; check the diameter and the pixel size "
            f"({micrograph.pixel_size:g} Å, {micrograph.pixel_size_source})."
        )
    if settings.diameter < 4 * micrograph.pixel_size:
        raise PickError(
            f"{micrograph.path.name}: a particle of {settings.diameter:g} Å is less than 4 pixels "
            f"of {micrograph.pixel_size:g} Å; check the diameter and the pixel size."
        )
    image = preprocess(
        micrograph.to_float32(),
        micrograph.pixel_size,
        settings.diameter,
        picker.working_pixel_size(settings.diameter),
        picker.sign,
    )
    if not bool(image.pixels.any()):
        raise PickError(f"{micrograph.path.name}: the image is constant; nothing can be picked.")
    return image


def find_picks(
    maps: ScoreMaps,
    image: WorkingImage,
    micrograph: Micrograph,
    picker: Picker,
    settings: PickSettings,
) -> Picks:
    """Turn score maps into picks: peaks, sub-pixel positions, suppression, margin.

    Parameters
    ----------
    maps : ScoreMaps
        Result of a `Scorer`.
    image : WorkingImage
        What was scored.
    micrograph : Micrograph
        Where it came from.
    picker : Picker
        Named in the provenance.
    settings : PickSettings
        Distances in Å.

    Returns
    -------
    Picks
        All candidates above a low floor, best first; a threshold is a later filter.
    """
    scale, offset = picker.calibration
    log_odds = maps.logits * np.float32(scale) + np.float32(offset)
    index = local_maxima(log_odds, FLOOR)
    rotation = maps.best_rotation[index[:, 0], index[:, 1]]
    position, value = refine(log_odds, index)
    working = position * maps.step
    angstrom = working * image.pixel_size
    kept = suppress(angstrom, value, settings.distance_angstrom)
    extent = np.array(image.pixels.shape) * image.pixel_size
    margin = settings.margin_angstrom
    inside = ((angstrom[kept] >= margin) & (angstrom[kept] <= extent - margin)).all(axis=1)
    kept = kept[inside]
    table = make_table(
        working[kept] * image.scale, value[kept], rotation[kept], maps.grid.euler_angles
    )
    return Picks(table, str(micrograph.path), provenance(micrograph, picker, settings))


def provenance(micrograph: Micrograph, picker: Picker, settings: PickSettings) -> dict[str, object]:
    """Collect what decides the picks of a micrograph, as JSON-ready values."""
    return {
        "model": picker.name,
        "fingerprint": picker.fingerprint,
        **asdict(settings),
        "pixel_size": micrograph.pixel_size,
        "pixel_size_source": micrograph.pixel_size_source,
        "shape": list(micrograph.data.shape),
        "box": settings.box_size(micrograph.pixel_size or 1.0),
    }


def pick(
    micrograph: Micrograph, picker: Picker, settings: PickSettings, scorer: Scorer
) -> Iterator[ScoreProgress | Picks]:
    """Pick the particles of one micrograph.

    Parameters
    ----------
    micrograph : Micrograph
        With a known pixel size.
    picker : Picker
        The model.
    settings : PickSettings
        Diameter and distances.
    scorer : Scorer
        The picker's network on a device; one scorer serves many micrographs.

    Yields
    ------
    ScoreProgress or Picks
        Progress, and at last all candidates. Stop iterating to cancel.

    Raises
    ------
    PickError
        If the pixel size is unknown or the particle does not fit.
    """
    image = prepare(micrograph, picker, settings)
    for event in scorer.score(image):
        if isinstance(event, ScoreMaps):
            yield find_picks(event, image, micrograph, picker, settings)
        else:
            yield event
