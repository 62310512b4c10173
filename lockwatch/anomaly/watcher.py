"""The watcher: sees every event in the background, marks those of an attack, and acts on what the detector says."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from lockwatch.anomaly.burst import Request, Verdict, count_call, keys_of_burst, told, verdict_of
from lockwatch.anomaly.campaigns import Campaigns
from lockwatch.anomaly.challenge import acquaint, known_key
from lockwatch.anomaly.config import BURST, AnomalyConfig
from lockwatch.anomaly.exchange import JOINED, Judge, Report, item_of, item_of_joined, keys_of, publish, report
from lockwatch.anomaly.names import Names
from lockwatch.anomaly.packing import word_of
from lockwatch.anomaly.sealing import NONCE, Box
from lockwatch.anomaly.tally import Tally
from lockwatch.errors import StoreError
from lockwatch.event import AUTH, HTTP, SYSTEM, WEBSOCKET, Event
from lockwatch.flow import Call, Reply
from lockwatch.limits.buckets import Buckets
from lockwatch.link import Link

if TYPE_CHECKING:
    from lockwatch.anomaly.bans import Bans
    from lockwatch.anomaly.logins import Logins

logger = logging.getLogger("lockwatch")
INTERVAL: Final = 0.3
"""Seconds between two reports."""
_FRESH: Final = 120.0
"""Seconds after which news ban nobody any more: a process that begins hears those of a day."""
_PARTS: Final = 20
"""Reports in a row at most, while tallies wait."""
CHANGES: Final = {"opened": "detected", "updated": "updated", "resolved": "resolved"}
"""What an alert says of a change of a campaign."""


class Tell(Protocol):
    """Has people told of something; what it gets is kept when it returns."""

    def __call__(self, kind: str, name: str, at_us: int, data: Mapping[str, Any]) -> None:
        """`kind` is the type of an alert, `name` its id."""


class Watcher:
    """What one process sees and hears of attacks.

    Args:
        settings: what is looked for, and what is done about it.
        namespace: separates applications that share a store.
        link: the store.
        logins: told who is under attack.
        bans: told whom to ban.
        tell: has people told.
        post: told of campaigns, as events.
        clock: seconds; never steps back.

    Attributes:
        lost: events that found no place in a tally.
    """

    def __init__(
        self,
        settings: AnomalyConfig,
        namespace: str,
        link: Link,
        logins: Logins,
        bans: Bans,
        tell: Tell,
        post: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.lost = 0
        self._link = link
        self._logins = logins
        self._bans = bans
        self._tell = tell
        self._post = post
        self._clock = clock
        self._keys = keys_of(namespace)
        self._me = secrets.randbits(52) + 1
        self._tally = Tally()
        self._judge = Judge(settings.detection, frozenset(settings.ban_rules) if settings.allows("ban") else frozenset())
        self._campaigns = Campaigns()
        self._heard = 0
        self._begun = False
        self._box: Box | None = None
        link.every(INTERVAL, self.flush, "attacks")

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong."""
        return (self._judge.trouble,) if self._judge.trouble else ()

    async def consume(self, events: list[Event]) -> None:
        """Mark events, and count them."""
        try:
            buckets = await self._link.buckets()
        except StoreError:
            return  # without names nothing can be counted
        names = self._logins.names(buckets)
        await self._count_bursts([event for event in events if event.kind in (HTTP, WEBSOCKET) and event.ip], buckets)
        for event in events:
            if event.kind in (AUTH, HTTP):
                source = names.address(event.ip)
                if len(self._campaigns):
                    self._campaigns.mark(event, source, names.user(event.user))
                # What another site made a browser send says nothing against the browser's address.
                self._tally.add(replace(event, ip=None) if event.details.get("cross_site") else event, names)
        await self._acquaint(
            [e for e in events if e.kind == AUTH and e.action == "login" and e.outcome == "success"], buckets, names
        )

    async def flush(self) -> None:
        """Report what was counted, hear what is new, and judge if it is this process's turn."""
        tally, self._tally = self._tally, Tally()
        self.lost += tally.lost
        try:
            buckets = await self._link.buckets()
            heard = await self._report(tally if tally.events else None)
        except StoreError:
            self._again(tally)
            return
        self._open_box(buckets)
        await self._learn(heard.news, buckets, old=not self._begun)
        self._begun = True
        if not heard.judges:
            self._judge.rest()
            return
        try:
            for _ in range(_PARTS):
                await self._judged(heard, buckets)
                if not heard.waiting:
                    break
                heard = await self._report(None)
        except StoreError:
            # What was found may not have been published: somebody finds it again from the last state, maybe this process.
            self._judge.rest()
            self._me = secrets.randbits(52) + 1

    async def _report(self, tally: Tally | None) -> Report:
        heard = await self._link.drive(report(self._keys, self._me, self._judge.read, self._heard, tally))
        self._heard = heard.heard
        return heard

    def _again(self, tally: Tally) -> None:
        """Keep what could not be reported."""
        tally.merge(self._tally)
        self._tally = tally

    async def _judged(self, heard: Report, buckets: Buckets) -> None:
        """Judge, publish what changed, and see to it that somebody is told, also of what another judge left."""
        items = [item_of(change) for change in self._judge.take(heard, time.time_ns() // 1000)]
        state = self._judge.state(self._clock(), bool(items))
        items += [item_of_joined(campaign) for campaign in self._judge.joined()]
        named = [(name, {**item, "names": self._named(item["sources"], buckets)}) for name, item in items]
        fresh: list[bool] | None = []
        if items or state is not None:
            sealed = [(name, self._sealed(item)) for name, item in named]
            fresh = await self._link.drive(publish(self._keys, self._me, self._judge.read, state, sealed))
        if fresh is None:
            self._judge.rest()
            return
        due = [item for item, new in zip(named, fresh, strict=False) if new]
        due += [(name, item) for name, word in heard.pending if (item := self._unsealed(word)) is not None]
        for name, item in due:
            if item["kind"] != JOINED:
                self._tell_of(name, item)
        if due:
            await self._link.drive(publish(self._keys, self._me, 0, None, (), [name for name, _ in due]))
            await self._learn((await self._report(None)).news, buckets)

    def _tell_of(self, name: str, item: Mapping[str, Any]) -> None:
        if item["silent"]:
            return
        shown = {
            key: item[key] for key in ("campaign", "rule", "reason", "attempts", "source_count", "target_count", "compromised")
        }
        details = {**shown, "sources": item["names"], "evidence": item["evidence"], "examples": item["examples"]}
        self._post(
            Event(
                time_us=item["at"],
                kind=SYSTEM,
                action=f"campaign.{item['kind']}",
                campaign=item["campaign"],
                anomaly=True,
                reasons=(item["reason"],),
                details=details,
            )
        )
        if self.settings.allows("alert") and not item["dry_run"]:
            self._tell(f"lockwatch.attack.{CHANGES[item['kind']]}", name, item["at"], {**details, "started_us": item["started"]})

    async def _learn(self, news: Iterable[str], buckets: Buckets, old: bool = False) -> None:
        """Take up what the judge made known. What is `old` bans nobody: somebody may have lifted the ban since."""
        for word in news:
            if (item := self._unsealed(word)) is not None:
                self._campaigns.learn(item)
                self._challenge(item)
                if not old:
                    await self._ban(item, buckets)

    def _challenge(self, item: Mapping[str, Any]) -> None:
        challenges = self._logins.challenges
        if item["kind"] == "resolved":
            challenges.end(item["campaign"])
        if not self.settings.allows("challenge"):
            return
        age = time.time() - item["at"] / 1e6
        for key, seconds in item["challenges"]:
            if seconds > age:
                challenges.put(bytes.fromhex(key), self._clock() + seconds - age, item["campaign"], self._clock())

    async def _ban(self, item: Mapping[str, Any], buckets: Buckets) -> None:
        """Ban the sources of a campaign that this process knows by name."""
        fresh = item["kind"] in ("opened", JOINED) and time.time() - item["at"] / 1e6 < _FRESH
        if not fresh or not self.settings.allows("ban") or item["rule"] not in self.settings.ban_rules:
            return
        for ip in self._named(item["sources"], buckets):
            await self._bans.propose(ip, reason=item["reason"], by=item["rule"])

    def _named(self, keys: Sequence[str], buckets: Buckets) -> list[str]:
        names = self._logins.names(buckets)
        return [name for key in keys if (name := names.name(bytes.fromhex(key))) is not None]

    async def _count_bursts(self, events: Sequence[Event], buckets: Buckets) -> None:
        """Count requests by address, in one call each; mark those from the threshold-th in the window on."""
        if not self.settings.burst_threshold or not events:
            return
        by_subject: dict[str, list[Event]] = {}
        for event in events:
            by_subject.setdefault(event.subject or f"ip:{event.ip}", []).append(event)
        settings = self.settings
        calls = [
            count_call(
                keys_of_burst(buckets, subject, settings),
                settings.burst_threshold,
                settings.burst_window_seconds,
                sum(event.count for event in each),
            )
            for subject, each in by_subject.items()
        ]
        replies = await self._together(calls)
        for (subject, each), call, reply in zip(by_subject.items(), calls, replies, strict=True):
            verdict = verdict_of(reply)
            if verdict.reached:
                await self._burst(subject, each, verdict, call.keys[1])

    async def _together(self, calls: Sequence[Call]) -> list[Reply]:
        """Replies to calls that travel together; without the store, this process counts for itself."""
        link = self._link
        store = link.async_store()
        if store is link.at_hand:
            return [link.memory.call(call) for call in calls]
        found = await asyncio.gather(*[store.call(call) for call in calls], return_exceptions=True)
        return [
            link.memory.call(call) if isinstance(reply, StoreError) else _raised(reply)
            for call, reply in zip(calls, found, strict=True)
        ]

    async def _burst(self, subject: str, events: Sequence[Event], verdict: Verdict, key: str) -> None:
        """A burst goes on: mark what belongs to it, alert once in a while, ban where that is asked for."""
        settings, last = self.settings, events[-1]
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

    async def _acquaint(self, events: Sequence[Event], buckets: Buckets, names: Names) -> None:
        """Remember from which networks users log in."""
        calls = [
            acquaint(known_key(buckets, event.user), word_of(names.network(event.ip)))
            for event in events
            if event.user and event.ip
        ]
        await self._together(calls)

    def _open_box(self, buckets: Buckets) -> None:
        if self._box is None:
            self._box = Box(buckets.derived("campaigns"), "campaign")

    def _sealed(self, item: Mapping[str, Any]) -> str:
        return "" if self._box is None else self._box.close(item, secrets.token_bytes(NONCE))

    def _unsealed(self, word: str) -> dict[str, Any] | None:
        found = None if self._box is None else self._box.open(word)
        return found if isinstance(found, dict) else None


def _raised(reply: Reply | BaseException) -> Reply:
    if isinstance(reply, BaseException):
        raise reply
    return reply
