"""The labelled micrographs that the general model learns from, and those that it never sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_so3.io.micrographs import read_micrograph
from napari_so3.io.star import read_coordinates
from napari_so3.training.labels import Labels
from napari_so3.training.tiles import LabelledMicrograph

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class DataSet:
    """A folder of labelled micrographs.

    Parameters
    ----------
    name : str
        For messages and the model's header.
    micrographs, coordinates : str
        Folders below the data folder.
    pixel_size, diameter : float
        Å.
    held_out : tuple of str
        Beginnings of the names that are kept for validation.
    complete : bool
        Whether (nearly) every particle is labelled.
    coordinate_scale : float
        Pixels of the micrographs per unit of the coordinates.
    weight : int
        Tiles in every batch of the general model.
    offset : tuple of float
        Where particles lie from their labels, y and x in pixels, in the mean of the training
        crops (``docs/experiments/label_offset.py``); training takes it into account.
    """

    name: str
    micrographs: str
    coordinates: str
    pixel_size: float
    diameter: float
    held_out: tuple[str, ...]
    complete: bool = True
    coordinate_scale: float = 1.0
    weight: int = 1
    offset: tuple[float, float] = (0.0, 0.0)


APOFERRITIN = DataSet(
    "apoferritin (EMPIAR-10146)",
    "apoferritin_10146/micrographs",
    "apoferritin_10146/coordinates",
    1.5,
    130.0,
    ("May08_05_53_51", "May08_05_55_31", "May08_05_57_01"),
    offset=(-1.7, -0.9),
)
SINGLE_FRAMES = DataSet(
    "apoferritin, single frames (EMPIAR-10146)",
    "apoferritin_10146/single_frame_bin2",
    "apoferritin_10146/coordinates",
    3.0,
    130.0,
    APOFERRITIN.held_out,
    coordinate_scale=0.5,
    offset=(-0.85, -0.45),
)
BETA_GALACTOSIDASE = DataSet(
    "beta-galactosidase (EMPIAR-10017)",
    "bgal_10017/micrographs",
    "bgal_10017/coordinates",
    7.08,
    180.0,
    ("Falcon_2012_06_12-16_",),
    weight=3,  # its particles are the hardest to see
    offset=(-1.4, -1.1),
)
PROTEASOME = DataSet(
    "20S proteasome (EMPIAR-10025)",
    "t20s_10025/micrographs",
    "t20s_10025/coordinates",
    7.894,
    150.0,
    ("14sep05c_c_00003gr_00014sq_00011hl_00003es",),
    complete=False,
)
DATA_SETS = (APOFERRITIN, SINGLE_FRAMES, BETA_GALACTOSIDASE, PROTEASOME)


def read_part(data: Path, what: DataSet, held_out: bool = False) -> dict[str, LabelledMicrograph]:
    """Read the training or the held-out micrographs of a data set.

    Parameters
    ----------
    data : Path
        Data folder.
    what : DataSet
        Which set.
    held_out : bool
        Which of the two.

    Returns
    -------
    dict
        Name to labelled micrograph, one per coordinate file.

    Raises
    ------
    MicrographError, StarError
        If a file is missing or cannot be read.
    """
    labelled = {}
    for star in sorted((data / what.coordinates).glob("*.star")):
        if star.name.startswith(what.held_out) != held_out:
            continue
        points = read_coordinates(star)[["y", "x"]].to_numpy() * what.coordinate_scale
        path = data / what.micrographs / f"{star.stem}.mrc"
        labelled[star.stem] = LabelledMicrograph(
            read_micrograph(path, what.pixel_size),
            Labels(points, complete=what.complete),
            what.diameter,
        )
    return labelled
