"""Whether something is broken for long enough to be told, and whole for long enough to be believed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockwatch.alerts.alert import AUDIT_DEGRADED, AUDIT_RECOVERED, Alert

BROKEN: Final = 10.0
"""Seconds it has to be broken before that is told."""
WHOLE: Final = 30.0
"""Seconds it has to work before that is told."""


class Condition:
    """The audit log of one process, as it is looked at now and then.

    Args:
        process: who it is, for people.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._told_at: float | None = None
        self._since: float | None = None

    def look(self, problems: Sequence[str], now: float, name: str) -> Alert | None:
        """The alert that is due, if one is.

        Args:
            problems: what is wrong now.
            now: seconds since 1970.
            name: id for the alert.
        """
        told = self._told_at is not None
        if bool(problems) == told:
            self._since = None
            return None
        self._since = now if self._since is None else min(self._since, now)
        if now - self._since < (WHOLE if told else BROKEN):
            return None
        return self._recovered(now, name) if told else self._degraded(problems, now, name)

    def _degraded(self, problems: Sequence[str], now: float, name: str) -> Alert:
        self._told_at, self._since = self._since, None
        data = {"process": self._process, "problems": list(problems)}
        return Alert(name, AUDIT_DEGRADED, int(now * 1_000_000), data)

    def _recovered(self, now: float, name: str) -> Alert:
        began, ended = self._told_at or now, self._since or now
        self._told_at = self._since = None
        return Alert(name, AUDIT_RECOVERED, int(now * 1_000_000), {"process": self._process, "seconds": round(ended - began)})
