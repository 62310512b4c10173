"""What answers prove. Pure: answers in, claims and numbers out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

REFUSED = 429


@dataclass(frozen=True, slots=True)
class Claim:
    """Something the demo says, with the evidence. Made by `equal` and `between`."""

    text: str
    expected: object
    seen: object
    holds: bool


def equal(text: str, expected: object, seen: object) -> Claim:
    """A claim that holds when exactly the expected was seen."""
    return Claim(text, expected, seen, expected == seen)


def between(text: str, low: float, high: float, seen: float | None) -> Claim:
    """A claim that holds when a number was seen, and is from `low` to `high`."""
    return Claim(text, f"{low:g} to {high:g}", seen, seen is not None and low <= seen <= high)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request, as the client saw it.

    Attributes:
        route: method and path.
        status: of the response.
        headers: of the response, names in lower case.
        body: of the response.
        sent_at: seconds of a monotonic clock, before the first byte of the request left.
        received_at: after the last byte of the response came.
        body_read: bytes of its body the application asked the server for; None for a request that was not alone.
    """

    route: str
    status: int
    headers: Mapping[str, str]
    body: str
    sent_at: float
    received_at: float
    body_read: int | None

    @property
    def admitted(self) -> bool:
        """Whether no limit refused it."""
        return self.status != REFUSED

    def number(self, header: str) -> int | None:
        """A header that is a whole number; None when it is missing or is not."""
        text = self.headers.get(header, "")
        return int(text) if text.isdecimal() else None

    @property
    def problem(self) -> dict[str, Any]:
        """The body, when it is a JSON object; else nothing."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


def statuses(answers: Iterable[Answer]) -> str:
    """What was answered how often: ``10 x 200, 50 x 429``."""
    counts = Counter(answer.status for answer in answers)
    return ", ".join(f"{count} x {status}" for status, count in sorted(counts.items())) or "nothing"


def in_order(answers: Iterable[Answer]) -> str:
    """What was answered, in order: ``401 401 429``."""
    return " ".join(str(answer.status) for answer in answers)


def most_within(answers: Iterable[Answer], window: float) -> int:
    """The most admissions that lay within one window, whatever happened between a client's clock and the server's.

    The server decided somewhere between `sent_at` and `received_at`, so only what was sent after an admission was sent, and
    answered before the window that began then was over, certainly shares a window with it.
    """
    admitted = [answer for answer in answers if answer.admitted]
    return max((sum(a.sent_at <= b.sent_at and b.received_at - a.sent_at < window for b in admitted) for a in admitted), default=0)


@dataclass(frozen=True, slots=True)
class Tally:
    """The answers of one route."""

    route: str
    limit: str
    sent: int
    admitted: int
    refused: int


def tally(answers: Sequence[Answer], limits: Mapping[str, str]) -> list[Tally]:
    """A tally per route, in the order routes were first asked."""
    routes = dict.fromkeys(answer.route for answer in answers)
    of = {route: [answer.admitted for answer in answers if answer.route == route] for route in routes}
    return [Tally(route, limits.get(route, "none"), len(seen), sum(seen), len(seen) - sum(seen)) for route, seen in of.items()]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long requests took that were sent one after another. Milliseconds; p99 needs a hundred of them."""

    what: str
    requests: int
    p50: float
    p99: float | None


def latency(what: str, answers: Iterable[Answer]) -> Latency | None:
    """The latency of the answers to requests that were alone; None when there is none."""
    taken = sorted(1000 * (a.received_at - a.sent_at) for a in answers if a.body_read is not None)
    if not taken:
        return None
    return Latency(what, len(taken), _percentile(taken, 0.5), _percentile(taken, 0.99) if len(taken) >= 100 else None)


def _percentile(ascending: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was measured, not one in between."""
    return round(ascending[ceil(share * len(ascending)) - 1], 3)
