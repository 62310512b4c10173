"""What would have happened: the rules over events of the past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from lockwatch.anomaly.campaign import Campaign, Change, Evidence, Part
from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.names import Names
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.tally import Tally
from lockwatch.audit.row import Row
from lockwatch.event import Event

SECOND: Final = 1_000_000
INTERVAL: Final = 10 * SECOND
"""Of time in the events, for each tally."""
REMEMBERED: Final = 300_000
"""Names of addresses, networks and users that are kept, so that campaigns are told in clear text."""


@dataclass
class Story:
    """What the rules would have said. `campaigns` by id, each as it was known last; dry runs are left out.

    `named` has the names of those it speaks of, from when it was told: later they may be forgotten.
    """

    names: Names
    named: dict[bytes, str] = field(default_factory=dict)
    campaigns: dict[str, Campaign] = field(default_factory=dict)
    bans: dict[bytes, tuple[int, int, str]] = field(default_factory=dict)
    alerts: int = 0
    events: int = 0

    def take(self, changes: Iterable[Change]) -> None:
        """Note changes."""
        for change in changes:
            if change.campaign.dry_run:
                continue
            self._note(change.campaign)
            for action in change.actions:
                self.alerts += action.kind == "alert"
                if action.kind == "ban":
                    self.bans.setdefault(action.subject_hash, (change.campaign.updated_us, action.seconds, action.reason))

    def _note(self, campaign: Campaign) -> None:
        self.campaigns[campaign.id] = campaign
        if campaign.merged_into:
            del self.campaigns[campaign.id]
        self._name(campaign)

    def _name(self, campaign: Campaign) -> None:
        for key in (*campaign.sources, *campaign.targets, *campaign.compromised):
            if key not in self.named and (name := self.names.name(key)) is not None:
                self.named[key] = name

    def name(self, key: bytes) -> str:
        """Who it is; the key in hex digits, where that is forgotten."""
        return self.named.get(key) or self.names.name(key) or key.hex()


class Rerun:
    """Runs the rules over events, which come in order of time.

    Args:
        names: told by name who it was.
        settings: of the detector.
    """

    def __init__(self, names: Names, settings: Settings | None = None) -> None:
        self._names = names
        self._detector, self._story, self._tally, self._until = Detector(settings), Story(names), Tally(), 0

    def take(self, event: Event) -> None:
        """Take an event."""
        if event.time_us >= self._until:
            self._feed()
            self._until = event.time_us - event.time_us % INTERVAL + INTERVAL
        self._tally.add(event, self._names)
        self._story.events += 1

    def _feed(self) -> None:
        if self._tally.events:
            self._story.take(self._detector.feed(self._tally))
            self._tally = Tally()

    def end(self) -> Story:
        """What the rules have said."""
        self._feed()
        self._story.take(self._detector.tick(self._until))
        return self._story


def event_of(row: Row) -> Event:
    """The event of a row of the audit log, as far as rules look at it."""
    return Event(
        time_us=row.timestamp,
        kind=row.kind,
        action=row.action,
        outcome=row.outcome,
        ip=row.ip,
        method=row.method,
        route=row.route,
        path=row.endpoint,
        status=row.status_code,
        user=row.user_id,
        session=row.session,
        user_agent=row.user_agent,
        request_id=row.request_id or row.id,
        count=row.count,
    )


def brief(story: Story) -> dict[str, Any]:
    """The story in few words, as JSON values, in the order of detection."""
    campaigns = [
        {
            "rule": each.rule,
            "first_detection": when(each.detected_us),
            "sources": [story.name(key) for key in each.sources],
            "targets": [story.name(key) for key in each.targets],
            "why": each.reason,
        }
        for each in _in_order(story)
    ]
    return {"campaigns": campaigns, "bans": _bans(story), "alerts": story.alerts}


def report(story: Story) -> dict[str, Any]:
    """The story with all that is known, as JSON values, in the order of detection."""
    campaigns = [_campaign(each, story) for each in _in_order(story)]
    return {"campaigns": campaigns, "bans": _bans(story), "alerts": story.alerts, "events": story.events}


def _in_order(story: Story) -> list[Campaign]:
    return sorted(story.campaigns.values(), key=lambda each: each.detected_us)


def _bans(story: Story) -> list[dict[str, Any]]:
    return [
        {"subject": story.name(key), "time": when(at_us), "seconds": seconds, "why": why}
        for key, (at_us, seconds, why) in story.bans.items()
    ]


def _campaign(campaign: Campaign, story: Story) -> Mapping[str, Any]:
    return {
        "id": campaign.id,
        "rule": campaign.rule,
        "first_detection": when(campaign.detected_us),
        "started": when(campaign.started_us),
        "resolved": campaign.resolved_us and when(campaign.resolved_us),
        "sources": [story.name(key) for key in campaign.sources],
        "targets": [story.name(key) for key in campaign.targets],
        "source_count": campaign.source_count,
        "target_count": campaign.target_count,
        "attempts": campaign.attempts,
        "compromised": [story.name(key) for key in campaign.compromised],
        "why": campaign.reason,
        "severity": campaign.severity,
        "evidence": [_evidence(each) for each in campaign.evidence],
        "rules": [_part(each) for each in campaign.parts],
        "examples": list(campaign.examples),
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "rule": part.rule,
        "joined": when(part.detected_us),
        "left": part.resolved_us and when(part.resolved_us),
        "source_count": part.source_count,
        "target_count": part.target_count,
        "attempts": part.attempts,
        "why": part.reason,
        "evidence": [_evidence(each) for each in part.evidence],
    }


def _evidence(found: Evidence) -> dict[str, Any]:
    return {"signal": found.signal, "observed": found.observed, "expected": found.expected, "contribution": found.contribution}


def when(at_us: int) -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(at_us // SECOND, UTC).isoformat().replace("+00:00", "Z")
