"""What can give poses: pose models, and pickers that are made of a map. It knows no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_so3.poses.errors import group_matrices
from napari_so3.widgets.engine import Note, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_so3.session.state import Session

MATCHER = "matcher"  # in place of a pose model: the picker of the session, if it is made of a map


@dataclass(frozen=True)
class ModelJob:
    """What gives the poses.

    Parameters
    ----------
    model : str or None
        As `Session.pose_model`.
    picker, rotations, diameter
        As ``model``, ``rotations`` and ``diameter`` of `Session`.
    """

    model: str | None
    picker: str
    rotations: tuple[int, int] | None
    diameter: float

    @classmethod
    def of(cls, session: Session) -> ModelJob:
        """Take what a session has chosen."""
        return cls(session.pose_model, session.model, session.rotations, session.diameter)


@dataclass(frozen=True)
class Offer:
    """Pose models that can be chosen: names of bundled ones, and `MATCHER` where there is one."""

    models: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PoseModel:
    """A pose model, with what is shown of it.

    Parameters
    ----------
    job : ModelJob
        For which it was loaded.
    model : str
        Name of a bundled one, path, or `MATCHER`.
    name, fingerprint : str
        Its name, and its digest.
    symmetry : str
        Point group.
    group : ndarray
        (G, 3, 3) float64 rotations of the group.
    source : PoseEstimator or Picker
        What it is.
    reference : Reference or Template or None
        The map.
    pixel_size : float
        Å per pixel of the images that are compared with it.
    box : int
        Edge of those images, pixels.
    diameter : float
        Of the particle, Å, that `preprocess` is told.
    """

    job: ModelJob
    model: str
    name: str
    fingerprint: str
    symmetry: str
    group: NDArray[np.float64]
    source: Any
    reference: Any
    pixel_size: float
    box: int
    diameter: float

    @property
    def has_map(self) -> bool:
        """Whether there is a map to be shown and compared with."""
        return self.reference is not None


@dataclass(frozen=True, eq=False)
class Template:
    """The map of a matcher, which shows how it looks in micrographs, in place of a `Reference`.

    Parameters
    ----------
    values : ndarray
        (k, k, k) float32 [z, y, x].
    pixel_size, diameter : float
        Å.
    """

    values: NDArray[np.float32]
    pixel_size: float
    diameter: float

    def project(self, matrices: Any, _box: int, _ctf: Any = None, flipped: bool = False) -> Any:
        """Project at (m, 3, 3) rotations: (m, k, k) of mean 0 and norm 1 inside the disc."""
        import torch

        from napari_so3.so3.template import project_map

        return project_map(torch.from_numpy(self.values), matrices)

    seen = project


def look_up(job: ModelJob) -> Iterator[Note | Offer | PoseModel | Problem]:
    """Find what can give poses, and load what is chosen.

    Parameters
    ----------
    job : ModelJob
        What is chosen.

    Yields
    ------
    Note, Offer, PoseModel or Problem
        The last two end it; without any model there is neither.
    """
    yield Note("Loading the pose model")
    from napari_so3.io.models import ModelFileError
    from napari_so3.poses.estimator import bundled_estimators

    matcher = _matcher(job)
    offered = (*bundled_estimators(), *(() if matcher is None else (MATCHER,)))
    yield Offer(offered)
    if job.model is None and not offered:
        return
    model = (MATCHER if matcher is not None else offered[0]) if job.model is None else job.model
    try:
        if model != MATCHER:
            yield _load_estimator(job, model)
        elif matcher is not None:
            yield _as_model(job, matcher)
        else:
            yield Problem(
                "The picker is not made of a map, so its rotations are no poses; "
                "choose another pose model."
            )
    except ModelFileError as error:
        yield Problem(str(error))


def _matcher(job: ModelJob) -> Any:
    """Load the picker of the session if its rotations are poses of a map."""
    from napari_so3.insight.rotation_maps import Rotations
    from napari_so3.io.models import ModelFileError
    from napari_so3.picking.picker import load_picker

    try:
        picker = load_picker(job.picker, job.rotations)
    except ModelFileError:
        return None  # the docks that pick say why
    return picker if Rotations.of(picker).is_map else None


def _load_estimator(job: ModelJob, model: str) -> PoseModel:
    from napari_so3.poses.estimator import load_estimator

    found = load_estimator(model)
    return PoseModel(
        *(job, model, found.name, found.fingerprint, found.symmetry),
        *(group_matrices(found.symmetry), found, found.reference),
        *(found.working_pixel_size, found.box, found.diameter),
    )


def _as_model(job: ModelJob, picker: Any) -> PoseModel:
    config, size = picker.net.config, picker.working_pixel_size(job.diameter)
    symmetry = config.grid.symmetry
    template = Template(picker.net.density().detach().numpy(), size, job.diameter)
    return PoseModel(
        *(job, MATCHER, picker.name, picker.fingerprint, symmetry),
        *(group_matrices(symmetry), picker, template, size, config.size, job.diameter),
    )
