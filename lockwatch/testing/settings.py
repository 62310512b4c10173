"""Settings under which tests do not touch each other, and a clean slate between them."""

from __future__ import annotations

import secrets
from math import inf
from typing import Any

from lockwatch.config import LockWatchConfig
from lockwatch.limits.buckets import Buckets
from lockwatch.testing.reach import engine_of


def isolated(**options: Any) -> LockWatchConfig:
    """Settings that touch nothing outside of this process: ``LockWatch(app, config=isolated(jwt_secret=...))``.

    Limits and sessions are in memory, nothing is kept on disk, and the environment is not read. `options` are the fields of
    `LockWatchConfig`, and win.

    Raises: ConfigurationError.
    """
    mine = {"redis_url": "memory://", "spool_dir": None, "secret_key": secrets.token_hex(16)}
    return LockWatchConfig.from_mapping({**mine, **options}, environ={})


def reset(target: Any) -> None:
    """Forget everything that was counted: limits and bursts in the store, and the bans this process knows of.

    Nothing is searched for or deleted in the store: what is counted from now on has other names, and what was counted before
    ends by itself. Another process of the application still counts under the old ones. Sessions live on.

    Args:
        target: the application, a test client of it, or its `LockWatch`.

    Raises: TypeError.
    """
    engine = engine_of(target)
    engine.link.named = Buckets(engine.config.namespace, secrets.token_bytes(32))
    engine.admission.denied.known.clear()
    if engine.bans is not None:
        engine.bans.table.sweep(inf)
