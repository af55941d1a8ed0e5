"""Keys that work in the canvas whatever layer is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.viewer import Viewer


class CanvasKeys:
    """Binds keys for as long as it is not closed.

    napari asks the selected layer for a key before the viewer, and layers have keys for themselves:
    Z pans in Points, X removes corners in Shapes. So the keys are bound to the selected layer too.

    Parameters
    ----------
    viewer : napari.Viewer
        Where.
    actions : mapping
        Key, as napari writes it, to a function without arguments.

    Raises
    ------
    ValueError
        If napari does not know a key.
    """

    def __init__(self, viewer: Viewer, actions: Mapping[str, Callable[[], None]]) -> None:
        self._viewer = viewer
        self._actions = actions
        self._bound: list[tuple[Any, str, Any]] = []
        viewer.layers.selection.events.active.connect(self._bind)
        self._bind()

    def close(self) -> None:
        """Give the keys back to those who had them."""
        self._viewer.layers.selection.events.active.disconnect(self._bind)
        self._unbind()

    def _bind(self) -> None:
        self._unbind()
        active = self._viewer.layers.selection.active
        for owner in (self._viewer, active):
            if owner is None:
                continue
            for key, action in self._actions.items():
                before = owner.bind_key(key, _ignoring_owner(action), overwrite=True)
                self._bound.append((owner, key, before))

    def _unbind(self) -> None:
        for owner, key, before in self._bound:
            owner.bind_key(key, before, overwrite=True)
        self._bound.clear()


def _ignoring_owner(action: Callable[[], None]) -> Callable[[Any], None]:
    def act(_owner: Any) -> None:
        action()

    return act
