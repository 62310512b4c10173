"""Everyone whose tokens are believed: ourselves and third parties, each with its own keys and rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lockwatch.errors import ConfigurationError, KeysUnavailable, TokenError
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.issuers import Issuer
from lockwatch.tokens.keys import Key
from lockwatch.tokens.remote import RemoteKeys
from lockwatch.tokens.verified import VerifiedTokens
from lockwatch.tokens.verify import Compact, Verifier, issuer_of, split


class RemoteIssuer:
    """A third party and its keys as they are now.

    The worker writes `state`, through `fetched` and `failed`. Requests only note that they missed a key.
    """

    __slots__ = ("_missed_at", "_verifier", "issuer", "state")

    def __init__(self, issuer: Issuer, leeway: float = 30) -> None:
        self.issuer, self.state = issuer, RemoteKeys()
        self._verifier = Verifier({}, issuer.rules(leeway))
        self._missed_at: float | None = None

    def verify_parts(self, token: Compact, now: float) -> Claims:
        """What a token of this party says. Raises: TokenError."""
        if not self.state.usable(now):
            raise KeysUnavailable
        try:
            return self._verifier.verify_parts(token, now)
        except TokenError as error:
            if error.code == "unknown_key":
                self._missed_at = now
            raise

    def is_due(self, now: float) -> bool:
        """Whether the worker has to fetch the keys now."""
        state = self.state if self._missed_at is None else self.state.missed(self._missed_at)
        return state.is_due(now)

    def fetched(self, keys: Mapping[str, Key], now: float, max_age: float | None = None) -> None:
        """After a fetch that brought keys."""
        self._missed_at = None
        self._verifier = Verifier(keys, self._verifier.rules)
        self.state = self.state.fetched(keys, now, max_age)

    def failed(self, now: float) -> None:
        """After a fetch that brought none."""
        self._missed_at = None
        self.state = self.state.failed(now)


class Trust:
    """Chooses by `iss` whose keys and rules a token is verified with, so that no issuer can speak for another.

    `remember` keeps accepted tokens for up to a minute, see `VerifiedTokens`; revocation has to be asked for every time.
    """

    def __init__(
        self, own: Verifier | None = None, issuers: Iterable[Issuer] = (), *, leeway: float = 30, remember: bool = False
    ) -> None:
        self.remotes = {issuer.url: RemoteIssuer(issuer, leeway) for issuer in issuers}
        self._own = own
        if own is not None and own.rules.issuer in self.remotes:
            raise ConfigurationError(
                f"issuers name {own.rules.issuer!r}, which is the issuer of our own tokens; give it another name"
            )
        self._verified = VerifiedTokens(self._verify, leeway) if remember else None

    def verify(self, token: object, now: float) -> Claims:
        """What a token says, at epoch time `now`. Raises: TokenError."""
        return self._verify(token, now) if self._verified is None else self._verified.verify(token, now)

    def renew(self, own: Verifier) -> None:
        """Verify our own tokens with other keys from now on."""
        self._own = own
        self._forget()

    def fetched(self, url: str, keys: Mapping[str, Key], now: float, max_age: float | None = None) -> None:
        """After the worker fetched the keys of the third party at `url`."""
        gone = self.remotes[url].state.keys.keys() - keys.keys()
        self.remotes[url].fetched(keys, now, max_age)
        if gone:
            self._forget()

    def failed(self, url: str, now: float) -> None:
        """After the worker could not fetch them."""
        self.remotes[url].failed(now)

    def _verify(self, token: object, now: float) -> Claims:
        parts, own = split(token), self._own
        if own is not None and not self.remotes:
            return own.verify_parts(parts, now)
        issuer = issuer_of(parts)
        if own is not None and issuer == own.rules.issuer:
            return own.verify_parts(parts, now)
        remote = self.remotes.get(issuer)
        if remote is None:
            raise TokenError("wrong_issuer")
        return remote.verify_parts(parts, now)

    def _forget(self) -> None:
        if self._verified is not None:
            self._verified.clear()
