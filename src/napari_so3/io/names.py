"""Which coordinates belong to which micrograph, by their names.

Programs prefix and suffix names: cryoSPARC a unique number, motion correction what it did, pickers
their name. Exact stems are paired first. Prefixes and suffixes are taken off only where no exact
stem fits, and only where that leaves one micrograph and one name: others are ambiguous, not paired.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING

from napari_so3.io.micrographs import micrograph_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_ENDING = re.compile(r"\.(?:star|c?box|json|cs|txt|tab|tsv|csv)$", re.IGNORECASE)
_PICKED = re.compile(r"_(?:autopick|manualpick|info)$")
_UID = re.compile(r"^\d{18,21}_")  # of cryoSPARC
_PROCESSED = re.compile(
    r"(?:[_-](?:patch|rigid|local|aligned|align|ali|motioncorrected|dose-?weighted|(?:no)?dw|mic"
    r"|sum|frames|fractions|eer|picks|picked|coords|coordinates|particles|boxes|labels))+$",
    re.IGNORECASE,
)
_SHOWN = 3  # names that a sentence lists


def bare_name(name: str) -> str:
    """Strip folders, endings and what RELION and EMAN2 add from the name of picks or a micrograph.

    Parameters
    ----------
    name : str
        ``"MotionCorr/a.mrc"``, ``"a_autopick.star"``, ``"info/a_info.json"``, ...

    Returns
    -------
    str
        ``"a"``; other dots in the name are kept.
    """
    bare = _ENDING.sub("", PureWindowsPath(name).name)  # takes / and \ for separators
    return _PICKED.sub("", micrograph_name(bare))


def _core_name(name: str) -> str:
    """Bare name without the number of cryoSPARC and what motion correction and pickers add."""
    core = _UID.sub("", bare_name(name))
    return _PROCESSED.sub("", core) or core


@dataclass(frozen=True)
class NameMatch:
    """Which micrographs and names belong together, and what is left over.

    Attributes
    ----------
    pairs : tuple of (str, str)
        Micrograph and name, as given, in the order of the micrographs.
    unmatched_micrographs, unmatched_names : tuple of str
        Those that nothing fits, in their order.
    ambiguous : tuple of (tuple of str, tuple of str)
        Micrographs and names that fit each other, but not one to one.
    """

    pairs: tuple[tuple[str, str], ...]
    unmatched_micrographs: tuple[str, ...]
    unmatched_names: tuple[str, ...]
    ambiguous: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    def sentence(self) -> str:
        """Say how the matching went."""
        unclear = sum(len(micrographs) for micrographs, _ in self.ambiguous)
        total = len(self.pairs) + len(self.unmatched_micrographs) + unclear
        parts = [f"{len(self.pairs)} of {_count(total, 'micrograph')} matched"]
        if without := self.unmatched_micrographs:
            parts.append(f"{len(without)} without picks ({_some(without)})")
        if lost := self.unmatched_names:
            verb = "matches" if len(lost) == 1 else "match"
            parts.append(f"{_count(len(lost), 'name')} of picks {verb} nothing ({_some(lost)})")
        for micrographs, names in self.ambiguous:
            parts.append(f"unclear how {_some(names)} belong to {_some(micrographs)}, left out")
        return "; ".join(parts) + "."


def match_names(micrographs: Iterable[str], names: Iterable[str]) -> NameMatch:
    """Find the name of the picks of every micrograph.

    Parameters
    ----------
    micrographs : iterable of str
        Names or paths; one that is given twice counts once.
    names : iterable of str
        Names of files of picks, or micrographs' names as such files give them; likewise.

    Returns
    -------
    NameMatch
        Pairs and what is left over. Exact stems (`bare_name`) go first.
    """
    micrographs, names = list(dict.fromkeys(micrographs)), list(dict.fromkeys(names))
    found: dict[str, str] = {}
    ambiguous: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for strip in (bare_name, _core_name):
        settled = {m for group, _ in ambiguous for m in group} | set(found)
        taken = {n for _, group in ambiguous for n in group} | set(found.values())
        for alike, fitting in _groups(micrographs, names, strip):
            free_micrographs = tuple(m for m in alike if m not in settled)
            free_names = tuple(n for n in fitting if n not in taken)
            if free_micrographs and len(alike) == len(free_names) == 1:
                found[free_micrographs[0]] = free_names[0]
            elif free_micrographs and free_names:
                ambiguous.append((free_micrographs, free_names))
    return _summary(micrographs, names, found, ambiguous)


def _groups(
    micrographs: Sequence[str], names: Sequence[str], strip: Callable[[str], str]
) -> list[tuple[list[str], list[str]]]:
    """Micrographs, and names, that are alike once stripped."""
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for side, members in enumerate((micrographs, names)):
        for member in members:
            groups.setdefault(strip(member), ([], []))[side].append(member)
    return list(groups.values())


def _summary(
    micrographs: Sequence[str],
    names: Sequence[str],
    found: dict[str, str],
    ambiguous: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
) -> NameMatch:
    used = set(found.values()) | {n for _, group in ambiguous for n in group}
    unclear = {m for group, _ in ambiguous for m in group}
    return NameMatch(
        tuple((m, found[m]) for m in micrographs if m in found),
        tuple(m for m in micrographs if m not in found and m not in unclear),
        tuple(n for n in names if n not in used),
        tuple(ambiguous),
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _some(names: Sequence[str]) -> str:
    bare = [PureWindowsPath(name).name for name in names[:_SHOWN]]
    return ", ".join(bare) + (", ..." if len(names) > _SHOWN else "")
