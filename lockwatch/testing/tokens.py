"""Tokens for tests, signed with the keys of the application."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.testing.forging import unknown_key
from lockwatch.testing.reach import engine_of, manager_of
from lockwatch.tokens.access import ACCESS, REGISTERED, sign
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.keys import Key, private_key


def token_for(
    target: Any,
    subject: object,
    *,
    scopes: str | Iterable[str] = (),
    roles: str | Iterable[str] = (),
    claims: Mapping[str, Any] | None = None,
    expired: bool = False,
    login_age: float = 0,
    issuer: str | None = None,
) -> str:
    """An access token of an application: ``token_for(app, "alice", scopes="orders:read")``.

    It is one that the application issues: it begins a session, which can be revoked, and lives as long as its tokens do.

    Args:
        target: the application, a test client of it, or its `LockWatch`.
        subject: who logged in, a text or whole number.
        scopes: a list, or a text with spaces.
        roles: a list, or one name.
        claims: what else it says. Registered claims too: ``{"aud": "another"}`` makes a token that is refused; None takes one away.
        expired: it was good until a while ago.
        login_age: seconds since the login, for `JWTAuth(max_age=...)` and `JWTAuth(fresh=True)`.
        issuer: a third party of `issuers` signs it instead, with a key made for the tests, which the application is told of. It has
            one of that issuer's audiences.

    Raises: TypeError where the application issues no tokens; ConfigurationError; StoreError.
    """
    engine, said = engine_of(target), dict(claims or {})
    said |= {name: value for name, value in (("scope", _words(scopes)), ("roles", _listed(roles))) if value}
    if issuer is not None:
        return _foreign(engine, issuer, subject, said, expired)
    own = {name: value for name, value in said.items() if name not in REGISTERED}
    token = manager_of(engine).issue_token_pair_sync(subject, own).access_token
    changes = {name: value for name, value in said.items() if name in REGISTERED}
    if login_age:
        changes.setdefault("auth_time", int(engine.clock.time() - login_age))
    return _changed(engine, token, changes, expired) if changes or expired else token


def _changed(engine: Engine, token: str, changes: Mapping[str, Any], expired: bool) -> str:
    """The same token with other claims."""
    manager = manager_of(engine)
    said = {**manager.read(token), **changes}
    if expired:
        age = said["exp"] - said["iat"] + manager.config.leeway_seconds + 60
        said |= {name: said[name] - age for name in ("exp", "iat", "nbf", "auth_time") if name in said and name not in changes}
    return sign(manager.ring.current, ACCESS, {name: value for name, value in said.items() if value is not None})


def _foreign(engine: Engine, url: str, subject: object, claims: Mapping[str, Any], expired: bool) -> str:
    """A token of a third party, whose key the application now has."""
    identity = engine.identity
    issuers = {} if identity is None else {one.url: one for one in identity.issuers}
    if identity is None or url not in issuers:
        raise ConfigurationError(f"{url!r} is no issuer of this application; it has {', '.join(issuers) or 'none'}")
    rules, remote = issuers[url].rules(identity.leeway), identity.trust.remotes[url]
    key, now = _key(issuers[url].algorithms[0]), engine.clock.time()
    identity.trust.fetched(url, {**remote.state.keys, key.kid: key}, now, 86_400)
    issued = int(now - (3600 + identity.leeway if expired else 0))
    registered = {"iss": url, "sub": str(subject), "aud": min(rules.audiences), "iat": issued, "exp": issued + 600}
    said = {**registered, "jti": secrets.token_hex(12), **claims}
    return sign(key, max(rules.types, key=len), {name: value for name, value in said.items() if value is not None})


@cache
def _key(algorithm: str) -> Key:
    return private_key(unknown_key(algorithm), algorithm, engine_named("python-jose"))


def _words(scopes: str | Iterable[str]) -> str:
    return scopes if isinstance(scopes, str) else " ".join(scopes)


def _listed(roles: str | Iterable[str]) -> list[str]:
    return [roles] if isinstance(roles, str) else list(roles)
