"""Enforcing where a decorator stands: what no plan has met, because the function is no view, or its marks were lost on the way."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from flask import current_app, g, request

from lockwatch.limits.declaration import Declaration
from lockwatch.limits.plan import Plan, make_plan
from lockwatch.tokens.requirement import Access, Requirement
from lockwatch_flask.entrance import is_preflight
from lockwatch_flask.guard import Guard, template_of
from lockwatch_flask.refusal import ensure_handled
from lockwatch_flask.visit import Visit, visit_in

if TYPE_CHECKING:
    from lockwatch_flask.extension import LockWatch

_alone: weakref.WeakKeyDictionary[Any, Guard] = weakref.WeakKeyDictionary()


def enforce(owner: LockWatch, declaration: Declaration) -> None:
    """Enforce a limit unless that was done. Raises: RateLimited, StoreUnavailable."""
    try:
        environ = request._get_current_object().environ  # type: ignore[attr-defined]  # once: a proxy looks for it each time
    except RuntimeError:
        return  # nobody sent anything
    visit = visit_in(environ) or _visit(owner)
    plan = visit.plan
    if (plan is not None and plan.settles(declaration)) or declaration in visit.passed or is_preflight(environ):
        return
    visit.passed += (declaration,)
    plan = _plan(visit, declaration)
    refused = visit.guard.check(visit, plan)
    if refused is None and plan.later and visit.follows(plan):
        refused = visit.guard.check_body(visit, plan)
    if refused is not None:
        visit.refusal = refused.code
        raise refused


def inspect(owner: LockWatch, requirement: Requirement) -> None:
    """Check a token unless that was done. Raises: TokenError, ConfigurationError."""
    visit = _visit(owner)
    inspector = visit.guard.inspector
    if inspector is None:
        visit.guard.compose((), (Access(requirement, requirement.demands),), "GET", "", False)  # says what to set
        raise AssertionError
    if requirement not in visit.believed:
        visit.guard.engine.link.drive_sync(inspector.checking_alone(visit, requirement))
    claims = visit.believed[requirement]
    inspector.demand(Access(requirement, requirement.demands), claims)
    g.jwt_claims = claims


def _visit(owner: LockWatch) -> Visit:
    """The visit of the current request; of applications that have no LockWatch, one of its own."""
    environ = request.environ
    visit = visit_in(environ)
    if visit is None:
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # a proxy
        guard = _alone.get(app) or _alone.setdefault(app, Guard(owner.engine_of(app), app))
        guard.engine.warn(
            "a limit or a token is declared on an application without init_app: it is checked when the view runs, without headers"
        )
        ensure_handled(app)
        visit = g.lockwatch = Visit(guard, environ)
    return visit


def _plan(visit: Visit, declaration: Declaration) -> Plan:
    """A plan of `declaration` alone, with buckets of its own beside those of what was decided already."""
    template = template_of(request.url_rule)
    if visit.plan is not None:
        template += f"~{'+'.join([limit.slug for limit in declaration.limits])}"
    guard = visit.guard
    return make_plan((declaration,), guard.method_of(request.environ), template, guard.engine.config.on_redis_failure)
