"""``napari-so3 convert``: coordinates of any program to those of any other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Annotated

import typer

from napari_so3.cli.common import complain, count, say, user_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from napari_so3.io.coordinates import CoordinateFile

CHECKED = 3  # micrographs on which the orientation is checked: those with most coordinates


def convert(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Files of coordinates, or folders of them: RELION STAR (also autopick.star), EMAN "
            ".box and JSON, CBOX, Topaz tables, cryoSPARC .cs, CryoPPP, CSV.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="File for particles, topaz and csv. For star, box, json and cbox the folder, or "
            "the file of a single micrograph.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="star, particles (RELION 3.1 to 5, and cryoSPARC's import), box, json, cbox, "
            "topaz or csv.",
            show_default=False,
        ),
    ],
    micrographs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the micrographs: coordinates are paired with them by name, and it is "
            "checked whether they fit.",
            show_default=False,
        ),
    ] = None,
    box: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Edge of the boxes in pixels, one and a half diameters; by default that of the "
            "files. particles, box and cbox need it.",
            show_default=False,
        ),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            "--pixel-size",
            "-p",
            help="Å per pixel, for particles; by default what the micrographs say.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Convert coordinates from the format of one program to that of another.

    What was done to the coordinates, which micrographs they belong to, and with `--micrographs`
    whether they fit these, is said before anything is written. Nothing is ever turned over by
    itself, but for cryoSPARC, whose files say where y is counted from.

    Example: `napari-so3 convert EMAN/ -o particles.star --to particles --micrographs Micrographs/
    --box 200`
    """
    with user_errors():
        from napari_so3.io.coordinates import BOXED, WRITERS, CoordinateError, write_coordinates
        from napari_so3.picking.collect import collect_tables, coordinate_files

        if to not in WRITERS:
            raise CoordinateError(f"--to {to}: it must be one of {', '.join(WRITERS)}.")
        read = [found for place in files for found in coordinate_files(place)]
        tables = collect_tables(read)
        if not tables:
            raise CoordinateError(f"{files[0]}: holds no files with coordinates.")
        _say_what_was_read(read, len(tables))
        edge = box or _box_of(tables)
        if micrographs is None:
            named = _named(tables)
        else:
            named, size = _paired(tables, micrographs, edge)
            pixel_size = pixel_size or size
        if edge is None and to in BOXED:
            raise CoordinateError(f"--to {to}: give the edge of the boxes in pixels with --box.")
        if to == "particles" and pixel_size is None:
            raise CoordinateError("--to particles: give the pixel size in Å with --pixel-size.")
        write_coordinates(output, to, named, box=edge or 1, pixel_size=pixel_size)
        total = count(sum(map(len, named.values())), "coordinate")
        say(f"{total} of {count(len(named), 'micrograph')} written to {output}")


def _say_what_was_read(files: Sequence[CoordinateFile], micrographs: int) -> None:
    for kind, n in Counter(file.format for file in files).items():
        total = sum(len(file.table) for file in files if file.format == kind)
        say(f"{count(n, 'file')} read as {kind}: {count(total, 'coordinate')}")
    for note, n in Counter(note for file in files for note in file.notes).items():
        say(f"  {note}" + (f" ({count(n, 'file')})" if len(files) > 1 else ""))
    say(f"coordinates of {count(micrographs, 'micrograph')}")


def _box_of(tables: Mapping[str, pd.DataFrame]) -> int | None:
    """Usual box of the files."""
    import pandas as pd

    boxes = [table["box"] for table in tables.values() if "box" in table and len(table)]
    return round(pd.concat(boxes).median()) if boxes else None


def _named(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Tables by the name to write: that in the file, or that of the file."""
    from napari_so3.io.micrographs import micrograph_name

    named, invented = {}, []
    for name, table in tables.items():
        given = str(table["micrograph"].iloc[0]) if "micrograph" in table and len(table) else name
        if micrograph_name(given) == PureWindowsPath(given).name:  # without ending
            given = f"{given}.mrc"
            invented.append(given)
        named[given] = table
    if invented:
        say(
            f"the files do not tell the endings of micrographs: {invented[0]} and so on; give the "
            "micrographs with --micrographs where they are called otherwise"
        )
    return named


def _paired(
    tables: Mapping[str, pd.DataFrame], where: Path, box: int | None
) -> tuple[dict[str, pd.DataFrame], float | None]:
    """Tables by the path of their micrograph, and the pixel size; says how it went."""
    from napari_so3.io.coordinates import CoordinateError
    from napari_so3.io.files import shown_path
    from napari_so3.io.micrographs import find_micrographs, read_micrograph
    from napari_so3.io.names import match_names

    match = match_names(map(str, find_micrographs([where])), tables)
    say(match.sentence())
    if not match.pairs:
        raise CoordinateError(
            f"{where}: no micrograph in it has the name of one that the coordinates are of, such "
            f"as {next(iter(tables))}."
        )
    _check({path: tables[name] for path, name in match.pairs}, box)
    named = {shown_path(Path(path)): tables[name] for path, name in match.pairs}
    return named, read_micrograph(match.pairs[0][0]).pixel_size


def _check(tables: Mapping[str, pd.DataFrame], box: int | None) -> None:
    """Say whether coordinates fit the micrographs with most of them."""
    from napari_so3.io.micrographs import read_micrograph
    from napari_so3.picking.orientation import AS_THEY_ARE, BOX, check_orientation

    if box is None:
        say("whether they fit the micrographs is not checked: give --box, 1.5 diameters")
        return
    for path in sorted(tables, key=lambda path: -len(tables[path]))[:CHECKED]:
        micrograph = read_micrograph(path)
        check = check_orientation(micrograph.to_float32(), tables[path], box / BOX)
        sentence = f"{micrograph.path.name}: {check.sentence()}"
        if check.best == AS_THEY_ARE:
            say(sentence)
        else:
            complain("Warning", sentence)
