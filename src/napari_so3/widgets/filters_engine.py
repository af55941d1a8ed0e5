"""What the dock "3D filters" runs in worker threads: it knows torch, and neither Qt nor layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_so3.widgets.engine import Note, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_so3.insight.filters import FilterBank
    from napari_so3.insight.likeness import Likeness
    from napari_so3.io.micrographs import Micrograph

DEFOCUS = 15_000.0  # Å, where the model does not tell for which its map was filtered


@dataclass(frozen=True)
class FiltersJob:
    """Whose filters.

    Parameters
    ----------
    model, rotations, diameter
        As in `Session`.
    """

    model: str
    rotations: tuple[int, int] | None
    diameter: float


@dataclass(frozen=True)
class Part:
    """Share of a run that is done, 0 to 1."""

    share: float


@dataclass(frozen=True, eq=False)
class Loaded:
    """Filters of a model."""

    bank: FilterBank


@dataclass(frozen=True, eq=False)
class Compared:
    """How like the map of a file a filter is."""

    likeness: Likeness
    map_name: str


@dataclass(frozen=True, eq=False)
class Silent:
    """Channels that a micrograph does not make positive anywhere.

    Parameters
    ----------
    channels : tuple of ndarray
        As of `silent_channels`.
    micrograph : str
        Name of its file.
    """

    channels: tuple[NDArray[np.bool_], ...]
    micrograph: str


def read_filters(
    job: FiltersJob, micrograph: Micrograph | None
) -> Iterator[Note | Problem | Loaded | Silent]:
    """Take the filters of a model, and see which are of no use on a micrograph.

    Parameters
    ----------
    job : FiltersJob
        Which model.
    micrograph : Micrograph or None
        One with a known pixel size.

    Yields
    ------
    Note, Problem, Loaded or Silent
        A problem ends it.
    """
    yield Note("Loading the model")
    from napari_so3.insight.filters import filter_bank, silent_channels
    from napari_so3.io.models import ModelFileError
    from napari_so3.picking.pick import PickError, PickSettings, prepare
    from napari_so3.picking.picker import load_picker
    from napari_so3.widgets.background import one_core_left

    try:
        picker = load_picker(job.model, job.rotations)
    except ModelFileError as error:
        yield Problem(str(error))
        return
    yield Loaded(filter_bank(picker))
    if micrograph is None:
        return
    yield Note("Looking for filters that are never of use on this micrograph")
    try:
        image = prepare(micrograph, picker, PickSettings(job.diameter))
    except (PickError, OSError, MemoryError):
        return  # the docks that pick say why
    with one_core_left():
        silent = silent_channels(picker, image.pixels.numpy())
    yield Silent(silent, micrograph.path.name)


def compare_filter(
    job: FiltersJob, bank: FilterBank, path: Path
) -> Iterator[Note | Part | Problem | Compared]:
    """Compare the map of a template with the density of a particle.

    The density is filtered as `make_matcher` does it, so that it looks like what a preprocessed
    micrograph shows.

    Parameters
    ----------
    job : FiltersJob
        Which model.
    bank : FilterBank
        Of that model.
    path : Path
        MRC file of the density.

    Yields
    ------
    Note, Part, Problem or Compared
        The last two end it. Stop iterating to cancel.
    """
    yield Note(f"Reading {path.name}")
    from napari_so3.insight.likeness import Likeness, compare_steps
    from napari_so3.io.models import ModelFileError
    from napari_so3.picking.picker import load_picker
    from napari_so3.picking.preprocess import WINDOW
    from napari_so3.simulation.ctf import CTF
    from napari_so3.simulation.volume import DensityError, read_density
    from napari_so3.training.matcher import imaged_map
    from napari_so3.widgets.background import one_core_left

    try:
        training = load_picker(job.model, job.rotations).training
        density = read_density(path)
    except (ModelFileError, DensityError) as error:
        yield Problem(str(error))
        return
    defocus = float(training.get("defocus") or DEFOCUS)
    pixel_size, size = bank.pixel_size(0, job.diameter), bank.layers[0].size
    with one_core_left():
        window = WINDOW * job.diameter
        ctf = CTF(defocus_u=defocus, defocus_v=defocus)
        reference = imaged_map(density, size, pixel_size, window, ctf).numpy()
        for event in compare_steps(bank.volume(0, 0, 0, oversample=1), pixel_size, reference):
            if isinstance(event, Likeness):
                yield Compared(event, path.name)
            else:
                yield Part(event)


@dataclass(frozen=True, eq=False)
class Projections:
    """Projections of a filter under all rotations, (R, k, k) float32."""

    images: NDArray[np.float32]


@dataclass(frozen=True)
class Written:
    """Files that have been written."""

    paths: tuple[Path, ...]


def project_filter(bank: FilterBank, where: tuple[int, int, int]) -> Iterator[Projections]:
    """Project a filter (layer, output and input channel) under all rotations of the model."""
    yield Projections(bank.projections(*where))


def export_filter(
    bank: FilterBank, where: tuple[int, int, int], diameter: float, path: Path, projections: bool
) -> Iterator[Problem | Written]:
    """Write a filter as MRC volume, or its projections as MRCS with their angles as STAR.

    Parameters
    ----------
    bank : FilterBank
        Of a model.
    where : tuple of int
        Layer, output and input channel.
    diameter : float
        Of the particle, Å.
    path : Path
        File.
    projections : bool
        Rather than the volume.

    Yields
    ------
    Problem or Written
        How it ended.
    """
    from napari_so3.io.star import StarError

    try:
        if projections:
            yield Written((path, bank.export_projections(path, *where, diameter)))
        else:
            bank.export_volume(path, *where, diameter)
            yield Written((path,))
    except (OSError, StarError) as error:
        yield Problem(f"Not written: {error}")
