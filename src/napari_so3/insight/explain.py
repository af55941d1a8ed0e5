"""Why a pick is one: its crop, those that were seen alike, the filters, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_so3.insight.averages import Averager, Cutter, Pick, cut_all, find_kin, sample
from napari_so3.insight.evidence import evidence_at
from napari_so3.insight.filters import filter_bank
from napari_so3.picking.pick import prepare
from napari_so3.so3.template import TemplateNet, project_map

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.insight.averages import Average, PicksOn
    from napari_so3.insight.evidence import Evidence
    from napari_so3.insight.rotation_maps import RotationMaps, Rotations
    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.pick import PickSettings
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.preprocess import WorkingImage

SAME_PICK = 0.25  # of a diameter
TELL = 16  # crops between two words on how far it is


@dataclass(frozen=True)
class ExplainProgress:
    """Crops that have been cut, and in all."""

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a network takes a place for a particle. All pictures have the pick in their middle.

    Parameters
    ----------
    micrograph : Path
        File.
    place : (float, float)
        y and x, pixels of the micrograph.
    diameter : float
        Of the particle, Å.
    rotations : Rotations
        Of the model.
    rotation : int
        The one that answered most.
    evidence : Evidence
        What every rotation says at this place.
    raw : ndarray
        (m, m) float32, the micrograph around the pick, `PickSettings.BOX` diameters wide.
    raw_step : float
        Å per pixel of it.
    seen : ndarray
        (n, n) float32, the same as the network sees it: at its scale, normalised, particles bright.
    step : float
        Å per pixel of it, of the averages and of the filters.
    same_rotation : Average
        The other picks that the same rotation won.
    same_view : Average
        The other picks that the same view won with any in-plane angle, turned to that of this pick.
    filters : ndarray
        (c, k, k) float32 filters of the first layer at this rotation; of a template its projection.
    response : ndarray
        (h, w) float32 logits of this rotation around the pick.
    response_step : float
        Å per pixel of the response.
    """

    micrograph: Path
    place: tuple[float, float]
    diameter: float
    rotations: Rotations
    rotation: int
    evidence: Evidence
    raw: NDArray[np.float32]
    raw_step: float
    seen: NDArray[np.float32]
    step: float
    same_rotation: Average
    same_view: Average
    filters: NDArray[np.float32]
    response: NDArray[np.float32]
    response_step: float

    def sentence(self) -> str:
        """Say it in words."""
        what = "Matches the pose" if self.rotations.is_map else "Seen most by the matched rotation"
        share = 100 * float(self.evidence.shares[self.rotation])
        n = self.same_rotation.total
        others = f"{n:,} other pick{'s' if n > 1 else ''}" if n else "no other pick"
        name = self.rotations.name(self.rotation)
        return f"{what} {name}: {share:.0f} % of the evidence; it has won {others}."


