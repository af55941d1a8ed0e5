"""The coordinate files in a folder of picks, and RELION's list of them."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from napari_so3.io.files import shown_path
from napari_so3.io.micrographs import micrograph_name
from napari_so3.io.star import StarError, listed_files, read_blocks, write_autopick_star
from napari_so3.picking.picks import CANDIDATES, LIST_FILE, Picks, PicksError, read_provenance

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

STAR_END = "_autopick.star"


class OutputError(ValueError):
    """A folder of picks cannot be used; the text is one sentence for the user."""


def star_file(output: Path, file_name: str) -> Path:
    """Name the coordinate file of a micrograph in a folder of picks."""
    return output / f"{micrograph_name(file_name)}{STAR_END}"


def write_list(
    output: Path, threshold: float, written: Collection[str] = (), rest: bool = True
) -> int:
    """Write RELION's ``autopick.star`` over all micrographs of a folder of picks.

    Parameters
    ----------
    output : Path
        Folder of picks.
    threshold : float
        AL1 probability.
    written : collection of str
        Names of micrographs whose STAR files are up to date.
    rest : bool
        Give the STAR files of all other micrographs this threshold too, so that the folder is in
        one state. Otherwise they are not even opened, as long as the list names them.

    Returns
    -------
    int
        Number of micrographs listed.

    Raises
    ------
    OutputError
        If the folder cannot be written, or a table of candidates in it is damaged.
    """
    rows = []
    listed = {} if rest else _listed(output)
    try:
        for file in sorted((output / CANDIDATES).glob("*.csv")):
            star = star_file(output, file.stem)
            micrograph = None if file.stem in written else listed.get(file.stem)
            if rest and file.stem not in written:
                Picks.read_csv(file).above(threshold).write_star(star)
            rows.append((micrograph or str(read_provenance(file)["micrograph"]), shown_path(star)))
        write_autopick_star(output / LIST_FILE, rows)
    except (KeyError, PicksError, StarError) as error:
        raise OutputError(f"{output}: the list cannot be written ({error}).") from error
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error}).") from error
    return len(rows)


def _listed(output: Path) -> dict[str, str]:
    """Micrographs that the list names, by the name of their files; none if it cannot be read."""
    try:
        rows = listed_files(read_blocks(output / LIST_FILE))
    except StarError:
        return {}
    return {PurePath(star).name.removesuffix(STAR_END): micrograph for micrograph, star in rows}
