"""A picker from a map alone, without training: the projections of the map, as micrographs show it.

What radially symmetric filters do to a micrograph they do to its projections, and so to the map:
the contrast transfer, the local normalisation of `preprocess` and the pixels of the picker are
applied to the map once, in three dimensions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_so3.picking.peaks import local_maxima
from napari_so3.picking.picker import Picker
from napari_so3.picking.preprocess import WINDOW, preprocess
from napari_so3.picking.score import ScoreMaps, Scorer
from napari_so3.simulation.ctf import CTF, evaluate_ctf
from napari_so3.simulation.micrograph import SimulationConfig, simulate_micrograph
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.symmetry import symmetry_group
from napari_so3.so3.template import TemplateConfig, TemplateNet, TemplateScorer
from napari_so3.so3.turning import sample_volume
from napari_so3.training.alignment import align_to_symmetry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.simulation.volume import DensityMap

PIXELS_PER_DIAMETER = 12.0
SUPPORT = 1.15  # diameters of the map: what is compared, the particle and its rim
ROTATIONS = 576  # at most, about
DIRECTIONS = 168  # on the sphere at most, 8 degrees from one to the next or closer
OVERSAMPLING = 2  # of the map while it is filtered
VOLUME_SPREAD = 0.1  # standard deviation of the weights, that of other networks
EXPECTED = 4.0  # response to a faint particle, standard deviations of the noise
NOISE_SHAPE = (301, 301)  # working pixels of simulated noise
NOISE_STRUCTURE = 0.65  # its coloured share, as in real micrographs
FALSE_PEAKS = 0.01  # share of the peaks of noise that get a P above 1/2
SEED = 0


def make_matcher(
    density: DensityMap,
    diameter: float | None = None,
    symmetry: str = "C1",
    defocus: float = 15_000.0,
) -> Picker:
    """Make a picker that looks for the projections of a map.

    Its gain makes the logits log-likelihood ratios of a particle whose response is `EXPECTED`
    standard deviations of that on simulated noise, its offset gives one in a hundred peaks of such
    noise a P above 1/2.

    Parameters
    ----------
    density : DensityMap
        The particle.
    diameter : float, optional
        Diameter in Å that will be given with the micrographs; that of the map by default. The
        scale of the map does not depend on it as long as the same one is given.
    symmetry : str
        Point group of the map; fewer rotations are then enough. A map whose axes are not RELION's
        is turned.
    defocus : float
        Typical defocus of the micrographs, Å.

    Returns
    -------
    Picker
        Its matched rotations are in the frame of the map as it was turned; ``training["turned"]``
        is the matrix that turned it.

    Raises
    ------
    SymmetryError
        If there is no such symmetry or the map does not have it.
    ValueError
        If the diameter or the defocus is not positive.
    """
    diameter = density.diameter if diameter is None else diameter
    if not (diameter > 0 and defocus > 0):
        raise ValueError(f"diameter and defocus must be above 0 Å, not {diameter} and {defocus}")
    density, turned = align_to_symmetry(density, symmetry)
    pixel_size = diameter / PIXELS_PER_DIAMETER
    size = 2 * round(SUPPORT * density.diameter / pixel_size / 2) + 1
    ctf = CTF(defocus_u=defocus, defocus_v=defocus)
    net = TemplateNet(TemplateConfig(size=size, grid=choose_grid(symmetry)))
    volume = imaged_map(density, size, pixel_size, WINDOW * diameter, ctf)
    with torch.no_grad():
        net.volume.copy_(volume * VOLUME_SPREAD / volume.std())
    _calibrate(net, density, diameter, ctf)
    training = {
        "data": [f"map {density.name}"],
        "method": "template matching, no training",
        "diameter": diameter,
        "symmetry": symmetry,
        "turned": turned.tolist(),
        "defocus": defocus,
    }
    name = f"matcher of {density.name}"
    return Picker(net.eval(), name, PIXELS_PER_DIAMETER, training=training)


def choose_grid(symmetry: str) -> RotationGrid:
    """Rotations that are fine enough for template matching and not too many.

    Parameters
    ----------
    symmetry : str
        Point group, as in `symmetry_group`.

    Returns
    -------
    RotationGrid
        As fine between the views as in plane; about `ROTATIONS` rotations, or fewer if a
        symmetric particle needs no more.
    """
    order = len(symmetry_group(symmetry))
    balanced = (ROTATIONS * order) ** (2 / 3) / math.pi ** (1 / 3)
    directions = min(DIRECTIONS, round(balanced))
    return RotationGrid.reduced(
        symmetry, directions, 4 * round(math.sqrt(math.pi * directions) / 4)
    )


def imaged_map(
    density: DensityMap, size: int, pixel_size: float, window: float, ctf: CTF
) -> torch.Tensor:
    """Turn a map into one whose projections look like particles in a preprocessed micrograph.

    Parameters
    ----------
    density : DensityMap
        The particle.
    size : int
        Edge of the result, voxels; odd.
    pixel_size : float
        Å per voxel of the result.
    window : float
        Standard deviation of the window of the local normalisation, Å.
    ctf : CTF
        Without astigmatism.

    Returns
    -------
    Tensor
        (size, size, size) float32 [z, y, x], bright where particles are bright after `preprocess`;
        the origin of the map on the middle voxel.
    """
    voxel = pixel_size / OVERSAMPLING
    half = OVERSAMPLING * size  # twice the extent of the result: the CTF spreads the map
    origin, ratio = len(density.values) // 2, voxel / density.voxel_size
    fine = sample_volume(density.values, origin, 2 * half + 1, ratio)
    n = len(fine)
    squares = np.fft.fftfreq(n, voxel) ** 2
    s = np.sqrt(squares[:, None, None] + squares[:, None] + np.fft.rfftfreq(n, voxel) ** 2)
    transfer = _radial_ctf(ctf, s)
    # The local mean is taken out twice.
    flat = (1.0 - np.exp(-2.0 * (math.pi * window * s) ** 2)) ** 2
    inside = s < 0.5 / pixel_size
    spectrum = np.fft.rfftn(fine) * -transfer * flat * inside
    imaged = np.fft.irfftn(spectrum, s=fine.shape, axes=(0, 1, 2))
    reach = OVERSAMPLING * (size // 2)
    kept = slice(half - reach, half + reach + 1, OVERSAMPLING)
    return torch.from_numpy(imaged[kept, kept, kept].astype(np.float32))


def _radial_ctf(ctf: CTF, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate a CTF at frequencies of any length, 1/Å."""
    samples = 4096
    pixel_size = 0.5 / float(s.max())
    values = evaluate_ctf(ctf, (1, samples), pixel_size)[0].numpy()
    out: NDArray[np.float64] = np.interp(s, np.fft.rfftfreq(samples, pixel_size), values)
    return out


