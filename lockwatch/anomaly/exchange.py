"""What processes tell each other about attacks: tallies to the one that judges, news from it to all. Pure.

Every process leaves its tally in the store. One of them, under a lease, feeds the tallies to the detector in the order in which
they came, one by one, so that another that goes on from its last state comes to the same changes. What it publishes has an id and
becomes news once, however often it is published, and is kept until somebody has told it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Any, Final, NamedTuple

from lockwatch.anomaly.campaign import Change, Evidence, Part
from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.packing import bytes_of, word_of
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.tally import Tally
from lockwatch.anomaly.tally_words import decode, encode
from lockwatch.flow import Call, Flow, words_of
from lockwatch.limits.buckets import SCHEMA

LEASE_US: Final = 3_000_000
"""How long a silent judge is waited for."""
KEPT: Final = 2000
"""Tallies that wait at most."""
AT_ONCE: Final = 50
DUMP_EVERY: Final = 20.0
"""Seconds between two states of the judge that are kept, while nothing changes."""
NAMED: Final = 200
"""Sources and targets of a campaign that are told."""
_REMEMBERED: Final = 10_000
"""Sources of one campaign that were proposed for a ban, and are not again."""
_NUMBERS, _WORDS = 5, 6
_PARTS: Final = ("inbox", "counters", "judge", "state", "news", "pending", "known")


class Report(NamedTuple):
    """What a process hears.

    Attributes:
        judges: whether this process judges.
        fresh: whether that is new.
        read: tallies read now.
        waiting: how many wait yet.
        heard: news heard now.
        state: of the judge before, when judging is new; empty for none.
        tallies: to be judged.
        pending: published, and told by nobody yet, when judging is new: id and item.
        news: items.
    """

    judges: bool
    fresh: bool
    read: int
    waiting: int
    heard: int
    state: bytes
    tallies: list[Tally]
    pending: list[tuple[str, str]]
    news: list[str]


def keys_of(namespace: str) -> tuple[str, ...]:
    """Where a namespace keeps all this; in one slot of a cluster."""
    return tuple([f"{namespace}:{SCHEMA}:{{watch}}:{part}" for part in _PARTS])


def report(keys: tuple[str, ...], me: int, read: int, heard: int, tally: Tally | None) -> Flow[Report]:
    """Leave a tally, and hear what is new."""
    numbers, words = encode(tally) if tally is not None else ([], [])
    head = (0, me, LEASE_US, KEPT, read, heard, AT_ONCE)
    reply = yield Call("report", keys, (*head, *numbers), words=tuple(words))
    judges, fresh, read, waiting, heard, count, told, *rest = reply
    left = list(words_of(reply))
    state = bytes_of(left.pop(0)) if fresh else b""
    found = [_tally(rest[i * _NUMBERS :][:_NUMBERS], left[i * _WORDS :][:_WORDS]) for i in range(count)]
    left = left[count * _WORDS :]
    pending = [(left[i * 2], left[i * 2 + 1]) for i in range(told)]
    tallies = [each for each in found if each is not None]
    return Report(judges == 1, fresh == 1, read, waiting, heard, state, tallies, pending, left[told * 2 :])


def publish(
    keys: tuple[str, ...], me: int, upto: int, state: bytes | None, items: Sequence[tuple[str, str]], told: Sequence[str] = ()
) -> Flow[list[bool] | None]:
    """Make items known; for each, whether it is new. None when another process judges by now.

    Args:
        upto: tallies that are in `state`; 0 when there is none.
        told: ids of items that somebody has told.
    """
    words = [*([word_of(state)] if state is not None and upto else []), *[word for item in items for word in item], *told]
    numbers = (0, me, upto if state is not None else 0, len(items), len(told))
    reply = yield Call("publish", keys, numbers, words=tuple(words))
    return [each == 1 for each in reply[1:]] if reply[0] == 1 else None


def _tally(numbers: list[int], words: list[str]) -> Tally | None:
    try:
        return decode(numbers, words)
    except (ValueError, UnicodeError):
        return None  # of another release


@dataclass
class Judge:
    """The detector, while this process is the one that judges.

    Attributes:
        read: tallies that were judged.
        trouble: why a state could not be used; empty when it could.
    """

    settings: Settings
    read: int = 0
    trouble: str = ""
    _detector: Detector | None = None
    _dumped: float = field(default=float("-inf"))
    _dirty: bool = False
    _known: dict[str, dict[str, set[bytes]]] = field(default_factory=dict)

    def take(self, heard: Report, now_us: int) -> list[Change]:
        """What the tallies of a report, and the time, bring to light."""
        if heard.fresh or self._detector is None:
            self._detector = self._begin(heard.state)
            campaigns = self._detector.campaigns()
            self._known = {each.id: {part.rule: set(part.sources) for part in each.parts} for each in campaigns}
        changes = [change for tally in heard.tallies for change in self._detector.feed(tally)]
        if not heard.waiting:
            changes += self._detector.tick(now_us)
        self.read = heard.read
        self._dirty = self._dirty or bool(heard.tallies)
        return changes

    def bans(self, change: Change) -> list[tuple[str, bytes]]:
        """Whom a change proposes to ban that none before it did, and by which rule: who was let in again since stays so."""
        campaign = change.campaign
        known, found = self._known.setdefault(campaign.id, {}), []
        for action in change.actions:
            mine = known.setdefault(action.rule, set())
            if action.kind == "ban" and action.subject_hash not in mine:
                found.append((action.rule, action.subject_hash))
                if len(mine) > _REMEMBERED:
                    mine.clear()
                mine.add(action.subject_hash)
        for rule in change.ended:
            known.pop(rule, None)
        if change.kind == "resolved":
            for rule, keys in self._known.pop(campaign.id).items() if campaign.merged_into else ():
                self._known.setdefault(campaign.merged_into, {}).setdefault(rule, set()).update(keys)
        return found

    def state(self, now: float, changed: bool) -> bytes | None:
        """What to keep for whoever judges next; None while the last one will do."""
        if self._detector is None or not (changed or (self._dirty and now - self._dumped >= DUMP_EVERY)):
            return None
        self._dumped, self._dirty = now, False
        return self._detector.dump()

    def rest(self) -> None:
        """Another process judges."""
        self._detector = None

    def _begin(self, state: bytes) -> Detector:
        detector = Detector(self.settings)
        try:
            if state:
                detector.load(state)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            self.trouble = f"the state of the detector cannot be used, it learns anew: {type(error).__name__}"
            return Detector(self.settings)
        return detector


def item_of(change: Change, bans: Sequence[tuple[str, bytes]]) -> tuple[str, dict[str, Any]]:
    """The id of a change, the same whoever finds it, and what all processes have to know of it.

    Args:
        bans: whose ban it proposes, and by which rule.
    """
    campaign = change.campaign
    silent = not campaign.dry_run and all(action.kind != "alert" for action in change.actions)
    challenges = [[each.subject_hash.hex(), each.seconds, each.rule] for each in change.actions if each.kind == "challenge"]
    return _id_of(change, silent), {
        "campaign": campaign.id,
        "kind": change.kind,
        "rule": campaign.rule,
        "at": campaign.updated_us,
        "reason": campaign.reason,
        "news": list(change.news),
        "severity": campaign.severity,
        "merged_into": campaign.merged_into,
        "dry_run": campaign.dry_run,
        "silent": silent,
        "started": campaign.started_us,
        "sources": [key.hex() for key in campaign.sources[:NAMED]],
        "source_count": campaign.source_count,
        "targets": [key.hex() for key in campaign.targets[:NAMED]],
        "target_count": campaign.target_count,
        "attempts": campaign.attempts,
        "compromised": len(campaign.compromised),
        "evidence": [_evidence(each) for each in campaign.evidence],
        "rules": [_part(each) for each in campaign.parts],
        "examples": list(campaign.examples),
        "challenges": challenges[:NAMED],
        "bans": [[rule, key.hex()] for rule, key in bans],
        "ended": list(change.ended),
    }


def _part(part: Part) -> dict[str, Any]:
    """What a rule has to say, for people."""
    return {
        "rule": part.rule,
        "detected_us": part.detected_us,
        "resolved_us": part.resolved_us,
        "source_count": part.source_count,
        "target_count": part.target_count,
        "attempts": part.attempts,
        "reason": part.reason,
        "evidence": [_evidence(each) for each in part.evidence],
    }


def _evidence(found: Evidence) -> list[Any]:
    return [found.signal, round(found.observed, 2), round(found.expected, 2), round(found.contribution, 2)]


def _id_of(change: Change, silent: bool) -> str:
    """A campaign opens and ends once, is told again once a minute at most, and grows as often as others join it."""
    campaign, minute = change.campaign, f"-{change.campaign.updated_us // 60_000_000}"
    if not silent:
        return f"{campaign.id}-{change.kind}{minute if change.kind == 'updated' else ''}"
    words = [f"{each.rule} {each.subject_hash.hex()}" for each in change.actions] + list(change.ended)
    digest = blake2s("\n".join(sorted(words)).encode(), digest_size=8).hexdigest()
    return f"{campaign.id}-joined-{digest}{'' if change.joined else minute}"
