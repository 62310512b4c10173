"""Bans in this process's memory: the scripts of `lua/bans.lua` as methods under the same names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lockwatch.flow import Call, Reply, Worded

_RULE, _LIFT = 0, 2
_SWEEP: Final = 20


@dataclass(slots=True)
class _Record:
    """What is known of a subject: its ban, or that there was one."""

    version: int
    made: int
    till: int
    times: int
    sealed: str
    forgotten: int


class Banned:
    """The bans of one process, whatever their namespace. Its caller sees to it that one thread at a time is in here.

    Args:
        clock: microseconds; monotonic.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._mark = self._version = 0
        self._records: dict[str, _Record] = {}
        self.scripts: dict[str, Callable[[Call], Reply]] = {"ban": self._ban, "bans": self._listed}

    def __len__(self) -> int:
        return len(self._records)

    def _ban(self, call: Call) -> Reply:
        now, how, duration, growth, most, memory, room, mark = call.args
        now, (name, sealed) = now or self._clock(), call.words
        self._sweep(now)
        record = self._records.get(name)
        before, times = (record.till, record.times) if record else (0, 0)
        holds, till = before > now, 0
        if how == _LIFT:
            times = 0
        else:
            times += not holds or not times
            till = now + int(_grown(duration, growth, times, most) if how == _RULE else duration)
            if how == _RULE and till <= before:
                return (before - now, times, 0)
        if record is None and len(self._records) >= room:
            del self._records[min(self._records, key=lambda known: self._records[known].forgotten)]
        self._mark = self._mark or mark
        self._version += 1
        self._records.pop(name, None)  # the newest version is last
        self._records[name] = _Record(self._version, now, till, times, sealed, max(till, now) + memory)
        return (max(0, till - now), times, int(holds or how != _LIFT))

    def _listed(self, call: Call) -> Reply:
        now, mark, after, most = call.args
        now = now or self._clock()
        if not self._records:
            return (0, 0, 0)
        after = after if mark == self._mark else 0
        changed = [record for record in self._records.values() if record.version > after]
        told = changed[:most]
        numbers = [n for r in told for n in (max(0, r.till - now), max(0, now - r.made), r.times)]
        head = (self._mark, told[-1].version if told else after, int(len(changed) > most))
        return Worded([*head, *numbers], [record.sealed for record in told])

    def _sweep(self, now: int) -> None:
        over = [name for name, record in self._records.items() if record.forgotten <= now]
        for name in over[:_SWEEP]:
            del self._records[name]


def _grown(duration: int, growth: int, times: int, most: int) -> float:
    """How long the ban of that number is; as in Lua, what no number can hold is more than `most`."""
    try:
        return min(most, duration * (growth / 100) ** (times - 1))
    except OverflowError:
        return most
