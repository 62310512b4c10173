"""Policies at a real application's doors: keys in the body, tiers, limits on refusals and on failures, exemptions, tenants."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import Depends, FastAPI, Form, Header, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lockwatch import ConfigurationError, LockWatch, RateLimit, by_claim, by_form, by_json, by_user
from tests.edges.asgi import Exchange, http

JSON = {"content-type": "application/json"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(params=["memory", "redis"])
def options(request: pytest.FixtureRequest, redis_server: str) -> dict[str, Any]:
    return {} if request.param == "memory" else {"redis_url": redis_server, "store_timeout": 2.0}


# ------------------------------------------------------------- keys in the body
def accounts(*limits: RateLimit, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)

    @app.post("/login", dependencies=[Depends(limit) for limit in limits])
    async def login(request: Request) -> dict[str, Any]:
        return {"size": len(await request.body())}

    @app.post("/form", dependencies=[Depends(limit) for limit in limits])
    async def form(username: str = Form()) -> dict[str, str]:
        return {"user": username}

    return app, lockwatch


async def login(app: FastAPI, body: Any, peer: str = "192.0.2.1") -> Exchange:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await http(app, "POST", "/login", body=raw, headers=JSON, peer=peer)


async def test_an_account_is_guarded_whoever_asks_for_it(options: dict[str, Any]) -> None:
    app, lockwatch = accounts(RateLimit("2/minute", key=by_json("email")), **options)
    spelled = ["ann@example.com", "ANN@example.com ", "\uff41nn@example.com", "ann@example.com"]
    found = [(await login(app, {"email": email}, f"192.0.2.{n}")).status for n, email in enumerate(spelled)]
    assert found == [200, 200, 429, 429]
    assert (await login(app, {"email": "bob@example.com"})).status == 200
    await lockwatch.aclose()


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"null", b"{}", b'{"email": null}', b"[" * 5000, b"\xff\xfe\x00"])
async def test_a_body_that_names_nobody_counts_for_its_address(body: bytes) -> None:
    app, _ = accounts(RateLimit("1/minute", key=by_json("email")))
    assert [(await login(app, body)).status for _ in range(2)] == [200, 429]
    assert (await login(app, body, "192.0.2.9")).status == 200


async def test_padding_a_body_buys_no_other_bucket() -> None:
    app, _ = accounts(RateLimit("2/minute", key=by_json("email", max_bytes=100)))
    long = [{"email": f"user-{n}@example.com", "padding": "x" * 100} for n in range(3)]
    found = [await login(app, body, f"192.0.2.{n}") for n, body in enumerate(long)]
    assert [e.status for e in found] == [200, 200, 429]
    assert found[0].json() == {"size": len(json.dumps(long[0]))}


@pytest.mark.parametrize("announced", [True, False])
async def test_the_endpoint_gets_the_whole_body(announced: bool) -> None:
    app, _ = accounts(RateLimit("9/minute", key=by_json("email")))
    parts = [b'{"email": "ann', b'@example.com", "pad": "', b"x" * 200_000, b'"}']
    messages = [{"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts]
    size = sum(map(len, parts))
    headers = JSON | ({"content-length": str(size)} if announced else {})
    assert (await asked(app, messages, headers)).json() == {"size": size}


async def asked(app: ASGIApp, messages: list[dict[str, Any]], headers: dict[str, str]) -> Exchange:
    """A request whose body comes in parts."""
    waiting = list(messages)

    async def in_parts(scope: Scope, receive: Receive, send: Send) -> None:
        async def part() -> dict[str, Any]:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        await app(scope, part, send)  # type: ignore[arg-type]

    return await http(in_parts, "POST", "/login", headers=headers)


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_a_form_names_the_account(kind: str, options: dict[str, Any]) -> None:
    app, lockwatch = accounts(RateLimit("2/minute", key=by_form("username")), **options)

    async def send(name: str, peer: str) -> Exchange:
        if kind == "urlencoded":
            body, headers = urlencode({"username": name}).encode(), URLENCODED
        else:
            body = f'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\n{name}\r\n--b--\r\n'.encode()
            headers = {"content-type": "multipart/form-data; boundary=b"}
        return await http(app, "POST", "/form", body=body, headers=headers, peer=peer)

    found = [await send("ann", f"192.0.2.{n}") for n in range(3)]
    assert [e.status for e in found] == [200, 200, 429]
    assert found[0].json() == {"user": "ann"}
    assert (await send("bob", "192.0.2.1")).status == 200
    await lockwatch.aclose()


async def test_the_last_of_two_fields_counts_as_it_does_for_the_endpoint() -> None:
    app, _ = accounts(RateLimit("1/minute", key=by_form("username")))
    found = []
    for decoy in ("x", "y"):
        body = urlencode([("username", decoy), ("username", "ann")]).encode()
        found.append(await http(app, "POST", "/form", body=body, headers=URLENCODED))
    assert [e.status for e in found] == [200, 429]
    assert found[0].json() == {"user": "ann"}


async def test_a_refusal_with_the_body_gives_back_what_was_charged_before_it(options: dict[str, Any]) -> None:
    app, lockwatch = accounts(RateLimit("ip=5/minute"), RateLimit("account=1/minute", key=by_json("email")), **options)
    found = [await login(app, {"email": "ann@example.com"}) for _ in range(4)]
    assert [e.status for e in found] == [200, 429, 429, 429]
    assert found[-1].json()["violated-policies"] == ["account"]
    last = await login(app, {"email": "bob@example.com"})
    assert last.header("ratelimit") == '"ip";r=3;t=60, "account";r=0;t=60'
    await lockwatch.aclose()


async def test_a_refusal_before_the_body_leaves_it_unread() -> None:
    app, _ = accounts(RateLimit("ip=1/minute"), RateLimit("account=9/minute", key=by_json("email")))
    await login(app, {"email": "ann@example.com"})
    refused = await login(app, {"email": "ann@example.com"})
    assert (refused.status, refused.reads) == (429, 0)


async def test_a_key_may_be_a_dependency(options: dict[str, Any]) -> None:
    def account(x_account: str = Header()) -> str:
        return x_account

    app, lockwatch = accounts(
        RateLimit("ip=9/minute"), RateLimit("account=1/minute", key=Depends(account)), RateLimit("b=9/minute"), **options
    )
    found = [await http(app, "POST", "/login", headers={"x-account": name}) for name in ("ann", "ann", "bob")]
    assert [e.status for e in found] == [200, 429, 200]
    assert found[1].json()["violated-policies"] == ["account"]
    assert found[2].header("ratelimit") == '"ip";r=7;t=60, "b";r=7;t=60, "account";r=0;t=60'
    assert (await http(app, "POST", "/login")).status == 422
    await lockwatch.aclose()


async def test_a_body_key_works_without_lockwatch_installed_too() -> None:
    app = FastAPI()

    @app.post("/login", dependencies=[Depends(RateLimit("1/minute", key=by_json("email"), shared="alone"))])
    async def view(data: dict[str, str]) -> dict[str, str]:
        return data

    body = json.dumps({"email": "ann@example.com"}).encode()
    assert [(await http(app, "POST", "/login", body=body, headers=JSON)).status for _ in range(2)] == [200, 429]


# -------------------------------------------------------------- tiers and claims
class Claims:
    """A middleware of the application's that verified a token."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan = dict(scope["headers"]).get(b"x-plan")
        scope.setdefault("state", {})["claims"] = {"plan": plan.decode(), "sub": "ann"} if plan else None
        await self.app(scope, receive, send)


