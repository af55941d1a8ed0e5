"""Tables of particles with poses, images and CTF: STAR files of RELION, .cs files of cryoSPARC.

A pose is a matrix that maps the particle to its image, RELION's A(rot, tilt, psi). Columns of the
table, each where the file has it:

==================  ==============================================================================
micrograph          name as in the file
x, y                pixels of the micrograph: column and row of the pick, the first pixel is 0
score               rlnAutopickFigureOfMerit; pick_stats/ncc_score
stack, index        file with the image of the particle, as named in the file; 0 is its first image
pixel_size          Å per pixel of the images
micrograph_pixel_size  Å per pixel of the micrograph, which x and y count
defocus_u, defocus_v   Å, underfocus is positive
defocus_angle       degrees from x (columns) towards y (rows)
phase_shift         degrees
voltage, cs         kV, mm
amplitude_contrast  fraction
confidence          rlnParticleFigureOfMerit
==================  ==============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from napari_so3.io.dialects.common import CoordinateError, to_numbers
from napari_so3.io.dialects.cryosparc import decoded, is_cs, load_rows, locations_of
from napari_so3.io.particle_star import OPTIONAL, POSES
from napari_so3.io.star import as_table, coordinates_of, read_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STAR_COLUMNS = {
    "micrograph_pixel_size": "rlnMicrographPixelSize",
    "defocus_u": "rlnDefocusU",
    "defocus_v": "rlnDefocusV",
    "defocus_angle": "rlnDefocusAngle",
    "phase_shift": "rlnPhaseShift",
    "voltage": "rlnVoltage",
    "cs": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
    "confidence": OPTIONAL["confidence"],
}
_CS_COLUMNS = {
    "pixel_size": ("blob/psize_A", 1.0),
    "micrograph_pixel_size": ("location/micrograph_psize_A", 1.0),
    "defocus_u": ("ctf/df1_A", 1.0),
    "defocus_v": ("ctf/df2_A", 1.0),
    "defocus_angle": ("ctf/df_angle_rad", 180 / np.pi),
    "phase_shift": ("ctf/phase_shift_rad", 180 / np.pi),
    "voltage": ("ctf/accel_kv", 1.0),
    "cs": ("ctf/cs_mm", 1.0),
    "amplitude_contrast": ("ctf/amp_contrast", 1.0),
}
_ANGLES = tuple(POSES.values())


class ParticleError(CoordinateError):
    """A file of particles that cannot be used; one sentence that names it."""


@dataclass(frozen=True, eq=False)
class ParticleTable:
    """What a file says about particles.

    Attributes
    ----------
    path : Path
        File.
    program : str
        What wrote it, in words.
    table : DataFrame
        A row for each particle, see the module.
    matrices : ndarray or None
        (n, 3, 3) float64 poses; None where the file has none.
    origins : ndarray
        (n, 2) float64 Å (y, x), RELION's origin: the centre of the particle is at the pick, or at
        the centre of its image, minus this. 0 where the file has none.
    notes : tuple of str
        What was done, and what to mind.
    """

    path: Path
    program: str
    table: pd.DataFrame
    matrices: NDArray[np.float64] | None
    origins: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def has(self, *columns: str) -> bool:
        """Tell whether the table has all of these columns."""
        return set(columns) <= set(self.table)


def read_particles(path: str | Path) -> ParticleTable:
    """Read particles of RELION (STAR, also before 3.1) or cryoSPARC (.cs).

    Parameters
    ----------
    path : str or Path
        File; its kind is told by its content.

    Returns
    -------
    ParticleTable
        Particles in the order of the file.

    Raises
    ------
    CoordinateError
        The file cannot be read, holds no particles, or something of them is no number.
    """
    path = Path(path)
    return _read_cs(path) if is_cs(path) else _read_star(path)


def _read_star(path: Path) -> ParticleTable:
    blocks = read_blocks(path)
    particles = _particle_block(blocks, path)
    optics = as_table(blocks.get("optics"))
    table = pd.DataFrame(index=range(len(particles)))
    notes: list[str] = []
    if {"rlnCoordinateX", "rlnCoordinateY"} <= set(particles):
        table, found = coordinates_of({"particles": particles}, path)
        notes += found
    elif "rlnMicrographName" in particles:
        table["micrograph"] = particles["rlnMicrographName"].astype(str).to_numpy(dtype=object)
    if "rlnImageName" in particles:
        table["stack"], table["index"] = _image_names(particles["rlnImageName"], path)
    merged = _with_optics(particles, optics, path)
    if (size := _star_pixel_size(merged, path)) is not None:
        table["pixel_size"] = size
    for name, label in _STAR_COLUMNS.items():
        if label in merged:
            table[name] = to_numbers(merged[label], label, path)
    matrices = None
    if set(_ANGLES) <= set(particles):
        angles = np.column_stack([to_numbers(particles[a], a, path) for a in _ANGLES])
        matrices = _euler_matrices(angles)
        if len(angles) > 1 and not angles[:, :2].any():
            notes.append("rot and tilt are 0 throughout, as after 2D classification")
    elif "rlnAnglePsi" in particles:
        notes.append("it has angles in plane but no poses")
    origins, found = _star_origins(particles, size, path)
    recent = "rlnOpticsGroup" in particles
    program = "RELION 3.1 to 5" if recent else "RELION before 3.1, or a program like it"
    return ParticleTable(path, program, table, matrices, origins, (*notes, *found))


def _particle_block(blocks: dict[str, Any], path: Path) -> pd.DataFrame:
    """Find the block of particles: the one of this name, or the first that has any."""
    kinds = ({"rlnImageName"}, {"rlnCoordinateX", "rlnCoordinateY"}, set(_ANGLES))
    for name in sorted(blocks, key=lambda name: name != "particles"):
        block = as_table(blocks[name])
        if any(kind <= set(block) for kind in kinds):
            return block.reset_index(drop=True)
    raise ParticleError(
        f"{path.name}: it has no particles: no block has rlnImageName, coordinates or angles."
    )


def _image_names(names: pd.Series[Any], path: Path) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Split 000001@STACK into stack and index, 0 the first; a name alone is a single image."""
    stacks, indices = [], []
    for row, name in enumerate(map(str, names)):
        number, _, stack = name.rpartition("@")
        if number and (not number.isdecimal() or int(number) < 1):
            raise ParticleError(f"{path.name}: rlnImageName of row {row + 1} is {name:.60}.")
        stacks.append(stack)
        indices.append(int(number) - 1 if number else 0)
    return np.array(stacks, dtype=object), np.array(indices, dtype=np.int64)


