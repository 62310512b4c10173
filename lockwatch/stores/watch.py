"""What processes tell each other about attacks, in this process's memory: `lua/watch.lua` as methods under the same names."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from lockwatch.flow import Call, Reply, Worded

_HEAD: Final = 7
_NUMBERS: Final = 5
_NEWS: Final = 200
_KNOWN: Final = 10_000


class Watch:
    """The exchange of one process with itself. Its caller sees to it that one thread at a time is in here.

    Args:
        clock: microseconds; monotonic.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._inbox: deque[tuple[tuple[int, ...], tuple[str, ...]]] = deque()
        self._last = self._upto = 0
        self._holder, self._until = 0, 0
        self._state = "-"
        self._news: deque[str] = deque(maxlen=_NEWS)
        self._published = 0
        self._pending: dict[str, str] = {}
        self._known: OrderedDict[str, None] = OrderedDict()
        self.scripts: dict[str, Callable[[Call], Reply]] = {"report": self._report, "publish": self._publish}

    def _report(self, call: Call) -> Reply:
        now, me, lease, room, read, heard, most = call.args[:_HEAD]
        now = now or self._clock()
        if len(call.args) > _HEAD:
            self._inbox.append((call.args[_HEAD:], call.words))
            self._last += 1
            while len(self._inbox) > room:
                self._inbox.popleft()
        numbers: list[int] = []
        words: list[str] = []
        fresh = told = found = 0
        holder = self._holder if self._until > now else 0
        judges = holder in (0, me)
        if judges:
            self._holder, self._until = me, now + lease
            if not holder:
                fresh, read = 1, self._upto
                words.append(self._state)
            first = self._last - len(self._inbox)
            read = max(first if read > self._last else read, first)
            for mine, said in list(self._inbox)[read - first : read - first + most]:
                numbers += mine
                words += said
                found += 1
            read += found
            if fresh:
                words += [word for item in self._pending.items() for word in item]
                told = len(self._pending)
        missed = self._published - (heard if heard <= self._published else 0)
        words += list(self._news)[-missed:] if missed else []
        return Worded([int(judges), fresh, read, self._last - read, self._published, found, told, *numbers], words)

    def _publish(self, call: Call) -> Reply:
        now, me, upto, items, told = call.args
        now, words = now or self._clock(), list(call.words)
        if self._holder != me or self._until <= now:
            return (0,)
        if upto:
            self._upto, self._state = upto, words.pop(0)
            while self._inbox and self._last - len(self._inbox) < upto:
                self._inbox.popleft()
        fresh = [self._make_known(*words[i * 2 : i * 2 + 2]) for i in range(items)]
        for name in words[items * 2 : items * 2 + told]:
            self._pending.pop(name, None)
        return (1, *fresh)

    def _make_known(self, name: str, item: str) -> int:
        if name in self._known:
            return 0
        self._known[name] = None
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        self._published += 1
        self._news.append(item)
        self._pending[name] = item
        return 1