async def test_a_claim_chooses_the_tier(options: dict[str, Any]) -> None:
    app = FastAPI()
    app.add_middleware(Claims)
    lockwatch = LockWatch(app, **options)
    tiers = {"pro": "600/min; 100000/day", "staff": "unlimited", "*": "10/min"}

    @app.get("/a", dependencies=[Depends(RateLimit(tiers, tier="plan", key=by_claim("sub")))])
    async def view() -> None: ...

    async def header(**headers: str) -> str | None:
        return (await http(app, "GET", "/a", headers={k.replace("_", "-"): v for k, v in headers.items()})).header("ratelimit")

    assert await header(x_plan="pro") == '"600-per-minute";r=599;t=60, "100000-per-day";r=99999;t=86400'
    assert await header(x_plan="basic") == '"10-per-minute";r=8;t=60'  # the same minute as the other plan's
    assert await header() == '"10-per-minute";r=9;t=60'
    assert await header(x_plan="staff") is None
    await lockwatch.aclose()


# ------------------------------------------------- limits on refusals and failures
async def test_many_refusals_are_refused_themselves(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, meta_limits="3/hour", **options)

    @app.get("/a", dependencies=[Depends(RateLimit("1/minute"))])
    async def view() -> None: ...

    @app.get("/b")
    async def other() -> None: ...

    found = [await http(app, "GET", "/a") for _ in range(6)]
    assert [e.status for e in found] == [200] + [429] * 5
    assert ["meta" in e.json()["violated-policies"] for e in found[1:]] == [False] * 3 + [True] * 2
    assert (await http(app, "GET", "/b")).json()["violated-policies"] == ["meta"]
    assert (await http(app, "GET", "/b", peer="192.0.2.2")).status == 200
    await lockwatch.aclose()


@pytest.mark.parametrize("status", [401, 403])
async def test_failed_authentications_are_charged_to_the_address(status: int, options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, auth_failures="2/minute", exempt_paths=("/free",), **options)

    @app.get("/a")
    async def view(code: int) -> JSONResponse:
        return JSONResponse(None, code)

    @app.get("/free")
    async def free() -> JSONResponse:
        return JSONResponse(None, 401)

    async def ask(code: int, path: str = "/a", peer: str = "192.0.2.1") -> int:
        found = (await http(app, "GET", path, query_string=f"code={code}".encode(), peer=peer)).status
        await lockwatch.flush()
        return found

    assert [await ask(200), await ask(404), await ask(status, "/free"), await ask(status), await ask(200)] == [
        200,
        404,
        401,
        status,
        200,
    ]
    assert [await ask(status), await ask(200), await ask(status)] == [status, 429, 429]
    assert await ask(200, peer="192.0.2.2") == 200
    await lockwatch.aclose()


