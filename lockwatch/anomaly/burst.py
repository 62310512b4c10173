"""Bursts: many requests of one address in a short time. Pure.

A request belongs to a burst from the threshold-th request within the window on. The window slides and is exact to the microsecond;
requests that were refused count too. A client costs a ring of `threshold - 1` times, whatever it sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from lockwatch.anomaly.config import AnomalyConfig
from lockwatch.errors import StoreError
from lockwatch.flow import Call, Flow, Reply
from lockwatch.limits.buckets import Buckets

CLAIM_US: Final = 5_000_000
"""For how long who noticed a burst may take to write its alert down, before somebody else alerts."""


@dataclass(frozen=True, slots=True)
class Burst:
    """A burst somebody has to be told of.

    Attributes:
        ip: the address.
        timestamp: when, ISO 8601 in UTC.
        request_count: requests in the window: exact when the threshold is reached, an estimate above it.
        window_seconds: the window.
        endpoint: path or template of the request that was counted last.
        method: its method.
        user_agent: as sent; None when it is not known.
    """

    ip: str
    timestamp: str
    request_count: int
    window_seconds: float
    endpoint: str
    method: str
    user_agent: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The burst as plain data, under the names of lockwatch 0.1."""
        return {name: getattr(self, name) for name in self.__slots__}


class Request(NamedTuple):
    """What is said of a request in an alert."""

    ip: str
    endpoint: str = ""
    method: str = ""
    user_agent: str | None = None

    def burst(self, count: int, window: float, now: float) -> Burst:
        """The burst it belongs to; `now` in epoch seconds."""
        timestamp = datetime.fromtimestamp(now, UTC).isoformat()
        return Burst(self.ip, timestamp, count, window, self.endpoint, self.method, self.user_agent)


def request_of(ip: str, info: Mapping[str, Any] | None, endpoint: str, method: str, user_agent: str | None) -> Request:
    """What `check` was told, in either of its forms. Raises: ValueError, for an empty address."""
    if not isinstance(ip, str) or not ip:
        raise ValueError(f"ip={ip!r} is no address; give one like ip='203.0.113.7'")
    told: Mapping[str, Any] = info or {}
    agent = user_agent if user_agent is not None else told.get("user_agent")
    return Request(ip, endpoint or str(told.get("endpoint", "")), method or str(told.get("method", "")), agent)


class Verdict(NamedTuple):
    """What the store says: whether it is a burst, of how many requests, and whether the caller is to tell."""

    reached: bool
    requests: int
    tell: bool


def count(keys: tuple[str, str], threshold: int, window: float, requests: int = 1) -> Flow[Verdict]:
    """Count requests. Without the store, this process counts for itself."""
    call = count_call(keys, threshold, window, requests)
    try:
        reply = yield call
    except StoreError:
        reply = yield call._replace(local=True)
    return verdict_of(reply)


def count_call(keys: tuple[str, str], threshold: int, window: float, requests: int) -> Call:
    """Counts requests."""
    return Call("burst", keys, (0, threshold, round(window * 1e6), requests, CLAIM_US))


def verdict_of(reply: Reply) -> Verdict:
    """What the store said."""
    return Verdict(reply[0] == 1, reply[1], reply[2] == 1)


def told(key: str, cooldown: float) -> Flow[None]:
    """Note that an alert is written down, so that nobody tells again within the cool-down."""
    numbers = (0, round(cooldown * 1e6))
    try:
        yield Call("told", (key,), numbers)
    except StoreError:
        yield Call("told", (key,), numbers, local=True)


def keys_of_burst(buckets: Buckets, subject: str, config: AnomalyConfig) -> tuple[str, str]:
    """Where the requests of a subject are counted, and where it is noted that somebody was told."""
    tail = f"{config.burst_threshold}-{round(config.burst_window_seconds * 1000)}"
    return buckets.name("burst", subject, tail), buckets.name("burst", subject, "told")
