"""`lockwatch audit`: what an operator asks the audit log. Each subcommand is imported when it is used."""

from __future__ import annotations

from typing import Final

from lockwatch.commands.group import Home, group

_HOMES: Final = {
    "checkpoint": Home("lockwatch.commands.evidence", "Seal how far the log has come, and print the signed checkpoint."),
    "drain": Home("lockwatch.commands.audit_drain", "Deliver what dead processes left in their spools."),
    "export": Home("lockwatch.commands.audit_export", "Write out rows, oldest first."),
    "prune": Home("lockwatch.commands.audit_prune", "Forget what is old."),
    "query": Home("lockwatch.commands.audit_query", "Search the audit log, newest first."),
    "score": Home("lockwatch.commands.audit_score", "Show the hours of addresses that were least like all others."),
    "stats": Home("lockwatch.commands.audit_prune", "Tell how large the log is, from when to when."),
    "tail": Home("lockwatch.commands.audit_query", "Print the newest rows, oldest first, and what comes after them."),
    "verify": Home("lockwatch.commands.evidence", "Check that the audit log is what was written."),
    "who": Home("lockwatch.commands.audit_who", "Tell what an address or a user did."),
}


@group(homes=_HOMES)
def audit() -> None:
    """Search, export, check and prune the audit log."""
