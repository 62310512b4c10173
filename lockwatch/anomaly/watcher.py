"""The watcher: sees every event in the background, marks those of an attack, and acts on what the detector says."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from lockwatch.anomaly.bursts import BurstCount, Tell, together
from lockwatch.anomaly.campaigns import Campaigns
from lockwatch.anomaly.challenge import acquaint, known_key
from lockwatch.anomaly.config import AnomalyConfig
from lockwatch.anomaly.exchange import Judge, Report, item_of, keys_of, publish, report
from lockwatch.anomaly.names import ELSEWHERE, Names
from lockwatch.anomaly.packing import word_of
from lockwatch.anomaly.sealing import NONCE, Box
from lockwatch.anomaly.tally import Tally
from lockwatch.errors import StoreError
from lockwatch.event import AUTH, HTTP, SYSTEM, Event
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
_SHOWN: Final = (
    *("campaign", "rule", "reason", "severity", "news", "attempts", "source_count", "target_count", "compromised"),
    "merged_into",
)


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
        self._judge = Judge(settings.detection)
        self._campaigns = Campaigns()
        self._heard = 0
        self._bursts = BurstCount(settings, link, bans, tell)
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
        await self._bursts.take(events, buckets)
        for event in events:
            if event.kind in (AUTH, HTTP):
                if len(self._campaigns):
                    self._campaigns.mark(event, names.source(event), names.user(event.user))
                self._tally.add(event, names)
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
        changes = self._judge.take(heard, time.time_ns() // 1000)
        items = [item_of(change, self._judge.bans(change)) for change in changes]
        state = self._judge.state(self._clock(), any(not item["silent"] for _, item in items))
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
            self._tell_of(name, item)
        if due:
            await self._link.drive(publish(self._keys, self._me, 0, None, (), [name for name, _ in due]))
            await self._learn((await self._report(None)).news, buckets)

    def _tell_of(self, name: str, item: Mapping[str, Any]) -> None:
        if item["silent"]:
            return
        shown = {key: item[key] for key in _SHOWN}
        details = {**shown, "sources": item["names"], **{key: item[key] for key in ("evidence", "examples", "rules")}}
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
        challenges, campaign = self._logins.challenges, item["campaign"]
        over = item["kind"] == "resolved" and not item["merged_into"]
        challenges.end(campaign, None if over else item["ended"])
        if item["merged_into"]:
            challenges.rename(campaign, item["merged_into"])
        if not self.settings.allows("challenge"):
            return
        age = time.time() - item["at"] / 1e6
        for key, seconds, rule in item["challenges"]:
            if seconds > age:
                challenges.put(bytes.fromhex(key), self._clock() + seconds - age, campaign, self._clock(), rule)

    async def _ban(self, item: Mapping[str, Any], buckets: Buckets) -> None:
        """Ban the sources of a campaign that this process knows by name."""
        fresh = time.time() - item["at"] / 1e6 < _FRESH
        if not fresh or not self.settings.allows("ban"):
            return
        for rule, key in item["bans"]:
            for ip in self._named([key], buckets) if rule in self.settings.ban_rules else ():
                if not ip.endswith(ELSEWHERE):
                    await self._bans.propose(ip, reason=item["reason"], by=rule)

    def _named(self, keys: Sequence[str], buckets: Buckets) -> list[str]:
        names = self._logins.names(buckets)
        return [name for key in keys if (name := names.name(bytes.fromhex(key))) is not None]

    async def _acquaint(self, events: Sequence[Event], buckets: Buckets, names: Names) -> None:
        """Remember from which networks users log in."""
        calls = [
            acquaint(known_key(buckets, event.user), word_of(names.network(event.ip)))
            for event in events
            if event.user and event.ip
        ]
        await together(self._link, calls)

    def _open_box(self, buckets: Buckets) -> None:
        if self._box is None:
            self._box = Box(buckets.derived("campaigns"), "campaign")

    def _sealed(self, item: Mapping[str, Any]) -> str:
        return "" if self._box is None else self._box.close(item, secrets.token_bytes(NONCE))

    def _unsealed(self, word: str) -> dict[str, Any] | None:
        found = None if self._box is None else self._box.open(word)
        return found if isinstance(found, dict) else None
