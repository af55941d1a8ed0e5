"""Run a command and say what it took, from a process too small to blur its peak memory.

Run as a script, ``python measure.py COMMAND ...`` prints seconds and peak bytes: a child inherits
the peak of the process that starts it, so that a test runner with torch in memory cannot measure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Cost:
    """What work took: wall-clock seconds, and the peak resident bytes of its largest process.

    The peak is 0 where it was not measured.
    """

    seconds: float
    peak: int = 0

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(self.seconds + other.seconds, max(self.peak, other.peak))


@dataclass
class Costs:
    """Tables of costs: title to name to cost; the first row of a table is what others are to."""

    tables: dict[str, dict[str, Cost]] = field(default_factory=dict)

    def add(self, title: str, name: str, rounds: list[Cost]) -> None:
        """Add a row: the median of the seconds, the largest peak."""
        cost = Cost(median(r.seconds for r in rounds), max(r.peak for r in rounds))
        self.tables.setdefault(title, {})[name] = cost

    def add_further(
        self, title: str, single: str, name: str, rounds: list[Cost], count: int
    ) -> None:
        """Add a row: what each of ``count - 1`` micrographs adds to the one in ``single``."""
        every = median(r.seconds for r in rounds)
        first = self.tables[single][name].seconds
        peak = max(r.peak for r in rounds)
        self.tables.setdefault(title, {})[name] = Cost((every - first) / (count - 1), peak)

    def lines(self, rows: dict[str, Cost]) -> Iterator[str]:
        """Write a table as text, with ratios to its first row."""
        first = next(iter(rows.values()))
        for name, cost in rows.items():
            line = f"{name:34} {cost.seconds:9.3f} s {cost.seconds / first.seconds:8.2f} x"
            if cost.peak:
                line += f" {cost.peak / 1e6:8.0f} MB {cost.peak / first.peak:6.2f} x"
            yield line


def run(*command: object) -> Cost:
    """Run a command to its end, start-up included.

    Raises
    ------
    RuntimeError
        If the command fails; the text holds what it printed.
    """
    words = [sys.executable, "-I", "-S", __file__, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[4:])} failed:\n{done.stdout}\n{done.stderr}")
    seconds, peak = done.stdout.splitlines()[-1].split()
    return Cost(float(seconds), int(peak))


def _main(command: list[str]) -> int:
    begin = time.perf_counter()
    pid = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    print(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
