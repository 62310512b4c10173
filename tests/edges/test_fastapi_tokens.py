"""Tokens at a real application's doors: who is let in, what the others are told, and what it costs."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request

from lockwatch import Claims, JWTAuth, JWTConfig, LockWatch, RateLimit, by_user
from lockwatch.identity import Identity
from tests.edges.asgi import Exchange, http
from tests.tokens import forge, test_attacks
from tests.tokens.forge import NOW, claims, header, token

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


async def test_a_fresh_token_comes_from_a_login() -> None:
    clock = [NOW]
    app = FastAPI()
    lockwatch = clocked(clock)

    @app.get("/me", dependencies=[Depends(JWTAuth(fresh=True))])
    async def me() -> None: ...

    lockwatch.init_app(app)
    pair = await lockwatch.tokens.issue_token_pair("alice")
    assert (await get(app, bearer=pair.access_token)).status == 200
    clock[0] += 60
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
def rows(function: Any) -> Iterator[Any]:
    """The rows of a parametrized test of attacks."""
    yield from function.pytestmark[0].args[1]


def attacks() -> Iterator[tuple[str, str]]:
    """Every token of the attack table, with the algorithm of the application it is sent to."""
    key = forge.ring("RS256").current
    for make, _ in test_attacks.ALGORITHMS.values():
        yield "RS256", make(key)
    members = [{"jwk": test_attacks.OTHER_JWK}, {"jku": "https://a.example"}, {"x5u": "https://a.example"}, {"x5c": ["MIIB"]}]
    for added in (*members, *rows(test_attacks.test_a_header_that_asks_for_more_is_refused)):
        yield "RS256", token(key, header(key, **added))
    for kid in rows(test_attacks.test_a_kid_only_ever_looks_up):
        yield "RS256", token(key, header(key, kid=kid))
    for kind in (*rows(test_attacks.test_another_type_is_refused), ..., None, 1):
        yield "RS256", token(key, header(key, typ=kind))
    for sign in rows(test_attacks.test_psychic_and_misformed_ecdsa_signatures_are_wrong):
        yield "ES256", token(forge.ring("ES256").current, sign=sign)
    for length in (1, 16, 31, 33, 64):
        yield "HS256", token(forge.ring("HS256").current, sign=lambda _, length=length: bytes(length))
    for name, text in test_attacks.misformed(token(key)).items():
        if name != "leading space":  # in a header, that is only more space after the scheme
            yield "RS256", text
    for body in (
        *rows(test_attacks.test_claims_are_strict_json),
        *rows(test_attacks.test_nesting_is_bounded_in_the_header_and_in_the_claims),
    ):
        yield "RS256", token(key, body=body)
    for changes, _ in test_attacks.WRONG_CLAIMS:
        yield "RS256", token(key, body=claims(**changes))
    yield "RS256", token(key, body=claims(filler="x" * 2**20))
    yield "RS256", "a" * 2**20
    yield "RS256", token(key, body=claims(aud="lockwatch/refresh"))


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
    for algorithm, text in attacks():
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
