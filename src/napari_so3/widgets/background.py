"""What keeps a window alive while a thread computes."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def one_core_left() -> Iterator[None]:
    """Leave a core to the window while torch computes in this thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from looking at what is there already.

    napari and torch are half a million objects: to look through them holds all threads for up to
    half a second, and what torch imports at the first step of an optimiser makes it happen.
    """
    import torch

    enabled = gc.isenabled()
    gc.disable()
    try:
        weight = torch.zeros(1, requires_grad=True)
        optimiser = torch.optim.Adam([weight])
        weight.sum().backward()
        optimiser.step()
        gc.freeze()
    finally:
        if enabled:
            gc.enable()
    try:
        yield
    finally:
        gc.unfreeze()
