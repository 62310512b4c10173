"""How long sessions live and how many there may be. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from lockwatch.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """How long sessions live and how many there may be. Durations are seconds.

    Attributes:
        idle: a session ends when it is not refreshed for so long.
        absolute: and after so long in any case.
        grace: how long a used refresh token may be repeated, 0 to 60; 0 repeats nothing.
        tombstone: how long a revoked session is remembered as revoked.
        max_sessions: of one subject, 1 to 1,000.
        when_full: ``evict`` the one unused longest, or ``refuse`` the new one.
        max_replays: how often one token may be repeated.

    Raises: ConfigurationError.
    """

    idle: float = 7 * 86_400
    absolute: float = 30 * 86_400
    grace: float = 10
    tombstone: float = 3600
    max_sessions: int = 100
    when_full: str = "evict"
    max_replays: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.grace <= 60:
            raise ConfigurationError(f"grace={self.grace!r} is not 0 to 60 seconds; a correct one is 10")
        if not 1 <= self.max_sessions <= 1000:
            raise ConfigurationError(f"max_sessions={self.max_sessions!r} is not 1 to 1000; a correct one is 100")
        if self.when_full not in ("evict", "refuse"):
            raise ConfigurationError(f"when_full={self.when_full!r} is not one of 'evict', 'refuse'")
        for name in ("idle", "absolute", "tombstone"):
            if not 0 < getattr(self, name) <= 3650 * 86_400:
                raise ConfigurationError(f"{name}={getattr(self, name)!r} is not a number of seconds up to ten years")
