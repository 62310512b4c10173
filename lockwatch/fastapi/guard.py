"""Where a request meets its plan.

A `Gate` stands in place of a route's own ASGI application: routing is over, the body unread, no dependency solved. So the plan
is exactly that of the matched route, nothing has to be guessed, and a refusal costs nothing else. Routes that appear later are
met by the `RateLimit` dependency, and get their gate then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from starlette.routing import Host
from starlette.types import ASGIApp, Receive, Scope, Send

from lockwatch import guard
from lockwatch.engine import Engine
from lockwatch.errors import RequestRefused
from lockwatch.fastapi import mistakes
from lockwatch.fastapi.body import Reading, fields_of
from lockwatch.fastapi.plan import Seen, declared, required, seen_in, tables, walk
from lockwatch.fastapi.refusal import answer
from lockwatch.fastapi.shortcut import Shortcut
from lockwatch.fastapi.spare import restore, spare
from lockwatch.fastapi.visit import Visit, visit_in
from lockwatch.flow import run_async
from lockwatch.guard import METHODS, Refused, method_named
from lockwatch.keys import BodyKey
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.plan import UNMATCHED, Plan, Step, make_plan


class Guard(guard.Guard):
    """The engine at one ASGI application's doors."""

    def __init__(self, engine: Engine, app: Any = None) -> None:
        super().__init__(engine)
        self.app = app
        self.shortcut = Shortcut(self)
        self._counted = -1
        self._tables: tuple[list[Any], ...] = ()
        self.by_host = False  # then a path alone does not say which route is meant

    def is_exempt(self, scope: Scope) -> bool:
        """Whether the path, as the application knows it, is one of `exempt_paths`."""
        if not self.exempts:
            return False
        root = scope.get("app_root_path", scope.get("root_path", ""))
        return self.is_exempt_path(scope["path"].removeprefix(root) or "/")

    def plan(self, seen: Seen | None, scope: Scope, prefix: str, overrides: Any) -> Plan:
        """What applies to a request on the route `seen`; default and application limits included."""
        found: tuple[Declaration, ...] | None = () if seen is None else declared(seen.dependant, seen.endpoint, overrides)
        access = () if seen is None else required(seen.dependant, overrides)
        template = UNMATCHED if seen is None else prefix + seen.path
        return self.compose(found, access, method_in(scope), template, self.is_exempt(scope))

    def plan_ungated(self, scope: Scope, visit: Visit) -> Plan:
        """What applies to a response no gate has seen: of a route added late, of none, or of a middleware outside of ours."""
        seen = seen_in(scope, visit.prefix)
        if visit.inside or seen is not None:
            if seen is not None and seen.methods and scope.get("method") not in seen.methods:
                seen = None  # 405
            if seen is not None:
                self.recount()
            return self.plan(seen, scope, visit.prefix, getattr(scope.get("app"), "dependency_overrides", {}))
        general = () if self.is_exempt(scope) else self.engine.application
        return make_plan(general, method_in(scope), UNMATCHED, self.engine.config.on_redis_failure)

    async def check(self, visit: Visit, plan: Plan) -> Refused | None:
        """Decide what `plan` says before the body is read, and record it on the visit; the refusal, when there is one."""
        plan = self.applying(visit, plan)
        if not plan.steps and not plan.access:
            return None
        return await self.engine.link.pursue(self.checking, visit, plan)

    async def check_body(self, visit: Visit, plan: Plan, scope: Scope, reading: Reading) -> RequestRefused | None:
        """Decide what `plan` says with the body; a refusal gives back what was charged before it."""
        body, too_long = await reading.read(scope)
        steps, found = [], {}
        for step in plan.later:
            if isinstance(key := step.declaration.key, BodyKey):
                steps.append(step)
                found[step.declaration] = key.subject(await fields_of(key, scope, body, too_long), visit.client)
        return await self.check_later(visit, plan, steps, found.__getitem__)

    async def check_later(
        self, visit: Visit, plan: Plan, steps: Sequence[Step], subject: Callable[[Declaration], str]
    ) -> RequestRefused | None:
        """Decide some steps of `plan` for subjects that are known by now; a refusal gives back what was charged before it."""
        return await self.engine.link.pursue(self.checking_later, visit, plan, steps, subject)

    async def attend(self, visit: Visit, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a WebSocket for as long as its token lives."""
        await app(scope, receive, send)

    async def refuse(self, refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request; the entrance adds the quota headers."""
        if (visit := visit_in(scope)) is not None:
            visit.refusal = refused.code
        await answer(refused, scope, receive, send, self.app.exception_handlers)

    def place_gates(self) -> None:
        """Put a gate before every route that has none yet; cheap when no route was added."""
        if sum(map(len, self._tables)) == self._counted:
            return
        routes = self.app.router.routes
        self.shortcut.forget()
        self._tables = tuple(tables(routes))
        self.by_host = any(isinstance(route, Host) for table in self._tables for route in table)
        for seen in walk(routes, owner=self.app):
            mistakes.check(seen)
            if not self._guards(seen.holder.app):
                # A route object that cannot be changed keeps its app: its limits are met by their dependency, or on the way out.
                with suppress(AttributeError):
                    seen.holder.app = (Passage if seen.passage else Gate)(self, seen, seen.holder.app)
        self._counted = sum(map(len, self._tables))

    def _guards(self, app: Any) -> bool:
        """Whether a gate of ours stands before `app`, be it behind those of other applications that share the route."""
        while isinstance(app, Gate | Passage):
            if app.guard is self:
                return True
            app = app.app
        return False

    def recount(self) -> None:
        """Look at the routes again before the next request: one was met that has no gate."""
        self._counted = -1


class Gate:
    """A route's application behind its plan."""

    __slots__ = ("_plans", "_seen", "app", "guard")

    def __init__(self, guard: Guard, seen: Seen, app: ASGIApp) -> None:
        self.guard = guard
        self.app = app
        self._seen = seen
        self._plans: dict[tuple[str, str, bool], Plan] = {}
        spare(seen)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Check the plan, then run the route. Where it is not this gate that decides, the route's own dependencies do.

        No coroutine: where nothing is to be waited for, the route's own is the next.
        """
        visit, guard = scope.get("lockwatch"), self.guard
        if type(visit) is not Visit or visit.guard is not guard or visit.plan is not None:
            restore(self._seen.dependant)
        elif scope.get("method") != "OPTIONS" or not is_preflight(scope):
            plan, link = self._plan(scope, visit.prefix), guard.engine.link
            buckets = link.named
            if not plan.plain or not guard.asks_nobody or guard.doorkeeper is not None or buckets is None:
                return self._check(visit, plan, scope, receive, send)
            visit.plan = plan
            if plan.steps:
                if not link.in_memory:
                    return self._ask(visit, plan, buckets, scope, receive, send)
                refused = visit.record(guard.admission.deciding_at_once(plan, visit, buckets))
                if refused is not None:
                    return self._refuse(refused, visit, plan, scope, receive, send)
        return self.app(scope, receive, send)

    async def _ask(self, visit: Visit, plan: Plan, buckets: Buckets, scope: Scope, receive: Receive, send: Send) -> None:
        """`_check` of a plain plan on a store that has to be waited for: as few frames as possible live until it answers."""
        link, admission = self.guard.engine.link, self.guard.admission
        store = link.store or link.async_store()
        refused = visit.record(await run_async(admission.deciding(plan, visit, buckets), store, link.memory))
        if refused is None:
            await self.app(scope, receive, send)
        else:
            await self._refuse(refused, visit, plan, scope, receive, send)

    async def _check(self, visit: Visit, plan: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        doorkeeper = self.guard.doorkeeper
        refused: Refused | None = None if doorkeeper is None else doorkeeper.user_turned_away(visit)
        refused = refused or await self.guard.check(visit, plan)
        if refused is None and plan.later and plan.reads and visit.follows(plan):
            reading = Reading(receive, plan.reads)
            receive = reading.replay
            refused = await self.guard.check_body(visit, plan, scope, reading)
        if refused is not None:
            await self._refuse(refused, visit, plan, scope, receive, send)
        elif plan.access and scope["type"] == "websocket":
            await self.guard.attend(visit, self.app, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _refuse(self, refused: Refused, visit: Visit, plan: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.guard.by_host:
            self.guard.shortcut.learn(visit.entry, plan)
        await self.guard.refuse(refused, scope, receive, send)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    def _plan(self, scope: Scope, prefix: str) -> Plan:
        seen, guard = self._seen, self.guard
        if getattr(seen.overrides, "dependency_overrides", None):
            restore(seen.dependant)
            return guard.plan(seen, scope, prefix, seen.overrides.dependency_overrides)
        method = scope.get("method", "WEBSOCKET")
        key = (method if method in METHODS else "OTHER", prefix, guard.exempts and guard.is_exempt(scope))
        return self._plans.get(key) or self._plans.setdefault(key, guard.plan(seen, scope, prefix, {}))


class Passage:
    """A mount: notes its template on the visit, because what is mounted may be mounted twice."""

    __slots__ = ("_seen", "app", "guard")

    def __init__(self, guard: Guard, seen: Seen, app: ASGIApp) -> None:
        self.guard = guard
        self.app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass through."""
        visit = visit_in(scope)
        if visit is not None:
            visit.prefix += self._seen.path
        await self.app(scope, receive, send)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)


def method_in(scope: Scope) -> str:
    """The method a bucket is named after: one of HTTP's, WEBSOCKET, or OTHER."""
    return "WEBSOCKET" if scope["type"] == "websocket" else method_named(scope["method"])


def is_preflight(scope: Scope) -> bool:
    """Whether the request is a CORS preflight, which is never limited."""
    if scope.get("method") != "OPTIONS":
        return False
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
