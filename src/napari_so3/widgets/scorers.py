"""Networks made ready for a device, which are kept from one run to the next."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from napari_so3.picking.picker import Picker
    from napari_so3.picking.score import Scorer


class Scorers:
    """Keeps the network that was of use last."""

    def __init__(self) -> None:
        self._ready: dict[tuple[str, torch.device], Scorer] = {}

    @contextmanager
    def of(self, picker: Picker, device: str) -> Iterator[Scorer]:
        """Give the network made ready for a device, and keep it once it has been of use.

        Parameters
        ----------
        picker : Picker
            Whose network.
        device : str
            As in `choose_device`.
        """
        from napari_so3.picking.pick import choose_device
        from napari_so3.picking.score import Scorer

        key = (picker.fingerprint, choose_device(device))
        # taken out while in use: a cancelled run may still be at its last step
        scorer = self._ready.pop(key, None) or Scorer(picker.net, key[1])
        yield scorer
        self._ready = {key: scorer}
