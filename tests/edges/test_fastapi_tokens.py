"""Tokens at a real application's doors: who is let in, what the others are told, and what it costs."""

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Security, WebSocket
from fastapi.responses import JSONResponse

from lockwatch import (
    Claims,
    ConfigurationError,
    Issuer,
    JWTAuth,
    JWTConfig,
    LockWatch,
    RateLimit,
    TokenError,
    by_claim,
    by_user,
)
from lockwatch.identity import Identity
from lockwatch.testing.attacks import attacks
from tests.edges.asgi import Exchange, http, websocket
from tests.tokens import forge
from tests.tokens.forge import NOW, claims, header, token
from tests.tokens.test_remote import http as reply
from tests.tokens.test_remote import serving
from tests.watch import watching

SECRET = "a secret of at least 32 characters"
JWT = JWTConfig(jwt_secret=SECRET)
STORES = ("memory", "redis")


@pytest.fixture(params=STORES)
def options(request: pytest.FixtureRequest, redis_server: str) -> dict[str, Any]:
    return {} if request.param == "memory" else {"redis_url": redis_server, "store_timeout": 2.0}


def shop(*dependencies: Any, auth: JWTAuth | None = None, **options: Any) -> tuple[FastAPI, LockWatch]:
    """An application with one route that requires a token."""
    app = FastAPI()
    lockwatch = LockWatch(app, **{"jwt": JWT, **options})

    @app.get("/me", dependencies=[Depends(d) for d in dependencies])
    async def me(claims: Annotated[Claims | None, Depends(auth or JWTAuth())]) -> Any:
        return {"user": claims and claims.subject}

    return app, lockwatch


async def get(app: Any, path: str = "/me", bearer: str | None = None, **extra: Any) -> Exchange:
    headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
    return await http(app, "GET", path, headers=headers | extra.pop("headers", {}), **extra)


async def access(lockwatch: LockWatch, subject: str = "alice", **said: Any) -> str:
    return (await lockwatch.tokens.issue_token_pair(subject, said)).access_token


def problem(seen: Exchange) -> dict[str, Any]:
    assert seen.header("content-type") == "application/problem+json"
    assert seen.header("cache-control") == "no-store"
    body: dict[str, Any] = seen.json()
    assert body["status"] == seen.status
    return body


# ------------------------------------------------------------- let in, or told why not
async def test_a_good_token_is_let_in_and_its_claims_reach_the_endpoint(options: dict[str, Any]) -> None:
    app, lockwatch = shop(**options)
    seen = await get(app, bearer=await access(lockwatch))
    assert (seen.status, seen.json()) == (200, {"user": "alice"})
    await lockwatch.aclose()


async def test_without_a_token_the_challenge_names_no_error() -> None:
    app, _ = shop()
    for headers in ({}, {"authorization": "Basic YTpi"}):
        seen = await get(app, headers=headers)
        assert seen.status == 401
        assert seen.header("www-authenticate") == 'Bearer realm="api"'
        assert problem(seen)["error"] == "missing_token"


async def test_a_bad_token_is_refused_also_where_none_is_needed() -> None:
    for auth in (JWTAuth(), JWTAuth(optional=True)):
        app, _ = shop(auth=auth)
        seen = await get(app, bearer="a.b.c")
        assert seen.status == 401
        assert 'error="invalid_token"' in (seen.header("www-authenticate") or "")
        assert problem(seen)["error"] == "invalid_token"
    assert (await get(app)).json() == {"user": None}


async def test_credentials_in_two_headers_are_400() -> None:
    app, lockwatch = shop()
    good = await access(lockwatch)
    twice = [(b"authorization", b"Bearer " + good.encode())] * 2
    seen = await get(app, headers={}, raw=None) if False else await _raw(app, twice)
    assert seen.status == 400
    assert problem(seen)["error"] == "invalid_request"


async def _raw(app: Any, headers: list[tuple[bytes, bytes]]) -> Exchange:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"headers": headers}, receive, send)

    return await http(inner, "GET", "/me")


async def test_a_scope_that_is_missing_is_403_and_named() -> None:
    app, lockwatch = shop(auth=JWTAuth(scopes=["read", "write"]))
    seen = await get(app, bearer=await access(lockwatch, scope="read"))
    assert seen.status == 403
    said = seen.header("www-authenticate") or ""
    assert 'error="insufficient_scope"' in said
    assert 'scope="read write"' in said
    assert problem(seen)["scope"] == "read write"
    assert (await get(app, bearer=await access(lockwatch, scope="write read more"))).status == 200


