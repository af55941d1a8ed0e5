"""The learned 3D filters of a model: as volumes, and as what the network convolves with.

They are filters and not maps: their hand is unknown, and only those of a template are in the frame
of a map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy import ndimage

from napari_so3.insight.rotation_maps import Rotations
from napari_so3.insight.shells import power_spectrum
from napari_so3.io.files import shown_path
from napari_so3.io.particle_star import write_projections_star
from napari_so3.io.volumes import write_image_stack, write_volume
from napari_so3.so3.projection import (
    BLOB_SIGMA,
    basis_positions,
    centred_coordinates,
    project_weights,
)
from napari_so3.so3.rotations import euler_to_matrix, matrix_to_euler
from napari_so3.so3.template import TemplateNet, project_map

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_so3.picking.picker import Picker
    from napari_so3.so3.networks import PickerNet
    from napari_so3.so3.projection import Basis

OVERSAMPLE = 3  # voxels of a shown volume per voxel of a filter
MARGIN = 2  # voxels around a filter of blobs, which reach beyond it
WEAK = 0.01  # of the median norm of a layer: a weaker filter is dead
TILE, TILES = 96, 3  # working pixels, and tiles per axis that tell whether a channel is used


@dataclass(frozen=True, eq=False)
class FilterLayer:
    """The 3D filters of one layer.

    Parameters
    ----------
    name : str
        Such as ``layer 1`` or ``head``.
    basis : {"blob", "voxel", "map"}
        What the weights are; a map is normalised when it is projected.
    size : int
        Edge k of the filters, voxels.
    weights : ndarray
        (out, in, n) float32, in the order of `basis_positions`, or of the voxels of a map.
    gain : ndarray
        (out,) float32 factor of the batch norm that follows; 1 without.
    norms : ndarray
        (out, in) float32 root mean square over the grid of the norms of the projections, times the
        gain.
    step : int
        Working pixels per voxel.
    """

    name: str
    basis: Basis | Literal["map"]
    size: int
    weights: NDArray[np.float32]
    gain: NDArray[np.float32]
    norms: NDArray[np.float32]
    step: int

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of output and input channels."""
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def dead(self) -> NDArray[np.bool_]:
        """(out, in) filters whose norm is under a hundredth of the median of the layer."""
        dead: NDArray[np.bool_] = self.norms < WEAK * np.median(self.norms)
        return dead