def explain(
    place: tuple[float, float],
    maps: RotationMaps,
    micrograph: Micrograph,
    picker: Picker,
    settings: PickSettings,
    others: Sequence[PicksOn] = (),
    image: WorkingImage | None = None,
) -> Iterator[ExplainProgress | Explanation]:
    """Explain a pick.

    Parameters
    ----------
    place : (float, float)
        y and x of the pick, pixels of the micrograph.
    maps : RotationMaps
        Of the micrograph.
    micrograph : Micrograph
        With a known pixel size.
    picker : Picker
        The model that the maps are of.
    settings : PickSettings
        The diameter of the maps.
    others : sequence of PicksOn
        Picks of any micrographs; this pick may be among them, and is left out of the averages.
    image : WorkingImage, optional
        What `prepare` gives for the micrograph, if that is known already.

    Yields
    ------
    ExplainProgress or Explanation
        Progress, and at last the explanation. Stop iterating to cancel.

    Raises
    ------
    PickError
        If the micrograph cannot be prepared.
    """
    image = prepare(micrograph, picker, settings) if image is None else image
    assert micrograph.pixel_size is not None
    rotations, box = maps.rotations, settings.BOX * settings.diameter
    rotation, step = int(maps.best[maps.pixel(*place)]), sum(image.pixel_size) / 2
    psi = rotations.angles[:, 2]
    cut = Cutter(_odd(box / step), step, picker.sign, psi, float(psi[rotation]))
    near = SAME_PICK * settings.diameter / micrograph.pixel_size
    this = Pick(micrograph.path, *place, near)
    same, view = yield from _average(rotation, rotations.n_psi, others, cut, this)
    response_step = sum(maps.scale) / 2 * maps.pixel_size
    yield Explanation(
        micrograph.path,
        place,
        settings.diameter,
        rotations,
        rotation,
        evidence_at(maps, *place),
        _pixels_around(micrograph.data, place, _odd(box / micrograph.pixel_size)),
        micrograph.pixel_size,
        _around(image.pixels.numpy(), image.scale, image.pixel_size, place, cut.size, step),
        step,
        same,
        view,
        first_filters(picker, rotation),
        _around(
            np.asarray(maps.stack[rotation], dtype=np.float32),
            maps.scale,
            (maps.scale[0] * maps.pixel_size, maps.scale[1] * maps.pixel_size),
            place,
            _odd(box / response_step),
            response_step,
        ),
        response_step,
    )


def _average(
    rotation: int, n_psi: int, others: Sequence[PicksOn], cut: Cutter, this: Pick
) -> Generator[ExplainProgress, None, tuple[Average, Average]]:
    """Average the picks of a rotation, and those of its view; both are returned."""
    first = rotation // n_psi * n_psi
    same = Averager(find_kin(others, range(rotation, rotation + 1), this))
    view = Averager(find_kin(others, range(first, first + n_psi), this))
    picks = sorted(same.members | view.members)
    for done, (pick, crop) in enumerate(cut_all(others, picks, cut), start=1):
        for averager in (same, view):
            if crop is not None and pick in averager.members:
                averager.add(pick, crop)
        if done % TELL == 0:
            yield ExplainProgress(done, len(picks))
    return same.finish(), view.finish()


def first_filters(picker: Picker, rotation: int) -> NDArray[np.float32]:
    """Give the filters of the first layer at a rotation; of a template its projection.

    Parameters
    ----------
    picker : Picker
        The model.
    rotation : int
        Index in its grid.

    Returns
    -------
    ndarray
        (c, k, k) float32, times the gain of the batch norm that follows: what is bright in a filter
        is to be bright in the image. One pixel is one working pixel.
    """
    net = picker.net
    with torch.inference_mode():
        if isinstance(net, TemplateNet):
            matrix = net.config.grid.matrices[rotation : rotation + 1]
            return np.asarray(project_map(net.density(), matrix).numpy(), dtype=np.float32)
        filters = net.lift.filters()[rotation, :, 0].numpy()
    gain = filter_bank(picker).layers[0].gain
    return np.asarray(gain[:, None, None] * filters, dtype=np.float32)


def _odd(n: float) -> int:
    """Nearest odd number, at least 3."""
    return max(3, 2 * round((n - 1) / 2) + 1)


def _pixels_around(
    data: NDArray[Any], place: tuple[float, float], size: int
) -> NDArray[np.float32]:
    """Take the pixels of a micrograph around a place; it is mirrored at its borders."""
    at = []
    for centre, n in zip(place, data.shape, strict=True):
        period = 2 * max(n - 1, 1)
        k = np.abs(round(centre) + np.arange(size) - size // 2) % period
        at.append(np.minimum(k, period - k))
    return np.asarray(data[np.ix_(*at)], dtype=np.float32)


def _around(
    image: NDArray[np.float32],
    scale: tuple[float, float],
    pixel_size: tuple[float, float],
    place: tuple[float, float],
    size: int,
    step: float,
) -> NDArray[np.float32]:
    """Sample an image around a place of the micrograph, with square pixels of ``step`` Å."""
    centre = place[0] / scale[0], place[1] / scale[1]
    return sample(image, centre, (step / pixel_size[0], step / pixel_size[1]), size)
