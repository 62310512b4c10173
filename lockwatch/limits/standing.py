"""Limits that stand before every route of an application."""

from __future__ import annotations

from lockwatch.config import LockWatchConfig
from lockwatch.limits.declaration import Declaration, Look, Penalty, read_limits
from lockwatch.limits.grammar import Limit


def application_limits(config: LockWatchConfig) -> tuple[Declaration, ...]:
    """Those that the settings ask for: the limit on refusals first, because it decides first what a refusal is called."""
    found: list[Declaration] = []
    if config.meta_limits is not None:
        found.append(Penalty(config.meta_limits, name="meta", shared="meta"))
    if config.auth_failures is not None:
        found.append(Look(config.auth_failures, name="auth-failures", shared="auth-failures"))
    limits = () if config.application_limits is None else read_limits(config.application_limits)
    if config.rate_limit_requests is not None:
        limits += (Limit(config.rate_limit_requests, config.rate_limit_window_seconds),)
    return (*found, Declaration(limits, shared="application")) if limits else tuple(found)
