"""What would have happened: the rules over events of the past."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from lockwatch.anomaly.campaign import Campaign, Change
from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.names import Names
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.tally import Tally
from lockwatch.audit.row import Row
from lockwatch.event import Event

SECOND: Final = 1_000_000
INTERVAL: Final = 10 * SECOND
"""Of time in the events, for each tally."""
REMEMBERED: Final = 2_000_000
_OUTCOMES: Final = {"success": "success", "failure": "failure", "true": "success", "false": "failure"}
_CORRECT: Final = (
    '{"time": "2026-01-05T09:00:00Z", "ip": "203.0.113.7", "username": "alice", "outcome": "failure", "user_agent": "curl/8"}'
)


@dataclass
class Story:
    """What the rules would have said. `campaigns` by id, each as it was known last; dry runs are left out."""

    campaigns: dict[str, Campaign] = field(default_factory=dict)
    bans: dict[bytes, tuple[int, int, str]] = field(default_factory=dict)
    alerts: int = 0
    events: int = 0

    def take(self, changes: Iterable[Change]) -> None:
        """Note changes."""
        for change in changes:
            if change.campaign.dry_run:
                continue
            self.campaigns[change.campaign.id] = change.campaign
            for action in change.actions:
                self.alerts += action.kind == "alert"
                if action.kind == "ban":
                    self.bans.setdefault(action.subject_hash, (change.campaign.updated_us, action.seconds, action.reason))


class Rerun:
    """Runs the rules over events, which come in order of time.

    Args:
        names: told by name who it was.
        settings: of the detector.
    """

    def __init__(self, names: Names, settings: Settings | None = None) -> None:
        self._names = names
        self._detector, self._story, self._tally, self._until = Detector(settings), Story(), Tally(), 0

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


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Login events from JSON lines (`time, ip, username, outcome, user_agent`), in order of time. Empty lines are left out.

    `time` is ISO 8601 (UTC where it names no zone) or seconds since 1970; `outcome` is ``success`` or ``failure``.

    Raises: ValueError, which names the line and what a correct one looks like.
    """
    found = [_read(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    found.sort(key=lambda each: each[0])
    for time_us, ip, user, outcome, agent, example in found:
        yield Event(
            time_us=time_us, kind="auth", action="login", outcome=outcome, ip=ip, user=user, user_agent=agent, request_id=example
        )


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


def _read(number: int, line: str) -> tuple[int, str | None, str | None, str, str | None, str]:
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ValueError("it is not an object")
        outcome = _OUTCOMES.get(str(fields["outcome"]).lower())
        if outcome is None:
            raise ValueError(f"outcome {str(fields['outcome'])[:40]!r} is neither 'success' nor 'failure'")
        texts = [_text(fields.get(name)) for name in ("ip", "username", "user_agent")]
        return _time(fields["time"]), texts[0], texts[1], outcome, texts[2], f"line {number}"
    except KeyError as error:
        raise ValueError(f"line {number} has no {error.args[0]!r}; a correct one is {_CORRECT}") from None
    except (ValueError, OverflowError) as error:
        raise ValueError(f"line {number}: {error}; a correct one is {_CORRECT}") from None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _time(value: object) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return round(value * SECOND)
    found = datetime.fromisoformat(str(value))
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return round(aware.timestamp() * SECOND)


def report(story: Story, names: Names) -> dict[str, Any]:
    """The story as JSON values, in the order of detection."""
    told = sorted(story.campaigns.values(), key=lambda each: each.detected_us)
    bans = [
        {"subject": _named(names, key), "time": when(at_us), "seconds": seconds, "why": why}
        for key, (at_us, seconds, why) in story.bans.items()
    ]
    return {"campaigns": [_campaign(each, names) for each in told], "bans": bans, "alerts": story.alerts, "events": story.events}


def _campaign(campaign: Campaign, names: Names) -> Mapping[str, Any]:
    return {
        "id": campaign.id,
        "rule": campaign.rule,
        "first_detection": when(campaign.detected_us),
        "started": when(campaign.started_us),
        "resolved": campaign.resolved_us and when(campaign.resolved_us),
        "sources": [_named(names, key) for key in campaign.sources],
        "targets": [_named(names, key) for key in campaign.targets],
        "source_count": campaign.source_count,
        "target_count": campaign.target_count,
        "attempts": campaign.attempts,
        "compromised": [_named(names, key) for key in campaign.compromised],
        "why": campaign.reason,
        "evidence": [
            {"signal": e.signal, "observed": e.observed, "expected": e.expected, "contribution": e.contribution}
            for e in campaign.evidence
        ],
        "examples": list(campaign.examples),
    }


def _named(names: Names, key: bytes) -> str:
    return names.name(key) or key.hex()


def when(at_us: int) -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(at_us // SECOND, UTC).isoformat().replace("+00:00", "Z")
