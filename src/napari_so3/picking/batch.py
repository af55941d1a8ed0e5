"""Pick many micrographs into one folder: resumable, re-thresholded without the network.

The folder holds, after every micrograph::

    candidates/NAME.csv    all candidates of a micrograph, with everything that is known of them
    NAME_autopick.star     those above the threshold, for RELION
    autopick.star          RELION's list of micrographs and coordinate files (at the end)
    picking.json           what all of them were picked with

A micrograph is done when its candidates are there. Another threshold only writes STAR files again;
another model or diameter needs another folder, so that nothing is lost.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from napari_so3.io.files import atomic_path, remove_leftovers, shown_path
from napari_so3.io.micrographs import MicrographError, micrograph_name, read_micrograph
from napari_so3.io.star import StarError
from napari_so3.picking.listing import OutputError, star_file, write_list
from napari_so3.picking.pick import PickError, find_picks, prepare
from napari_so3.picking.picks import CANDIDATES, Picks, PicksError, read_provenance
from napari_so3.picking.score import ScoreMaps, ScoreProgress, Scorer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import torch

    from napari_so3.io.micrographs import Micrograph
    from napari_so3.picking.pick import PickSettings
    from napari_so3.picking.picker import Picker
    from napari_so3.picking.preprocess import WorkingImage


RUN_FILE = "picking.json"


@dataclass(frozen=True)
class BatchSettings:
    """What a folder of picks is made with.

    Parameters
    ----------
    picker : Picker
        The model.
    settings : PickSettings
        Diameter and distances.
    threshold : float
        AL1 probability of the picks in the STAR files.
    pixel_size : float, optional
        Å, for all micrographs; by default what each file says.
    """

    picker: Picker
    settings: PickSettings
    threshold: float
    pixel_size: float | None = None

    def identity(self) -> dict[str, object]:
        """Collect what must be equal for candidates to be used again."""
        return {
            "model": self.picker.name,
            "fingerprint": self.picker.fingerprint,
            **asdict(self.settings),
            "given_pixel_size": self.pixel_size,
        }


@dataclass(frozen=True)
class Begun:
    """Work on a micrograph begins; ``index`` counts from 0."""

    index: int
    path: Path


@dataclass(frozen=True)
class Done:
    """A micrograph is picked, or its candidates were there already (``reused``).

    ``box`` is the suggested edge of a box for extraction, micrograph pixels.
    """

    index: int
    path: Path
    candidates: int
    picks: int
    box: int
    seconds: float
    reused: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """A micrograph cannot be picked; ``reason`` is a sentence that names it."""

    index: int
    path: Path
    reason: str


Event = Begun | ScoreProgress | Done | Failed


def check_names(paths: Sequence[Path]) -> None:
    """Refuse micrographs that would share one file of picks.

    Raises
    ------
    PickError
        If two have one name.
    """
    counts = Counter(micrograph_name(p) for p in paths)
    for name, count in counts.items():
        if count > 1:
            same = [str(p) for p in paths if micrograph_name(p) == name]
            raise PickError(
                f"{same[0]} and {same[1]} share the name {name}, so their picks would share a "
                "file; pick them into separate folders."
            )


def open_folder(output: Path, batch: BatchSettings, overwrite: bool = False) -> None:
    """Make or check the folder of picks.

    Parameters
    ----------
    output : Path
        The folder.
    batch : BatchSettings
        What the picks will be made with.
    overwrite : bool
        Throw away candidates that were made with other settings.

    Raises
    ------
    OutputError
        If the folder holds picks of other settings, or cannot be written.
    """
    run_file, identity = output / RUN_FILE, batch.identity()
    try:
        (output / CANDIDATES).mkdir(parents=True, exist_ok=True)
        for folder in (output, output / CANDIDATES):
            remove_leftovers(folder)
        before = json.loads(run_file.read_text()) if run_file.exists() else identity
        if not isinstance(before, dict):
            raise OutputError(_damaged(run_file))
        if before != identity:
            if not overwrite:
                changed = [k for k in identity if before.get(k) != identity[k]]
                listed = ", ".join(f"{k} {before.get(k)!r}, now {identity[k]!r}" for k in changed)
                raise OutputError(
                    f"{output}: holds picks made with other settings ({listed}); choose another "
                    "folder with -o, or throw the old picks away with --overwrite."
                )
            for old in (output / CANDIDATES).glob("*.csv"):
                old.unlink()
        with atomic_path(run_file) as temporary:
            temporary.write_text(json.dumps(identity, indent=1) + "\n")
    except json.JSONDecodeError as error:
        raise OutputError(_damaged(run_file)) from error
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error}).") from error


def _damaged(run_file: Path) -> str:
    return f"{run_file}: is damaged; delete the folder or choose another with -o."


def pick_many(
    paths: Sequence[Path],
    output: Path,
    batch: BatchSettings,
    device: torch.device,
    scorer: Scorer | None = None,
    again: bool = False,
    rest: bool = True,
) -> Generator[Event, None, None]:
    """Pick micrographs one after another into a folder; one that fails does not end the run.

    While one is scored, the next is read and prepared. Closing the iterator cancels; what is done
    stays, and the same call goes on from there.

    Parameters
    ----------
    paths : sequence of Path
        Micrographs with different names (`check_names`).
    output : Path
        Folder prepared by `open_folder`.
    batch : BatchSettings
        Model, diameter, threshold.
    device : torch.device
        Where to compute.
    scorer : Scorer, optional
        The network made ready for the device; by default that is done here.
    again : bool
        Pick also what is picked already. Its candidates stay until there are new ones.
    rest : bool
        As in `write_list`.

    Yields
    ------
    Begun, ScoreProgress, Done or Failed
        For each micrograph how it goes and how it ended.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    scorer = scorer or Scorer(batch.picker.net, device)
    with ThreadPoolExecutor(1, thread_name_prefix="so3-read") as pool:
        ahead = _ReadAhead(pool, paths, output, batch, again)
        try:
            for index, path in enumerate(paths):
                try:
                    yield from _pick_one(index, path, output, batch, scorer, ahead, again)
                except MemoryError:
                    yield Failed(index, path, f"{path.name}: does not fit into memory.")
                except OSError as error:
                    reason = f"{path.name}: cannot be read ({error.strerror or error})."
                    yield Failed(index, path, reason)
                except (MicrographError, PickError, StarError) as error:
                    yield Failed(index, path, str(error))
        finally:
            ahead.stop()
    write_list(output, batch.threshold, {micrograph_name(p) for p in paths}, rest)


