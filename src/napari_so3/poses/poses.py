"""The table of poses: which way the particles of one micrograph are turned, and how surely."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from napari_so3.io.files import atomic_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = (
    "y", "x", "rot", "tilt", "psi", "confidence", "effective", "dy", "dx", "correlation",
)  # fmt: skip
MARK = "# napari-so3 poses: "
DIGITS = {"y": 3, "x": 3, "confidence": 4, "effective": 3, "dy": 3, "dx": 3, "correlation": 4}
ANGLES = ("rot", "tilt", "psi")
ANGLE_DIGITS = 3


class PosesError(ValueError):
    """A file of poses cannot be used; one sentence that names it."""


@dataclass(frozen=True)
class Poses:
    """Poses of the picks of one micrograph, in the order of the picks.

    Parameters
    ----------
    table : DataFrame
        One row per pick: ``y``, ``x`` (micrograph pixels of the pick, as given), ``rot``,
        ``tilt``, ``psi`` (RELION angles of the likeliest pose, degrees), ``confidence``
        (probability that it is right within 15 degrees), ``effective`` (number of equally likely
        poses that would be as uncertain), ``dy``, ``dx`` (Å from the pick to the centre of the
        particle), ``correlation`` (with the projection of the reference; NaN without one).
    alternatives : ndarray
        (n, k, 3, 3) float64 likeliest poses that are apart from each other: the one that was
        taken, which the refinement may have preferred, and the others with falling probability;
        NaN where there are fewer.
    shares : ndarray
        (n, k) float64 probability of each; 0 where there are fewer.
    symmetry : str
        Point group: a pose times an element of it is the same pose.
    micrograph : str
        The micrograph's path as it was given.
    provenance : dict
        Model, diameter, pixel size and the rest of what decided the result.
    """

    table: pd.DataFrame
    alternatives: NDArray[np.float64]
    shares: NDArray[np.float64]
    symmetry: str = "C1"
    micrograph: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def matrices(self) -> NDArray[np.float64]:
        """(n, 3, 3) float64 rotations, reference to image."""
        return angles_to_matrices(self.table[list(ANGLES)].to_numpy())

    def take(self, rows: NDArray[np.integer[Any]]) -> Poses:
        """Keep some of the picks, in the order given.

        Parameters
        ----------
        rows : ndarray
            (m,) indices of rows.

        Returns
        -------
        Poses
            Of m picks.
        """
        return Poses(
            self.table.iloc[rows].reset_index(drop=True),
            self.alternatives[rows],
            self.shares[rows],
            self.symmetry,
            self.micrograph,
            self.provenance,
        )

    def write_csv(self, path: str | Path) -> None:
        """Write all columns as CSV, below one comment line that holds the rest as JSON.

        Parameters
        ----------
        path : str or Path
            File; replaced as a whole.
        """
        head = {"micrograph": self.micrograph, "symmetry": self.symmetry, **self.provenance}
        table = self.table.round({**DIGITS, **dict.fromkeys(ANGLES, ANGLE_DIGITS)})
        for k in range(self.shares.shape[1]):
            angles = matrices_to_angles(self.alternatives[:, k])
            for name, values in zip(ANGLES, angles.T, strict=True):
                table[f"{name}{k + 1}"] = values.round(ANGLE_DIGITS)
            table[f"share{k + 1}"] = self.shares[:, k].round(5)
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            file.write(MARK + json.dumps(head) + "\n")
            table.to_csv(file, index=False, lineterminator="\n")

    @classmethod
    def read_csv(cls, path: str | Path) -> Poses:
        """Read what `write_csv` wrote.

        Parameters
        ----------
        path : str or Path
            File.

        Returns
        -------
        Poses
            As it was, to the digits that are kept.

        Raises
        ------
        PosesError
            If the file cannot be read or is no such table.
        """
        path = Path(path)
        try:
            with path.open(encoding="utf-8", newline="") as file:
                first = file.readline()
                if not first.startswith(MARK):
                    raise PosesError(f"{path.name}: it is not a table of poses of napari-so3.")
                head = json.loads(first[len(MARK) :])
                table = pd.read_csv(file)
        except OSError as error:
            raise PosesError(
                f"{path.name}: it cannot be opened ({error.strerror or error})."
            ) from error
        except (UnicodeDecodeError, json.JSONDecodeError, pd.errors.ParserError) as error:
            raise PosesError(f"{path.name}: the table of poses is damaged ({error}).") from error
        if missing := set(COLUMNS) - set(table):
            raise PosesError(f"{path.name}: the table of poses lacks {', '.join(sorted(missing))}.")
        shares = [str(c) for c in table if str(c).startswith("share")]
        alternatives = [
            angles_to_matrices(table[[f"{name}{c[5:]}" for name in ANGLES]].to_numpy())
            for c in shares
        ]
        n = len(table)
        return cls(
            table[list(COLUMNS)].astype(np.float64),
            np.stack(alternatives, axis=1) if shares else np.zeros((n, 0, 3, 3)),
            table[shares].to_numpy(dtype=np.float64),
            str(head.pop("symmetry", "C1")),
            str(head.pop("micrograph", "")),
            head,
        )


def angles_to_matrices(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn RELION's angles into matrices, without torch.

    Parameters
    ----------
    angles : ndarray
        (n, 3) rot, tilt and psi, degrees; NaN stands for no pose.

    Returns
    -------
    ndarray
        (n, 3, 3) float64 rotations, reference to image, as `so3.rotations.euler_to_matrix`.
    """
    out = np.full((len(angles), 3, 3), np.nan)
    known = np.isfinite(angles).all(axis=1)
    if known.any():
        turns = Rotation.from_euler("ZYZ", np.asarray(angles[known], np.float64), degrees=True)
        out[known] = turns.inv().as_matrix()
    return out


def matrices_to_angles(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn matrices into RELION's angles, without torch.

    At tilt 0 and 180, where only a sum or difference of rot and psi is defined, rot is 0.

    Parameters
    ----------
    matrices : ndarray
        (n, 3, 3) rotations, reference to image; NaN stands for no pose.

    Returns
    -------
    ndarray
        (n, 3) float64 rot, tilt and psi, degrees.
    """
    out = np.full((len(matrices), 3), np.nan)
    known = np.isfinite(matrices).all(axis=(1, 2))
    m = matrices[known]
    if len(m) == 0:
        return out
    sine = np.hypot(m[:, 2, 0], m[:, 2, 1])
    tilt = np.arctan2(sine, m[:, 2, 2])
    polar = sine < 1e-8
    rot = np.where(polar, 0.0, np.arctan2(m[:, 2, 1], m[:, 2, 0]))
    psi = np.where(
        polar,
        np.arctan2(-m[:, 1, 0] * np.sign(m[:, 2, 2]), m[:, 1, 1]),
        np.arctan2(m[:, 1, 2], -m[:, 0, 2]),
    )
    out[known] = np.degrees(np.stack((rot, tilt, psi), axis=-1))
    return out
