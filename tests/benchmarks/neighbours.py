"""What other programs do to a measurement: how much of a core they took, and waiting for a moment when they are quiet."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
_QUIET: Final = 0.12
_LOOK: Final = 0.2
TRIES: Final = 4


def least_disturbed(measure: Callable[[], tuple[T, float]], patience: float) -> T:
    """The first result that others took less than 12 % of the core from, else the least disturbed of four.

    Args:
        measure: does the work, and says which share of the core others took meanwhile.
        patience: seconds to wait for a quiet moment before each try.
    """
    found: list[tuple[float, T]] = []
    for _ in range(TRIES if patience else 1):
        await_quiet(patience)
        result, taken = measure()
        found.append((taken, result))
        if taken < _QUIET:
            break
    return min(found, key=lambda pair: pair[0])[1]


def await_quiet(patience: float) -> None:
    """Wait until the machine is idle but for 12 % of its cores, `patience` seconds at most."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before, began = busy_seconds(), time.monotonic()
        time.sleep(_LOOK)
        if sum(busy_seconds().values()) - sum(before.values()) < _QUIET * len(before) * (time.monotonic() - began):
            return


def busy_seconds() -> dict[int, float]:
    """How long programs (and other guests of the host) have kept each core busy so far; empty where /proc does not say."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return {}
    rows = [line.split() for line in lines if line.startswith("cpu") and line[3:4].isdigit()]
    # user, nice, system and steal; idle, waiting and interrupts are left out.
    return {int(row[0][3:]): (int(row[1]) + int(row[2]) + int(row[3]) + int(row[8])) / 100 for row in rows}
