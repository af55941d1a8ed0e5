"""Score a large image fast: one rotation after another, in constant memory.

The network's rotations never meet before the aggregation. So each is carried through all layers
by itself, its logits are added to a running AL1 sum and are gone: memory is that of a few
rotations instead of R, and small dense convolutions run several times faster than one convolution
with R groups. The head, with its single output channel, is split by rows (`row_split`).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from napari_so3.so3.aggregation import RotationStream
from napari_so3.so3.layers import row_split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_so3.so3.networks import PickerConfig, PickerNet
    from napari_so3.so3.template import TemplateConfig

    Keep = Callable[[slice, NDArray[np.float16]], None]  # takes the logits (n, H', W') of rotations

CPU_CHUNK = 4  # rotations that a CPU thread takes at once: one is too thin for the first layer


@dataclass
class _Layer:
    """Filters (R, Cout, Cin, k, k) and bias (Cout,) of one layer, batch norm folded in."""

    weight: Tensor
    bias: Tensor


def _folded(net: PickerNet) -> list[_Layer]:
    """Take the filters of the four layers and fold the batch norms into them (exact)."""
    layers = []
    for conv, norm in (
        (net.lift, net.norm1),
        (net.conv2, net.norm2),
        (net.conv3, net.norm3),
        (net.head, None),
    ):
        weight, bias = conv.filters().detach(), conv.bias.detach()
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * scale[:, None, None, None]
            bias = (bias - norm.running_mean) * scale + norm.bias
        layers.append(_Layer(weight, bias))
    return layers


class RotationScorer(ABC):
    """Carries an image through a network rotation by rotation, on a GPU or in CPU threads.

    Parameters
    ----------
    config : PickerConfig or TemplateConfig
        Shape of the network.
    device : torch.device
        Where to compute.
    workers : int, optional
        CPU threads, each carrying rotations of its own; as many as torch uses by default.
    """

    def __init__(
        self,
        config: PickerConfig | TemplateConfig,
        device: torch.device,
        workers: int | None = None,
    ) -> None:
        self.config = config
        self.device = device
        self.workers = workers or torch.get_num_threads()

    @property
    def n_rotations(self) -> int:
        """Number of rotations R."""
        return len(self.config.grid)

    def prepare(self, x: Tensor) -> Any:
        """Compute once what all rotations need of an image (1, 1, H, W); by default itself."""
        return x

    @abstractmethod
    def rotation_logits(self, image: Any, rotations: range) -> Tensor:
        """Score some consecutive rotations of what `prepare` gave: (n, H', W') float32 logits."""

    @abstractmethod
    def bytes_per_rotation(self, height: int, width: int) -> int:
        """Memory that one rotation of an image takes."""

    def chunks(self, size: int) -> list[range]:
        """Cut the rotations into ranges of at most ``size``."""
        n = self.n_rotations
        return [range(i, min(i + size, n)) for i in range(0, n, size)]

    def stream(
        self, x: Tensor, chunk: int, keep: Keep | None = None
    ) -> Iterator[RotationStream | int]:
        """Score all rotations of an image, yielding the number done so far, then the result.

        Stopping the iteration stops the work after the chunks under way.

        Parameters
        ----------
        x : Tensor
            (1, 1, H, W) float32 image.
        chunk : int
            Rotations per step on a GPU; the CPU takes its own small steps.
        keep : callable, optional
            Called with a slice of the rotations and their logits, (n, H', W') float16, as they
            come: in any order and, on the CPU, by several threads at once.

        Yields
        ------
        int or RotationStream
            Rotations done; at last the joined stream.
        """
        with torch.inference_mode():
            image = self.prepare(x.to(self.device))
        if self.device.type == "cpu":
            yield from self._stream_cpu(image, keep)
            return
        stream = RotationStream(self.n_rotations, self.config.aggregation, self.config.prior)
        for rotations in self.chunks(chunk):
            with torch.inference_mode():
                logits = self.rotation_logits(image, rotations)
                stream.update(logits, rotations.start)
                if keep is not None:
                    keep(slice(rotations.start, rotations.stop), logits.half().cpu().numpy())
            yield rotations.stop
        yield stream

    def _stream_cpu(self, image: Any, keep: Keep | None) -> Iterator[RotationStream | int]:
        config = self.config
        todo = iter(self.chunks(CPU_CHUNK))
        lock, stop = threading.Lock(), threading.Event()
        done = threading.Semaphore(0)
        threads, begun = torch.get_num_threads(), threading.Barrier(self.workers + 1)

        def work() -> RotationStream:
            torch.set_num_threads(1)  # workers do not share an image
            begun.wait()
            stream = RotationStream(self.n_rotations, config.aggregation, config.prior)
            while not stop.is_set():
                with lock:
                    rotations = next(todo, None)
                if rotations is None:
                    break
                with torch.inference_mode():
                    logits = self.rotation_logits(image, rotations)
                    stream.update(logits, rotations.start)
                    if keep is not None:
                        keep(slice(rotations.start, rotations.stop), logits.half().numpy())
                done.release()
            return stream

        steps = len(self.chunks(CPU_CHUNK))
        with ThreadPoolExecutor(self.workers, thread_name_prefix="so3-score") as pool:
            try:
                jobs = [pool.submit(work) for _ in range(self.workers)]
                begun.wait()
                torch.set_num_threads(threads)  # or every new thread of the process would get one
                for step in range(steps):
                    while not done.acquire(timeout=0.1):
                        for job in jobs:
                            if job.done() and job.exception() is not None:
                                job.result()
                    yield min((step + 1) * CPU_CHUNK, self.n_rotations)
                joined, *others = [job.result() for job in jobs]
            finally:
                stop.set()
        for other in others:
            joined.merge(other)
        yield joined


class DenseScorer(RotationScorer):
    """Scores images with a fixed network; one scorer serves many images.

    Parameters
    ----------
    net : PickerNet
        The network; its weights are copied, batch norm is folded.
    device : torch.device
        Where to compute.
    workers : int, optional
        CPU threads, each carrying rotations of its own; as many as torch uses by default.
    """

    def __init__(self, net: PickerNet, device: torch.device, workers: int | None = None) -> None:
        super().__init__(net.config, device, workers)
        self._stride = net.config.stride
        with torch.inference_mode():
            self._layers = [
                _Layer(layer.weight.to(device), layer.bias.to(device))
                for layer in _folded(net.eval())
            ]
        if device.type == "cpu":
            for layer in self._layers[1:3]:
                layer.weight = torch.stack(
                    [w.contiguous(memory_format=torch.channels_last) for w in layer.weight]
                )

    def rotation_logits(self, image: Tensor, rotations: range) -> Tensor:
        """Score some rotations of an image.

        Parameters
        ----------
        image : Tensor
            (1, 1, H, W) float32 on the scorer's device.
        rotations : range
            Consecutive rotations.

        Returns
        -------
        Tensor
            (len(rotations), H', W') float32 logits.
        """
        if self.device.type == "cpu":
            return self._by_rotation(image, rotations)
        return self._grouped(image, rotations)

    def _by_rotation(self, x: Tensor, rotations: range) -> Tensor:
        lift, conv2, conv3, head = self._layers
        chosen = slice(rotations.start, rotations.stop)
        n = len(rotations)
        # (n*c, 1, k, k): the thin first layer takes the rotations of a chunk at once
        lifted = F.conv2d(
            x, lift.weight[chosen].flatten(0, 1), lift.bias.repeat(n), self._stride
        ).relu_()
        out = []
        for maps, r in zip(lifted.chunk(n, dim=1), rotations, strict=True):
            y = maps.contiguous(memory_format=torch.channels_last)
            y = F.conv2d(y, conv2.weight[r], conv2.bias).relu_()
            y = F.conv2d(y, conv3.weight[r], conv3.bias).relu_()
            out.append(row_split(y, head.weight[r])[0] + head.bias)
        return torch.cat(out)

    def _grouped(self, x: Tensor, rotations: range) -> Tensor:
        chosen = slice(rotations.start, rotations.stop)
        n = len(rotations)
        *inner, head = (
            (layer.weight[chosen].flatten(0, 1), layer.bias.repeat(n)) for layer in self._layers
        )
        y = x.contiguous(memory_format=torch.channels_last)
        # float16 keeps ten bits, so the order of scores; the last sum is taken in float32.
        with torch.autocast(self.device.type, dtype=torch.float16):
            for i, (weight, bias) in enumerate(inner):
                stride, groups = (self._stride, 1) if i == 0 else (1, n)
                y = F.conv2d(y, weight, bias, stride, groups=groups).relu_()
        return F.conv2d(y.float(), *head, groups=n)[0]

    def bytes_per_rotation(self, height: int, width: int) -> int:
        """Memory that one rotation of an image takes on its way through the layers.

        Parameters
        ----------
        height, width : int
            Size of the image, pixels.

        Returns
        -------
        int
            Bytes of all feature maps in float32.
        """
        size, total = [height, width], 0
        for i, layer in enumerate(self._layers):
            step = self._stride if i == 0 else 1
            size = [(n - layer.weight.shape[-1]) // step + 1 for n in size]
            total += 4 * len(layer.bias) * size[0] * size[1]
        return total