async def test_one_of_the_roles_is_needed() -> None:
    app, lockwatch = shop(auth=JWTAuth(roles=["admin", "owner"]))
    assert (await get(app, bearer=await access(lockwatch, roles=["guest"]))).status == 403
    assert (await get(app, bearer=await access(lockwatch, roles=["owner"]))).status == 200


async def test_an_old_login_is_told_to_log_in_again() -> None:
    clock = [NOW]
    app = FastAPI()
    lockwatch = clocked(clock)

    @app.get("/me", dependencies=[Depends(JWTAuth(max_age="5m"))])
    async def me() -> None: ...

    lockwatch.init_app(app)
    pair = await lockwatch.tokens.issue_token_pair("alice")
    assert (await get(app, bearer=pair.access_token)).status == 200
    clock[0] += 400
    seen = await get(app, bearer=(await lockwatch.tokens.rotate(pair.refresh_token)).access_token)
    assert seen.status == 401
    said = seen.header("www-authenticate") or ""
    assert 'error="insufficient_user_authentication"' in said
    assert 'max_age="300"' in said


@pytest.mark.parametrize("later", [60, 0, -1], ids=["later", "in the second of the login", "by a clock that is behind"])
async def test_a_fresh_token_comes_from_a_login(later: int) -> None:
    clock = [NOW]
    app = FastAPI()
    lockwatch = clocked(clock)

    @app.get("/me", dependencies=[Depends(JWTAuth(fresh=True))])
    async def me() -> None: ...

    lockwatch.init_app(app)
    pair = await lockwatch.tokens.issue_token_pair("alice")
    assert (await get(app, bearer=pair.access_token)).status == 200
    clock[0] += later
    assert (await get(app, bearer=(await lockwatch.tokens.rotate(pair.refresh_token)).access_token)).status == 401


def clocked(clock: list[int], config: JWTConfig = JWT) -> LockWatch:
    """A LockWatch whose tokens live by a clock of the test."""
    lockwatch = LockWatch(jwt=config)
    lockwatch.engine.identity = Identity(lockwatch.config, lockwatch.engine.link, lambda: clock[0])
    return lockwatch


async def test_another_audience_can_be_asked_for() -> None:
    app, lockwatch = shop(auth=JWTAuth(audience="other"))
    assert (await get(app, bearer=await access(lockwatch))).status == 401
    app, lockwatch = shop(auth=JWTAuth(audience=["other", "lockwatch-api"], issuer="lockwatch"))
    assert (await get(app, bearer=await access(lockwatch))).status == 200
    app, lockwatch = shop(auth=JWTAuth(issuer="https://login.example"))
    assert (await get(app, bearer=await access(lockwatch))).status == 401


# ------------------------------------------------------------------ hostile tokens
def hostile() -> Iterator[tuple[str, str]]:
    """Every token of the attack table, with the algorithm of the application it is sent to."""
    for algorithm in forge.ALGORITHMS:
        for attack in attacks(forge.forge_of(algorithm)):
            if attack.token.strip(" \t") == attack.token:  # in a header, that is only more space after the scheme
                yield algorithm, attack.token


async def test_no_hostile_token_gets_in_and_none_is_an_error_of_the_server() -> None:
    apps = {}
    for algorithm in ("RS256", "ES256", "HS256"):
        config = (
            JWTConfig(jwt_secret=forge.SECRET) if algorithm == "HS256" else JWTConfig(rsa_private_key_pem=forge.pem("a", algorithm))
        )
        lockwatch, app = clocked([NOW], config), FastAPI()

        @app.get("/me")
        async def me(claims: Annotated[Claims, Depends(JWTAuth())]) -> str:
            return claims.subject

        @app.get("/limited", dependencies=[Depends(RateLimit("100000/minute", key=by_user))])
        async def limited(request: Request) -> Any:
            return request.state.lockwatch.user

        lockwatch.init_app(app)
        apps[algorithm] = app
        assert (await get(app, bearer=token(forge.ring(algorithm).current))).json() == "user:42"
    tried = 0
    for algorithm, text in hostile():
        sent = text.encode("utf-8", "surrogatepass").decode("latin-1")
        seen = await get(apps[algorithm], bearer=sent)
        assert seen.status in (400, 401), text[:200]
        problem(seen)
        assert (await get(apps[algorithm], "/limited", bearer=sent)).json() is None, text[:200]
        tried += 1
    assert tried > 200
    for algorithm, app in apps.items():
        assert (await get(app, bearer=token(forge.ring(algorithm).current))).status == 200


