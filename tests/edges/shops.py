"""One application, described once and built for both frameworks, and requests to either: what comes back is compared."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from inspect import isawaitable
from operator import attrgetter
from typing import Any

import flask
from fastapi import Depends, FastAPI, Response
from starlette.requests import Request

import lockwatch
import lockwatch_flask
from lockwatch import JWTAuth, RateLimit
from lockwatch.audit.entry import AuditLogEntry
from lockwatch.event import Event
from lockwatch.limits.plan import UNMATCHED
from lockwatch.metrics.readings import INSTRUMENTS, values
from tests.edges import asgi

Limit = tuple[str, Mapping[str, Any]]
PASSING = ("id", "seconds_since_rotation")
"""Details that no two applications have in common."""
SECRET = re.compile(r"[\w.-]{40,}")
OURS = re.compile("ratelimit|x-ratelimit|retry-after|www-authenticate|set-cookie")


@dataclass(frozen=True)
class Route:
    """A route: its limits, the token it requires, and what it answers."""

    path: str
    limits: Sequence[Limit | str] = ()
    method: str = "GET"
    jwt: Mapping[str, Any] | None = None
    exempt: bool = False
    status: int = 200
    group: str = ""
    settles: int | None = None
    logs_in: bool = False
    """Its requests say in `X-Login` what the endpoint says of the attempt: ``ok``, ``bad``, ``attempt`` or nothing."""
    decorated: bool = False
    """By `@lockwatch.limit` in both frameworks; else as a dependency in FastAPI."""


@dataclass(frozen=True)
class Group:
    """A router, a blueprint."""

    name: str
    prefix: str
    limits: Sequence[Limit | str] = ()
    exempt: bool = False
    within: str = ""


@dataclass(frozen=True)
class Shop:
    """An application."""

    routes: Sequence[Route]
    options: Mapping[str, Any] = field(default_factory=dict)
    groups: Sequence[Group] = ()
    user: str | None = None
    """A header that a function of the application takes for the name of the user."""
    auth: bool = False
    """Whether it has the endpoints of sessions."""


@dataclass(frozen=True)
class Ask:
    """One request."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer: str = "192.0.2.1"
    bearer: tuple[str, str] | None = None
    """Subject and scopes of a token that each application issues."""
    revoked: bool = False
    refreshes: str | None = None
    """The subject of a new session whose refresh token the body has."""
    used: int = 0
    """How often that token, or one that came of it, was used before."""


@dataclass(frozen=True)
class Act:
    """Something an operator does: a method of `LockWatch`, or of what an attribute of it leads to."""

    method: str
    arguments: Sequence[Any] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    said: Any = None
    """What it answers in both."""


@dataclass(frozen=True)
class Answer:
    """What came back: status, what lockwatch says in headers, and its body where it answered."""

    status: int
    headers: Mapping[str, str]
    body: Any

    def same(self, other: Answer) -> bool:
        """Equal, but for a second that may have passed between the two, and for ids."""
        return (
            self.status == other.status
            and self.headers.keys() == other.headers.keys()
            and all(_close(value, other.headers[name]) for name, value in self.headers.items())
            and _close(json.dumps(self.body, sort_keys=True), json.dumps(other.body, sort_keys=True))
        )


class Column:
    """An application of one framework under its requests."""

    name: str
    lockwatch: Any
    events: list[Event]
    entries: list[AuditLogEntry]

    def listen(self) -> None:
        """Collect the events of the requests from now on."""
        self.events = []

        async def collect(events: list[Event]) -> None:
            self.events += events

        self.engine.listen(collect)

    async def told(self) -> list[dict[str, Any]]:
        """The events so far, without what differs by nature: times, ids, how a template is written."""
        assert await self.engine.flush()
        # Tokens are issued and revoked by the test itself, not by requests.
        return [_plain(event) for event in self.events if not event.action.startswith("token.")]

    async def kept(self) -> list[str]:
        """The rows of the audit log so far, without what differs by nature, those of issued tokens included."""
        assert await self.engine.flush()
        return sorted([json.dumps(plain_row(entry), sort_keys=True, default=str) for entry in self.entries])

    def measured(self) -> dict[str, Any]:
        """What exporters of metrics tell, without how long the store took."""
        told = {instrument.name: values(instrument, [self.engine]) for instrument in INSTRUMENTS}
        return {name: {labels[1:]: number for labels, number in found.items()} for name, found in told.items()}

    async def act(self, act: Act) -> Any:
        """Do what an operator does."""
        raise NotImplementedError

    async def settled(self) -> None:
        """Wait until what the last request was charged is what it costs: on a busy machine the next may come before that."""
        raise NotImplementedError

    async def send(self, ask: Ask) -> Answer:
        """Send one request, with a token where it asks for one."""
        headers = {"user-agent": "shopper/1", **ask.headers}
        if ask.bearer is not None:
            pair = await self.tokens.issue_token_pair(ask.bearer[0], {"scope": ask.bearer[1]})
            headers["authorization"] = f"Bearer {pair.access_token}"
            if ask.revoked:
                await self.tokens.revoke_token(pair.refresh_token)
        body = ask.body
        if ask.refreshes is not None:
            pair = await self.tokens.issue_token_pair(ask.refreshes)
            body, newest = json.dumps({"refresh_token": pair.refresh_token}).encode(), pair
            for _ in range(ask.used):
                newest = await self.tokens.rotate(newest.refresh_token)
        return await self.exchange(replace(ask, headers=headers, body=body))

    async def exchange(self, ask: Ask) -> Answer:
        raise NotImplementedError

    @property
    def engine(self) -> Any:
        raise NotImplementedError

    @property
    def tokens(self) -> Any:
        return self.engine.identity.manager

    async def close(self) -> None:
        raise NotImplementedError


