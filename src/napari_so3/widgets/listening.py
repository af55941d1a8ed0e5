"""Connections of a widget to a session, which outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from psygnal import SignalInstance
    from qtpy.QtWidgets import QWidget


class Listening:
    """Connects signals of a session, and disconnects them at the latest when Qt deletes the widget.

    Parameters
    ----------
    widget : QWidget
        Whose methods are called.
    """

    def __init__(self, widget: QWidget) -> None:
        self._connected: list[tuple[SignalInstance, Callable[..., None]]] = []
        widget.destroyed.connect(self.stop)

    def to(self, signal: SignalInstance, slot: Callable[..., None]) -> None:
        """Call a method of the widget whenever the signal is emitted."""
        signal.connect(slot)
        self._connected.append((signal, slot))

    def stop(self) -> None:
        """Listen no more."""
        while self._connected:
            signal, slot = self._connected.pop()
            signal.disconnect(slot, missing_ok=True)