async def test_a_refresh_token_is_no_access_token() -> None:
    for form in ("opaque", "jwt"):
        app, lockwatch = shop(jwt=JWTConfig(jwt_secret=SECRET, refresh_format=form))
        pair = await lockwatch.tokens.issue_token_pair("alice")
        assert (await get(app, bearer=pair.refresh_token)).status == 401


async def test_a_route_may_ask_for_a_refresh_token_instead() -> None:
    for form in ("opaque", "jwt"):
        app, lockwatch = shop(jwt=JWTConfig(jwt_secret=SECRET, refresh_format=form), auth=JWTAuth(refresh=True))
        pair = await lockwatch.tokens.issue_token_pair("alice")
        session = (await lockwatch.tokens.verify_access(pair.access_token)).family
        for _ in range(2):
            assert (await get(app, bearer=pair.refresh_token)).json() == {"user": session}
        for bad in (pair.access_token, pair.refresh_token[:-1], "a.b.c"):
            assert (await get(app, bearer=bad)).status == 401
        await lockwatch.tokens.revoke_subject("alice")
        assert (await get(app, bearer=pair.refresh_token)).status == 401


# ------------------------------------------------------------ revocation and limits
async def test_a_revoked_token_is_refused_at_once(options: dict[str, Any]) -> None:
    app, lockwatch = shop(**options)
    for revoke in ("subject", "family", "token", "jti"):
        pair = await lockwatch.tokens.issue_token_pair("alice")
        claims = await lockwatch.tokens.verify_access(pair.access_token)
        assert (await get(app, bearer=pair.access_token)).status == 200
        if revoke == "subject":
            await lockwatch.tokens.revoke_subject("alice")
        elif revoke == "family":
            await lockwatch.tokens.revoke_family(claims.family or "")
        elif revoke == "token":
            await lockwatch.tokens.revoke_token(pair.refresh_token)
        else:
            await lockwatch.tokens.blacklist(claims.jti or "")
        seen = await get(app, bearer=pair.access_token)
        assert seen.status == 401
        assert problem(seen)["error"] == "invalid_token"
    await lockwatch.aclose()


async def test_revocation_and_every_limit_are_one_script(redis_server: str) -> None:
    limits = [RateLimit("1000/minute", key=by_user), RateLimit("100/second burst 100"), RateLimit("50/hour", key=by_claim("plan"))]
    for dependencies in ([], limits[:1], limits):
        app, lockwatch = shop(*dependencies, redis_url=redis_server, store_timeout=2.0, secret_key="0123456789abcdef")
        bearer = await access(lockwatch, plan="pro")
        await get(app, bearer=bearer)
        with watching(redis_server) as watch:
            assert (await get(app, bearer=bearer)).status == 200
            heard = watch.heard()
        await lockwatch.aclose()
        asked = [one.scripts for one in heard if one.words[0] == "EVALSHA" and {"enter", "standing"} & set(one.scripts)]
        assert asked == [["enter" if dependencies else "standing"]]
        assert {"EVAL", "GET", "EXISTS"}.isdisjoint(one.words[0] for one in heard)


async def test_users_have_buckets_of_their_own_and_a_revoked_token_cannot_fill_one(options: dict[str, Any]) -> None:
    app, lockwatch = shop(RateLimit("3/minute", key=by_user), **options)
    stolen, own = await access(lockwatch), await lockwatch.tokens.issue_token_pair("alice")
    assert (await get(app, bearer=own.access_token)).header("x-ratelimit-remaining") == "2"
    await lockwatch.tokens.blacklist_access_token(stolen)
    for _ in range(3):
        assert (await get(app, bearer=stolen, peer="198.51.100.9")).status == 401
    assert (await get(app, bearer=stolen, peer="198.51.100.9")).status == 429
    assert (await get(app, bearer=own.access_token)).header("x-ratelimit-remaining") == "1"
    assert (await get(app, bearer=await access(lockwatch, "bob"))).header("x-ratelimit-remaining") == "2"
    await lockwatch.aclose()


