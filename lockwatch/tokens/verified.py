"""A bounded memory of tokens that were accepted a moment ago. Revocation is never remembered: ask every time."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from lockwatch.tokens.claims import Claims
from lockwatch.tokens.verify import MAX_TOKEN

MAX_SECONDS: Final = 60


class VerifiedTokens:
    """Remembers what `verify` accepted, for at most a minute and never past the end of the token.

    Only accepted tokens are remembered, so only canonical ones: another spelling of the same token is another token, and is
    refused. Tokens themselves are not kept, only their SHA-256. `clear` it whenever a key or a rule goes.
    """

    __slots__ = ("_found", "_leeway", "_max_entries", "_verify")

    def __init__(self, verify: Callable[[object, float], Claims], leeway: float, max_entries: int = 4096) -> None:
        self._verify, self._leeway, self._max_entries = verify, leeway, max_entries
        self._found: dict[bytes, tuple[Claims, float, float]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def verify(self, token: object, now: float) -> Claims:
        """What the token says, at epoch time `now`. Raises: what `verify` raises."""
        if not isinstance(token, str) or len(token) > MAX_TOKEN or not token.isascii():
            return self._verify(token, now)
        found, name = self._found, sha256(token.encode()).digest()
        entry = found.get(name)
        if entry is not None and entry[1] <= now < entry[2]:
            return entry[0]
        claims = self._verify(token, now)
        if len(found) >= self._max_entries:
            found.clear()
        found[name] = (claims, now, min(now + MAX_SECONDS, claims.expires_at + self._leeway))
        return claims

    def clear(self) -> None:
        """Forget everything. A verification that is under way stores what it found into what is forgotten."""
        self._found = {}
