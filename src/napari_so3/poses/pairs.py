"""Which particles of two tables are the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from napari_so3.io.names import match_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_so3.io.particles import ParticleTable

RADIUS = 5.0  # pixels
POSITIONS, IMAGES = "positions", "images"


class PairError(ValueError):
    """Tables that do not tell which of their particles are the same; one sentence."""


@dataclass(frozen=True, eq=False)
class ParticlePairs:
    """Particles that are in both of two tables.

    Attributes
    ----------
    first, second : ndarray
        (m,) int64 rows of the two tables; each row at most once.
    by : str
        What tells that they are the same: "positions" on micrographs, or the same "images".
    sizes : (int, int)
        Particles in the tables.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    by: str
    sizes: tuple[int, int]

    def __len__(self) -> int:
        return len(self.first)

    def take(self, kept: NDArray[np.bool_]) -> ParticlePairs:
        """Keep some of the pairs: (m,) bool."""
        return ParticlePairs(self.first[kept], self.second[kept], self.by, self.sizes)

    def sentence(self) -> str:
        """Say how many are the same, and how that is known."""
        return (
            f"{len(self)} particles are in both files, by their {self.by} "
            f"({self.sizes[0]} in the first, {self.sizes[1]} in the second)."
        )


def match_particles(
    table: ParticleTable, other: ParticleTable, radius: float = RADIUS
) -> ParticlePairs:
    """Find the particles that two tables share.

    They are paired by their positions where both tables have these: picks on the micrograph of the
    same name (`napari_so3.io.names`) that are the nearest to each other; or else by the stack and
    the number of their images.

    Parameters
    ----------
    table, other : ParticleTable
        Tables.
    radius : float
        Largest distance of the picks, pixels of the micrograph.

    Returns
    -------
    ParticlePairs
        Pairs, in the order of the first table; there may be none.

    Raises
    ------
    PairError
        The tables have neither positions nor images in common, or the radius is not positive.
    """
    if not radius > 0:
        raise PairError(f"a radius of {radius} pixels is not positive")
    if table.has("x", "y") and other.has("x", "y"):
        by, found = POSITIONS, _by_position(table.table, other.table, radius)
    elif table.has("stack", "index") and other.has("stack", "index"):
        by, found = IMAGES, _by_image(table.table, other.table)
    else:
        raise PairError(
            f"{table.path.name} and {other.path.name}: nothing tells which of their particles are "
            "the same; both need coordinates, or both need names of images."
        )
    pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    return ParticlePairs(pairs[:, 0], pairs[:, 1], by, (len(table), len(other)))


def _by_position(first: pd.DataFrame, second: pd.DataFrame, radius: float) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for rows, others in _groups(first, second, "micrograph"):
        places, targets = (
            table.loc[index, ["y", "x"]].to_numpy(np.float64)
            for table, index in ((first, rows), (second, others))
        )
        gap, nearest = map(np.asarray, cKDTree(targets).query(places))
        back = np.asarray(cKDTree(places).query(targets)[1])
        mutual = (gap <= radius) & (back[nearest] == np.arange(len(places)))
        found += zip(rows[mutual].tolist(), others[nearest[mutual]].tolist(), strict=True)
    return found


def _by_image(first: pd.DataFrame, second: pd.DataFrame) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for rows, others in _groups(first, second, "stack"):
        place = dict(zip(second.loc[others, "index"], others, strict=True))
        numbers = first.loc[rows, "index"]
        found += [
            (int(i), int(place.pop(n))) for i, n in zip(rows, numbers, strict=True) if n in place
        ]
    return found


def _groups(
    first: pd.DataFrame, second: pd.DataFrame, column: str
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of the two tables on the same micrograph, or in the same stack."""
    sides = [_rows(table, column) for table in (first, second)]
    if any(list(side) == [""] for side in sides) and max(map(len, sides)) == 1:
        return list(zip(*(side.values() for side in sides), strict=True))  # one without a name
    same = [name for name in sides[0] if name in sides[1]]
    rest = [[name for name in side if name not in same] for side in sides]
    pairs = [(name, name) for name in same] + list(match_names(*rest).pairs)
    return [(sides[0][a], sides[1][b]) for a, b in pairs]


def _rows(table: pd.DataFrame, column: str) -> dict[str, NDArray[np.int64]]:
    """Rows by name; all under no name where the column is missing."""
    if len(table) == 0:
        return {}
    names = table[column] if column in table else pd.Series("", index=table.index)
    grouped = pd.Series(np.arange(len(table))).groupby(names.to_numpy(), sort=False)
    return {str(name): rows.to_numpy(dtype=np.int64) for name, rows in grouped}