async def test_bad_and_missing_tokens_are_charged_to_the_address(options: dict[str, Any]) -> None:
    app, lockwatch = shop(RateLimit("4/minute", key=by_user), **options)
    statuses = [(await get(app, bearer=bearer)).status for bearer in ("a.b.c", None, "x", None, "a.b.c", None)]
    assert statuses == [401, 401, 401, 401, 429, 429]
    assert (await get(app, bearer=await access(lockwatch))).status == 200
    await lockwatch.aclose()


async def test_auth_failures_count_bad_tokens() -> None:
    app, lockwatch = shop(auth_failures="2/minute")
    assert [(await get(app, bearer="x")).status for _ in range(2)] == [401, 401]
    await lockwatch.flush()
    assert (await get(app, bearer="x")).status == 429


async def test_a_limit_that_refuses_charges_nothing_else_of_a_route_with_a_token(options: dict[str, Any]) -> None:
    app, lockwatch = shop(RateLimit("1/minute", key=by_user), RateLimit("100/minute", name="wide"), **options)
    bearer = await access(lockwatch)
    statuses = [(await get(app, bearer=bearer)).status for _ in range(5)]
    assert statuses == [200, 429, 429, 429, 429]
    seen = await get(app, bearer=await access(lockwatch, "bob"))
    assert '"wide";r=98' in (seen.header("ratelimit") or "")
    await lockwatch.aclose()


async def test_by_user_and_by_claim_know_any_bearer_token_that_verifies() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    @app.get("/user", dependencies=[Depends(RateLimit("2/minute", key=by_user))])
    async def user(request: Request) -> Any:
        visit = request.state.lockwatch
        return {"user": visit.user, "claims": visit.claims and visit.claims["plan"]}

    @app.get("/plan", dependencies=[Depends(RateLimit("1/minute", key=by_claim("plan")))])
    async def plan() -> None: ...

    @app.get("/tier", dependencies=[Depends(RateLimit({"pro": "5/minute", "*": "1/minute"}, tier="plan"))])
    async def tier() -> None: ...

    alice, bob = await access(lockwatch, "alice", plan="pro"), await access(lockwatch, "bob", plan="pro")
    assert (await get(app, "/user", alice)).json() == {"user": "alice", "claims": "pro"}
    assert (await get(app, "/user")).json() == {"user": None, "claims": None}
    assert (await get(app, "/user", "not.a.token")).header("x-ratelimit-remaining") == "0"
    assert (await get(app, "/user", bob)).header("x-ratelimit-remaining") == "1"
    assert [(await get(app, "/plan", bearer)).status for bearer in (alice, bob)] == [200, 429]
    assert (await get(app, "/tier", alice)).header("x-ratelimit-limit") == "5"
    assert (await get(app, "/tier")).header("x-ratelimit-limit") == "1"


async def test_a_refused_request_reads_no_body_and_runs_no_dependency() -> None:
    app, ran = FastAPI(), []
    LockWatch(app, jwt=JWT)

    async def own() -> None:
        ran.append(1)

    @app.post("/orders", dependencies=[Depends(own), Depends(JWTAuth())])
    async def order(body: dict[str, Any]) -> None: ...

    seen = await http(app, "POST", "/orders", body=b"{}")
    assert (seen.status, seen.reads, ran) == (401, 0, [])


# ----------------------------------------------------------------------- outages
DOWN = {"redis_url": "redis://127.0.0.1:1/0", "secret_key": "0123456789abcdef"}


async def test_while_the_store_is_down_nobody_is_believed_unless_the_route_says_so() -> None:
    signer = LockWatch(jwt=JWT)
    bearer = await access(signer)
    app, lockwatch = shop(RateLimit("2/minute", on_store_error="local"), **DOWN)
    for _ in range(6):  # also with an open breaker
        seen = await get(app, bearer=bearer)
        assert seen.status == 503
        assert seen.header("retry-after") == "1"
        assert seen.header("www-authenticate") is None
        assert problem(seen)["error"] == "revocation_unknown"
    await lockwatch.aclose()
    app, lockwatch = shop(RateLimit("2/minute", on_store_error="local"), auth=JWTAuth(on_store_error="allow"), **DOWN)
    assert [(await get(app, bearer=bearer)).status for _ in range(4)] == [200, 200, 429, 429]
    assert (await get(app, bearer="a.b.c", peer="198.51.100.1")).status == 401
    await lockwatch.aclose()
    app, lockwatch = shop(auth=JWTAuth(on_store_error="allow"), on_redis_failure="deny", **DOWN)
    assert (await get(app, bearer=bearer)).status == 200
    await lockwatch.aclose()