class _ReadAhead:
    """Reads and prepares the next micrograph while another is scored."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        paths: Sequence[Path],
        output: Path,
        batch: BatchSettings,
        again: bool,
    ) -> None:
        self._pool, self._paths, self._output, self._batch = pool, paths, output, batch
        self._again = again
        self._ready: dict[int, Future[tuple[Micrograph, WorkingImage]]] = {}

    def _start(self, index: int) -> None:
        path = self._paths[index]
        if index not in self._ready and (
            self._again or not _is_done(path, self._output, self._batch)
        ):
            self._ready[index] = self._pool.submit(_read, path, self._batch)

    def take(self, index: int) -> tuple[Micrograph, WorkingImage]:
        """Wait for a micrograph, and start on the one after it."""
        self._start(index)
        if index + 1 < len(self._paths):
            self._start(index + 1)
        return self._ready.pop(index).result()

    def stop(self) -> None:
        """Begin nothing more."""
        for future in self._ready.values():
            future.cancel()


def _pick_one(
    index: int,
    path: Path,
    output: Path,
    batch: BatchSettings,
    scorer: Scorer,
    ahead: _ReadAhead,
    again: bool,
) -> Iterator[Event]:
    begin = time.monotonic()
    yield Begun(index, path)
    candidates = _candidates_file(output, path)
    warnings: tuple[str, ...] = ()
    picks = _earlier_picks(path, output, batch)
    if picks is None:
        candidates.unlink(missing_ok=True)  # of another file, or damaged
    reused = picks is not None and not again
    if not reused:
        micrograph, image = ahead.take(index)
        warnings = micrograph.header_warnings
        for event in scorer.score(image):
            if isinstance(event, ScoreMaps):
                picks = find_picks(event, image, micrograph, batch.picker, batch.settings)
            else:
                yield event
        assert picks is not None
        picks = Picks(picks.table, shown_path(path), picks.provenance | _source(path))
    assert picks is not None
    chosen = picks.above(batch.threshold)
    try:
        chosen.write_star(star_file(output, path.name))
        if not reused:
            picks.write_csv(candidates)  # last: its presence says that the micrograph is done
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror or error}).") from error
    box, seconds = int(picks.provenance["box"]), time.monotonic() - begin
    yield Done(index, path, len(picks), len(chosen), box, seconds, reused, warnings)


def _read(path: Path, batch: BatchSettings) -> tuple[Micrograph, WorkingImage]:
    micrograph = read_micrograph(path, batch.pixel_size)
    return micrograph, prepare(micrograph, batch.picker, batch.settings)


def _candidates_file(output: Path, path: Path) -> Path:
    return output / CANDIDATES / f"{micrograph_name(path)}.csv"


def _source(path: Path) -> dict[str, object]:
    """Describe the file, to tell later whether it is still the one that was picked."""
    stat = path.stat()
    return {"file_bytes": stat.st_size, "file_modified": stat.st_mtime}


def _earlier_picks(path: Path, output: Path, batch: BatchSettings) -> Picks | None:
    """Read the candidates that an earlier run has left, if they can be used again."""
    if not _is_done(path, output, batch):
        return None
    try:
        return Picks.read_csv(_candidates_file(output, path))
    except PicksError:
        return None


def _is_done(path: Path, output: Path, batch: BatchSettings) -> bool:
    """Whether there are candidates of the same settings on the same file."""
    try:
        before = read_provenance(_candidates_file(output, path))
        wanted = {**batch.identity(), **_source(path)}
    except (PicksError, OSError):
        return False
    given = wanted.pop("given_pixel_size")
    if given is not None:
        wanted["pixel_size"] = given
    return all(before.get(k) == v for k, v in wanted.items())
