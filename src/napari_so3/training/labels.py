"""What a person said about a micrograph: particles, non-particles, and places to leave alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_so3.io.files import atomic_path
from napari_so3.io.names import match_names
from napari_so3.picking.collect import collect_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

FORMAT = "napari-so3 labels 1"


class LabelsError(ValueError):
    """Labels that cannot be read or used; one sentence for the user."""


def _points(n: int) -> NDArray[np.float64]:
    return np.zeros((0, n))


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of one micrograph, all in its pixels: y = row, x = column, first pixel 0.

    What is neither labelled nor ignored is background if the labels are ``complete``, else
    unlabelled: it may hold particles that nobody has marked.

    Parameters
    ----------
    positives : ndarray
        (n, 2) y and x of particles.
    negatives : ndarray
        (m, 2) y and x of what looks like a particle and is none.
    ignored_discs : ndarray
        (k, 3) y, x and radius of places that training leaves out.
    ignored_polygons : tuple of ndarray
        (p, 2) y and x of the corners of areas that training leaves out.
    complete : bool
        Whether (nearly) every particle is among the positives.
    """

    positives: NDArray[np.float64] = field(default_factory=lambda: _points(2))
    negatives: NDArray[np.float64] = field(default_factory=lambda: _points(2))
    ignored_discs: NDArray[np.float64] = field(default_factory=lambda: _points(3))
    ignored_polygons: tuple[NDArray[np.float64], ...] = ()
    complete: bool = False

    def __post_init__(self) -> None:
        for name, width in (("positives", 2), ("negatives", 2), ("ignored_discs", 3)):
            values = np.asarray(getattr(self, name), dtype=np.float64).reshape(-1, width)
            if not np.isfinite(values).all():
                raise LabelsError(f"a number among the {name.replace('_', ' ')} is not finite.")
            object.__setattr__(self, name, values)
        polygons = tuple(np.asarray(p, dtype=np.float64) for p in self.ignored_polygons)
        if any(p.ndim != 2 or p.shape[1] != 2 or len(p) < 3 for p in polygons):
            raise LabelsError("an ignored polygon needs at least three corners (y, x).")
        object.__setattr__(self, "ignored_polygons", polygons)


def write_labels(path: str | Path, labels: Mapping[str, Labels]) -> None:
    """Write the labels of many micrographs as one readable JSON file.

    Parameters
    ----------
    path : str or Path
        File; replaced as a whole.
    labels : mapping
        Micrograph name (no folder, no extension) to its labels.
    """
    content = {
        "format": FORMAT,
        "coordinates": "pixels of the micrograph, [y, x], the centre of the first pixel is 0",
        "micrographs": {name: _to_json(one) for name, one in labels.items()},
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1))


def _to_json(labels: Labels) -> dict[str, Any]:
    return {
        "positives": labels.positives.tolist(),
        "negatives": labels.negatives.tolist(),
        "ignored_discs": labels.ignored_discs.tolist(),
        "ignored_polygons": [p.tolist() for p in labels.ignored_polygons],
        "complete": labels.complete,
    }


def read_labels(path: str | Path, complete: bool = False) -> dict[str, Labels]:
    """Read labels from a labels file, or from coordinates in any format.

    Parameters
    ----------
    path : str or Path
        JSON file of `write_labels`; file of coordinates as in `read_coordinate_file`, of one
        micrograph and named after it, or with the names of several; or a folder of such files.
    complete : bool
        Coordinates only: whether they name (nearly) every particle.

    Returns
    -------
    dict
        Micrograph name (no folder, no extension, no ``_autopick``) to its labels.

    Raises
    ------
    LabelsError
        If a JSON file is missing or not one of ours.
    EvaluationError
        If there are no labels, or two files are of one micrograph.
    CoordinateError
        If a file of coordinates cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() == ".json" and not _is_of_eman(path):
        return _read_json(path)
    return {
        name: Labels(points, complete=complete) for name, points in collect_labels(path).items()
    }


def _is_of_eman(path: Path) -> bool:
    """Whether a JSON file holds the boxes of EMAN2."""
    try:
        return "boxes" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, TypeError, ValueError):
        return False  # reading it as labels will say why


def _read_json(path: Path) -> dict[str, Labels]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = content["format"] == FORMAT
        labels = {str(k): _from_json(v) for k, v in content["micrographs"].items() if known}
    except OSError as error:
        raise LabelsError(f"{path}: {error.strerror}; give an existing labels file.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelsError(
            f"{path.name}: this is not a labels file of napari-so3, or it is damaged ({error}); "
            "give one that was written by it, or STAR files."
        ) from error
    if not known:
        raise LabelsError(
            f"{path.name}: labels of the kind {content['format']!r} are not known to this "
            "version; update napari-so3."
        )
    return labels


def _from_json(one: Mapping[str, Any]) -> Labels:
    return Labels(
        np.array(one["positives"], dtype=np.float64),
        np.array(one["negatives"], dtype=np.float64),
        np.array(one["ignored_discs"], dtype=np.float64),
        tuple(np.array(p, dtype=np.float64) for p in one["ignored_polygons"]),
        bool(one["complete"]),
    )


@dataclass(frozen=True)
class Matched:
    """Micrographs and labels that belong together, and what is left over."""

    pairs: tuple[tuple[Path, Labels], ...]
    without_labels: tuple[Path, ...]
    without_micrograph: tuple[str, ...]


def match_labels(paths: Sequence[Path], labels: Mapping[str, Labels]) -> Matched:
    """Find the labels of every micrograph by its name.

    Parameters
    ----------
    paths : sequence of Path
        Micrographs.
    labels : mapping
        Of `read_labels`.

    Returns
    -------
    Matched
        Pairs in the order of ``paths``.

    Raises
    ------
    LabelsError
        If nothing matches.
    """
    by_name = {str(path): path for path in paths}
    match = match_names(by_name, labels)
    if not match.pairs:
        raise LabelsError(
            f"none of the {len(paths)} micrographs ({_some(p.name for p in paths)}) has the name "
            f"of one of the {len(labels)} labelled ones ({_some(labels)}); the names must agree "
            "but for folder, extension, _autopick, and what cryoSPARC and motion correction add."
        )
    unclear = [(by_name[m], names) for group, names in match.ambiguous for m in group]
    return Matched(
        tuple((by_name[path], labels[name]) for path, name in match.pairs),
        (*(by_name[path] for path in match.unmatched_micrographs), *(path for path, _ in unclear)),
        tuple(dict.fromkeys((*match.unmatched_names, *(n for _, names in unclear for n in names)))),
    )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
