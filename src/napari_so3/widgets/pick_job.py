"""What is asked of a picking of a session, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from napari_so3.session.pool import Candidates

Which = Literal["these", "unpicked", "again", "ahead"]


@dataclass(frozen=True)
class PickJob:
    """What is to be picked of a session, and how: a copy, which stays while the session changes.

    Parameters
    ----------
    root : Path
        Folder of the session.
    paths : mapping of str to Path
        All its micrographs.
    names : tuple of str
        Those that are to be picked, in their order.
    which : {"these", "unpicked", "again", "ahead"}
        All of these, where what is picked already is used again; only those of them that are not
        picked; all of them anew; or all of them, provided that the run stays the same.
    run, picked : str, collection of str
        The run that is shown, and the micrographs that are picked in it.
    model, diameter, pixel_size, threshold, device, rotations
        As in `Session`; the threshold is that of the coordinate files.
    """

    root: Path
    paths: Mapping[str, Path]
    names: tuple[str, ...]
    which: Which
    run: str
    picked: Collection[str]
    model: str
    diameter: float
    pixel_size: float | None
    threshold: float | None
    device: str
    rotations: tuple[int, int] | None = None


@dataclass(frozen=True)
class RunChosen:
    """The run that picks will belong to.

    Parameters
    ----------
    run : str
        Name of its folder.
    suggested : float
        Threshold that the model suggests, log-odds.
    in_plane : int
        Rotations per view.
    candidates : dict or None
        What is in it already; None where it is the run that is shown.
    """

    run: str
    suggested: float
    in_plane: int
    candidates: dict[str, Candidates] | None


@dataclass(frozen=True)
class Begun:
    """Work on one of several micrographs begins; ``index`` counts from 0."""

    index: int
    total: int
    name: str


@dataclass(frozen=True)
class Picked:
    """A micrograph of a session is picked; or it was before, with the same settings."""

    name: str
    candidates: Candidates
    reused: bool


@dataclass(frozen=True)
class Failed:
    """A micrograph of a session cannot be picked; ``reason`` is a sentence that names it."""

    name: str
    reason: str


@dataclass(frozen=True)
class Finished:
    """All micrographs of a job are done."""

    picked: int
    failed: int
