"""What the tab "Why" runs in worker threads: it knows torch, and neither Qt nor layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scipy.special import expit

from napari_so3.insight.averages import PicksOn
from napari_so3.io.files import atomic_path
from napari_so3.picking.picks import CANDIDATES
from napari_so3.widgets.engine import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_so3.insight.explain import Explanation
    from napari_so3.insight.rotation_maps import RotationMaps
    from napari_so3.picking.preprocess import WorkingImage
    from napari_so3.session.state import Session
    from napari_so3.widgets.see_engine import SeeEngine, SeeJob


IMPORTS = """from pathlib import Path

from napari_so3.insight.averages import PicksOn
from napari_so3.insight.explain import explain
from napari_so3.insight.figures import explanation_figure
from napari_so3.insight.rotation_maps import see_rotations
from napari_so3.io.micrographs import read_micrograph
from napari_so3.picking.pick import PickSettings, choose_device
from napari_so3.picking.picker import load_picker
from napari_so3.picking.picks import Picks
from napari_so3.picking.score import Scorer
"""


@dataclass(frozen=True, eq=False)
class WhyJob:
    """What is explained.

    Parameters
    ----------
    see : SeeJob
        Micrograph and model.
    maps : RotationMaps
        Of both.
    place : (float, float)
        y and x of the pick, pixels.
    others : tuple of PicksOn
        Picks of the session, by micrograph.
    """

    see: SeeJob
    maps: RotationMaps
    place: tuple[float, float]
    others: tuple[PicksOn, ...]


@dataclass(frozen=True, eq=False)
class Explained:
    """What was explained, and how."""

    job: WhyJob
    explanation: Explanation


@dataclass(frozen=True)
class Written:
    """A figure is there."""

    path: Path


@dataclass(frozen=True)
class NotWritten:
    """A figure is not there, and why in a sentence."""

    sentence: str


class WhyEngine:
    """Explains picks; the prepared image of the last micrograph is kept for the next pick.

    Parameters
    ----------
    engine : SeeEngine
        Opens the micrograph and the model.
    """

    def __init__(self, engine: SeeEngine) -> None:
        self._engine = engine
        self._image: tuple[SeeJob, WorkingImage] | None = None

    def explain(self, job: WhyJob) -> Iterator[Any]:
        """Explain a pick.

        Parameters
        ----------
        job : WhyJob
            Which.

        Yields
        ------
        Note, Problem, Progress or Explained
            A problem or an explanation ends it. Stop iterating to cancel.
        """
        from napari_so3.insight.explain import ExplainProgress, explain
        from napari_so3.picking.pick import prepare

        def verb(micrograph: Any, picker: Any, settings: Any, _scorer: Any) -> Iterator[Any]:
            known = self._image
            if known is None or known[0] != job.see:
                known = self._image = job.see, prepare(micrograph, picker, settings)
            for event in explain(
                job.place, job.maps, micrograph, picker, settings, job.others, known[1]
            ):
                if isinstance(event, ExplainProgress):
                    yield Progress(event.done, event.total, 1, "")
                else:
                    yield Explained(job, event)

        yield from self._engine.run(job.see, verb)


def picks_of_session(session: Session) -> tuple[PicksOn, ...]:
    """Collect the picks of all micrographs of a session.

    Parameters
    ----------
    session : Session
        With candidates.

    Returns
    -------
    tuple of PicksOn
        One for each micrograph that is picked, in their order.
    """
    found = []
    for name in session.names:
        known = session.picks_of(name)
        if known is not None:
            c, chosen = known
            columns = (v[chosen] for v in (c.y, c.x, c.logit, c.rotation))
            found.append(PicksOn(session.paths[name], *columns, c.pixel_size))
    return tuple(found)


def write_figure(explanation: Explanation, path: Path) -> Iterator[Written | NotWritten]:
    """Draw the figure of an explanation and write it, as its ending says.

    Parameters
    ----------
    explanation : Explanation
        What is drawn.
    path : Path
        File ending in png, pdf or svg; replaced as a whole.

    Yields
    ------
    Written or NotWritten
        What became of it.
    """
    from napari_so3.insight.figures import explanation_figure

    try:
        with atomic_path(path) as temporary:
            explanation_figure(explanation).savefig(temporary, format=path.suffix[1:].lower())
    except (OSError, ValueError) as error:
        yield NotWritten(f"{path}: cannot be written ({error}); choose another file.")
    else:
        yield Written(path)


def python_lines(job: WhyJob, threshold: float, run: Path | None) -> str:
    """Write the Python that makes the same figure in a notebook.

    Parameters
    ----------
    job : WhyJob
        What is explained.
    threshold : float
        Smallest log-odds of a pick.
    run : Path or None
        Folder of the picks that are averaged.

    Returns
    -------
    str
        Lines of code.
    """
    see, (y, x) = job.see, job.place
    others = "others = []"
    if run is not None:
        tables = f"Path({str(run / CANDIDATES)!r}).glob('*.csv')"
        others = (
            f"tables = sorted({tables})\n"
            f"others = [PicksOn.of(Picks.read_csv(t), {expit(threshold):.6g}) for t in tables]"
        )
    return f"""{IMPORTS}
picker = load_picker({see.model!r}, {see.rotations!r})
settings = PickSettings({see.diameter:g})
micrograph = read_micrograph(Path({str(see.path)!r}), {see.pixel_size!r})
scorer = Scorer(picker.net, choose_device({see.device!r}))
*_, maps = see_rotations(micrograph, picker, settings, scorer)
{others}
*_, explanation = explain(({y:.2f}, {x:.2f}), maps, micrograph, picker, settings, others)
explanation_figure(explanation).savefig("pick.png")
"""