@dataclass(frozen=True, eq=False)
class FilterBank:
    """All learned filters of a model.

    Filters are addressed by layer, output channel and input channel, from 0.

    Parameters
    ----------
    layers : tuple of FilterLayer
        In the order in which the network applies them.
    rotations : Rotations
        Rotations of the model.
    pixels_per_diameter : float
        Working pixels across a particle.
    model, fingerprint : str
        Name of the model, and digest of its weights.
    """

    layers: tuple[FilterLayer, ...]
    rotations: Rotations
    pixels_per_diameter: float
    model: str = ""
    fingerprint: str = ""

    @cached_property
    def matrices(self) -> NDArray[np.float64]:
        """(R, 3, 3) rotations of the model, reference to image."""
        matrices: NDArray[np.float64] = euler_to_matrix(*self.rotations.angles.T).numpy()
        return matrices

    def name(self, matrix: NDArray[np.float64]) -> str:
        """Name any rotation (3, 3) by its angles, as `Rotations.name` does."""
        rot, tilt, psi = (round(float(a)) % 360 for a in matrix_to_euler(torch.from_numpy(matrix)))
        return f"rot {rot}°, tilt {tilt}°, psi {psi}°"

    def volume(
        self, layer: int, out: int, channel: int, oversample: int = OVERSAMPLE
    ) -> NDArray[np.float32]:
        """Evaluate a filter in space.

        Parameters
        ----------
        layer, out, channel : int
            Layer, output channel and input channel.
        oversample : int
            Voxels of the result per voxel of the filter.

        Returns
        -------
        ndarray
            (n, n, n) float32 [z, y, x] with ``n = oversample k``, the middle of the filter at
            ``(n - 1) / 2``. Blobs are Gaussians (sigma 0.6 voxel) with two voxels around all of
            them, ``n = oversample (k + 4)``; voxels are interpolated as the network does.
        """
        these = self.layers[layer]
        weights = these.weights[out, channel]
        n = oversample * (these.size + (2 * MARGIN if these.basis == "blob" else 0))
        axis = centred_coordinates(n).numpy() / oversample
        if these.basis == "blob":
            z, y, x = (_gaussians(axis, these.size, i) for i in (2, 1, 0))
            blobs = np.einsum("zj,yj,xj,j->zyx", z, y, x, weights, optimize=True)
            return np.asarray(blobs, dtype=np.float32)
        cube = weights.reshape(3 * [these.size])
        at = np.meshgrid(*3 * [axis + (these.size - 1) / 2], indexing="ij")
        values = ndimage.map_coordinates(cube, at, order=1, mode="grid-constant")
        return np.asarray(values, dtype=np.float32)

    def projections(
        self, layer: int, out: int, channel: int, matrices: NDArray[np.float64] | None = None
    ) -> NDArray[np.float32]:
        """Project a filter along z as the network does.

        Parameters
        ----------
        layer, out, channel : int
            Layer, output channel and input channel.
        matrices : ndarray, optional
            (n, 3, 3) rotations, reference to image; those of the model by default.

        Returns
        -------
        ndarray
            (n, k, k) float32, what the network convolves with: rows along y, columns along x.
        """
        these = self.layers[layer]
        turns = torch.from_numpy(self.matrices if matrices is None else matrices)
        weights = torch.from_numpy(these.weights[out, channel])
        if these.basis == "map":
            filters = project_map(weights.reshape(3 * [these.size]), turns)
        else:
            filters = project_weights(weights, turns, these.size, these.basis)
        return np.asarray(filters.numpy(), dtype=np.float32)

    def pixel_size(self, layer: int, diameter: float) -> float:
        """Å per voxel of a filter of a layer, for particles of a diameter in Å."""
        return self.layers[layer].step * diameter / self.pixels_per_diameter

    def power_spectrum(self, layer: int, out: int, channel: int) -> NDArray[np.float64]:
        """Mean power of a filter over shells of spatial frequency.

        Returns
        -------
        ndarray
            (m, 2) float64: frequency from 0 to 0.5 cycles per voxel of the filter, and power.
        """
        spectrum = power_spectrum(self.volume(layer, out, channel), 1 / OVERSAMPLE)
        return spectrum[spectrum[:, 0] <= 0.5]

    def export_volume(
        self, path: Path, layer: int, out: int, channel: int, diameter: float
    ) -> None:
        """Write a filter as MRC volume, three voxels per voxel of the filter.

        Parameters
        ----------
        path : Path
            File; replaced as a whole.
        layer, out, channel : int
            Layer, output channel and input channel.
        diameter : float
            Of the particle, Å; it sets the voxel size.
        """
        voxel_size = self.pixel_size(layer, diameter) / OVERSAMPLE
        write_volume(path, self.volume(layer, out, channel), voxel_size)

    def export_projections(
        self, path: Path, layer: int, out: int, channel: int, diameter: float
    ) -> Path:
        """Write the projections of a filter as MRCS, and their angles as STAR beside it.

        Parameters
        ----------
        path : Path
            File of the stack; replaced as a whole.
        layer, out, channel : int
            Layer, output channel and input channel.
        diameter : float
            Of the particle, Å; it sets the pixel size.

        Returns
        -------
        Path
            The STAR file.

        Raises
        ------
        StarError
            If the name of the file cannot be written in a STAR file.
        """
        pixel_size, box = self.pixel_size(layer, diameter), self.layers[layer].size
        star = path.with_suffix(".star")
        name = shown_path(path)
        write_projections_star(star, name, self.rotations.angles, pixel_size, box)
        write_image_stack(path, self.projections(layer, out, channel), pixel_size)
        return star