async def test_on_redis_failure_does_not_change_what_a_token_is_worth() -> None:
    bearer = await access(LockWatch(jwt=JWT))
    app, lockwatch = shop(on_redis_failure="allow", **DOWN)
    assert (await get(app, bearer=bearer)).status == 503
    await lockwatch.aclose()


# --------------------------------------------------------- where it may be declared
async def test_it_works_on_routers_applications_sub_dependencies_and_mounts() -> None:
    def current(claims: Annotated[Claims, Depends(JWTAuth(scopes=["a"]))]) -> str:
        return claims.subject

    inner = FastAPI(dependencies=[Depends(JWTAuth())])
    inner.add_api_route("/deep", lambda: None)
    router = APIRouter(prefix="/router", dependencies=[Depends(JWTAuth(scopes=["a"]))])
    router.add_api_route("/deep", lambda: None)
    outer = APIRouter(prefix="/outer")
    outer.include_router(router)
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)
    app.include_router(outer)
    app.mount("/inner", inner)

    @app.get("/sub")
    async def sub(user: Annotated[str, Depends(current)]) -> str:
        return user

    able, unable = await access(lockwatch, scope="a"), await access(lockwatch)
    for path in ("/outer/router/deep", "/inner/deep", "/sub"):
        assert (await get(app, path)).status == 401
        assert (await get(app, path, "x")).status == 401
        assert (await get(app, path, able)).status == 200
        assert (await get(app, path, unable)).status == (200 if path == "/inner/deep" else 403)
    await lockwatch.tokens.revoke_subject("alice")
    for path in ("/outer/router/deep", "/inner/deep", "/sub"):
        assert (await get(app, path, able)).status == 401


async def test_security_adds_its_scopes_there_and_above() -> None:
    auth = JWTAuth(scopes=["a"])
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    def current(claims: Annotated[Claims, Depends(auth)]) -> Claims:
        return claims

    @app.post("/near")
    async def near(claims: Annotated[Claims, Security(auth, scopes=["b"])], body: dict[str, Any]) -> None: ...

    @app.post("/above")
    async def above(claims: Annotated[Claims, Security(current, scopes=["b"])], body: dict[str, Any]) -> None: ...

    @app.post("/plain")
    async def plain(claims: Annotated[Claims, Depends(auth)], body: dict[str, Any]) -> None: ...

    for scope, expected in (("a b", 200), ("a", 403), ("b", 403)):
        headers = {"authorization": f"Bearer {await access(lockwatch, scope=scope)}", "content-type": "application/json"}
        for path in ("/near", "/above"):
            seen = await http(app, "POST", path, headers=headers, body=b"{}")
            assert (seen.status, seen.reads > 0) == (expected, expected == 200)
        seen = await http(app, "POST", "/plain", headers=headers, body=b"{}")
        assert seen.status == (200 if "a" in scope else 403)


async def test_two_requirements_of_one_route_are_both_checked() -> None:
    app, lockwatch = shop(JWTAuth(roles=["admin"]), auth=JWTAuth(scopes=["a"]))
    assert (await get(app, bearer=await access(lockwatch, scope="a"))).status == 403
    assert (await get(app, bearer=await access(lockwatch, roles=["admin"]))).status == 403
    assert (await get(app, bearer=await access(lockwatch, roles=["admin"], scope="a"))).status == 200


async def test_an_override_takes_its_place() -> None:
    auth, other = JWTAuth(scopes=["a"]), JWTAuth(optional=True)
    app, lockwatch = shop(auth=auth)
    app.dependency_overrides[auth] = lambda: Claims({"sub": "somebody", "exp": 0})
    assert (await get(app)).json() == {"user": "somebody"}
    assert (await get(app, bearer="a.b.c")).status == 200
    app.dependency_overrides[auth] = other
    assert (await get(app)).json() == {"user": None}
    assert (await get(app, bearer="a.b.c")).status == 401
    app.dependency_overrides.clear()
    assert (await get(app)).status == 401
    assert (await get(app, bearer=await access(lockwatch, scope="a"))).status == 200


