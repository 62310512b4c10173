"""What the middlewares of lockwatch 0.1 take, as settings and a limit of today. They limit at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lockwatch.anomaly.config import AnomalyConfig
from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.keys import by_ip
from lockwatch.limits.declaration import Declaration

_INSTEAD: Final = {"redis_url": "redis", "jwt_secret": "jwt"}
"""Options that `REDIS_URL` and `JWT_SECRET` set here, and what takes the place of each."""

_WINDOWS: Final = frozenset({"burst_window_seconds", "anomaly_window"})


def engine_of(options: Mapping[str, Any], burst_threshold: int, blocking: bool) -> Engine:
    """The engine of a middleware. Its application limit is counted by `key_func`.

    Args:
        options: those of `LockWatchConfig`, and `key_func`, `alert_cooldown_seconds`.
        burst_threshold: where none is given; 0 is off.

    Raises: ConfigurationError.
    """
    given = {"rate_limit_requests": 100, "rate_limit_window_seconds": 60, "burst_threshold": burst_threshold, **options}
    key, cooldown = given.pop("key_func", by_ip), given.pop("alert_cooldown_seconds", None)
    if not given["burst_threshold"] and given.get("anomaly") is None:
        if not _WINDOWS & given.keys():  # a window without a threshold is as good as none
            del given["burst_threshold"]
    elif cooldown is not None:
        given["anomaly"] = replace(given.get("anomaly") or AnomalyConfig(), alert_cooldown_seconds=cooldown)
    bare = [name for name, instead in _INSTEAD.items() if given.get(instead) is None]
    engine = Engine(LockWatchConfig.from_mapping(given, bare=bare), blocking=blocking)
    *others, limit = engine.application
    engine.application = (*others, Declaration(limit.limits, key=key, shared="application"))
    return engine
