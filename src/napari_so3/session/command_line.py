"""The commands that do in a terminal what the docks do."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from scipy.special import expit

from napari_so3.io.micrographs import MicrographError, find_micrographs
from napari_so3.session.choice import NO_MARKS
from napari_so3.session.state import LABELS, MODELS, PICKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_so3.session.state import Session

PROGRAM = "napari-so3"


def pick_command(session: Session, names: Sequence[str] | None = None, run: str = "") -> str:
    """Write the command that picks micrographs of a session.

    Parameters
    ----------
    session : Session
        The session.
    names : sequence of str, optional
        Micrographs; by default all.
    run : str
        Folder of the picks in the session; by default the one that is shown.

    Returns
    -------
    str
        One line for a shell.
    """
    run = run or session.run
    where = session.folder / PICKS / run if session.folder and run else "picks"
    return _join(
        "pick",
        *_files(session, session.names if names is None else names),
        *_settings(session),
        *(("--rotations", "{}x{}".format(*session.rotations)) if session.rotations else ()),
        *("--threshold", f"{expit(session.limit()):.17g}"),
        *("-o", where),
    )


def train_command(session: Session, name: str, from_scratch: bool = False) -> str:
    """Write the command that trains on the labels of a session.

    Parameters
    ----------
    session : Session
        With a folder, in which the labels have been written.
    name : str
        Of the new model.
    from_scratch : bool
        Whether the weights of the model are forgotten.

    Returns
    -------
    str
        One line for a shell.
    """
    assert session.folder is not None
    labelled = [name for name in session.names if session.marks.of(name) != NO_MARKS]
    return _join(
        "train",
        *_files(session, labelled),
        *("--labels", session.folder / LABELS),
        *_settings(session),
        *(("--from-scratch",) if from_scratch else ()),
        *("-o", session.folder / MODELS / f"{name}.safetensors"),
    )


def export_command(
    session: Session,
    output: Path,
    form: str,
    box: int | None = None,
    by_hand: bool = True,
    poses: bool = False,
    images: bool = False,
) -> str:
    """Write the command that exports the picks of a session.

    Parameters
    ----------
    session : Session
        With a folder.
    output : Path
        What is written.
    form : str
        Key of a format.
    box : int, optional
        Edge of a box, pixels; by default one and a half diameters.
    by_hand : bool
        Whether particles that were marked where there is no candidate are written too.
    poses, images : bool
        Whether poses and boxes are.

    Returns
    -------
    str
        One line for a shell.
    """
    return _join(
        "export",
        session.folder,
        *("--to", form, "-o", output),
        *(("--box", box) if box else ()),
        *(() if by_hand else ("--without-marks",)),
        *(("--poses",) if poses else ()),
        *(("--images",) if images else ()),
    )


def session_command(session: Session) -> str:
    """Write the command that lists the micrographs of a session.

    Parameters
    ----------
    session : Session
        With a folder.

    Returns
    -------
    str
        One line for a shell.
    """
    return _join("session", session.folder)


def _settings(session: Session) -> list[object]:
    """Diameter, model, and what is not as usual."""
    words: list[object] = ["--diameter", f"{session.diameter:g}", "--model", session.model]
    if session.pixel_size is not None:
        words += ["--pixel-size", f"{session.pixel_size:g}"]
    if session.device != "auto":
        words += ["--device", session.device]
    return words


def _files(session: Session, names: Iterable[str]) -> list[Path]:
    """Name micrographs: by their folder where they are all that it holds, or else one by one."""
    folders: dict[Path, set[Path]] = {}
    for name in names:
        path = session.paths[name]
        folders.setdefault(path.parent, set()).add(path)
    words: list[Path] = []
    for folder, files in folders.items():
        words += [folder] if len(files) > 1 and files == _held(folder) else sorted(files)
    return words


def _held(folder: Path) -> set[Path]:
    try:
        return set(find_micrographs([folder]))
    except (MicrographError, OSError):
        return set()


def _join(*words: object) -> str:
    return shlex.join([PROGRAM, *map(str, words)])