async def test_modes_and_exemptions_speak_of_limits_never_of_tokens() -> None:
    for mode in ("off", "observe"):
        app, lockwatch = shop(RateLimit("1/minute"), mode=mode)
        bearer = await access(lockwatch)
        for _ in range(2):
            assert [(await get(app, bearer=b)).status for b in (None, "a.b.c", bearer)] == [401, 401, 200]
        await lockwatch.tokens.revoke_subject("alice")
        assert (await get(app, bearer=bearer)).status == 401
    app, lockwatch = shop(RateLimit("1/minute"), exempt_networks="192.0.2.0/24", exempt_paths="/me")
    bearer = await access(lockwatch)
    for _ in range(2):
        assert [(await get(app, bearer=b)).status for b in (None, "a.b.c", bearer)] == [401, 401, 200]
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWT)

    @app.get("/me", dependencies=[Depends(JWTAuth())])
    @lockwatch.exempt
    async def me() -> None: ...

    assert [(await get(app, bearer=b)).status for b in (None, "a.b.c", await access(lockwatch))] == [401, 401, 200]


async def test_a_route_added_late_is_checked_too() -> None:
    app, lockwatch = shop()
    await get(app)
    app.add_api_route("/late", lambda: None, dependencies=[Depends(JWTAuth(scopes=["a"]))])
    assert (await get(app, "/late")).status == 401
    assert (await get(app, "/late", await access(lockwatch))).status == 403
    assert (await get(app, "/late", await access(lockwatch, scope="a"))).status == 200


async def test_without_anybody_to_believe_it_says_what_to_set() -> None:
    for install in (True, False):
        app = FastAPI()
        if install:
            LockWatch(app)
        app.add_api_route("/me", lambda: None, dependencies=[Depends(JWTAuth())])
        with pytest.raises(ConfigurationError, match="jwt=JWTConfig"):
            await get(app, bearer="a.b.c")


