"""With which key the subjects in bucket names are hashed."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from lockwatch.config import LockWatchConfig
from lockwatch.flow import Call, Flow
from lockwatch.limits.buckets import SCHEMA, Buckets, derive_key

_SECRET_LIFETIME_MS: Final = 400 * 86_400_000


def shared_secret(namespace: str) -> Flow[Sequence[int]]:
    """The key all processes of a namespace share, as eight numbers: the first to ask lays it down."""
    offered = tuple([secrets.randbits(32) for _ in range(8)])
    return (yield Call("secret", (f"{namespace}:{SCHEMA}:secret",), (_SECRET_LIFETIME_MS, *offered)))


def buckets_of(config: LockWatchConfig) -> Buckets | None:
    """Names from what the settings have of secrets; None where the store has to be asked for one."""
    if secret := _own_secret(config):
        return Buckets(config.namespace, secret)
    return Buckets(config.namespace, secrets.token_bytes(32)) if config.in_memory else None


def _own_secret(config: LockWatchConfig) -> bytes | None:
    """The newest secret key, else a key derived from the newest secret of tokens, where that is written down."""
    if config.secrets:
        return config.secrets[0].encode()
    told = config.jwt_secret or getattr(config.jwt, "secrets", ())
    newest = told[0] if isinstance(told, tuple | list) and told else told
    return derive_key(newest.encode() if isinstance(newest, str) else newest, "names") if isinstance(newest, str | bytes) else None
