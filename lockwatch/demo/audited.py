"""The end of the story: everything that happened is in the audit log, and nothing else is."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from lockwatch.audit.entry import AuditLogEntry
from lockwatch.demo.claims import Claim, equal
from lockwatch.demo.screen import table
from lockwatch.demo.story import Context, Observed, Step

_SHOWN: Final = 8
_PATIENCE: Final = 5.0
_MOST: Final = 10_000


def audited(context: Context) -> Observed:
    """Ask the audit log what happened since the demo began."""
    sent, found = len(context.server.meter.read), _settled(context)
    kinds = Counter(dict.fromkeys(("http",), 0))
    for entry in found:
        kinds[entry.kind] += entry.count
    telling = [entry for entry in found if entry.kind != "http" or entry.outcome != "success"]
    lines = [
        *table(("kind", "events"), [(kind, count) for kind, count in sorted(kinds.items())]),
        "",
        "   the newest that are no plain success:",
        *[_told(entry) for entry in telling[:_SHOWN]],
        "",
    ]
    facts = {"requests": sent, "events": dict(kinds), "refused": sum(e.count for e in found if e.rate_limit_hit)}
    return Observed(lines, facts, audited_claims(sent, found, context))


def _settled(context: Context) -> list[AuditLogEntry]:
    """The entries, once the server is done with the last request: its client has the answer a moment before that."""
    audit, sent = context.server.lockwatch.audit, len(context.server.meter.read)
    ends = time.monotonic() + _PATIENCE
    while True:
        audit.flush_sync()
        found = audit.query_sync(limit=_MOST)
        if sum(entry.count for entry in found if entry.kind == "http") >= sent or time.monotonic() > ends:
            return found
        time.sleep(0.05)


def audited_claims(sent: int, found: list[AuditLogEntry], context: Context) -> list[Claim]:
    """What must be in it."""
    refused = sum(answer.status == 429 for answer in context.traffic.answers)
    numbers = sorted(entry.seq for entry in found)
    return [
        equal("every request left a row", sent, sum(entry.count for entry in found if entry.kind == "http")),
        equal("those that a limit refused say so", refused, sum(entry.count for entry in found if entry.rate_limit_hit)),
        equal("and the rows are numbered without holes", True, numbers == list(range(1, len(found) + 1))),
    ]


def _told(entry: AuditLogEntry) -> str:
    what = entry.action if entry.kind != "http" else f"{entry.method} {entry.endpoint}"
    why = ", ".join(entry.reasons) or str(entry.target or "")
    when = f"{entry.timestamp:%H:%M:%S.%f}"[:-3]
    return f"   {when}  {what[:24]:24}  {entry.status_code or '-':>3}  {entry.outcome:9} {why[:44]}"


AUDITED: Final = Step("The audit log: what just happened, row by row", audited)
