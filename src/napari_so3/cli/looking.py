"""What the verbs of ``napari-so3 inspect`` share: they open, look, and write figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_so3.cli.common import read_rotations, say, watching
from napari_so3.io.files import atomic_path
from napari_so3.io.micrographs import read_micrograph

if TYPE_CHECKING:
    from collections.abc import Generator

    from matplotlib.figure import Figure

    from napari_so3.insight.averages import PicksOn
    from napari_so3.insight.rotation_maps import RotationMaps
    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.pick import PickSettings
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.picks import Picks
    from napari_so3.picking.preprocess import WorkingImage

FIGURES = (".png", ".pdf", ".svg")
RESOLUTION = 150  # dots per inch


class InspectError(ValueError):
    """What was asked for cannot be shown; one sentence for the user."""


def open_all(
    path: Path,
    diameter: float,
    model: str,
    rotations: str | None,
    device: str,
    pixel_size: float | None,
) -> tuple["Micrograph", "Picker", "PickSettings", Any]:
    """Open a micrograph, a model and a device."""
    from napari_so3.picking.pick import PickSettings, choose_device
    from napari_so3.picking.picker import load_picker

    opened = read_micrograph(path, pixel_size)
    picker = load_picker(model, read_rotations(rotations))
    return opened, picker, PickSettings(diameter), choose_device(device)


def follow(events: Iterator[Any]) -> Any:
    """Show how far a generator is, ``done`` of ``total``, and give what comes last."""
    last = None
    with watching(cast("Generator[Any, None, None]", events)) as (steps, progress):
        task = progress.add_task("", total=None)
        for event in steps:
            last = event
            if hasattr(event, "done"):
                note = getattr(event, "note", "")
                progress.update(task, completed=event.done, total=event.total, description=note)
    return last


def look(
    micrograph: "Micrograph", picker: "Picker", settings: "PickSettings", device: Any
) -> tuple["WorkingImage", "RotationMaps", "Picks"]:
    """Prepare and score a micrograph, keep what every rotation says, and find the candidates."""
    from napari_so3.insight.rotation_maps import see_rotations
    from napari_so3.picking.pick import find_picks, prepare
    from napari_so3.picking.score import ScoreMaps, Scorer

    image, config = prepare(micrograph, picker, settings), picker.net.config
    scorer = Scorer(picker.net, device)
    seen: RotationMaps = follow(see_rotations(micrograph, picker, settings, scorer, image))
    scores = ScoreMaps(seen.logits, seen.best, config.stride, config.grid)
    return image, seen, find_picks(scores, image, micrograph, picker, settings)


def picks_on(picks: "Picks", picker: "Picker", threshold: float | None) -> "PicksOn":
    """Take the picks that reach a threshold, by default the one that the model suggests."""
    from napari_so3.insight.averages import PicksOn

    return PicksOn.of(picks, picker.threshold if threshold is None else threshold)


def read_tables(folder: Path, picker: "Picker") -> list["Picks"]:
    """Read the candidates of a folder of picks.

    Raises
    ------
    InspectError
        If there are none, or of another model.
    """
    from napari_so3.picking.picks import CANDIDATES, Picks

    tables = sorted((folder / CANDIDATES).glob("*.csv"))
    if not tables:
        raise InspectError(f"{folder}: holds no picks; give a folder made by `napari-so3 pick`.")
    read = [Picks.read_csv(table) for table in tables]
    if any(one.provenance.get("fingerprint") != picker.fingerprint for one in read):
        raise InspectError(
            f"{folder}: was picked with another model or other rotations than {picker.name}; give "
            "the same with -m and --rotations."
        )
    return read


def best_place(found: "Picks", micrograph: "Micrograph") -> tuple[float, float]:
    """Give y and x of the best pick."""
    if not len(found):
        raise InspectError(
            f"{micrograph.path.name}: nothing on it looks like a particle; say a place with --at."
        )
    return float(found.table["y"].iloc[0]), float(found.table["x"].iloc[0])


def check_figure(path: Path | None) -> None:
    """Refuse a name that is no figure's, before the work."""
    if path is not None and path.suffix.lower() not in FIGURES:
        raise InspectError(f"{path}: a figure is written as {', '.join(FIGURES)}.")


def make_folder(folder: Path) -> None:
    """Make a folder to write in, if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InspectError(f"{folder}: cannot be made ({error.strerror or error}).") from error


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure, and say so."""
    try:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=RESOLUTION)
    except OSError as error:
        raise InspectError(f"{path}: cannot be written ({error.strerror or error}).") from error
    say(f"Wrote {path}")
