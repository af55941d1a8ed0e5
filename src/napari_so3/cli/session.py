"""``napari-so3 desk``, and ``session`` and ``export``: what was done in it, without a screen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from napari_so3.cli.common import complain, console, count, open_napari, say, user_errors, watching

if TYPE_CHECKING:
    from napari_so3.session.state import Session

Folder = Annotated[
    Path,
    typer.Argument(
        help="Folder of the session: that of its session.jsonl, or the folder of micrographs "
        "that it lies in.",
        show_default=False,
    ),
]


def desk(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of micrographs, or of a session; by default none is opened.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Open napari with the docks of the picking desk, and the session of a folder.

    Example: `napari-so3 desk Micrographs/`
    """
    if folder is not None and not folder.is_dir():
        complain("Error", f"{folder}: there is no such folder.")
        raise typer.Exit(2)
    if not open_napari("napari_so3.widgets.desk_docks", *([folder] if folder else [])):
        raise typer.Exit(1)


def session(folder: Folder) -> None:
    """List the micrographs of a session of napari: picks, labels, and what failed.

    Also while napari has it open.

    Example: `napari-so3 session Micrographs/napari-so3`
    """
    from napari_so3.session.tally import NOT_PICKED, Tally

    with user_errors():
        opened = _read(folder)
        table = Table("Micrograph", "Å/px", "Picks", "Labels", "Mean log-odds", "State")
        tally = Tally(opened)
        rows = zip(opened.names, tally.counts, tally.means, tally.pixel_sizes, strict=True)
        labels = 0
        for name, picks, mean, size in rows:
            marks = opened.marks.of(name)
            positives, negatives = marks.count("positive"), marks.count("negative")
            labels += positives + negatives
            picked = picks != NOT_PICKED
            table.add_row(
                escape(name),
                f"{size:g}" if picked else "",
                str(picks) if picked else "",
                f"+{positives} -{negatives}" if positives or negatives else "",
                f"{mean:.2f}" if picks > 0 else "",
                escape(opened.failed.get(name) or ("picked" if picked else "")),
            )
        console.print(table)
        counts = tally.counts[tally.counts != NOT_PICKED]
        say(
            f"{count(len(opened.names), 'micrograph')}, {len(counts)} picked, "
            f"{count(int(counts.sum()), 'pick')}, {count(labels, 'label')}, "
            f"{len(opened.failed)} failed"
        )


def export(
    folder: Folder,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write in; the file itself for particles, topaz and csv.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", help="star, particles, box, json, cbox, topaz or csv.")
    ] = "star",
    box: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Edge of a box in pixels; by default one and a half diameters.",
            show_default=False,
        ),
    ] = None,
    without_marks: Annotated[
        bool,
        typer.Option(
            "--without-marks",
            help="Leave out particles that were marked by hand where the model found nothing.",
        ),
    ] = False,
    poses: Annotated[
        bool,
        typer.Option(
            "--poses",
            help="With --to particles: write poses too (angles, origins, confidence as "
            "rlnParticleFigureOfMerit); picks without a pose are left out.",
        ),
    ] = False,
    images: Annotated[
        bool,
        typer.Option(
            "--images", help="With --to particles: cut the boxes too, into MRCS beside the file."
        ),
    ] = False,
) -> None:
    """Write the picks of a session of napari: those that it shows, with its thresholds and filters.

    Example: `napari-so3 export Micrographs/napari-so3 --to particles -o particles.star`
    """
    from napari_so3.session.export import Exported
    from napari_so3.session.export import export as write

    with user_errors():
        opened = _read(folder)
        events = write(opened, output, to, box, not without_marks, poses, images)
        with watching(events) as (steps, progress):
            task = progress.add_task("Exporting", total=None)
            for event in steps:
                if isinstance(event, Exported):
                    done = event
                else:
                    progress.update(task, completed=event.done, total=event.total)
        by_hand = f", {done.by_hand} of them marked by hand" if done.by_hand else ""
        say(
            f"Wrote {count(done.picks, 'pick')}{by_hand} in "
            f"{count(done.micrographs, 'micrograph')} to {done.path}"
        )
        if done.without_pose:
            say(f"{count(done.without_pose, 'pick')} without a pose, left out")


def _read(folder: Path) -> "Session":
    """Read a session with its candidates."""
    from napari_so3.session.export import read_candidates
    from napari_so3.session.folders import find_session
    from napari_so3.session.journal import FILE, SessionError
    from napari_so3.session.state import Session

    found = find_session(folder.parent if folder.name == FILE else folder)
    if found is None:
        raise SessionError(
            f"{folder}: there is no session in it ({FILE}); open the micrographs in napari first."
        )
    opened = Session.look_at(found)
    for problem in read_candidates(opened):
        complain("Left out", problem)
    return opened
