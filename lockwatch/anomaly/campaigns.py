"""The campaigns a process has heard of, and which events belong to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lockwatch.event import AUTH, Event

_MOST: Final = 20_000


class Campaigns:
    """Open campaigns, by the keys of their sources and targets; at most 20,000 keys of each."""

    def __init__(self) -> None:
        self._sources: dict[bytes, tuple[str, str]] = {}
        self._targets: dict[bytes, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._sources) + len(self._targets)

    def learn(self, item: Mapping[str, Any]) -> None:
        """An item of news: a campaign opened, has more sources, or is over."""
        campaign = item["campaign"]
        if item["merged_into"]:
            self._rename(campaign, item["merged_into"])
        elif item["kind"] == "resolved":
            self._sources = {key: held for key, held in self._sources.items() if held[0] != campaign}
            self._targets = {key: held for key, held in self._targets.items() if held[0] != campaign}
        if item["kind"] == "resolved":
            return
        for known, name in ((self._sources, "sources"), (self._targets, "targets")):
            for key in item[name]:
                if len(known) >= _MOST:
                    known.pop(next(iter(known)))
                known[bytes.fromhex(key)] = (campaign, item["reason"])

    def _rename(self, campaign: str, into: str) -> None:
        for known in (self._sources, self._targets):
            known.update({key: (into, reason) for key, (held, reason) in known.items() if held == campaign})

    def mark(self, event: Event, source: bytes, user: bytes) -> None:
        """Say on an event which campaign it belongs to: by its source, a failed login by its user too."""
        found = self._sources.get(source)
        if found is None and event.kind == AUTH and event.outcome != "success":
            found = self._targets.get(user)
        if found is not None:
            event.anomaly, event.campaign = True, found[0]
            event.reasons = (*event.reasons, found[1])