def _with_optics(particles: pd.DataFrame, optics: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Give every particle the columns of its optics group."""
    if len(optics) == 0:
        return particles
    group = "rlnOpticsGroup"
    if group not in particles or group not in optics:
        if len(optics) > 1:
            raise ParticleError(f"{path.name}: it has {len(optics)} optics groups but no numbers.")
        rows = np.zeros(len(particles), dtype=np.int64)
    else:
        numbers = [to_numbers(table[group], group, path) for table in (particles, optics)]
        if missing := set(numbers[0]) - set(numbers[1]):
            raise ParticleError(
                f"{path.name}: optics group {min(missing):g} of its particles is not among those "
                "in data_optics."
            )
        place = {number: row for row, number in enumerate(numbers[1])}
        rows = np.array([place[number] for number in numbers[0]], dtype=np.int64)
    added = [column for column in optics if column not in particles]
    return pd.concat([particles, optics[added].iloc[rows].reset_index(drop=True)], axis=1)


def _star_pixel_size(merged: pd.DataFrame, path: Path) -> NDArray[np.float64] | None:
    """Å per pixel of the images; before 3.1 the detector (µm) and the magnification give it."""
    for label in ("rlnImagePixelSize", "rlnPixelSize"):
        if label in merged:
            return _positive(to_numbers(merged[label], label, path), label, path)
    labels = ("rlnDetectorPixelSize", "rlnMagnification")
    if not set(labels) <= set(merged):
        return None
    detector, times = (_positive(to_numbers(merged[m], m, path), m, path) for m in labels)
    return np.asarray(1e4 * detector / times, dtype=np.float64)


def _positive(values: NDArray[np.float64], label: str, path: Path) -> NDArray[np.float64]:
    if (values <= 0).any():
        raise ParticleError(f"{path.name}: {label} is {values.min():g}, not above 0.")
    return values


def _star_origins(
    particles: pd.DataFrame, size: NDArray[np.float64] | None, path: Path
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Give (n, 2) shifts in Å (y, x); before 3.1 they are pixels of the images."""
    for end in ("Angst", ""):
        labels = [f"rlnOrigin{axis}{end}" for axis in "YX"]
        if set(labels) <= set(particles):
            shifts = np.column_stack([to_numbers(particles[m], m, path) for m in labels])
            if end:
                return shifts, ()
            if size is not None:
                return shifts * size[:, None], ()
            note = "shifts in pixels are left out, as the pixel size of the images is not known"
            return np.zeros_like(shifts), (note,)
    return np.zeros((len(particles), 2)), ()


def _euler_matrices(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn (n, 3) rot, tilt, psi in degrees into RELION's A, which io cannot ask so3 for."""
    return Rotation.from_euler("ZYZ", angles.reshape(-1, 3), degrees=True).inv().as_matrix()


def _read_cs(path: Path) -> ParticleTable:
    rows = load_rows(path)
    names = set(rows.dtype.names or ())
    notes: list[str] = []
    if not {"blob/path", "location/micrograph_path", "alignments3D/pose"} & names:
        raise ParticleError(
            f"{path.name}: it holds no particles of cryoSPARC (blob/*, location/*, alignments3D/*)."
        )
    table = pd.DataFrame(index=range(len(rows)))
    if "location/center_x_frac" in names:
        table, found = locations_of(rows, path)
        notes += found
    if {"blob/path", "blob/idx"} <= names:
        table["stack"] = np.array([decoded(name) for name in rows["blob/path"]], dtype=object)
        table["index"] = rows["blob/idx"].astype(np.int64)
    for name, (label, factor) in _CS_COLUMNS.items():
        if label in names:
            table[name] = to_numbers(rows[label], label, path) * factor
    matrices, origins = None, np.zeros((len(rows), 2))
    if "alignments3D/pose" in names:
        vectors = rows["alignments3D/pose"].astype(np.float64).reshape(len(rows), -1)
        if vectors.shape[1] != 3 or not np.isfinite(vectors).all():
            raise ParticleError(f"{path.name}: a pose in alignments3D/pose is no rotation vector.")
        # As in pyem: the vector turns the axes, so that its inverse is RELION's matrix.
        matrices = np.asarray(Rotation.from_rotvec(vectors).inv().as_matrix(), dtype=np.float64)
        origins = _cs_origins(rows, names, path)
    elif "alignments2D/pose" in names:
        notes.append("it has angles of 2D classes but no poses")
    return ParticleTable(path, "cryoSPARC", table, matrices, origins, tuple(notes))


def _cs_origins(rows: NDArray[Any], names: set[str], path: Path) -> NDArray[np.float64]:
    """Give (n, 2) shifts in Å (y, x) from those in pixels (x, y)."""
    if "alignments3D/shift" not in names:
        return np.zeros((len(rows), 2))
    label = next((m for m in ("alignments3D/psize_A", "blob/psize_A") if m in names), None)
    shifts = rows["alignments3D/shift"].astype(np.float64)[:, ::-1]
    if label is None or not np.isfinite(shifts).all():
        raise ParticleError(f"{path.name}: a shift is no number, or its pixel size is missing.")
    size = _positive(to_numbers(rows[label], label, path), label, path)
    return np.asarray(shifts * size[:, None], dtype=np.float64)
