"""Which filter of a model is looked at: its layer, output channel and input channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QSizePolicy, QWidget

if TYPE_CHECKING:
    from napari_so3.insight.filters import FilterBank
    from napari_so3.widgets.filters_engine import Silent

STRETCH = (7, 5, 5)  # of the widths of the combos


class FilterChoice(QWidget):
    """Three combos; channels are numbered from 1, with their norms, and the dead ones marked."""

    chosen = Signal(int, int, int)  # layer, output and input channel, from 0

    def __init__(self) -> None:
        super().__init__()
        self._bank: FilterBank | None = None
        self._silent: Silent | None = None
        self.layer, self.out, self.channel = QComboBox(), QComboBox(), QComboBox()
        self.out.setToolTip("Output channel, and the norm of its filters")
        self.channel.setToolTip("Input channel, and the norm of this filter")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        names = ("Layer", "Channel out", "Channel in")
        for column, (name, combo) in enumerate(zip(names, self._combos, strict=True)):
            combo.setMinimumWidth(60)
            combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            grid.addWidget(QLabel(name), 0, column)
            grid.addWidget(combo, 1, column)
            grid.setColumnStretch(column, STRETCH[column])
        self.layer.currentIndexChanged.connect(self._choose_layer)
        self.out.currentIndexChanged.connect(self._choose_out)
        self.channel.currentIndexChanged.connect(self._tell)

    @property
    def _combos(self) -> tuple[QComboBox, QComboBox, QComboBox]:
        return self.layer, self.out, self.channel

    @property
    def now(self) -> tuple[int, int, int]:
        """Layer, output and input channel, from 0."""
        return tuple(max(0, combo.currentIndex()) for combo in self._combos)

    def show_bank(self, bank: FilterBank) -> None:
        """Show the filters of another model, the place being kept where that exists."""
        before = self.now
        self._bank, self._silent = bank, None
        _fill(self.layer, [f"{layer.name} ({layer.size}³)" for layer in bank.layers], before[0])
        self._fill_channels(before[1], before[2])
        self._tell()

    def show_silent(self, silent: Silent) -> None:
        """Mark the channels that a micrograph does not make positive anywhere."""
        self._silent = silent
        self._fill_channels(*self.now[1:])

    def choose(self, layer: int, out: int, channel: int) -> None:
        """Look at another filter."""
        if (layer, out, channel) == self.now:
            return
        if layer != self.layer.currentIndex():
            _select(self.layer, layer)
        self._fill_channels(out, channel)
        self._tell()

    def _choose_layer(self) -> None:
        self._fill_channels(0, 0)
        self._tell()

    def _choose_out(self) -> None:
        self._fill_inputs(self.channel.currentIndex())
        self._tell()

    def _fill_channels(self, out: int, channel: int) -> None:
        these = self._bank.layers[self.now[0]]
        norms = np.sqrt((these.norms**2).sum(axis=1))
        never = np.zeros(len(norms), dtype=bool)
        if self._silent is not None:
            never = self._silent.channels[self.now[0]]
        marks = [_mark(d, s) for d, s in zip(these.dead.all(axis=1), never, strict=True)]
        _fill(self.out, _texts(norms, marks), out)
        self._fill_inputs(channel)

    def _fill_inputs(self, channel: int) -> None:
        these, out = self._bank.layers[self.now[0]], self.now[1]
        marks = [_mark(bool(dead), False) for dead in these.dead[out]]
        _fill(self.channel, _texts(these.norms[out], marks), channel)

    def _tell(self) -> None:
        if self._bank is not None:
            self.chosen.emit(*self.now)


def _mark(dead: bool, silent: bool) -> str:
    return "dead" if dead else ("silent" if silent else "")


def _texts(norms: np.ndarray, marks: list[str]) -> list[str]:
    return [f"{i + 1} ({mark or f'{norms[i]:.2g}'})" for i, mark in enumerate(marks)]


def _fill(combo: QComboBox, texts: list[str], index: int) -> None:
    blocked = combo.blockSignals(True)
    combo.clear()
    combo.addItems(texts)
    combo.setCurrentIndex(index if 0 <= index < len(texts) else 0)
    combo.setEnabled(len(texts) > 1)
    combo.blockSignals(blocked)


def _select(combo: QComboBox, index: int) -> None:
    blocked = combo.blockSignals(True)
    combo.setCurrentIndex(index)
    combo.blockSignals(blocked)
