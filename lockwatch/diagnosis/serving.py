"""Proxies and workers: whose address counts, and who counts together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from lockwatch.client import trust
from lockwatch.diagnosis.finding import Area, Finding
from lockwatch.diagnosis.patient import Patient
from lockwatch.diagnosis.surroundings import Hint, believed, platform, workers

MIDDLEWARES: Final = ("LockWatchMiddleware", "LockWatchFlaskMiddleware")
"""Those of lockwatch 0.1, which know no routes."""
_REWRITING: Final = {"ProxyFix", "ProxyHeadersMiddleware"}
_ONE_HOP: Final = "trusted_proxies=1"


def proxies(patient: Patient) -> Area:
    """Whose word counts for where a client is."""
    hints = list(believed(patient.environ, patient.place))
    around = [name for name in layers(patient.application) if name in _REWRITING]
    trusted = patient.config.trusted_proxies
    told = f"trusted_proxies {trusted!r}{''.join(f', {hint.where}={hint.value}' for hint in hints)}"
    return Area("proxies", told, (*_open(hints), *_twice(patient, hints, around), *_unsaid(patient, hints, around)))


def processes(patient: Patient) -> Area:
    """How many processes serve, and whether they count together."""
    hints = list(workers(patient.environ, patient.place))
    config = patient.config
    many = [hint for hint in hints if hint.value == "several" or int(hint.value) > 1]
    if config.workers is not None and config.workers > 1:
        many.insert(0, Hint(str(config.workers), "workers"))
    told = ", ".join(f"{hint.value} by {hint.where}" for hint in hints) or "nobody says how many"
    if not config.in_memory or not many:
        return Area("workers", told)
    what = f"{many[0].value} processes serve, and each counts in its own memory: every limit is multiplied by that"
    change = "LOCKWATCH_REDIS_URL=redis://localhost:6379/0"
    return Area("workers", told, (Finding("workers.memory", what, many[0].where, change),))


def layers(application: Any) -> Iterator[str]:
    """The names of the middlewares of an application, of either framework."""
    for middleware in getattr(application, "user_middleware", ()):
        yield getattr(middleware.cls, "__name__", "")
    layer = getattr(application, "wsgi_app", None)
    for _ in range(100):
        if layer is None or hasattr(layer, "__self__"):
            return
        yield type(layer).__name__
        layer = getattr(layer, "app", None) or getattr(layer, "wsgi_app", None)


def _open(hints: list[Hint]) -> Iterator[Finding]:
    for hint in hints:
        if "*" in hint.value.split(","):
            what = "the server believes forwarded headers of anybody, so a client chooses the address it is counted under"
            yield Finding("proxies.everyone", what, hint.where, "uvicorn main:app --no-proxy-headers, and trusted_proxies=1")


def _twice(patient: Patient, hints: list[Hint], around: list[str]) -> Iterator[Finding]:
    """Networks match what the server has put in the place of the proxy no more; a number of hops is safe with uvicorn's."""
    trusted = trust(patient.config.trusted_proxies)
    where = hints[0].where if hints else around[0] if around else ""
    if trusted.networks and (hints or around):
        what = f"both {where} and trusted_proxies take the address from the header; the second finds no proxy to trust"
        yield Finding("proxies.twice", what, where, 'trusted_proxies="none", or no rewriting before lockwatch')
    elif trusted.hops and "ProxyFix" in around:
        what = "ProxyFix takes hops from the header, and trusted_proxies takes them again"
        yield Finding("proxies.twice", what, "ProxyFix", 'trusted_proxies="none"')


def _unsaid(patient: Patient, hints: list[Hint], around: list[str]) -> Iterator[Finding]:
    found = platform(patient.environ)
    if found is not None and not trust(patient.config.trusted_proxies) and not hints and not around:
        what = f"this is {found.value}, whose proxy sends every request, and no proxy is trusted: all clients share one bucket"
        yield Finding("proxies.untrusted", what, found.where, _ONE_HOP)