class OnFastAPI(Column):
    name = "fastapi"

    def __init__(self, shop: Shop) -> None:
        self.app = FastAPI()
        if shop.user is not None:
            _note_user(self.app, shop.user)
        self.lockwatch = lockwatch.LockWatch(self.app, **{"namespace": self.name, **shop.options})
        routers: dict[str, Any] = {"": self.app}
        for group in shop.groups:
            import fastapi

            routers[group.name] = fastapi.APIRouter(prefix=group.prefix, dependencies=_depends(group.limits))
        for route in shop.routes:
            self._add(routers[route.group], route, {g.name: g for g in shop.groups}.get(route.group))
        for group in reversed(shop.groups):
            routers[group.within].include_router(routers[group.name])
        if shop.auth:
            self.app.include_router(self.lockwatch.auth_router())

    def _add(self, router: Any, route: Route, group: Group | None) -> None:
        async def endpoint(request: Request, response: Response) -> Any:
            response.status_code = int(request.headers.get("x-status", route.status))
            if route.logs_in:
                await self._log_in(request)
            if route.settles is not None:
                await request.state.lockwatch.settle(route.settles)
            return {"path": route.path}

        dependencies = [] if route.decorated else _depends(route.limits)
        if route.jwt is not None:
            dependencies.append(Depends(JWTAuth(**route.jwt)))
        view: Any = endpoint
        for limit in reversed(route.limits if route.decorated else ()):
            text, options = _limit(limit)
            view = self.lockwatch.limit(text, **options)(view)
        if route.exempt or (group is not None and group.exempt):
            view = self.lockwatch.exempt(view)
        router.add_api_route(route.path, view, methods=[route.method], dependencies=dependencies)

    async def _log_in(self, request: Request) -> None:
        user, said = request.headers.get("x-name", "ann"), request.headers.get("x-login")
        if said == "ok":
            await self.lockwatch.login_succeeded(request, username=user)
        elif said == "bad":
            await self.lockwatch.login_failed(request, username=user, reason="bad_password")
        elif said == "attempt":
            async with self.lockwatch.login_attempt(request, user, limits="1/minute"):
                pass

    async def exchange(self, ask: Ask) -> Answer:
        path, _, query = ask.path.partition("?")
        seen = await asgi.http(
            self.app, ask.method, path, body=ask.body, peer=ask.peer, headers=dict(ask.headers), query_string=query.encode()
        )
        return _answer(seen.status, seen.headers, seen.body)

    async def act(self, act: Act) -> Any:
        said = attrgetter(act.method)(self.lockwatch)(*act.arguments, **act.options)
        return await said if isawaitable(said) else said

    async def settled(self) -> None:
        await self.engine.admission.settlement.finish()

    @property
    def engine(self) -> Any:
        return self.lockwatch.engine

    async def close(self) -> None:
        await self.lockwatch.aclose()


