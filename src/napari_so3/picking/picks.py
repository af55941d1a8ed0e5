"""The table of picks: what the network found, before and after the threshold."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from napari_so3.io.files import atomic_path
from napari_so3.io.star import write_picks_star

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = ("y", "x", "logit", "probability", "rotation", "rot", "tilt", "psi")
# Decimals of a table on disk: finer than a pick is found, and than float32 scores repeat.
DIGITS = {"y": 3, "x": 3, "logit": 5, "probability": 6, "rot": 3, "tilt": 3, "psi": 3}
MARK = "# napari-so3 picks: "
CANDIDATES = "candidates"  # folder of tables, one per micrograph, in a folder of picks
LIST_FILE = "autopick.star"  # RELION's list in a folder of picks


class PicksError(ValueError):
    """A file of picks cannot be used; the text is one sentence for the user."""


@dataclass(frozen=True)
class Picks:
    """Candidates of one micrograph, best first.

    Parameters
    ----------
    table : DataFrame
        One row per candidate: ``y``, ``x`` (micrograph pixels, the first pixel is 0), ``logit``
        and ``probability`` (AL1), ``rotation`` (index of the best one in the grid), ``rot``,
        ``tilt``, ``psi`` (its RELION angles, degrees: the *matched rotation*, in the arbitrary
        frame of the model, not a pose).
    micrograph : str
        The micrograph's path as it was given.
    provenance : dict
        Model, diameter, pixel size and the rest of what decided the result.
    """

    table: pd.DataFrame
    micrograph: str
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def above(self, threshold: float) -> Picks:
        """Keep the candidates whose AL1 probability reaches the threshold.

        Parameters
        ----------
        threshold : float
            Probability from 0 (all) to 1.

        Returns
        -------
        Picks
            The rest, in the same order.
        """
        chosen = self.table[is_above(self.table["logit"].to_numpy(), threshold)]
        return Picks(chosen.reset_index(drop=True), self.micrograph, self.provenance)

    def write_star(self, path: str | Path) -> None:
        """Write a RELION coordinate file, with the log-odds as figure of merit."""
        t = self.table
        write_picks_star(
            path, self.micrograph, t["x"].to_numpy(), t["y"].to_numpy(), t["logit"].to_numpy()
        )

    def write_csv(self, path: str | Path) -> None:
        """Write all columns as CSV, below one comment line that holds the provenance as JSON."""
        head = {"micrograph": self.micrograph, **self.provenance}
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            file.write(MARK + json.dumps(head) + "\n")
            self.table.round(DIGITS).to_csv(file, index=False, lineterminator="\n")

    @classmethod
    def read_csv(cls, path: str | Path) -> Picks:
        """Read what `write_csv` wrote.

        Raises
        ------
        PicksError
            If the file is missing, damaged or of another kind.
        """
        path = Path(path)
        head = read_provenance(path)
        try:
            types = dict.fromkeys(COLUMNS, np.float64) | {"rotation": np.int64}
            table = pd.read_csv(path, skiprows=1, dtype=types)
        except (OSError, ValueError) as error:
            raise PicksError(
                f"{path.name}: cannot be read as a table of picks ({error})."
            ) from error
        if tuple(table.columns) != COLUMNS:
            raise PicksError(f"{path.name}: the columns are not {', '.join(COLUMNS)}.")
        return cls(table, str(head.pop("micrograph")), head)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read only the first line of what `Picks.write_csv` wrote.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    dict
        The provenance, and ``micrograph``.

    Raises
    ------
    PicksError
        If the file is missing, damaged or of another kind.
    """
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise PicksError(f"{path.name}: cannot be read as a table of picks ({error}).") from error
    if not first.startswith(MARK):
        raise PicksError(f"{path.name}: this is not a napari-so3 table of picks.")
    try:
        head: dict[str, Any] = json.loads(first.removeprefix(MARK))
        head["micrograph"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise PicksError(f"{path.name}: its first line is damaged ({error}).") from error
    return head


def is_above(logits: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.bool_]:
    """Tell which log-odds reach an AL1 probability.

    The comparison is made on log-odds, where probabilities near 1 still differ.

    Parameters
    ----------
    logits : ndarray
        (n,) log-odds.
    threshold : float
        Probability from 0 to 1.

    Returns
    -------
    ndarray
        (n,) bool.
    """
    return np.asarray(logits >= logit(threshold))


def make_table(
    positions: NDArray[np.float64],
    logits: NDArray[np.float32],
    rotation: NDArray[np.integer[Any]],
    euler_angles: NDArray[np.float64],
) -> pd.DataFrame:
    """Assemble the table of `Picks`.

    Parameters
    ----------
    positions : ndarray
        (n, 2) y and x in micrograph pixels.
    logits : ndarray
        (n,) AL1 log-odds.
    rotation : ndarray
        (n,) indices into the grid.
    euler_angles : ndarray
        (R, 3) rot, tilt, psi of the grid, degrees.

    Returns
    -------
    DataFrame
        n rows with the columns of `Picks`.
    """
    angles = euler_angles[rotation]
    values = (
        positions[:, 0],
        positions[:, 1],
        logits.astype(np.float64),
        expit(logits.astype(np.float64)),
        rotation.astype(np.int64),
        *angles.T,
    )
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))
