"""``napari-so3 pose estimate``: the poses of picks, as particles for RELION."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from napari_so3.cli.common import (
    Device,
    Micrographs,
    PixelSize,
    complain,
    count,
    say,
    user_errors,
    watching,
)
from napari_so3.io.micrographs import MicrographError, find_micrographs, read_micrograph

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.poses.estimate import PoseSettings
    from napari_so3.poses.estimator import PoseEstimator
    from napari_so3.simulation.ctf import CTF

AUTO = "auto"


class PoseCommandError(ValueError):
    """Arguments that do not fit each other; one sentence for the user."""


def estimate(
    micrographs: Micrographs,
    picks: Annotated[
        Path,
        typer.Option(
            "--picks",
            help="Folder made by `napari-so3 pick`, of which the picks above the threshold are "
            "taken; or a folder of coordinate files of any program, or one of them.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Name of a bundled pose model, or its file.", show_default=False
        ),
    ],
    diameter: Annotated[
        float | None,
        typer.Option(
            "--diameter",
            "-d",
            min=10.0,
            max=5000.0,
            help="Diameter of the particle in Å, if not the one that the model was trained for.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Particles STAR file to write.")
    ] = Path("particles.star"),
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Climb from each pose to the best match with the map."),
    ] = False,
    defocus: Annotated[
        str | None,
        typer.Option(
            "--defocus",
            help="Å under focus of all micrographs, or auto to find it from the rings of each; "
            "phases are then flipped.",
            show_default=False,
        ),
    ] = None,
    boxes: Annotated[
        int | None,
        typer.Option(
            "--boxes",
            min=8,
            help="Cut the particles too: edge of the boxes, in pixels of the micrographs.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    pixel_size: PixelSize = None,
) -> None:
    """Estimate the poses of picks, and write them as particles for RELION.

    The file holds angles, origins (the particle is at the coordinate minus the origin) and, as
    `rlnParticleFigureOfMerit`, the probability that the pose is right within 15 degrees. Picks and
    micrographs are paired by name. A micrograph that cannot be read does not stop the others: it is
    listed, and the exit code is 1.

    Example: `napari-so3 pose estimate Micrographs/ --picks AutoPick --model t20s.safetensors
    --refine -o particles.star`
    """
    with user_errors():
        from napari_so3.picking.pick import choose_device
        from napari_so3.poses.estimate import PoseSettings
        from napari_so3.poses.estimator import load_estimator

        _check_defocus(defocus)
        estimator, where = load_estimator(model), choose_device(device)
        paired = _pair(find_micrographs(micrographs), picks)
        across = diameter or estimator.diameter
        settings = PoseSettings(across, pixel_size, refine)
        job = _Estimating(estimator, settings, defocus, where)
        job.run(paired)
        if not job.tables:
            raise PoseCommandError("No poses: none of the micrographs could be used.")
        size = job.pixel_size()
        box = boxes or _box_size(across, size)
        job.write(output, size, box, cut=boxes is not None)
        job.summarise(output)
    raise typer.Exit(1 if job.failed else 0)


class _Estimating:
    """Estimates the poses of micrographs, and keeps what is to be written."""

    def __init__(
        self, estimator: "PoseEstimator", settings: "PoseSettings", defocus: str | None, device: Any
    ) -> None:
        self.estimator, self.settings = estimator, settings
        self.defocus, self.device = defocus, device
        self.tables: dict[str, pd.DataFrame] = {}
        self.opened: dict[str, Micrograph] = {}
        self.confidence: list[np.ndarray[Any, np.dtype[np.float64]]] = []
        self.matrices: list[np.ndarray[Any, np.dtype[np.float64]]] = []
        self.failed = 0

    def run(self, paired: "Mapping[Path, pd.DataFrame]") -> None:
        """Estimate all, with a progress bar; what cannot be read is told and counted."""
        from napari_so3.poses.estimate import PoseError

        for path, picks in paired.items():
            try:
                self._run_one(path, picks)
            except (MicrographError, PoseError) as error:
                complain("Not estimated", str(error))
                self.failed += 1

    def _run_one(self, path: Path, picks: "pd.DataFrame") -> None:
        from dataclasses import replace

        from napari_so3.io.files import shown_path
        from napari_so3.poses.estimate import estimate_poses
        from napari_so3.poses.poses import Poses
        from napari_so3.poses.writing import particle_table

        micrograph = read_micrograph(path, self.settings.pixel_size)
        settings = replace(self.settings, ctf=self._ctf(micrograph))
        points = picks[["y", "x"]].to_numpy(np.float64)
        events = estimate_poses(micrograph, points, self.estimator, settings, self.device)
        found: Poses | None = None
        with watching(events) as (steps, progress):
            bar = progress.add_task(path.name, total=len(points))
            for event in steps:
                if isinstance(event, Poses):
                    found = event
                else:
                    progress.update(bar, completed=event.done, total=event.total)
        assert found is not None
        name = shown_path(path)
        score = picks["score"] if "score" in picks else np.full(len(picks), np.nan)
        self.tables[name], self.opened[name] = particle_table(found, score), micrograph
        self.confidence.append(found.table["confidence"].to_numpy())
        self.matrices.append(found.matrices)
        focus = "" if settings.ctf is None else f", defocus {settings.ctf.defocus_u:.0f} Å"
        say(f"{path.name}: {count(len(found), 'pose')}{focus}")

    def _ctf(self, micrograph: "Micrograph") -> "CTF | None":
        from napari_so3.simulation.ctf import CTF
        from napari_so3.simulation.estimate import estimate_defocus

        if self.defocus is None:
            return None
        focus: float | None
        if self.defocus != AUTO:
            focus = float(self.defocus)
        elif micrograph.pixel_size is None:
            return None  # the estimation says so
        else:
            focus = estimate_defocus(micrograph.to_float32(), micrograph.pixel_size, CTF())
        if focus is None:
            say(f"{micrograph.path.name}: no rings are seen, so its phases are not flipped")
            return None
        return CTF(defocus_u=focus, defocus_v=focus)

    def pixel_size(self) -> float:
        """Å per pixel of all micrographs."""
        sizes = {m.pixel_size for m in self.opened.values() if m.pixel_size is not None}
        if len(sizes) > 1:
            raise PoseCommandError(
                f"The micrographs have different pixel sizes ({', '.join(map(str, sorted(sizes)))} "
                "Å), so that boxes of one size would differ; estimate each by itself."
            )
        return sizes.pop()

    def write(self, output: Path, pixel_size: float, box: int, cut: bool) -> None:
        """Write the particles, and their boxes if they are to be cut."""
        from napari_so3.poses.writing import write_particles

        output.parent.mkdir(parents=True, exist_ok=True)
        events = write_particles(
            output, self.tables, pixel_size, box, self.opened.__getitem__ if cut else None
        )
        for event in events:
            say(f"boxes of {event.done} of {count(event.total, 'micrograph')}")

    def summarise(self, output: Path) -> None:
        """Say how sure the poses are, and which views there are."""
        from napari_so3.poses.blur import blur_of_confidence
        from napari_so3.poses.coverage import view_coverage
        from napari_so3.poses.coverage_words import words
        from napari_so3.poses.errors import group_matrices

        confidence = np.concatenate(self.confidence)
        say(f"{count(len(confidence), 'particle')}: {output}")
        if len(confidence):
            say(
                f"probability of a pose to be right within 15 degrees: median "
                f"{np.median(confidence):.2f}, below 0.5 for {(confidence < 0.5).mean():.0%}"
            )
            group = group_matrices(self.estimator.symmetry)
            matrices, blur = np.concatenate(self.matrices), blur_of_confidence(confidence)
            say(words(view_coverage(matrices, group, blur=blur)))


def _pair(paths: list[Path], picks: Path) -> "dict[Path, pd.DataFrame]":
    """Find the picks of each micrograph by name, and say how that went."""
    from napari_so3.io.names import match_names
    from napari_so3.picking.batch import check_names
    from napari_so3.picking.collect import collect_tables, coordinate_files

    check_names(paths)
    if not picks.exists():
        raise PoseCommandError(f"{picks}: there is no such file or folder.")
    tables = collect_tables(coordinate_files(picks))
    match = match_names(map(str, paths), tables)
    say(match.sentence())
    if not match.pairs:
        raise PoseCommandError(f"{picks}: its picks belong to none of the micrographs.")
    return {Path(path): tables[name].reset_index(drop=True) for path, name in match.pairs}


def _check_defocus(text: str | None) -> None:
    if text is None or text == AUTO:
        return
    try:
        usable = np.isfinite(float(text))
    except ValueError:
        usable = False
    if not usable:
        raise PoseCommandError(f"--defocus {text}: give Å under focus, such as 15000, or {AUTO}.")


def _box_size(diameter: float, pixel_size: float) -> int:
    from napari_so3.picking.pick import PickSettings

    return PickSettings(diameter).box_size(pixel_size)
