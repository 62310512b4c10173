"""Bursts among the events of a process: counted in one call per address and portion, all in one script. Nobody waits for it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lockwatch.anomaly.burst import Request, Verdict, count_call, keys_of_burst, told, verdict_of
from lockwatch.anomaly.config import BURST, AnomalyConfig
from lockwatch.errors import StoreError
from lockwatch.event import HTTP, WEBSOCKET, Event
from lockwatch.flow import Call, Reply
from lockwatch.limits.buckets import Buckets
from lockwatch.link import Link

if TYPE_CHECKING:
    from lockwatch.anomaly.bans import Bans


class Tell(Protocol):
    """Has people told of something; what it gets is kept when it returns."""

    def __call__(self, kind: str, name: str, at_us: int, data: Mapping[str, Any]) -> None:
        """`kind` is the type of an alert, `name` its id."""


class BurstCount:
    """Counts, marks, alerts, and bans where that is asked for.

    Args:
        settings: the threshold, the window, and how far to go.
        link: the store.
        bans: told whom to ban.
        tell: has people told.
    """

    def __init__(self, settings: AnomalyConfig, link: Link, bans: Bans, tell: Tell) -> None:
        self._settings = settings
        self._link = link
        self._bans = bans
        self._tell = tell

    async def take(self, events: Sequence[Event], buckets: Buckets) -> None:
        """Count requests by address, in one call each; mark those from the threshold-th in the window on."""
        if not self._settings.burst_threshold:
            return
        by_subject: dict[str, list[Event]] = {}
        for event in [event for event in events if event.kind in (HTTP, WEBSOCKET) and event.ip]:
            by_subject.setdefault(event.subject or f"ip:{event.ip}", []).append(event)
        settings = self._settings
        calls = [
            count_call(
                keys_of_burst(buckets, subject, settings),
                settings.burst_threshold,
                settings.burst_window_seconds,
                sum(event.count for event in each),
            )
            for subject, each in by_subject.items()
        ]
        replies = await together(self._link, calls)
        for (subject, each), call, reply in zip(by_subject.items(), calls, replies, strict=True):
            verdict = verdict_of(reply)
            if verdict.reached:
                await self._burst(subject, each, verdict, call.keys[1])

    async def _burst(self, subject: str, events: Sequence[Event], verdict: Verdict, key: str) -> None:
        """A burst goes on: mark what belongs to it, alert once in a while, ban where that is asked for."""
        settings, last = self._settings, events[-1]
        for event in events[-min(len(events), verdict.requests - settings.burst_threshold + 1) :]:
            event.anomaly = True
            event.reasons = (*event.reasons, BURST)
        if verdict.tell:
            request = Request(last.ip or "", last.path or last.route or "", last.method or "", last.user_agent)
            burst = request.burst(verdict.requests, settings.burst_window_seconds, time.time())
            if settings.allows("alert"):
                self._tell("lockwatch.burst", secrets.token_hex(12), time.time_ns() // 1000, burst.data)
            await self._link.drive(told(key, settings.alert_cooldown_seconds))
        own = not any(event.details.get("cross_site") for event in events)
        if own and settings.allows("ban") and BURST in settings.ban_rules:
            await self._bans.propose(subject, reason=f"{verdict.requests} requests in a short time", by=BURST)


async def together(link: Link, calls: Sequence[Call]) -> list[Reply]:
    """Replies to calls that travel together; without the store, this process counts for itself."""
    store = link.async_store()
    if store is link.at_hand:
        return [link.memory.call(call) for call in calls]
    found = await asyncio.gather(*[store.call(call) for call in calls], return_exceptions=True)
    return [
        link.memory.call(call) if isinstance(reply, StoreError) else _raised(reply)
        for call, reply in zip(calls, found, strict=True)
    ]


def _raised(reply: Reply | BaseException) -> Reply:
    if isinstance(reply, BaseException):
        raise reply
    return reply
