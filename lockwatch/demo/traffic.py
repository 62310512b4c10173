"""Requests over real connections, and what was answered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from lockwatch.demo.claims import Answer
from lockwatch.demo.server import Meter

_AT_ONCE = 20


@dataclass(slots=True)
class Traffic:
    """A client of the demo application, and every answer it got."""

    client: httpx.Client
    meter: Meter
    answers: list[Answer] = field(default_factory=list)

    def ask(self, route: str, **request: Any) -> Answer:
        """One request, nothing else on its way; `route` is a method and a path."""
        answer = self._send(route, request, alone=True)
        self.answers.append(answer)
        return answer

    def ask_at_once(self, route: str, times: int, **request: Any) -> list[Answer]:
        """Many requests over many connections at the same time."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(lambda _: self._send(route, request, alone=False), range(times)))
        self.answers += answers
        return answers

    def on(self, route: str) -> list[Answer]:
        """The answers of one route so far."""
        return [answer for answer in self.answers if answer.route == route]

    def _send(self, route: str, request: Mapping[str, Any], alone: bool) -> Answer:
        method, _, path = route.partition(" ")
        sent = time.perf_counter()
        response = self.client.request(method, path, **request)
        received = time.perf_counter()
        return Answer(
            route,
            response.status_code,
            dict(response.headers),
            response.text,
            sent,
            received,
            # What the server read can be told apart only when there is one request at a time.
            self.meter.read[-1] if alone else None,
        )


@contextmanager
def connected(url: str, meter: Meter) -> Iterator[Traffic]:
    """Traffic to `url`, straight there: proxies named in the environment are for other places."""
    limits = httpx.Limits(max_connections=_AT_ONCE)
    with httpx.Client(base_url=url, timeout=10, trust_env=False, limits=limits) as client:
        yield Traffic(client, meter)
