"""What the docks of a napari window share: the settings of a pick."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from psygnal import EventedModel


class Session(EventedModel):
    """Settings of the next pick; every change emits ``events.<name>``.

    Parameters
    ----------
    model : str
        Name of a bundled model, or path of a model file.
    diameter : float
        Longest diameter of the particle, Å.
    threshold : float or None
        Smallest AL1 log-odds of a pick; None stands for what the model suggests.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    """

    model: str = "general"
    diameter: float = 150.0
    threshold: float | None = None
    device: str = "auto"


_sessions: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()


def session_of(viewer: Any, **defaults: Any) -> Session:
    """Find the session of a viewer; the first call makes it.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer, or napari's proxy of it; the session lives as long as the viewer.
    **defaults
        Fields of a session that is made.

    Returns
    -------
    Session
        The same one for every call.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)  # proxies are short-lived
    if viewer not in _sessions:
        _sessions[viewer] = Session(**defaults)
    return _sessions[viewer]
