"""Run a command and say what it took, from a process too small to blur its peak memory.

Run as a script, ``python measure.py COMMAND ...`` prints seconds, CPU seconds and peak bytes. It
is a process of its own because a child inherits the peak of the one that starts it: a test runner
with torch in memory could not measure less than itself.
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
    """What work took.

    Parameters
    ----------
    seconds : float
        Wall-clock time.
    cpu : float
        Processor time of all threads, seconds: what other work on the machine disturbs least.
    peak : int
        Resident memory of the largest process at its peak, bytes.

    ``cpu`` and ``peak`` are 0 where they were not measured.
    """

    seconds: float
    cpu: float = 0.0
    peak: int = 0

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(self.seconds + other.seconds, self.cpu + other.cpu, max(self.peak, other.peak))


@dataclass
class Costs:
    """Tables of costs: title to name to cost; the first row of a table is what others are to."""

    tables: dict[str, dict[str, Cost]] = field(default_factory=dict)

    def add(self, title: str, name: str, rounds: list[Cost]) -> None:
        """Add a row: the medians of the times, the largest peak."""
        self.tables.setdefault(title, {})[name] = _typical(rounds)

    def add_further(
        self, title: str, single: str, name: str, rounds: list[Cost], count: int
    ) -> None:
        """Add a row: what each of ``count - 1`` micrographs adds to the one in ``single``."""
        first, all_of_them = self.tables[single][name], _typical(rounds)
        self.tables.setdefault(title, {})[name] = Cost(
            (all_of_them.seconds - first.seconds) / (count - 1),
            (all_of_them.cpu - first.cpu) / (count - 1),
            all_of_them.peak,
        )

    def lines(self, rows: dict[str, Cost]) -> Iterator[str]:
        """Write a table as text, with ratios to its first row."""
        first = next(iter(rows.values()))
        for name, cost in rows.items():
            line = f"{name:34} {cost.seconds:8.3f} s {cost.seconds / first.seconds:7.3f} x"
            if cost.peak:
                line += f" | CPU {cost.cpu:7.2f} s {cost.cpu / first.cpu:6.2f} x"
                line += f" | {cost.peak / 1e6:6.0f} MB {cost.peak / first.peak:5.2f} x"
            yield line


def _typical(rounds: list[Cost]) -> Cost:
    return Cost(
        median(r.seconds for r in rounds),
        median(r.cpu for r in rounds),
        max(r.peak for r in rounds),
    )


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
    seconds, cpu, peak = done.stdout.splitlines()[-1].split()
    return Cost(float(seconds), float(cpu), int(peak))


def _main(command: list[str]) -> int:
    begin = time.perf_counter()
    pid = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    cpu = usage.ru_utime + usage.ru_stime
    print(seconds, cpu, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
