"""What clients say to a server, as the server sees it: MONITOR."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import redis

_marks = itertools.count(1)


class Spoken(NamedTuple):
    """One command of a client, not of a script."""

    client: str
    words: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of an EVALSHA or EVAL."""
        return self.words[3 : 3 + int(self.words[2])]

    @property
    def scripts(self) -> list[str]:
        """The calls that travel in an EVALSHA or EVAL, by their names."""
        return [call.split()[0] for call in self.words[3 + int(self.words[2]) :]]


class Watch:
    """A server under observation; `heard` is all that was said since the last time it was asked."""

    def __init__(self, client: redis.Redis, monitor: redis.client.Monitor) -> None:
        self._client = client
        self._monitor = monitor

    def heard(self) -> list[Spoken]:
        """All commands so far, the observer's own aside."""
        mark = f"mark-{next(_marks)}"
        self._client.echo(mark)
        return list(self._until(mark))

    def _until(self, mark: str) -> Iterator[Spoken]:
        while True:
            line = self._monitor.connection.read_response(disable_decoding=True).decode()
            head, _, rest = line.partition("] ")
            words = tuple(word.replace('\\"', '"') for word in rest.strip('"').split('" "'))
            if words[0].upper() == "ECHO":
                if words[1] == mark:
                    return
            elif not head.endswith(" lua"):
                yield Spoken(head.rsplit(" ", 1)[-1], words)


@contextmanager
def watching(url: str) -> Iterator[Watch]:
    """Observe the server at `url`."""
    with redis.Redis.from_url(url) as client, client.monitor() as monitor:
        yield Watch(client, monitor)
