"""What one manager signs and seals with, kept up with the files it comes from. Reads key files, and has a clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from lockwatch.event import Event
from lockwatch.tokens.access_cookie import AccessCookie
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.failover import Spool
from lockwatch.tokens.keyfile import WatchedRing
from lockwatch.tokens.names import Names
from lockwatch.tokens.pair import Issuing
from lockwatch.tokens.policy import SessionPolicy
from lockwatch.tokens.refresh import Format, Opaque
from lockwatch.tokens.refresh_jwt import Signed
from lockwatch.tokens.roots import roots
from lockwatch.tokens.sealing import Sealer, Wraps
from lockwatch.tokens.sessions import Sessions

LOOK: Final = 5.0
"""Seconds between two looks at the key file."""


class Signing:
    """Sessions and tokens of one application, and the keys under them.

    Args:
        config: how tokens are signed.
        policy: how long sessions live.
        names: what things are called in the store.
        namespace: what is sealed in one is not opened in another.
        secret_key: where sessions are sealed with something else than the signing keys.
        clock: epoch seconds.
        tell: told of everything that becomes of tokens.
        spool: where revocations wait to be said again.

    Attributes:
        flows: the sessions.
        issuing: the tokens.
        cookie: access tokens in cookies of browsers.
    """

    def __init__(
        self,
        config: JWTConfig,
        policy: SessionPolicy,
        names: Names,
        namespace: str,
        secret_key: str | tuple[str, ...] | None,
        clock: Callable[[], float],
        tell: Callable[[Event], object],
        spool: Spool | None = None,
    ) -> None:
        self.config = config
        self._ring = WatchedRing(config)
        self._namespace, self._secret_key, self._stray = namespace, secret_key, os.urandom(32)
        self._clock, self._looked = clock, float("-inf")
        self.flows = Sessions(names, *self._sealing(), policy, spool)
        self.issuing = Issuing(config, self._ring.ring, self.flows, tell)

    @property
    def problem(self) -> str:
        """What is wrong with the key file, empty when nothing is."""
        return str(self._ring.problem or "")

    def now(self) -> float:
        """The time; every few seconds also a look at the key file."""
        now = self._clock()
        if not 0 <= now - self._looked < LOOK:
            self._looked = now
            self.refresh()
        return now

    def refresh(self) -> None:
        """Look at the key file, and use its keys when it changed."""
        if self._ring.refresh():
            self.issuing.renew(self._ring.ring)
            self.flows.renew(*self._sealing())

    def _sealing(self) -> tuple[Sealer, Format]:
        """What sessions are sealed with, and how refresh tokens are written."""
        secrets = roots(self.config, self._secret_key, self._stray)
        sealer, self.cookie = Sealer(secrets, self._namespace), AccessCookie(secrets, self._namespace)
        if self.config.refresh_format == "jwt":
            return sealer, Signed(self.config, self._ring.ring, Wraps(secrets, self._namespace))
        return sealer, Opaque(secrets, self._namespace)
