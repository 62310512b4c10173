"""Enforcing from inside a dependency: what no gate has met, and limits whose key is a dependency itself."""

from __future__ import annotations

from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from lockwatch.errors import RequestRefused
from lockwatch.fastapi.body import fields_of
from lockwatch.fastapi.guard import Guard, is_preflight, method_in
from lockwatch.fastapi.plan import seen_in
from lockwatch.fastapi.visit import Visit
from lockwatch.keys import BodyKey, subject_of
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.plan import UNMATCHED, Plan, make_plan


async def check_late(guard: Guard, visit: Visit, declaration: Declaration, connection: HTTPConnection, value: object) -> None:
    """Enforce `declaration` unless that was done. `value` is what its key returned, where the key is a dependency.

    Raises: RateLimited, StoreUnavailable.
    """
    if declaration in visit.passed or is_preflight(connection.scope):
        return
    visit.passed += (declaration,)
    refused = None
    plan = visit.plan
    if plan is None or not (plan.settles(declaration) or _among(plan, declaration)):
        plan = _plan(guard, visit, declaration, connection.scope)
        refused = await guard.check(visit, plan)
    if refused is None and not plan.exempt:
        refused = await _check_later(guard, visit, plan, declaration, connection, value)
    if refused is not None:
        raise refused


async def _check_later(
    guard: Guard, visit: Visit, plan: Plan, declaration: Declaration, connection: HTTPConnection, value: object
) -> RequestRefused | None:
    steps = [step for step in plan.later if step.declaration is declaration]
    key = declaration.key
    if not steps:
        return None
    if not isinstance(key, BodyKey):
        return await guard.check_later(visit, plan, steps, lambda d: subject_of(d.key, value, visit.client))
    body = await connection.body() if isinstance(connection, Request) else b""
    fields = await fields_of(key, connection.scope, body, len(body) > key.max_bytes)
    return await guard.check_later(visit, plan, steps, lambda _: key.subject(fields, visit.client))


def _among(plan: Plan, declaration: Declaration) -> bool:
    return any(step.declaration is declaration for step in plan.later)


def _plan(guard: Guard, visit: Visit, declaration: Declaration, scope: Scope) -> Plan:
    """The plan of the route when nothing was decided yet, else one of `declaration` alone."""
    seen = seen_in(scope, visit.prefix)
    general: tuple[Declaration, ...] = ()
    if visit.plan is None:
        if seen is not None:
            guard.recount()
        plan = guard.plan(seen, scope, visit.prefix, getattr(scope.get("app"), "dependency_overrides", {}))
        if plan.settles(declaration) or _among(plan, declaration):
            return plan
        general = () if guard.is_exempt(scope) else guard.engine.application
    template = UNMATCHED if seen is None else visit.prefix + seen.path
    if visit.plan is not None:  # not the buckets of what was decided already
        template += f"~{'+'.join([limit.slug for limit in declaration.limits])}"
    return make_plan((*general, declaration), method_in(scope), template, guard.engine.config.on_redis_failure)