def test_options_that_cannot_work_say_what_would() -> None:
    for options, said in (
        ({"locations": ("query",)}, "locations"),
        ({"locations": ()}, "locations"),
        ({"on_store_error": "local"}, "on_store_error"),
        ({"audience": []}, "audience"),
        ({"issuer": [1]}, "issuer"),
        ({"max_age": "soon"}, "max_age"),
        ({"scopes": [1]}, "scopes"),
        ({"refresh": True, "scopes": ["a"]}, "refresh"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            JWTAuth(**options)
    for options, said in (
        ({"jwt": "secret"}, "JWTConfig"),
        ({"access_token_ttl": 60}, "nothing signs tokens"),
        ({"jwt": JWT, "jwt_secret": SECRET}, "twice"),
        ({"issuers": ["https://a.example"]}, "Issuer"),
        ({"issuers": [Issuer("https://a.example", audience="x")] * 2}, "twice"),
        ({"jwt_secret": "short"}, "32 bytes"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            LockWatch(**options)
    with pytest.raises(ConfigurationError, match="set jwt"):
        _ = LockWatch().tokens


def test_the_flat_options_are_those_of_the_settings() -> None:
    lockwatch = LockWatch(jwt_secret=SECRET, access_token_ttl=60)
    assert lockwatch.tokens.config.access_token_ttl_seconds == 60
    assert SECRET not in repr(lockwatch.config)
    assert LockWatch(jwt=JWTConfig(jwt_secret=SECRET, issuer="shop"), access_token_ttl=60).tokens.config.issuer == "shop"


async def test_a_websocket_needs_its_token_at_the_handshake() -> None:
    app = FastAPI()
    LockWatch(app, jwt=JWT)

    @app.websocket("/ws")
    async def talk(socket: WebSocket, claims: Annotated[Claims, Depends(JWTAuth())]) -> None:
        await socket.accept()

    assert (await websocket(app, "/ws")).closed == 1008
    seen = await websocket(app, "/ws", extensions={"websocket.http.response": {}})
    assert (seen.status, seen.header("www-authenticate")) == (401, 'Bearer realm="api"')


def test_openapi_shows_the_scheme_the_scopes_and_the_refusals() -> None:
    app, _ = shop(RateLimit("5/minute"), auth=JWTAuth(scopes=["profile"]))
    app.add_api_route("/open", lambda: None)
    app.add_api_route("/maybe", lambda: None, dependencies=[Depends(JWTAuth(optional=True))])
    schema = app.openapi()
    operation = schema["paths"]["/me"]["get"]
    assert schema["components"]["securitySchemes"] == {"JWTAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    assert operation["security"] == [{"JWTAuth": ["profile"]}]
    assert {"401", "403", "429", "503"} <= operation["responses"].keys()
    assert "security" not in schema["paths"]["/open"]["get"]
    assert "401" not in schema["paths"]["/open"]["get"]["responses"]
    assert schema["paths"]["/maybe"]["get"]["security"] == [{"JWTAuth": []}, {}]


async def test_an_own_handler_for_token_errors_answers() -> None:
    app, _ = shop()

    @app.exception_handler(TokenError)
    async def own(request: Request, error: TokenError) -> JSONResponse:
        return JSONResponse({"mine": error.code}, 401)

    assert (await get(app, bearer="a.b.c")).json() == {"mine": "malformed"}


# -------------------------------------------------------------- third parties
async def test_third_parties_are_believed_with_keys_fetched_before_the_first_request() -> None:
    keys = json.dumps({"keys": [{"use": "sig", "kid": forge.ring().current.kid, **(forge.ring().current.jwk or {})}]}).encode()
    async with serving(lambda *_: reply("200 OK", keys)) as (url, requests):
        issuer = Issuer(url, audience="shop", jwks_url=f"{url}/keys")
        app, lockwatch = shop(RateLimit("100/minute", key=by_user), jwt=None, issuers=[issuer])
        now = int(time.time())
        said = claims(iss=url, aud="shop", exp=now + 60, iat=now, scope="a")
        good = token(forge.ring().current, body=said)
        async with app.router.lifespan_context(app):
            asked = len(requests)
            assert asked >= 1
            assert (await get(app, bearer=good)).json() == {"user": "user:42"}
            for bad in (
                token(forge.ring().current, body=said | {"aud": "x"}),
                token(forge.ring().current, header(forge.ring().current, kid="no")),
            ):
                assert (await get(app, bearer=bad)).status == 401
            assert len(requests) == asked
        with pytest.raises(ConfigurationError):
            _ = lockwatch.tokens


async def test_two_issuers_do_not_share_the_bucket_of_a_user() -> None:
    keys = json.dumps({"keys": [{"use": "sig", "kid": forge.ring().current.kid, **(forge.ring().current.jwk or {})}]}).encode()
    async with serving(lambda *_: reply("200 OK", keys)) as (url, _):
        app, lockwatch = shop(RateLimit("2/minute", key=by_user), issuers=[Issuer(url, audience="shop", jwks_url=f"{url}/keys")])
        now = int(time.time())
        theirs = token(forge.ring().current, body=claims(iss=url, aud="shop", exp=now + 60, iat=now, scope="a", jti="theirs"))
        async with app.router.lifespan_context(app):
            for bearer in (await access(lockwatch, "user:42"), theirs):
                assert (await get(app, bearer=bearer)).header("x-ratelimit-remaining") == "1"
            await lockwatch.tokens.blacklist("theirs")
            assert (await get(app, bearer=theirs)).status == 401


async def test_issuers_that_cannot_be_reached_are_told_and_stop_nothing() -> None:
    app, lockwatch = shop(issuers=[Issuer("http://127.0.0.1:1", audience="shop", jwks_url="http://127.0.0.1:1/keys")])
    now = int(time.time())
    theirs = token(forge.ring().current, body=claims(iss="http://127.0.0.1:1", aud="shop", exp=now + 60, iat=now, scope="a"))
    async with app.router.lifespan_context(app):
        seen = await get(app, bearer=theirs)
        assert (seen.status, seen.header("retry-after"), problem(seen)["error"]) == (503, "1", "keys_unavailable")
        assert "cannot be fetched" in " ".join(lockwatch.health().warnings)
        assert lockwatch.health().status == "degraded"
        assert (await get(app, bearer=await access(lockwatch))).status == 200
