"""A pose estimator: a network and everything that is needed to use it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_so3.io.models import ModelFileError, read_model_file, write_model_file
from napari_so3.picking.picker import NORMALISATION, check_normalisation, fingerprint_of
from napari_so3.poses.distribution import PoseDistribution
from napari_so3.poses.matching import MatcherConfig, PoseMatcher
from napari_so3.poses.reconstruction import ParticleMatcher
from napari_so3.poses.reference import Reference
from napari_so3.simulation.volume import DensityMap
from napari_so3.so3.pose_networks import PoseConfig, PoseNet

if TYPE_CHECKING:
    from torch import Tensor

KIND = "pose estimator"
REFERENCE = "reference"  # tensor of a model file
AT_ONCE = 64  # images
_ARCHITECTURES = {
    PoseNet: "layers",
    PoseMatcher: "matcher",
    ParticleMatcher: "particle matcher",
}


@dataclass(frozen=True, eq=False)
class PoseEstimator:
    """Network, scale, symmetry and map of a pose estimator; one safetensors file on disk.

    Parameters
    ----------
    net : PoseNet, PoseMatcher or ParticleMatcher
        The network, in evaluation mode.
    name : str
        What to call it.
    pixels_per_diameter : float
        Working pixels across a particle.
    diameter : float
        Å, of the particle that it knows.
    sign : int
        -1 if particles are dark in the micrographs, 1 if bright.
    reference : Reference, optional
        The map that the poses refer to.
    temperature : float
        What the logits are divided by, so that confidences are right.
    spread : float
        Standard deviation of right poses about the truth along each axis, radians.
    training : dict
        How it was trained.
    fingerprint : str
        Digest of the file; empty before it is saved.
    """

    net: PoseNet | PoseMatcher | ParticleMatcher
    name: str
    pixels_per_diameter: float
    diameter: float
    sign: int = -1
    reference: Reference | None = None
    temperature: float = 1.0
    spread: float = 0.1
    training: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def symmetry(self) -> str:
        """Point group of the particle."""
        return self.net.config.grid.symmetry

    @property
    def box(self) -> int:
        """Edge of the images that the network takes, working pixels."""
        return self.net.config.box

    @property
    def working_pixel_size(self) -> float:
        """Å per pixel of the images that the network takes."""
        return self.diameter / self.pixels_per_diameter

    @torch.inference_mode()
    def estimate(self, images: Tensor, device: torch.device | None = None) -> PoseDistribution:
        """Weigh poses of images.

        Parameters
        ----------
        images : Tensor
            (n, 1, box, box) float32, particles bright, standardised.
        device : torch.device, optional
            Where to compute; where the network is by default.

        Returns
        -------
        PoseDistribution
            Of n images.
        """
        net = self.net if device is None else self.net.to(device)
        where = net.matrices.device
        parts = [net.decode(net(part.to(where))) for part in images.split(AT_ONCE)]
        n = len(net.matrices)
        logits = [part[0].float().cpu() for part in parts] or [torch.zeros(0, n)]
        poses = [part[1].double().cpu() for part in parts] or [torch.zeros(0, n, 3, 3)]
        return PoseDistribution(
            torch.cat(logits).numpy() / np.float32(self.temperature),
            torch.cat(poses).numpy(),
            self.net.config.grid.group.numpy(),
            self.spread,
        )

    def save(self, path: str | Path) -> None:
        """Write the model file (safetensors with a JSON header), replacing what is there.

        Parameters
        ----------
        path : str or Path
            File to write.
        """
        header = {
            "kind": KIND,
            "name": self.name,
            "architecture": _ARCHITECTURES[type(self.net)],
            "network": self.net.config.to_dict(),
            "pixels_per_diameter": self.pixels_per_diameter,
            "diameter": self.diameter,
            "sign": self.sign,
            "normalisation": NORMALISATION,
            "temperature": self.temperature,
            "spread": self.spread,
            "training": self.training,
        }
        tensors = dict(self.net.state_dict())
        if self.reference is not None:
            header["reference"] = {
                "name": self.reference.density.name,
                "voxel_size": self.reference.pixel_size,
                "diameter": self.reference.diameter,
            }
            tensors[REFERENCE] = torch.from_numpy(self.reference.values.astype(np.float16))
        write_model_file(path, header, tensors)


def bundled_estimators() -> dict[str, Path]:
    """Pose estimators that come with the package, by name."""
    folder = Path(str(resources.files("napari_so3"))) / "models" / "poses"
    return {p.stem: p for p in sorted(folder.glob("*.safetensors"))}


def load_estimator(name: str | Path) -> PoseEstimator:
    """Load a pose estimator.

    Parameters
    ----------
    name : str or Path
        Name of a bundled one, or path of a model file.

    Returns
    -------
    PoseEstimator
        Ready to use, on the CPU.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, foreign, or holds another kind of model.
    """
    bundled = bundled_estimators()
    path = bundled.get(str(name), Path(name))
    if not path.is_file():
        known = ", ".join(bundled) or "none"
        raise ModelFileError(
            f"{name}: no such pose model; give the path of a model file or the name of a bundled "
            f"one ({known})."
        )
    stat = path.stat()
    return _load(path.resolve(), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _load(path: Path, _mtime: int, _size: int) -> PoseEstimator:
    header, tensors = read_model_file(path)
    if header.get("kind") != KIND:
        raise ModelFileError(
            f"{path.name}: this model is not a pose estimator but a {header.get('kind')}; train "
            "one with: napari-so3 pose train."
        )
    check_normalisation(path, header)
    digest = fingerprint_of(header, tensors)
    try:
        reference = _reference(header, tensors.pop(REFERENCE, None))
        net = _build(header["architecture"], header["network"], reference)
        net.load_state_dict(tensors)
        estimator = PoseEstimator(
            net.eval(),
            str(header["name"]),
            float(header["pixels_per_diameter"]),
            float(header["diameter"]),
            int(header["sign"]),
            reference,
            float(header["temperature"]),
            float(header["spread"]),
            dict(header["training"]),
            digest,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelFileError(
            f"{path.name}: the header of this model does not fit its weights ({reason}); "
            "it is damaged or was written by another version."
        ) from error
    if min(estimator.pixels_per_diameter, estimator.temperature, estimator.spread) <= 0:
        raise ModelFileError(
            f"{path.name}: its pixels per diameter, temperature or spread make no sense; the file "
            "is damaged."
        )
    return estimator


def _build(
    architecture: str, network: dict[str, Any], reference: Reference | None
) -> PoseNet | PoseMatcher | ParticleMatcher:
    if architecture == "layers":
        return PoseNet(PoseConfig.from_dict(network))
    config = MatcherConfig.from_dict(network)
    if architecture == "particle matcher":
        return ParticleMatcher(config)
    if architecture == "matcher" and reference is not None:
        return PoseMatcher(config, reference)
    raise ValueError(f"there is no pose network {architecture!r}")


def _reference(header: dict[str, Any], values: Tensor | None) -> Reference | None:
    if values is None:
        return None
    about = header["reference"]
    density = DensityMap(values.float().numpy(), float(about["voxel_size"]), str(about["name"]))
    return Reference(density, float(about["diameter"]))