class OnFlask(Column):
    name = "flask"

    def __init__(self, shop: Shop) -> None:
        self.app = flask.Flask("shop")
        self.lockwatch = lockwatch_flask.LockWatch(self.app, **{"namespace": self.name, **shop.options})
        if shop.user is not None:
            self._note_user(shop.user)
        blueprints: dict[str, Any] = {"": self.app}
        for group in shop.groups:
            blueprint: Any = flask.Blueprint(group.name, "shop", url_prefix=group.prefix)
            for limit in reversed(group.limits):
                text, options = _limit(limit)
                blueprint = self.lockwatch.limit(text, **options)(blueprint)
            blueprints[group.name] = self.lockwatch.exempt(blueprint) if group.exempt else blueprint
        for number, route in enumerate(shop.routes):
            self._add(blueprints[route.group], route, f"view{number}")
        for group in reversed(shop.groups):
            blueprints[group.within].register_blueprint(blueprints[group.name])
        if shop.auth:
            self.app.register_blueprint(self.lockwatch.auth_blueprint())

    def _note_user(self, header: str) -> None:
        @self.app.before_request
        def note() -> None:
            if found := flask.request.headers.get(header):
                flask.g.user_id = found

    def _add(self, blueprint: Any, route: Route, name: str) -> None:
        def endpoint(**_: Any) -> Any:
            if route.logs_in:
                self._log_in()
            if route.settles is not None:
                flask.g.lockwatch.settle(route.settles)
            return {"path": route.path}, int(flask.request.headers.get("x-status", route.status))

        view: Any = endpoint
        if route.jwt is not None:
            view = self.lockwatch.jwt_required(**route.jwt)(view)
        for limit in reversed(route.limits):
            text, options = _limit(limit)
            view = self.lockwatch.limit(text, **options)(view)
        if route.exempt:
            view = self.lockwatch.exempt(view)
        blueprint.add_url_rule(route.path.replace("{", "<").replace("}", ">"), name, view, methods=[route.method])

    def _log_in(self) -> None:
        request = flask.request
        user, said = request.headers.get("x-name", "ann"), request.headers.get("x-login")
        if said == "ok":
            self.lockwatch.login_succeeded(request, username=user)
        elif said == "bad":
            self.lockwatch.login_failed(request, username=user, reason="bad_password")
        elif said == "attempt":
            with self.lockwatch.login_attempt(request, user, limits="1/minute"):
                pass

    async def exchange(self, ask: Ask) -> Answer:
        return await asyncio.to_thread(self._exchange, ask)  # a thread of a server, with no event loop in it

    def _exchange(self, ask: Ask) -> Answer:
        response = self.app.test_client().open(
            ask.path,
            method=ask.method,
            headers={"Host": "test", **ask.headers},
            data=ask.body,
            environ_base={"REMOTE_ADDR": ask.peer},
        )
        found = _answer(response.status_code, list(response.headers.items()), response.data)
        response.close()
        return found

    async def act(self, act: Act) -> Any:
        return await asyncio.to_thread(self._act, act)

    async def settled(self) -> None:
        await asyncio.to_thread(self.engine.admission.settlement.finish_sync)

    def _act(self, act: Act) -> Any:
        with self.app.app_context():
            name = act.method if "." not in act.method else f"{act.method}_sync"
            return attrgetter(name)(self.lockwatch)(*act.arguments, **act.options)

    @property
    def engine(self) -> Any:
        return self.lockwatch.engine_of(self.app)

    async def close(self) -> None:
        self.lockwatch.close()


COLUMNS: tuple[Callable[[Shop], Column], ...] = (OnFastAPI, OnFlask)


def _limit(limit: Limit | str) -> Limit:
    return (limit, {}) if isinstance(limit, str) else limit


def _depends(limits: Sequence[Limit | str]) -> list[Any]:
    return [Depends(RateLimit(text, **options)) for text, options in map(_limit, limits)]


def _note_user(app: FastAPI, header: str) -> None:
    class Noting:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            for name, value in scope["headers"]:
                if name == header.lower().encode():
                    scope["state"]["user_id"] = value.decode()
            await self.inner(scope, receive, send)

    app.add_middleware(Noting)


def _answer(status: int, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
    told = {name.lower(): value for name, value in headers}
    ours = {name: value for name, value in told.items() if OURS.match(name)}
    kind = told.get("content-type", "")
    said: Any = None
    if kind == "application/problem+json":
        ours["content-type"], ours["cache-control"] = kind, told.get("cache-control", "")
        said = json.loads(body)
        said.pop("decision", None)
    elif kind == "application/json" and (status < 400 or "error" in json.loads(body)):
        said = {name: SECRET.sub("*", str(value)) if "token" in name else value for name, value in json.loads(body).items()}
    return Answer(status, ours, said)


def _plain(event: Event) -> dict[str, Any]:
    found = {name: getattr(event, name) for name in event.__slots__}
    for name in ("time_us", "latency_us", "bytes_sent", "request_id", "trace_id", "headers"):
        found.pop(name)
    if event.route != UNMATCHED:
        found["route"] = (event.route or "").replace("<", "{").replace(">", "}")
    found["details"] = {name: value for name, value in event.details.items() if name != "id"}
    found["session"] = event.session is not None
    return found


def plain_row(entry: AuditLogEntry) -> dict[str, Any]:
    found = asdict(replace(entry, details={}))
    for name in ("id", "timestamp", "process", "seq", "chain", "cursor", "latency_ms", "bytes_sent", "request_id", "schema_v"):
        found.pop(name)
    if entry.route != UNMATCHED:
        found["route"] = (entry.route or "").replace("<", "{").replace(">", "}")
    found["details"] = {name: value for name, value in entry.details.items() if name not in PASSING}
    for name in ("session", "campaign_id"):
        found[name] = getattr(entry, name) is not None
    if "ended" in found["details"]:
        found["details"]["ended"] = len(found["details"]["ended"])
    if entry.action.startswith("token."):
        found["target"] = entry.target is not None  # names a session
    return found


def _close(one: str, other: str) -> bool:
    """The same texts, whose numbers may be one apart."""
    split = re.compile(r"\d+")
    if split.sub("#", one) != split.sub("#", other):
        return False
    return all(abs(int(a) - int(b)) <= 1 for a, b in zip(split.findall(one), split.findall(other), strict=True))
