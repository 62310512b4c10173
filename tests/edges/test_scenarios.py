"""One table of scenarios through FastAPI and Flask: the same statuses, headers, bodies and counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from lockwatch import JWTConfig, by_api_key, by_claim, by_form, by_json, by_user
from lockwatch.audit.entry import AuditLogEntry
from lockwatch.event import HTTP, KINDS
from tests.edges.shops import COLUMNS, Act, Ask, Column, Group, Route, Shop

FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}
JWT = {"jwt": JWTConfig(jwt_secret="a secret of at least 32 characters")}
A, B = "203.0.113.1", "203.0.113.2"


@dataclass(frozen=True)
class Scenario:
    """Requests to a shop and acts of its operator, one after the other, and the statuses the requests get."""

    name: str
    shop: Shop
    asks: Sequence[Ask | Act]
    statuses: Sequence[int]
    banned: Sequence[str] = ()


def many(ask: Ask, times: int) -> list[Ask]:
    return [ask] * times


def refused_always(request: Any) -> bool:
    return request.headers.get("x-free") == "yes"


def plan_of(request: Any) -> str:
    return str(request.headers.get("x-plan", "*"))


def priced(request: Any) -> int:
    return int(request.headers.get("x-cost", 1))


def limits_asked(request: Any) -> str:
    return "1/minute" if request.headers.get("x-plan") == "free" else "3/minute"


async def slowly(request: Any) -> str:
    return str(request.headers.get("x-who", ""))


SEARCH = Ask("/search")
TABLE = [
    Scenario("a limit", Shop([Route("/search", ["2/minute"])]), many(SEARCH, 3), [200, 200, 429]),
    Scenario("a decorator", Shop([Route("/search", ["2/minute"], decorated=True)]), many(SEARCH, 3), [200, 200, 429]),
    Scenario(
        "refused requests cost no other limit",
        Shop([Route("/search", ["2/minute;100/hour"])]),
        many(SEARCH, 6),
        [200, 200, 429, 429, 429, 429],
    ),
    Scenario(
        "a bucket is a template",
        Shop([Route("/items/{number}", ["2/minute"])]),
        [Ask("/items/1"), Ask("/items/2"), Ask("/items/3")],
        [200, 200, 429],
    ),
    Scenario(
        "methods have buckets of their own, HEAD is GET",
        Shop([Route("/x", ["1/minute"]), Route("/x", ["1/minute"], "POST")]),
        [Ask("/x"), Ask("/x", "POST"), Ask("/x"), Ask("/x", "POST")],
        [200, 200, 429, 429],
    ),
    Scenario(
        "clients have buckets of their own",
        Shop([Route("/search", ["1/minute"])]),
        [replace(SEARCH, peer=A), replace(SEARCH, peer=B), replace(SEARCH, peer=A)],
        [200, 200, 429],
    ),
    Scenario(
        "an IPv6 client is its network",
        Shop([Route("/search", ["1/minute"])]),
        [replace(SEARCH, peer="2001:db8::1"), replace(SEARCH, peer="2001:db8::2"), replace(SEARCH, peer="2001:db8:0:1::1")],
        [200, 429, 200],
    ),
    Scenario(
        "forwarded addresses count behind trusted proxies alone",
        Shop([Route("/search", ["1/minute"])], {"trusted_proxies": ["192.0.2.0/24"]}),
        [
            Ask("/search", headers={"x-forwarded-for": A}),
            Ask("/search", headers={"x-forwarded-for": f"198.51.100.9, {A}"}),
            Ask("/search", headers={"x-forwarded-for": B}),
            Ask("/search", headers={"x-forwarded-for": A}, peer=B),
        ],
        [200, 429, 200, 429],
    ),
    Scenario(
        "application limits are one bucket, unmatched requests included",
        Shop([Route("/a"), Route("/b")], {"application_limits": "4/minute"}),
        [Ask("/a"), Ask("/b"), Ask("/none"), Ask("/a", "DELETE"), Ask("/a"), Ask("/none")],
        [200, 200, 404, 405, 429, 429],
    ),
    Scenario(
        "default limits are for routes that declare none",
        Shop([Route("/a"), Route("/b", ["2/minute"])], {"default_limits": "1/minute"}),
        [Ask("/a"), Ask("/a"), Ask("/b"), Ask("/b"), Ask("/none"), Ask("/none")],
        [200, 429, 200, 200, 404, 429],
    ),
    Scenario(
        "exempt paths and routes",
        Shop(
            [Route("/healthz"), Route("/a"), Route("/free", exempt=True), Route("/own", ["1/minute"])],
            {"application_limits": "1/minute", "exempt_paths": ["/healthz", "/ow*"]},
        ),
        [*many(Ask("/healthz"), 2), *many(Ask("/a"), 2), *many(Ask("/free"), 2), *many(Ask("/own"), 2)],
        [200, 200, 200, 429, 200, 200, 200, 429],
    ),
    Scenario(
        "exempt networks",
        Shop([Route("/search", ["1/minute"])], {"exempt_networks": ["203.0.113.0/30"]}),
        many(replace(SEARCH, peer=A), 3),
        [200, 200, 200],
    ),
    Scenario(
        "limits of groups of routes, also within each other",
        Shop(
            [Route("/a", ["3/minute"], group="inner"), Route("/b", group="outer")],
            groups=[Group("outer", "/outer", ["2/minute"]), Group("inner", "/inner", ["4/minute"], within="outer")],
        ),
        [*many(Ask("/outer/inner/a"), 3), *many(Ask("/outer/b"), 3)],
        [200, 200, 429, 200, 200, 429],
    ),
    Scenario(
        "shared limits",
        Shop([Route("/a", [("2/minute", {"shared": "both"})]), Route("/b", [("2/minute", {"shared": "both"})])]),
        [Ask("/a"), Ask("/b"), Ask("/a"), Ask("/b")],
        [200, 200, 429, 429],
    ),
    Scenario(
        "two equal limits are two policies",
        Shop([Route("/a", ["2/minute", "2/minute"])]),
        many(Ask("/a"), 3),
        [200, 200, 429],
    ),
    Scenario(
        "names",
        Shop([Route("/a", [("login=2/minute;slow=9/hour", {"name": "search"})])]),
        many(Ask("/a"), 3),
        [200, 200, 429],
    ),
    Scenario(
        "failures alone count",
        Shop([Route("/login", [("2/minute", {"count": "failures"})], "POST")]),
        [
            *many(Ask("/login", "POST"), 3),
            *many(Ask("/login", "POST", {"x-status": "401"}), 3),
            Ask("/login", "POST"),
        ],
        [200, 200, 200, 401, 401, 429, 429],
    ),
    Scenario(
        "a status decides",
        Shop([Route("/a", [("1/minute", {"count": lambda status: status == 404})])]),
        [Ask("/a"), Ask("/a", headers={"x-status": "404"}), Ask("/a")],
        [200, 404, 429],
    ),
    Scenario(
        "costs, and what they really were",
        Shop([Route("/a", [("10/minute", {"cost": priced})], settles=2)]),
        [Ask("/a", headers={"x-cost": "9"}), Ask("/a", headers={"x-cost": "8"}), Ask("/a", headers={"x-cost": "9"})],
        [200, 200, 429],
    ),
    Scenario(
        "a cost above the whole quota",
        Shop([Route("/a", [("10/minute", {"cost": priced})])]),
        [Ask("/a", headers={"x-cost": "11"}), Ask("/a", headers={"x-cost": "10"})],
        [429, 200],
    ),
    Scenario("requests at once", Shop([Route("/a", ["1 concurrent"])]), many(Ask("/a"), 3), [200, 200, 200]),
    Scenario(
        "bursts",
        Shop([Route("/a", ["60/hour burst 2"])]),
        many(Ask("/a"), 3),
        [200, 200, 429],
    ),
    Scenario(
        "every algorithm",
        Shop(
            [
                Route(f"/{algorithm}", [("1/year", {"algorithm": algorithm})])  # some begin anew on the minute, not on the year
                for algorithm in ("sliding-window", "sorted-set", "sliding-counter", "gcra", "fixed-window")
            ]
        ),
        [
            Ask(f"/{algorithm}")
            for algorithm in ("sliding-window", "sorted-set", "sliding-counter", "gcra", "fixed-window")
            for _ in range(2)
        ],
        [200, 429] * 5,
    ),
    Scenario(
        "limits of tiers, and those decided per request",
        Shop(
            [
                Route("/tier", [({"pro": "2/minute", "*": "1/minute"}, {"tier": plan_of})]),  # type: ignore[list-item]
                Route("/dynamic", [(limits_asked, {})]),  # type: ignore[list-item]
            ]
        ),
        [
            *many(Ask("/tier", headers={"x-plan": "pro"}), 3),
            *many(Ask("/tier", peer=A), 2),
            *many(Ask("/dynamic", headers={"x-plan": "free"}), 2),
            *many(Ask("/dynamic", peer=A), 4),
        ],
        [200, 200, 429, 200, 429, 200, 429, 200, 200, 200, 429],
    ),
    Scenario(
        "exempt when",
        Shop([Route("/a", [("1/minute", {"exempt_when": refused_always})])]),
        [*many(Ask("/a", headers={"x-free": "yes"}), 2), *many(Ask("/a"), 2)],
        [200, 200, 200, 429],
    ),
    Scenario(
        "async key functions",
        Shop([Route("/a", [("1/minute", {"key": slowly})])]),
        [Ask("/a", headers={"x-who": "ann"}), Ask("/a", headers={"x-who": "bob"}), Ask("/a", headers={"x-who": "ann"}), Ask("/a")],
        [200, 200, 429, 200],
    ),
    Scenario(
        "users the application has noted",
        Shop([Route("/a", [("1/minute", {"key": by_user})])], user="x-user"),
        [
            Ask("/a", headers={"x-user": "ann"}),
            Ask("/a", headers={"x-user": "bob"}),
            Ask("/a"),
            Ask("/a", headers={"x-user": "ann"}),
        ],
        [200, 200, 200, 429],
    ),
    Scenario(
        "API keys charge the address too",
        Shop([Route("/a", [("1/minute", {"key": by_api_key})])]),
        [
            Ask("/a", headers={"x-api-key": "k1"}),
            Ask("/a", headers={"x-api-key": "k1"}),
            Ask("/a", headers={"authorization": "Bearer k2"}),
        ],
        [200, 429, 200],
    ),
    Scenario(
        "members of bodies",
        Shop(
            [
                Route("/json", [("1/minute", {"key": by_json("email", max_bytes=64)})], "POST"),
                Route("/form", [("1/minute", {"key": by_form("name")})], "POST"),
            ]
        ),
        [
            Ask("/json", "POST", JSON, b'{"email": "a@example.com"}'),
            Ask("/json", "POST", JSON, b'{"email": " A@example.com"}'),
            Ask("/json", "POST", JSON, b'{"email": "b@example.com"}'),
            Ask("/json", "POST", JSON, b'{"email": "' + b"c" * 99 + b'"}'),
            Ask("/json", "POST", JSON, b'{"email": "' + b"d" * 99 + b'"}'),
            Ask("/json", "POST", JSON, b"{no json"),
            Ask("/json", "POST", JSON, b""),
            Ask("/form", "POST", FORM, b"name=ann&x=1"),
            Ask("/form", "POST", FORM, b"x=1&name=ANN"),
            Ask("/form", "POST", FORM, b"name=bob"),
        ],
        [200, 429, 200, 200, 429, 200, 429, 200, 429, 200],
    ),
    Scenario(
        "a body that refuses gives back what stood before it",
        Shop([Route("/a", ["3/minute", ("1/minute", {"key": by_json("email")})], "POST")]),
        [*many(Ask("/a", "POST", JSON, b'{"email": "a"}'), 4), Ask("/a", "POST", JSON, b'{"email": "b"}')],
        [200, 429, 429, 429, 200],
    ),
    Scenario(
        "shadows",
        Shop([Route("/a", [("1/minute", {"shadow": True})])]),
        many(Ask("/a"), 3),
        [200, 200, 200],
    ),
    Scenario("observing", Shop([Route("/a", ["1/minute"])], {"mode": "observe"}), many(Ask("/a"), 3), [200, 200, 200]),
    Scenario("off", Shop([Route("/a", ["1/minute"])], {"mode": "off"}), many(Ask("/a"), 3), [200, 200, 200]),
    *[
        Scenario(f"headers={kind}", Shop([Route("/a", ["1/minute"])], {"headers": kind}), many(Ask("/a"), 2), [200, 429])
        for kind in ("draft-11", "x", "off")
    ],
    Scenario(
        "preflights are never limited",
        Shop([Route("/a", ["1/minute"])], {"application_limits": "1/minute"}),
        [
            *many(Ask("/none", "OPTIONS", {"origin": "https://shop.example", "access-control-request-method": "GET"}), 3),
            *many(Ask("/a"), 2),
        ],
        [404, 404, 404, 200, 429],
    ),
    Scenario(
        "refusals that cost",
        Shop([Route("/a", ["1/minute"]), Route("/b")], {"meta_limits": "2/minute"}),
        [*many(Ask("/a"), 4), Ask("/b")],
        [200, 429, 429, 429, 429],
    ),
    Scenario(
        "answers of 401 and 403 that cost",
        Shop([Route("/a")], {"auth_failures": "2/minute"}),
        [*many(Ask("/a", headers={"x-status": "401"}), 2), Ask("/a"), Ask("/a", peer=A)],
        [401, 401, 429, 200],
    ),
    Scenario(
        "an application with tenants",
        Shop([Route("/a", ["1/minute"])], {"tenant": lambda request: request.headers.get("x-tenant", "")}),
        [Ask("/a", headers={"x-tenant": "one"}), Ask("/a", headers={"x-tenant": "two"}), Ask("/a", headers={"x-tenant": "one"})],
        [200, 200, 429],
    ),
    Scenario(
        "a token",
        Shop([Route("/me", jwt={})], JWT),
        [
            Ask("/me"),
            Ask("/me", bearer=("ann", "")),
            Ask("/me", headers={"authorization": "Bearer x.y.z"}),
            Ask("/me", headers={"authorization": "Bearer"}),
            Ask("/me", bearer=("ann", ""), revoked=True),
        ],
        [401, 200, 401, 400, 401],
    ),
    Scenario(
        "scopes, roles, fresh logins",
        Shop(
            [
                Route("/scope", jwt={"scopes": ["read", "write"]}),
                Route("/role", jwt={"roles": ["admin"]}),
                Route("/fresh", jwt={"fresh": True, "max_age": "5m"}),
            ],
            JWT,
        ),
        [
            Ask("/scope", bearer=("ann", "read")),
            Ask("/scope", bearer=("ann", "read write")),
            Ask("/role", bearer=("ann", "")),
            Ask("/fresh", bearer=("ann", "")),
        ],
        [403, 200, 403, 200],
    ),
    Scenario(
        "a token that may be missing",
        Shop([Route("/me", jwt={"optional": True})], JWT),
        [Ask("/me"), Ask("/me", bearer=("ann", "")), Ask("/me", headers={"authorization": "Bearer no"})],
        [200, 200, 401],
    ),
    Scenario(
        "a refresh token instead",
        Shop([Route("/me", jwt={"refresh": True})], JWT),
        [Ask("/me"), Ask("/me", bearer=("ann", ""))],
        [401, 401],
    ),
    Scenario(
        "tokens and limits of users",
        Shop(
            [Route("/me", [("2/minute", {"key": by_user})], jwt={}), Route("/any", [("1/minute", {"key": by_claim("scope")})])], JWT
        ),
        [
            Ask("/me", bearer=("ann", "")),
            Ask("/me", bearer=("ann", ""), revoked=True),
            Ask("/me", bearer=("bob", "")),
            Ask("/me", bearer=("ann", "")),
            Ask("/me", bearer=("ann", "")),
            Ask("/me"),
            Ask("/me", headers={"authorization": "Bearer no"}),
            Ask("/me"),
            *many(Ask("/any", bearer=("ann", "read")), 2),
            Ask("/any", bearer=("ann", "write")),
        ],
        [200, 401, 200, 200, 429, 401, 429, 429, 200, 429, 200],
    ),
    Scenario(
        "guessed tokens",
        Shop([Route("/me", jwt={})], {**JWT, "auth_failures": "2/minute"}),
        [*many(Ask("/me", headers={"authorization": "Bearer no"}), 3), Ask("/me", bearer=("ann", ""))],
        [401, 401, 429, 429],
    ),
    Scenario(
        "modes and exemptions speak of limits, never of tokens",
        Shop([Route("/me", ["1/minute"], jwt={})], {**JWT, "exempt_networks": ["203.0.113.0/24"]}),
        [*many(Ask("/me", bearer=("ann", ""), peer=A), 2), Ask("/me", peer=A)],
        [200, 200, 401],
    ),
    Scenario(
        "what the application says of log-ins",
        Shop([Route("/login", [("2/minute", {"count": "failures"})], "POST", logs_in=True)]),
        [
            *many(Ask("/login", "POST", {"x-login": "ok"}), 3),
            *many(Ask("/login", "POST", {"x-login": "bad"}), 2),
            Ask("/login", "POST", {"x-login": "ok"}),
        ],
        [200, 200, 200, 200, 200, 429],
    ),
    Scenario(
        "attempts to log in",
        Shop([Route("/login", method="POST", logs_in=True)]),
        [
            *many(Ask("/login", "POST", {"x-login": "attempt"}), 2),
            Ask("/login", "POST", {"x-login": "attempt", "x-status": "401"}),
            Ask("/login", "POST", {"x-login": "attempt"}),
            Ask("/login", "POST", {"x-login": "attempt", "x-name": "bob"}),
        ],
        [200, 200, 401, 429, 200],
    ),
    Scenario(
        "the banned",
        Shop([Route("/a", ["9/minute"])], {"bans": True}),
        [Ask("/a", peer=A), Ask("/a", peer=B), Ask("/none", peer=A), Ask("/a", headers={"origin": "https://x.example"}, peer=A)],
        [403, 200, 403, 403],
        [f"ip:{A}"],
    ),
    Scenario(
        "banned users, and sessions that pass a ban of their address",
        Shop([Route("/a", jwt={})], {**JWT, "bans": True}),
        [Ask("/a", bearer=("eve", "")), Ask("/a", bearer=("ann", ""), peer=A), Ask("/a", peer=A)],
        [403, 200, 403],
        ["user:eve", f"ip:{A}"],
    ),
    Scenario(
        "users the application says are banned",
        Shop([Route("/a"), Route("/b", ["9/minute"])], {"bans": True}, user="x-user"),
        [Ask(path, headers={"x-user": user}) for path in ("/a", "/b") for user in ("eve", "ann")],
        [403, 200, 403, 200],
        ["user:eve"],
    ),
    Scenario(
        "headers that rows keep",
        Shop([Route("/a", ["9/minute"])], {"audit_headers": ["X-Shop", "accept"]}),
        [Ask("/a", headers={"x-shop": "north", "accept": "text/html", "cookie": "secret=1"}), Ask("/a")],
        [200, 200],
    ),
    Scenario(
        "what rows leave out",
        Shop([Route("/a"), Route("/healthz")], {"audit_pii": "hash", "audit_redact": ["pin"], "secret_key": "0123456789abcdef"}),
        [Ask("/a?pin=1234&token=abc&q=1", peer=A), Ask("/healthz", headers={"x-request-id": "shop-1"})],
        [200, 200],
    ),
    Scenario(
        "an operator lets a client through",
        Shop([Route("/a", ["1/minute"])]),
        [
            *many(replace(SEARCH, path="/a", peer=A), 2),
            Act("reset_limits", [f"ip:{A}"], {"route": "GET /a"}, said=1),
            replace(SEARCH, path="/a", peer=A),
            Act("reset_limits", [(f"ip:{A}", "user:ann")], said=1),
            Act("reset", ["mails", "ann", "1/hour"], said=False),
        ],
        [200, 429, 200],
    ),
    Scenario(
        "an operator bans and lifts",
        Shop([Route("/a")], {"bans": True}),
        [
            Ask("/a", peer=A),
            Act("bans.lift", [f"ip:{A}"], said=False),
            Ask("/a", peer=B),
            Act("bans.lift", [f"ip:{B}"], said=True),
            Ask("/a", peer=B),
        ],
        [200, 403, 200],
        [f"ip:{B}"],
    ),
    Scenario(
        "sessions: refreshed, ended, used twice",
        Shop([Route("/me", jwt={})], {"jwt": replace(JWT["jwt"], refresh_grace_seconds=0)}, auth=True),
        [
            Ask("/auth/refresh", "POST", JSON, refreshes="ann"),
            Ask("/auth/refresh", "POST", JSON, refreshes="bob", used=2),
            Ask("/auth/refresh", "POST", JSON, b'{"refresh_token": "made up"}'),
            Ask("/auth/refresh", "POST", JSON, b"{no json"),
            Ask("/auth/logout", "POST", JSON, refreshes="eve"),
            Ask("/auth/logout-all", "POST", bearer=("ann", "")),
            Ask("/auth/logout-all", "POST"),
            Ask("/me", bearer=("ann", "")),
        ],
        [200, 400, 400, 400, 204, 204, 401, 200],
    ),
    Scenario(
        "a token while limits are off",
        Shop([Route("/me", ["1/minute"], jwt={})], {**JWT, "mode": "off"}),
        [*many(Ask("/me", bearer=("ann", "")), 2), Ask("/me")],
        [200, 200, 401],
    ),
]


async def compared(scenario: Scenario, options: dict[str, Any]) -> None:
    """Send the requests of a scenario to both frameworks, in step, and compare what they answer, record and measure."""
    columns = [recording(made, scenario.shop, options) for made in COLUMNS]
    try:
        for column in columns:
            column.listen()
            for subject in scenario.banned:
                await column.engine.bans.add(subject, seconds=600, reason="test")
        statuses = iter(scenario.statuses)
        for ask in scenario.asks:
            if isinstance(ask, Act):
                assert [await column.act(ask) for column in columns] == [ask.said] * len(columns)
            else:
                await answered_alike(columns, ask, next(statuses))
        assert counted(columns[0]) == counted(columns[1])
        events, others = [await column.told() for column in columns]
        for kind in KINDS:
            of_kind, other = [[event for event in listed if event["kind"] == kind] for listed in (events, others)]
            assert other == of_kind
        assert sum(event["kind"] == HTTP for event in events) == len(scenario.statuses)
        rows, other_rows = [await column.kept() for column in columns]
        assert other_rows == rows
        assert sum('"kind": "http"' in row for row in rows) == len(scenario.statuses)
        assert columns[1].measured() == columns[0].measured()
    finally:
        for column in columns:
            await column.close()


def recording(made: Callable[[Shop], Column], shop: Shop, options: dict[str, Any]) -> Column:
    """An application whose audit log goes into a list."""
    entries: list[AuditLogEntry] = []

    async def keep(rows: list[AuditLogEntry]) -> None:
        entries.extend(rows)

    column = made(replace(shop, options={"audit_sinks": [keep], "spool_dir": None, **options, **shop.options}))
    column.entries = entries
    return column


async def answered_alike(columns: Sequence[Column], ask: Ask, status: int) -> None:
    first, *others = [await column.send(ask) for column in columns]
    for column in columns:
        await column.settled()
    assert first.status == status, (columns[0].name, ask, first)
    for column, answer in zip(columns[1:], others, strict=True):
        assert answer.same(first), (column.name, ask, first, answer)


def counted(column: Column) -> list[Any]:
    return sorted(column.engine.link.meter.decisions())


@pytest.mark.parametrize("scenario", TABLE, ids=lambda s: s.name)
async def test_both_frameworks_say_the_same_in_memory(scenario: Scenario) -> None:
    await compared(scenario, {})


@pytest.mark.parametrize("scenario", TABLE, ids=lambda s: s.name)
async def test_both_frameworks_say_the_same_on_redis(scenario: Scenario, redis_server: str) -> None:
    await compared(scenario, {"redis_url": redis_server, "store_timeout": 2.0})


def test_the_table_names_each_scenario_once() -> None:
    assert len({s.name for s in TABLE}) == len(TABLE)
