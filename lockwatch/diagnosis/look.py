"""Looks at every area there is something in."""

from __future__ import annotations

from collections.abc import Iterator

from lockwatch.diagnosis.bare import alone
from lockwatch.diagnosis.database import database, databases
from lockwatch.diagnosis.finding import Area, Finding
from lockwatch.diagnosis.patient import Look, Patient
from lockwatch.diagnosis.routes import routes, twice
from lockwatch.diagnosis.serving import processes, proxies
from lockwatch.diagnosis.settings import settings
from lockwatch.diagnosis.spool import spool
from lockwatch.diagnosis.store import sessions, store


def examined(patient: Patient) -> list[Area]:
    """What was found, area by area."""
    return [look(patient) for look in _looks(patient)]


def unmade(what: str, where: str) -> Area:
    """What is said where an application cannot be made of its settings; then nothing else can be looked at."""
    return Area("configuration", "", (_wrong(what, where),))


def _wrong(what: str, where: str) -> Finding:
    code = "routes.tokens" if what.startswith("a token is required") else "configuration.invalid"
    told, _, change = what.partition("; ")
    return Finding(code, told, where, change or "see docs/configuration.md")


def _looks(patient: Patient) -> Iterator[Look]:
    config = patient.config
    yield settings
    yield store
    if config.token_redis_url is not None:
        yield sessions
    if databases(config):
        yield database
    if patient.tokens:
        from lockwatch.diagnosis.keys import keys

        yield keys
    yield proxies
    yield processes
    if patient.spools:
        yield spool
    from lockwatch.diagnosis.webhooks import webhooks

    yield webhooks
    if patient.overview is not None:
        yield routes
    elif patient.problem:
        yield _unknown
    elif patient.application is not None:
        yield _alone


def _unknown(patient: Patient) -> Area:
    """Routes that cannot be looked at, because one of them asks for what the settings do not have."""
    return Area("routes", "", (_wrong(patient.problem, patient.name),))


def _alone(patient: Patient) -> Area:
    """The routes of an application without `LockWatch`; the middleware of lockwatch 0.1 protects all of them alike."""
    if patient.engine is not None:
        return Area("routes", "all of them, by the middleware of lockwatch 0.1", tuple(twice(patient)))
    return Area("routes", "no LockWatch", (alone(patient.application, patient.name),))
