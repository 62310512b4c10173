"""The detector: tallies in, changes of campaigns out. Deterministic; the clock is in the tallies."""

from __future__ import annotations

from lockwatch.anomaly.campaign import Change
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.state import pack, unpack
from lockwatch.anomaly.tally import Tally

VERSION = 1


class Detector:
    """Judges what all processes saw. One of them runs it at a time.

    Args:
        settings: its rules and bounds.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.now_us = 0
        self._cases = Cases(self.settings)

    def feed(self, tally: Tally) -> list[Change]:
        """Take what one interval brought, merged over processes; says what is new."""
        for reuse in tally.reuses:
            self._cases.sign("token.reuse", reuse.at_us, source=reuse.address, target=reuse.user, example=reuse.example)
        return self.tick(tally.end_us)

    def tick(self, now_us: int) -> list[Change]:
        """Let time pass: campaigns end, intervals are judged. Microseconds since 1970; an earlier time than known is ignored."""
        self.now_us = max(self.now_us, now_us)
        return self._cases.changes(self.now_us)

    def dump(self) -> bytes:
        """The whole state, compressed. Takes milliseconds, and up to a megabyte on a large site: not for each interval."""
        return pack([VERSION, self.now_us, self._cases.dump()])

    def load(self, state: bytes) -> None:
        """Go on from what `dump` gave, also by another process. Raises: ValueError, for a state of another version or settings."""
        version, now_us, cases = unpack(state)
        if version != VERSION:
            raise ValueError("the state is of another version of the detector")
        self.now_us = now_us
        self._cases.load(cases)
