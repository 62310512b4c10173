"""The detector: tallies in, changes of campaigns out. Deterministic; the clock is in the tallies."""

from __future__ import annotations

from typing import Any, Final, Protocol

from lockwatch.anomaly.accounts import Accounts
from lockwatch.anomaly.campaign import Campaign, Change
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.networks import Networks
from lockwatch.anomaly.pairs import Pairs
from lockwatch.anomaly.records import Login
from lockwatch.anomaly.requests import Requests
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.site import Site
from lockwatch.anomaly.sources import Sources
from lockwatch.anomaly.state import pack, unpack
from lockwatch.anomaly.tally import Tally
from lockwatch.anomaly.tools import Tools

VERSION: Final = 2


class _Part(Protocol):
    def dump(self) -> list[Any]: ...
    def load(self, state: list[Any]) -> None: ...


class Detector:
    """Judges what all processes saw. One of them runs it at a time.

    Args:
        settings: its rules and bounds.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.now_us = 0
        self._cases = Cases(self.settings)
        self._pairs = Pairs(self.settings)
        self._sources = Sources(self.settings, self._cases)
        self._accounts = Accounts(self.settings, self._cases)
        self._networks = Networks(self.settings, self._cases)
        self._tools = Tools(self.settings, self._cases)
        self._requests = Requests(self.settings, self._cases)
        self._site = Site(self.settings, self._cases, self._pairs, self._tools)

    def feed(self, tally: Tally) -> list[Change]:
        """Take what one interval brought, merged over processes; says what is new."""
        self._site.tick(tally.start_us)
        for login in sorted(tally.logins.values(), key=lambda each: each.at_us):
            self._login(login)
        for address, seen in tally.sources.items():
            self._sources.requests(address, seen, tally.end_us)
        self._requests.take(tally)
        for reuse in tally.reuses:
            self._cases.sign("token.reuse", reuse.at_us, source=reuse.address, target=reuse.user, example=reuse.example)
        return self.tick(tally.end_us)

    def _login(self, login: Login) -> None:
        people = self._networks.people(login.network)
        sight = self._pairs.look(login, people)
        if sight.device and self._tools.is_common(login.agent, login.at_us):
            sight = sight._replace(device=False)
        if login.failures or login.probes or login.successes:
            fans_out = self._sources.login(login, sight, outage=self._site.outage, ready=self._site.ready)
            if fans_out:
                self._site.fanned(login)
        self._networks.login(login, sight, outage=self._site.outage)
        self._accounts.login(login, sight)
        if login.successes:
            self._succeed(login, people, novel=not sight.familiar)
        elif login.failures and sight.familiar:
            self._site.activity.add(2)
        elif login.failures and self._cases.holder(login.address) is None and (failing := self._pairs.fail(login, sight)):
            self._site.failed(failing)

    def _succeed(self, login: Login, people: int, *, novel: bool) -> None:
        self._site.succeeded(novel=novel)
        if novel:
            self._cases.breached(login.address, login.user)
        if novel and self._cases.holder(login.address) is not None:
            return  # what an attacker opened does not become known
        self._tools.succeed(login.agent, login.at_us)
        self._pairs.learn(login, login.at_us, people)

    def tick(self, now_us: int) -> list[Change]:
        """Let time pass: campaigns end, intervals are judged. Microseconds since 1970; an earlier time than known is ignored."""
        self.now_us = max(self.now_us, now_us)
        self._site.tick(self.now_us)
        return self._cases.changes(self.now_us)

    def campaigns(self) -> list[Campaign]:
        """The open campaigns, with sources that came since they were told."""
        return self._cases.campaigns(self.now_us)

    def knows(self, login: Login) -> bool:
        """Whether the user has logged in from that network."""
        return self._pairs.look(login).network

    def health(self) -> dict[str, object]:
        """Sizes of the tables, and how many entries had to make room."""
        return {
            "sources": len(self._sources.table),
            "accounts": len(self._accounts.table),
            "networks": len(self._networks.table),
            "tools": len(self._tools.table),
            **self._requests.sizes(),
            "evicted": self._sources.table.evicted
            + self._accounts.table.evicted
            + self._networks.table.evicted
            + self._tools.table.evicted
            + self._requests.evicted,
        }

    def dump(self) -> bytes:
        """The state, compressed. Takes milliseconds, and up to a megabyte on a large site: not for each interval.

        Of addresses and users it holds those of which more is known than that they were here.
        """
        return pack([VERSION, self.now_us, *[part.dump() for part in self._parts()]])

    def load(self, state: bytes) -> None:
        """Go on from what `dump` gave, also by another process. Raises: ValueError, for a state of another version or settings."""
        version, now_us, *parts = unpack(state)
        if version != VERSION:
            raise ValueError("the state is of another version of the detector")
        self.now_us = now_us
        for part, each in zip(self._parts(), parts, strict=True):
            part.load(each)

    def _parts(self) -> tuple[_Part, ...]:
        return self._cases, self._pairs, self._sources, self._accounts, self._networks, self._tools, self._site
