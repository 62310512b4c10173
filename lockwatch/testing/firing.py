"""Fires the attack table at the routes of an application, and tells what got through."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

from lockwatch.engine import Engine
from lockwatch.limits.survey import Route
from lockwatch.testing.attacks import Attack, attacks
from lockwatch.testing.forging import Forge
from lockwatch.testing.reach import application_of, engine_of, manager_of, overview_of
from lockwatch.testing.sending import Line, line_to
from lockwatch.testing.templates import concrete
from lockwatch.tokens.access import ACCESS, sign
from lockwatch.tokens.access_cookie import ACCESS as COOKIE
from lockwatch.tokens.config import DAY
from lockwatch.tokens.encoding import decode

_REFUSED = frozenset({400, 401, 403})
"""400 where what stands in the header is no credential at all (RFC 6750, section 3.1)."""
_GARBAGE = "not.a.token"
_PLACES: dict[str, Callable[[bytes], tuple[bytes, bytes]]] = {
    "header": lambda token: (b"authorization", b"Bearer " + token),
    "cookie": lambda token: (b"cookie", COOKIE.encode() + b"=" + token),
    "subprotocol": lambda token: (b"sec-websocket-protocol", b"bearer, " + token),
}


@dataclass(frozen=True)
class Breach:
    """A hostile token that was not refused, or a route that could not be tried.

    Attributes:
        route: method and template.
        place: where the token was sent: ``header``, ``cookie``, ``subprotocol``.
        attack: what is wrong with the token; None where the route could not be tried.
        status: of the answer.
        header: of the token, decoded as far as it can be.
    """

    route: str
    place: str
    attack: Attack | None
    status: int
    header: str = ""

    def __str__(self) -> str:
        if self.attack is None:
            return f"{self.route}: could not be tried, it answers a request without a token with {self.status} (by {self.place})"
        said = "failed" if self.status >= 500 else "let in"
        return f"{self.route} ({self.place}): {said} with {self.status}: {self.attack.name}; header {self.header}"


def hostile_tokens(target: Any) -> list[Attack]:
    """The attack table, made with the keys of an application. The names are the same in every run, the tokens are not.

    Args:
        target: the application, a test client of it, or its `LockWatch`.

    Raises: TypeError where the application issues no tokens.
    """
    engine = engine_of(target)
    manager = manager_of(engine)
    claims = dict(manager.read(manager.issue_token_pair_sync("user:42").access_token))
    lifetime = max(manager.config.access_token_ttl_seconds, DAY)
    now = int(engine.clock.time())
    return list(attacks(Forge(manager.ring.current, claims, now, manager.config.leeway_seconds, lifetime)))


def protected(target: Any) -> list[Route]:
    """Every route and method of an application that requires a token."""
    return [route for route in overview_of(target).routes if any(not access.requirement.refresh for access in route.plan.access)]


def withstand(target: Any, routes: Sequence[str] | None = None) -> list[Breach]:
    """Send every hostile token to every protected route, and return what was not refused.

    The application is called directly, each request from another address. No endpoint runs, unless a token gets through. Limits
    do not count meanwhile, or they would answer first.

    Args:
        target: the application, or its test client.
        routes: methods and templates, like ``GET /items/{id}``; by default all that require a token.

    Raises: TypeError where the application issues no tokens; LookupError for a route that requires none.
    """
    app, engine = application_of(target), engine_of(target)
    table, found = _believable(engine, hostile_tokens(target)), {route.name: route for route in protected(target)}
    if unknown := [name for name in routes or () if name not in found]:
        raise LookupError(f"{unknown[0]!r} is no route that requires a token; these do: {', '.join(found) or 'none'}")
    before, engine.admission.mode = engine.admission.mode, "off"
    try:
        return _elsewhere(lambda: _fire(app, table, [found[name] for name in routes or found]))
    finally:
        engine.admission.mode = before


def assert_withstands(target: Any, routes: Sequence[str] | None = None) -> None:
    """`withstand`, and AssertionError with all that got through."""
    breaches = withstand(target, routes)
    if breaches:
        lines = "\n".join(f"  {breach}" for breach in breaches[:50])
        raise AssertionError(f"{len(breaches)} hostile tokens were not refused:\n{lines}")


def _fire(app: Any, table: Sequence[Attack], routes: Sequence[Route]) -> list[Breach]:
    with line_to(app) as line:
        shooter = _Shooter(line, table)
        return [breach for route in routes for breach in shooter.try_route(route)]


def _elsewhere(fire: Callable[[], list[Breach]]) -> list[Breach]:
    """Run something that needs an event loop of its own, also where one is running: then in a thread, which is waited for."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return fire()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(fire).result()


def _believable(engine: Engine, table: list[Attack]) -> list[Attack]:
    """The table, if it differs from good tokens by nothing but what its rows say. Raises: AssertionError."""
    manager = manager_of(engine)
    good = manager.issue_token_pair_sync("user:42").access_token
    again = sign(manager.ring.current, ACCESS, dict(manager.read(good)))
    manager.read(again)
    return table


class _Shooter:
    """Sends the table to one route after the other."""

    def __init__(self, line: Line, table: Sequence[Attack]) -> None:
        self._line, self._table = line, table
        self._numbers = count(1)

    def try_route(self, route: Route) -> list[Breach]:
        """What was not refused on a route, wherever it looks for tokens."""
        places = dict.fromkeys(place for access in route.plan.access for place in access.requirement.locations)
        if route.method != "WEBSOCKET":
            places.pop("subprotocol", None)
        return [breach for place in places for breach in self._try(route, place)]

    def _try(self, route: Route, place: str) -> list[Breach]:
        path, status = self._reach(route, place)
        if path is None:
            return [Breach(route.name, place, None, status)]
        found = [
            (attack, self._send(route.method, path, place, attack.token)) for attack in self._table if _arrives(attack.token, place)
        ]
        return [Breach(route.name, place, one, seen, _header(one.token)) for one, seen in found if seen not in _REFUSED]

    def _reach(self, route: Route, place: str) -> tuple[str | None, int]:
        """A path of the route at which a token is looked at, or the status that says that there is none."""
        status = 404
        for path in concrete(route.template):
            status = self._send(route.method, path, place, _GARBAGE)
            if status in _REFUSED:
                return path, status
        return None, status

    def _send(self, method: str, path: str, place: str, token: str) -> int:
        number = next(self._numbers)
        peer = f"198.18.{number // 250 % 250}.{number % 250 + 1}"
        header = _PLACES[place](token.encode("utf-8", "surrogatepass"))
        return self._line.send(method, path, [(b"host", b"localhost"), header], peer)


def _arrives(token: str, place: str) -> bool:
    """Whether a token is the same where it arrives: headers may have white space around it, and an empty cookie is none."""
    return token.strip(" \t") == token and (bool(token) or place == "header")


def _header(token: str) -> str:
    """What the first part of a token says, for people."""
    head = token.partition(".")[0]
    try:
        return json.dumps(json.loads(decode(head.encode())))[:200]
    except (ValueError, RecursionError):
        return f"unreadable: {head[:40]!a}"