def filter_bank(picker: Picker) -> FilterBank:
    """Take all learned filters of a model.

    Parameters
    ----------
    picker : Picker
        The model.

    Returns
    -------
    FilterBank
        Its filters.
    """
    net = picker.net
    with torch.inference_mode():
        layers = (_map_layer(net),) if isinstance(net, TemplateNet) else _layers(net)
    return FilterBank(
        layers, Rotations.of(picker), picker.pixels_per_diameter, picker.name, picker.fingerprint
    )


def silent_channels(picker: Picker, pixels: NDArray[np.float32]) -> tuple[NDArray[np.bool_], ...]:
    """Find the output channels that are never positive on an image.

    Parameters
    ----------
    picker : Picker
        A model with layers; of a template no channel is silent.
    pixels : ndarray
        (ny, nx) float32 preprocessed image; nine tiles of it are looked at.

    Returns
    -------
    tuple of ndarray
        (out,) bool of every layer; the head is never silent.
    """
    net = picker.net
    if isinstance(net, TemplateNet):
        return (np.zeros(1, dtype=bool),)
    largest = [torch.full((len(norm.weight),), -torch.inf) for norm in _norms(net)]
    with torch.inference_mode():
        for tile in _tiles(pixels, max(TILE, net.config.receptive_field)):
            x = torch.from_numpy(tile)[None, None]
            convolutions = (net.lift, net.conv2, net.conv3)
            for i, (convolve, norm) in enumerate(zip(convolutions, _norms(net), strict=True)):
                x = norm(convolve(x)).relu()
                largest[i] = torch.maximum(largest[i], x.amax(dim=(0, 1, 3, 4)))
    silent = [np.asarray((values <= 0).numpy()) for values in largest]
    return *silent, np.zeros(1, dtype=bool)


def _norms(net: PickerNet) -> tuple[torch.nn.BatchNorm2d, ...]:
    return net.norm1, net.norm2, net.norm3


def _tiles(pixels: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    """Tiles that are spread over an image."""
    starts = [np.unique(np.linspace(0, max(0, n - size), TILES).astype(int)) for n in pixels.shape]
    return [
        np.ascontiguousarray(pixels[y : y + size, x : x + size])
        for y in starts[0]
        for x in starts[1]
    ]


def _layers(net: PickerNet) -> tuple[FilterLayer, ...]:
    layers = []
    convolutions = (net.lift, net.conv2, net.conv3, net.head)
    for i, (convolve, norm) in enumerate(zip(convolutions, (*_norms(net), None), strict=True)):
        gain = torch.ones(convolve.out_channels)
        if norm is not None and norm.running_var is not None:
            gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
        norms = convolve.filters().square().sum(dim=(-2, -1)).mean(dim=0).sqrt()
        layers.append(
            FilterLayer(
                "head" if norm is None else f"layer {i + 1}",
                net.config.basis,
                convolve.project.size,
                convolve.weight.detach().float().numpy().copy(),
                gain.float().numpy().copy(),
                (norms * gain.abs()[:, None]).float().numpy().copy(),
                1 if i == 0 else net.config.stride,
            )
        )
    return tuple(layers)


def _map_layer(net: TemplateNet) -> FilterLayer:
    density = net.density().float().numpy().copy()
    one = np.ones(1, dtype=np.float32)
    return FilterLayer(
        "template", "map", net.config.size, density.reshape(1, 1, -1), one, one[:, None], 1
    )


def _gaussians(axis: NDArray[np.float64], size: int, which: int) -> NDArray[np.float64]:
    """(len(axis), n) profiles of the blobs along x (0), y (1) or z (2), each of integral 1."""
    centres = basis_positions(size, "blob").numpy()[:, which]
    away = (axis[:, None] - centres) / BLOB_SIGMA
    profile: NDArray[np.float64] = np.exp(-(away**2) / 2) / (np.sqrt(2 * np.pi) * BLOB_SIGMA)
    return profile