def _calibrate(net: TemplateNet, density: DensityMap, diameter: float, ctf: CTF) -> None:
    """Set gain and offset on a simulated micrograph without particles."""
    pixel_size = diameter / PIXELS_PER_DIAMETER
    config = SimulationConfig(NOISE_SHAPE, pixel_size, 0, ctf=ctf, structure=NOISE_STRUCTURE)
    noise = simulate_micrograph(density, config, torch.Generator().manual_seed(SEED))
    image = preprocess(noise.image, pixel_size, diameter, pixel_size)
    scorer = TemplateScorer(net, torch.device("cpu"))
    with torch.inference_mode():
        prepared = scorer.prepare(image.pixels[None, None])
        every = max(1, scorer.n_rotations // 32)
        chosen = range(0, scorer.n_rotations, every)
        logits = torch.cat([scorer.rotation_logits(prepared, range(r, r + 1)) for r in chosen])
    with torch.no_grad():
        spread = (logits + net.offset).std() / net.gain
        net.gain.fill_(EXPECTED / spread)
        net.offset.fill_(EXPECTED**2 / 2)
    *_, maps = Scorer(net, torch.device("cpu")).score(image)
    assert isinstance(maps, ScoreMaps)
    peaks = maps.logits[tuple(local_maxima(maps.logits, -math.inf).T)]
    with torch.no_grad():
        net.offset.add_(float(np.quantile(peaks, 1.0 - FALSE_PEAKS)))
