"""A picker: a network and everything that is needed to use it again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from napari_so3.io.models import ModelFileError, read_model_file, write_model_file
from napari_so3.so3.networks import PickerConfig, PickerNet
from napari_so3.so3.rotations import RotationGrid
from napari_so3.so3.template import TemplateConfig, TemplateNet

KIND = "picker"
NORMALISATION = "local-gaussian-1"  # the recipe of picking/preprocess.py; a new recipe, a new name


@dataclass(frozen=True)
class Picker:
    """Network, scale and sign of a picker; one safetensors file on disk.

    Parameters
    ----------
    net : PickerNet or TemplateNet
        The network, in evaluation mode.
    name : str
        What to call it.
    pixels_per_diameter : float
        Working pixels across a particle: the working pixel size is the diameter over this.
    sign : int
        -1 if the network was trained on micrographs with dark particles, 1 if bright.
    threshold : float
        Suggested AL1 probability.
    training : dict
        How it was trained (data, dates, figures); shown by ``napari-so3 model info``.
    fingerprint : str
        Digest of the weights and the settings; empty before the picker is saved.
    calibration : tuple of float
        Scale and offset that turn AL1 logits into log-odds of a pick being right.
    """

    net: PickerNet | TemplateNet
    name: str
    pixels_per_diameter: float = 20.0
    sign: int = -1
    threshold: float = 0.5
    training: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    calibration: tuple[float, float] = (1.0, 0.0)

    def working_pixel_size(self, diameter: float) -> float:
        """Å per pixel at which a particle of this diameter (Å) has the size that was trained."""
        return diameter / self.pixels_per_diameter

    def with_grid(self, grid: RotationGrid) -> Picker:
        """Return the same picker on other rotations."""
        kind = f"{'antipodal' if grid.antipodal else 'fibonacci'}-{grid.symmetry}"
        fingerprint = f"{self.fingerprint}-{grid.n_directions}x{grid.n_psi}-{kind}"
        return replace(self, net=self.net.with_grid(grid).eval(), fingerprint=fingerprint)

    def with_rotations(self, n_directions: int, n_psi: int) -> Picker:
        """Return the same picker on as many rotations of the kind that it has.

        Pairs of opposite views stay pairs if their number is even, and the symmetry stays. A
        single view is the z axis: rotations in plane only.

        Parameters
        ----------
        n_directions, n_psi : int
            Views (of the asymmetric unit), and in-plane angles of each.

        Returns
        -------
        Picker
            This one if it has these rotations already.

        Raises
        ------
        ValueError
            If a number is below one.
        """
        own = self.net.config.grid
        if (n_directions, n_psi) == (own.n_directions, own.n_psi):
            return self
        if n_directions == 1:
            return self.with_grid(RotationGrid.so2(n_psi))
        antipodal = own.antipodal and n_directions % 2 == 0
        return self.with_grid(RotationGrid(n_directions, n_psi, antipodal, own.symmetry))

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
            "architecture": "template" if isinstance(self.net, TemplateNet) else "layers",
            "network": self.net.config.to_dict(),
            "pixels_per_diameter": self.pixels_per_diameter,
            "sign": self.sign,
            "normalisation": NORMALISATION,
            "threshold": self.threshold,
            "calibration": list(self.calibration),
            "training": self.training,
        }
        write_model_file(path, header, dict(self.net.state_dict()))


def bundled_models() -> dict[str, Path]:
    """Models that come with the package, by name."""
    folder = Path(str(resources.files("napari_so3"))) / "models"
    return {p.stem: p for p in sorted(folder.glob("*.safetensors"))}


def resolve_model(name: str | Path) -> Path:
    """Find the file of a model.

    Parameters
    ----------
    name : str or Path
        Name of a bundled model, or path of a model file.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    ModelFileError
        If there is neither a bundled model nor a file of that name.
    """
    bundled = bundled_models()
    if str(name) in bundled:
        return bundled[str(name)]
    if Path(name).is_file():
        return Path(name)
    known = ", ".join(bundled) or "none"
    raise ModelFileError(
        f"{name}: no such model; give the path of a model file or the name of a bundled one "
        f"({known})."
    )


def load_picker(name: str | Path, rotations: tuple[int, int] | None = None) -> Picker:
    """Load a picker.

    Parameters
    ----------
    name : str or Path
        Name of a bundled model, or path of a model file.
    rotations : tuple of int, optional
        Views and in-plane angles, as in `Picker.with_rotations`; by default the model's own.

    Returns
    -------
    Picker
        Ready to use, on the CPU.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, foreign, or holds another kind of model.
    """
    path = resolve_model(name)
    stat = path.stat()
    picker = _load(path.resolve(), stat.st_mtime_ns, stat.st_size)
    return picker if rotations is None else picker.with_rotations(*rotations)


@lru_cache(maxsize=4)
def _load(path: Path, _mtime: int, _size: int) -> Picker:
    header, tensors = read_model_file(path)
    if header.get("kind") != KIND:
        raise ModelFileError(
            f"{path.name}: this model is not a picker but {header.get('kind')!r}; "
            "choose a picker for picking."
        )
    check_normalisation(path, header)
    try:
        net = _build(header.get("architecture", "layers"), header["network"])
        net.load_state_dict(tensors)
        picker = Picker(
            net.eval(),
            str(header["name"]),
            float(header["pixels_per_diameter"]),
            int(header["sign"]),
            float(header["threshold"]),
            dict(header["training"]),
            fingerprint_of(header, tensors),
            _calibration(header),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelFileError(
            f"{path.name}: the header of this model does not fit its weights ({reason}); "
            "it is damaged or was written by another version."
        ) from error
    if picker.pixels_per_diameter <= 0 or picker.sign not in (-1, 1) or picker.calibration[0] <= 0:
        raise ModelFileError(
            f"{path.name}: pixels per diameter {picker.pixels_per_diameter}, sign {picker.sign} "
            f"and calibration {picker.calibration} make no sense; the file is damaged."
        )
    return picker


def check_normalisation(path: Path, header: dict[str, Any]) -> None:
    """Refuse a model whose images are prepared in a way that this version does not know."""
    if header.get("normalisation") != NORMALISATION:
        raise ModelFileError(
            f"{path.name}: this model expects images normalised as "
            f"{header.get('normalisation')!r}, which this version does not know; update napari-so3."
        )


def _calibration(header: dict[str, Any]) -> tuple[float, float]:
    scale, offset = header.get("calibration", (1.0, 0.0))  # models of 0.1 have none
    return float(scale), float(offset)


def _build(architecture: str, network: dict[str, Any]) -> PickerNet | TemplateNet:
    if architecture == "layers":
        return PickerNet(PickerConfig.from_dict(network))
    if architecture == "template":
        return TemplateNet(TemplateConfig.from_dict(network))
    raise ValueError(f"there is no network {architecture!r}")


def fingerprint_of(header: dict[str, Any], tensors: dict[str, Any]) -> str:
    """Digest the header and the tensors of a model file in 16 characters."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
