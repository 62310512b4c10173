"""Where a request of a Flask application meets its plan: in `before_request`, after routing, before the body is read.

What asks nothing of the application is decided before its own `before_request` functions run, everything else after them: they may
say who the user is.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from flask import Flask, Request, g, got_request_exception, request

from lockwatch import native
from lockwatch.engine import Engine
from lockwatch.keys import BodyKey, by_ip, by_user, is_prefixed
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.plan import UNMATCHED, Plan, Step
from lockwatch.shortcut import Shortcut
from lockwatch_flask import marks
from lockwatch_flask.blocking import Blocking
from lockwatch_flask.entrance import Environ, entry_of, is_preflight
from lockwatch_flask.refusal import own_answers
from lockwatch_flask.visit import Visit, visit_in


class Met(NamedTuple):
    """What applies to the requests that match a rule.

    Attributes:
        plan: what is decided.
        asks: whether deciding it runs functions of the application, or looks at what they note.
        template: of the rule.
        rule: that they match; None for those that match none.
        view: that it leads to.
    """

    plan: Plan
    asks: bool
    template: str
    rule: Any
    view: Callable[..., Any] | None


class Guard(Blocking):
    """The engine at one Flask application's doors.

    Attributes:
        placed: whether its functions stand among the application's.
        own_answer: whether the application answers a 429 in its own way.
    """

    def __init__(self, engine: Engine, app: Flask) -> None:
        super().__init__(engine)
        self.shortcut = Shortcut(self)
        self.placed = self.own_answer = False
        self._app = weakref.ref(app)
        self._met: dict[tuple[int, str, bool], Met] = {}
        self._alone = False
        self._lock = native.lock()

    @property
    def app(self) -> Flask:
        """Whose requests these are."""
        found = self._app()
        assert found is not None, "the application has gone"  # noqa: S101  # it serves this very request
        return found

    def place(self) -> None:
        """Put our functions before and after those of the application; at its first request, when no more can come."""
        with self._lock:
            if self.placed:
                return
            app = self.app
            self._alone = not any(app.before_request_funcs.values())
            app.before_request_funcs.setdefault(None, []).insert(0, _plain(self._first))
            for name in () if self._alone else (None, *app.blueprints):
                app.before_request_funcs.setdefault(name, []).append(_plain(self._last, name))
            self.own_answer = own_answers(app)
            got_request_exception.connect(self._failed, app)
            self.engine.open_sync()
            # Now, so that it runs before the thread in the background is stopped: what was registered last runs first.
            atexit.register(_finish, weakref.ref(self.engine))
            self.placed = True

    def meeting(self, current: Request, environ: Environ) -> Met:
        """What applies to a request, after routing."""
        rule, method = current.url_rule, self.method_of(environ)
        exempt = self.exempts and self.is_exempt_path(environ.get("PATH_INFO") or "/")
        view = None if rule is None else self.app.view_functions.get(rule.endpoint)
        key = (id(rule), method, exempt)
        found = self._met.get(key)
        if found is None or found.rule is not rule or found.view is not view:
            automatic = method == "OPTIONS" and getattr(rule, "provide_automatic_options", False)
            template = template_of(rule)
            blueprints = () if automatic else current.blueprints
            plan = self.plan(None if automatic else view, blueprints, method, template, exempt)
            found = self._met[key] = Met(plan, asks_application(plan, self.engine), template, rule, view)
        return found

    def plan(self, view: Callable[..., Any] | None, blueprints: Sequence[str], method: str, template: str, exempt: bool) -> Plan:
        """What applies to a method of a view; default and application limits included."""
        stack = () if view is None else tuple(marks.holders(self.app, blueprints, view, method))
        declared, lifted = marks.declared(stack), marks.lifts_outer(stack)
        return self.compose(declared, marks.required(stack), method, template, exempt or lifted)

    def _first(self) -> None:
        """Before every function of the application's. Raises: RequestRefused, TokenError."""
        current = request._get_current_object()  # type: ignore[attr-defined]  # once: a proxy looks for it each time
        environ = current.environ
        visit = visit_in(environ)
        if visit is None or visit.guard is not self:
            return
        g.lockwatch = visit
        met = self.meeting(current, environ)
        if visit.banned is None:
            visit.template = met.template
        self._turn_away(visit)
        if is_preflight(environ):
            return
        plan = met.plan
        if visit.plan is not None:  # mode off, which speaks of limits, never of tokens
            plan = replace(visit.plan, access=plan.access)
        if met.asks and not self._alone:
            visit.waiting = plan
        else:
            self._enforce(visit, plan)

    def _last(self, blueprint: str | None) -> None:
        """After them. Raises: RequestRefused, TokenError."""
        visit = visit_in(request.environ)
        if visit is None or visit.guard is not self or blueprint != request.blueprint:
            return
        self._turn_away(visit)
        if visit.waiting is not None:
            plan, visit.waiting = visit.waiting, None
            self._enforce(visit, plan)

    def _turn_away(self, visit: Visit) -> None:
        """Raises: Banned, for who is, as far as the application has said who that is."""
        if self.doorkeeper is not None:
            banned = visit.banned or self.doorkeeper.user_turned_away(visit)
            if banned is not None:
                visit.refusal = banned.code
                raise banned

    def _enforce(self, visit: Visit, plan: Plan) -> None:
        refused = self.check(visit, plan)
        if refused is None and plan.later and visit.follows(plan):
            refused = self.check_body(visit, plan)
        if refused is not None:
            if self.admission.denied.known:
                self.shortcut.learn(entry_of(request.environ), plan)
            visit.refusal = refused.code
            raise refused
        if plan.access:
            g.jwt_claims = next((claims for claims in visit.believed.values() if claims is not None), None)

    def _failed(self, sender: Flask, exception: BaseException, **_: Any) -> None:
        """The application failed to serve a request."""
        visit = visit_in(request.environ)
        if visit is not None:
            visit.error = exception


def _finish(engine: Callable[[], Engine | None]) -> None:
    """Settle what is left and hand over what was recorded when a process ends, as a server has it do at SIGTERM."""
    found = engine()
    if found is not None:
        found.close()


def _plain(act: Callable[..., None], *args: Any) -> Callable[[], None]:
    """A plain function, which Flask asks less about than a method or a partial whether it is async."""

    def acting() -> None:
        act(*args)

    return acting


def template_of(rule: Any) -> str:
    """The template of a route, with its host where it has one."""
    return UNMATCHED if rule is None else f"{rule.host or rule.subdomain or ''}{rule.rule}"


def asks_application(plan: Plan, engine: Engine) -> bool:
    """Whether deciding a plan runs functions of the application, or looks at what they note."""
    if plan.fixed is not None and engine.config.tenant is None:
        return False
    if engine.config.tenant is not None or engine.config.user is not None:
        return True
    known = any(not access.requirement.optional for access in plan.access)
    return any(_asks(step, known) for step in (*plan.steps, *plan.later))


def _asks(step: Step, known: bool) -> bool:
    d: Declaration = step.declaration
    if d.exempt_when is not None or d.dynamic is not None or callable(d.cost) or d.tier is not None:
        return True
    return not (d.key is by_ip or isinstance(d.key, BodyKey) or (d.key is by_user and known)) or not is_prefixed(d.key)
