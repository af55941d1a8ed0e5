"""What the dock "See" runs in worker threads: it knows torch, and neither Qt nor layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.insight.order import order_rotations
from napari_so3.insight.orientation_map import colours, probability_maps, winners
from napari_so3.insight.stack import maxima
from napari_so3.io.micrographs import MicrographError, read_micrograph
from napari_so3.widgets.engine import Engine, Note, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.insight.rotation_maps import RotationMaps
    from napari_so3.widgets.desk import Desk
    from napari_so3.widgets.engine import Progress


_PERCENTILES = (75.0, 99.5)  # of the best logit everywhere


@dataclass(frozen=True)
class SeeJob:
    """What is looked at, and with what: a copy, which stays while the session changes.

    Two jobs that are equal give the same maps.

    Parameters
    ----------
    path : Path
        File of the micrograph.
    pixel_size, model, diameter, device, rotations
        As in `Session`.
    """

    path: Path
    pixel_size: float | None
    model: str
    diameter: float
    device: str
    rotations: tuple[int, int] | None

    @classmethod
    def of(cls, desk: Desk) -> SeeJob | None:
        """Take the micrograph that is shown, with the settings of now; None if there is none."""
        session = desk.session
        if desk.name not in session.paths:
            return None
        return cls(
            session.paths[desk.name],
            session.pixel_size,
            session.model,
            session.diameter,
            session.device,
            session.rotations,
        )


@dataclass(frozen=True, eq=False)
class Seen:
    """The maps of a micrograph, with what takes time to make of them.

    Parameters
    ----------
    maps : RotationMaps
        All rotations.
    p_al1, p_best : ndarray
        (h, w) float32 probabilities: of all rotations joined, and of the best one alone.
    in_plane, view : ndarray
        (h, w, 4) uint8 orientation maps: colour of the winning rotation, opacity P.
    walk : ndarray
        (R,) the rotations in the order "sphere".
    limits : tuple of float
        Logits that are drawn black and in the brightest colour.
    """

    maps: RotationMaps
    p_al1: NDArray[np.float32]
    p_best: NDArray[np.float32]
    in_plane: NDArray[np.uint8]
    view: NDArray[np.uint8]
    walk: NDArray[np.intp]
    limits: tuple[float, float]


class SeeEngine:
    """Runs what needs a micrograph, a model and its network.

    The network is made ready once and kept for the next run. Call the methods in a worker thread.
    """

    def __init__(self) -> None:
        self._engine = Engine()

    def run(self, job: SeeJob, verb: Callable[..., Iterator[Any]]) -> Iterator[Any]:
        """Do something with a micrograph and a model.

        Parameters
        ----------
        job : SeeJob
            Which.
        verb : callable
            ``verb(micrograph, picker, settings, scorer)`` yields its progress and its result.

        Yields
        ------
        Note, Progress, Problem or any
            What the verb yields, its `ScoreProgress` as `Progress`; a problem ends it. Stop
            iterating to cancel.
        """
        try:
            micrograph = read_micrograph(job.path, job.pixel_size)
        except MicrographError as error:
            yield Problem(str(error))
            return
        yield from self._engine.apply(
            verb, micrograph, job.model, job.diameter, job.device, job.rotations
        )

    def look(self, job: SeeJob) -> Iterator[Note | Progress | Problem | Seen]:
        """See what every rotation says about a micrograph.

        Parameters
        ----------
        job : SeeJob
            Which micrograph and model.

        Yields
        ------
        Note, Progress, Problem or Seen
            The last two end it. Stop iterating to cancel.
        """
        yield Note("Loading the model")
        from napari_so3.insight.rotation_maps import RotationMaps, see_rotations

        for event in self.run(job, see_rotations):
            if isinstance(event, RotationMaps):
                yield Note("Colouring the maps")
                yield develop(event)
            else:
                yield event


def develop(maps: RotationMaps) -> Seen:
    """Make what takes time of the maps of a micrograph.

    Parameters
    ----------
    maps : RotationMaps
        All rotations.

    Returns
    -------
    Seen
        The maps with their pictures.
    """
    p_al1, p_best = probability_maps(maps)
    sure, winner = winners(maps)
    opacity = np.rint(255 * sure).astype(np.uint8)[..., None]
    in_plane, view = (
        np.concatenate([colours(maps.rotations, by)[winner], opacity], axis=-1)
        for by in ("in-plane", "view")
    )
    walk = order_rotations(maps, "sphere")
    return Seen(maps, p_al1, p_best, in_plane, view, walk, limits_of(maxima(maps.stack)[1]))


def limits_of(best: NDArray[np.float32]) -> tuple[float, float]:
    """Choose the logits between which the maps of single rotations are drawn.

    Parameters
    ----------
    best : ndarray
        (h, w) the largest logit of all rotations.

    Returns
    -------
    low, high : float
        Most of a micrograph has no particle, and is black.
    """
    low, high = np.percentile(best, _PERCENTILES)
    return float(low), float(max(high, low + 1e-3))
