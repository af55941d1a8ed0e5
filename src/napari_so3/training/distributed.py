"""Several processes that train one network, started by ``torchrun`` (torch's own engine)."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

# Its functions take the process group of the moment of their import as default, and
# DistributedDataParallel imports them: before there is a group, or its threads outlive it and may
# abort the process as it exits.
import torch.distributed.nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


class Processes:
    """The processes of this training: one, unless torch's process group is running."""

    def __init__(self) -> None:
        self._group = dist.is_available() and dist.is_initialized()

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return dist.get_rank() if self._group else 0

    @property
    def count(self) -> int:
        """Number of processes."""
        return dist.get_world_size() if self._group else 1

    def wrap(self, net: nn.Module) -> nn.Module:
        """Make the gradients of a network the mean over all processes.

        Parameters
        ----------
        net : Module
            Alike in all processes, or made so: the first one's weights are used.

        Returns
        -------
        Module
            ``net`` itself where there is one process.
        """
        if not self._group:
            return net
        device = next(net.parameters()).device
        return torch.nn.parallel.DistributedDataParallel(
            net, device_ids=[device.index] if device.type == "cuda" else None
        )

    def same(self, value: float) -> float:
        """Give every process the first one's value."""
        if not self._group:
            return value
        on = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
        shared = torch.tensor(value, dtype=torch.float64, device=on)
        dist.broadcast(shared, src=0)
        return float(shared)


@contextmanager
def process_group() -> Iterator[torch.device | None]:
    """Join the other processes where ``torchrun`` started this one, and leave them at the end.

    Yields
    ------
    torch.device or None
        The GPU of this process (nccl), the CPU where there is none (gloo), or None if
        ``torchrun`` is not at work and the user may choose.
    """
    if "LOCAL_RANK" not in os.environ:
        yield None
        return
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()