# ---------------------------------------------------------- exemptions and tenants
@pytest.mark.parametrize(
    ("networks", "peer", "limited"),
    [
        (("192.0.2.0/24",), "192.0.2.1", False),
        ("192.0.2.1", "192.0.2.1", False),
        ("10.0.0.0/8, 2001:db8::/32", "2001:db8::9", False),
        ("private", "10.1.2.3", False),
        (("192.0.2.0/24",), "198.51.100.1", True),
        (("192.0.2.0/24",), "testclient", True),
        ((), "192.0.2.1", True),
    ],
)
async def test_exempt_networks_are_limited_nowhere(networks: Any, peer: str, limited: bool) -> None:
    app = FastAPI()
    LockWatch(app, exempt_networks=networks, application_limits="1/minute")

    @app.get("/a", dependencies=[Depends(RateLimit("1/minute"))])
    async def view() -> None: ...

    assert [(await http(app, "GET", "/a", peer=peer)).status for _ in range(2)] == [200, 429 if limited else 200]
    assert (await http(app, "GET", "/none", peer=peer)).status == (429 if limited else 404)


def test_a_network_that_is_none_is_refused_when_it_is_set() -> None:
    with pytest.raises(ConfigurationError, match=r"exempt_networks: '10\.0\.0\.0/33' is not a network"):
        LockWatch(FastAPI(), exempt_networks=("10.0.0.0/33",))


async def test_tenants_have_buckets_of_their_own(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, tenant=lambda request: request.headers["x-tenant"], user=lambda request: "ann", **options)

    @app.get("/a", dependencies=[Depends(RateLimit("1/minute", key=by_user)), Depends(RateLimit("1/minute"))])
    async def view() -> None: ...

    found = [(await http(app, "GET", "/a", headers={"x-tenant": t})).status for t in ("one", "two", "one", "two")]
    assert found == [200, 200, 429, 429]
    await lockwatch.aclose()


async def test_an_async_function_cannot_say_who_the_tenant_is() -> None:
    async def tenant(request: Any) -> str:
        return "one"

    with pytest.raises(ConfigurationError, match="tenant is an async function"):
        LockWatch(FastAPI(), tenant=tenant)


# --------------------------------------------------------- what a route declares once
async def test_every_algorithm_limits_a_route(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)
    declared = {
        "window": RateLimit("3/hour"),
        "sorted": RateLimit("3/hour", algorithm="sorted-set"),
        "counter": RateLimit("3/hour", algorithm="sliding-counter"),
        "gcra": RateLimit("3/hour burst 3"),
        "fixed": RateLimit("3/hour", algorithm="fixed-window"),
    }
    for name, limit in declared.items():

        @app.get(f"/{name}", dependencies=[Depends(limit)])
        async def view() -> None: ...

    for name in declared:
        found = await asyncio.gather(*[http(app, "GET", f"/{name}") for _ in range(9)])
        assert sorted(e.status for e in found) == [200] * 3 + [429] * 6, name
        assert int(next(e for e in found if e.status == 429).header("retry-after") or 0) in range(1, 7201)
    await lockwatch.aclose()


async def test_a_limit_by_hand_fills_the_shared_bucket_of_limits_that_depend_on_the_request(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, user=lambda request: request.headers.get("x-user"), **options)

    def account(request: Request) -> str | None:
        return request.headers.get("x-user")

    async def dynamic(request: Request) -> str:
        return "10/day"

    tiered = RateLimit({"*": "10/day"}, tier=lambda request: "free", key=account, shared="spent")
    fixed = RateLimit("10/day", key=account, shared="spent")
    for path, limit in {"/tiered": tiered, "/dynamic": RateLimit(dynamic, key=account, shared="spent"), "/fixed": fixed}.items():

        @app.get(path, dependencies=[Depends(limit)])
        async def view() -> None: ...

    await lockwatch.take("spent", "ann", "10/day", cost=4)
    left = [
        (await http(app, "GET", path, headers={"x-user": "ann"})).header("x-ratelimit-remaining")
        for path in ("/tiered", "/dynamic", "/fixed")
    ]
    assert left == ["5", "4", "3"]
    assert (await lockwatch.peek("spent", "ann", "10/day")).remaining == 3
    await lockwatch.aclose()


async def test_two_limits_of_one_route_that_share_a_bucket_do_not_charge_it_twice(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)
    fixed, tiered = (
        RateLimit("10/day", shared="spent"),
        RateLimit({"*": "10/day"}, tier=lambda request: "free", shared="spent"),
    )

    @app.get("/", dependencies=[Depends(fixed), Depends(tiered)])
    async def view() -> None: ...

    assert (await http(app, "GET", "/")).header("ratelimit") == '"10-per-day";r=9;t=86400, "10-per-day-2";r=9;t=86400'
    await lockwatch.aclose()
