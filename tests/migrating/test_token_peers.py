"""Flask-JWT-Extended, AuthX and fastapi-users beside lockwatch: each row of what their pages say behaves differently."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Final

import pytest
from fastapi import Depends, FastAPI

from lockwatch import Claims, ConfigurationError, JWTAuth, JWTConfig, LockWatch
from tests.migrating.drive import Ask, Seen, run
from tests.test_docs import ROOT, blocks_of

SECRET: Final = "change-me-to-at-least-32-random-characters"
FOLDER: Final = ROOT / "docs" / "migrating"
JSON: Final = {"content-type": "application/json"}
JWT_EXTENDED: Final = f"""
from flask import Flask, jsonify, request
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token, get_jwt, get_jwt_identity, jwt_required

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = {SECRET!r}
jwt = JWTManager(app)

@app.post("/login")
def login():
    said = request.get_json(silent=True) or {{}}
    tokens = create_access_token("ada", additional_claims=said), create_refresh_token("ada")
    return jsonify(access_token=tokens[0], refresh_token=tokens[1])

@app.post("/refresh")
@jwt_required(refresh=True)
def refresh():
    return jsonify(access_token=create_access_token(get_jwt_identity()))

@app.get("/me")
@jwt_required()
def me():
    return jsonify(get_jwt())
"""
AUTHX: Final = f"""
from datetime import timedelta
from authx import AuthX, AuthXConfig, TokenPayload
from authx._internal._session import InMemorySessionStore
from fastapi import Depends, FastAPI

auth = AuthX(config=AuthXConfig(
    JWT_SECRET_KEY={SECRET!r}, JWT_TOKEN_LOCATION=["headers", "json"], JWT_DECODE_LEEWAY=600, JWT_SESSION_TRACKING=True
))
app = FastAPI()
auth.handle_errors(app)
auth.set_session_store(InMemorySessionStore())

@app.post("/login")
async def login():
    return {{"access_token": auth.create_access_token("ada"), "refresh_token": auth.create_refresh_token("ada"),
             "late": auth.create_access_token("ada", expiry=timedelta(seconds=-5))}}

@app.post("/refresh")
async def refresh(payload: TokenPayload = Depends(auth.refresh_token_required)):
    return {{"access_token": auth.create_access_token(payload.sub)}}

@app.get("/me")
async def me(payload: TokenPayload = Depends(auth.access_token_required)):
    return payload.sub

@app.post("/everywhere")
async def everywhere():
    await auth.create_session("ada")
    await auth.revoke_all_sessions("ada")
    return len(await auth.list_sessions("ada"))

@app.post("/session")
async def session():
    await auth.create_session("ada")
    return len(await auth.list_sessions("ada"))
"""
IMPLICIT: Final = f"""
from authx import AuthX, AuthXConfig, TokenPayload
from fastapi import Depends, FastAPI, Response

auth = AuthX(config=AuthXConfig(
    JWT_SECRET_KEY={SECRET!r}, JWT_TOKEN_LOCATION=["cookies"], JWT_COOKIE_CSRF_PROTECT=False,
    JWT_IMPLICIT_REFRESH_ROUTE_INCLUDE=["/me"], JWT_IMPLICIT_REFRESH_DELTATIME=3600,
))
app = FastAPI()
auth.handle_errors(app)
app.middleware("http")(auth.implicit_refresh_middleware)
revoked = set()

@auth.set_token_blocklist
def is_revoked(token, **_):
    return token in revoked

@app.post("/login")
async def login(response: Response):
    auth.set_access_cookies(auth.create_access_token("ada"), response)

@app.get("/me")
async def me(payload: TokenPayload = Depends(auth.access_token_required)):
    return payload.sub
"""
USERS: Final = """
import uuid
from dataclasses import dataclass, field
from fastapi import FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.authentication import RedisStrategy
from fastapi import Depends

@dataclass
class User:
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    email: str = "ada@example.com"
    hashed_password: str = ""
    is_active: bool = True
    is_superuser: bool = False
    is_verified: bool = True

ADA = User()
loaded = []

class Users:
    async def get(self, id):
        loaded.append(id)
        return ADA if id == ADA.id else None

class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    pass

async def manager():
    yield Manager(Users())

strategy = STRATEGY
backend = AuthenticationBackend("jwt", BearerTransport("auth/jwt/login"), lambda: strategy)
users = FastAPIUsers(manager, [backend])
app = FastAPI()
app.include_router(users.get_auth_router(backend), prefix="/auth/jwt")

@app.post("/login")
async def login() -> str:
    return await strategy.write_token(ADA)

@app.get("/me")
async def me(user=Depends(users.current_user())) -> str:
    return user.email

def observe():
    return [len(loaded)]
"""
AS_JWT: Final = USERS.replace("STRATEGY", f"JWTStrategy(secret={SECRET!r}, lifetime_seconds=3600)")


class Site:
    """An application that stays between requests."""

    def __init__(self, code: str) -> None:
        names: dict[str, Any] = {"__name__": "example"}
        exec(compile(code, "example", "exec", dont_inherit=True), names)
        self.names, self.app = names, names["app"]

    def ask(self, path: str, method: str = "GET", bearer: str | None = None, said: Any = None, scheme: str = "Bearer ") -> Seen:
        headers = {} if bearer is None else {"authorization": f"{scheme}{bearer}"}
        body = "" if said is None else json.dumps(said)
        return run(self.app, [Ask(path, method, headers | (JSON if body else {}), body)])[0]

    def login(self, said: Any = None) -> Any:
        return json.loads(self.ask("/login", "POST", said=said).body)


@pytest.fixture
def extended() -> Site:
    return Site(JWT_EXTENDED)


@pytest.fixture
def authx() -> Site:
    return Site(AUTHX)


@pytest.fixture
def users() -> Site:
    return Site(AS_JWT)


@pytest.fixture
def ours() -> Iterator[Site]:
    """The same with lockwatch; its `LockWatch` is among the names."""
    site = Site("from fastapi import FastAPI\napp = FastAPI()")
    app: FastAPI = site.app
    disabled: set[str] = set()
    lockwatch = LockWatch(
        app, jwt=JWTConfig(jwt_secret=SECRET), load_claims=lambda subject: None if subject in disabled else {}, spool_dir=None
    )
    app.include_router(lockwatch.auth_router())

    @app.post("/login")
    async def login() -> Any:
        pair = await lockwatch.tokens.issue_token_pair("ada")
        return {"access_token": pair.access_token, "refresh_token": pair.refresh_token}

    @app.get("/me")
    async def me(claims: Claims = Depends(JWTAuth())) -> Any:  # noqa: B008
        return dict(claims)

    site.names |= {"lockwatch": lockwatch, "disabled": disabled}
    yield site
    lockwatch.engine.close()


def refreshed(site: Site, token: str) -> Seen:
    return site.ask("/auth/refresh", "POST", said={"refresh_token": token})


def differences(page: str) -> list[str]:
    """The situations of the table."""
    text = (FOLDER / page).read_text("utf-8").partition("## What behaves differently")[2]
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]


# ------------------------------------------------------------ what holds for two of them
def test_a_refresh_token_used_twice(extended: Site, authx: Site, ours: Site) -> None:
    token = extended.login()["refresh_token"]
    assert [extended.ask("/refresh", "POST", token).status for _ in range(3)] == [200] * 3
    token = authx.login()["refresh_token"]
    assert [authx.ask("/refresh", "POST", token).status for _ in range(3)] == [200] * 3
    token = ours.login()["refresh_token"]
    first, again = [json.loads(refreshed(ours, token).body)["refresh_token"] for _ in range(2)]
    assert first == again != token


def test_a_bad_token(extended: Site, authx: Site, ours: Site) -> None:
    assert [site.ask("/me", bearer="a.b.c").status for site in (extended, authx)] == [422, 422]
    seen = ours.ask("/me", bearer="a.b.c")
    assert (seen.status, seen.headers["www-authenticate"].startswith("Bearer ")) == (401, True)


def test_a_scheme_in_lower_case(extended: Site, authx: Site, ours: Site) -> None:
    found = [site.ask("/me", bearer=site.login()["access_token"], scheme="bearer ").status for site in (extended, authx, ours)]
    assert found == [401, 422, 200]


# ------------------------------------------------------------ Flask-JWT-Extended
def test_custom_claims_that_are_registered_ones(extended: Site, ours: Site) -> None:
    token = extended.login({"sub": "eve", "exp": 9_999_999_999})["access_token"]
    read = json.loads(extended.ask("/me", bearer=token).body)
    assert (read["sub"], read["exp"]) == ("eve", 9_999_999_999)
    for claims in ({"sub": "eve"}, {"exp": 9_999_999_999}):
        with pytest.raises(ConfigurationError):
            ours.names["lockwatch"].tokens.issue_token_pair_sync("ada", claims)


def test_audience_and_issuer_that_nobody_configured(extended: Site, ours: Site) -> None:
    foreign = extended.login({"iss": "another", "aud": None})["access_token"]
    assert extended.ask("/me", bearer=foreign).status == 200
    mine = json.loads(ours.ask("/me", bearer=ours.login()["access_token"]).body)
    assert (mine["iss"], mine["aud"]) == ("lockwatch", "lockwatch-api")
    other = LockWatch(jwt=JWTConfig(jwt_secret=SECRET, issuer="another"), spool_dir=None).tokens.issue_token_pair_sync("ada")
    assert ours.ask("/me", bearer=other.access_token).status == 401


def test_a_user_who_may_not_log_in_any_more(extended: Site, ours: Site) -> None:
    assert extended.ask("/refresh", "POST", extended.login()["refresh_token"]).status == 200, "it asks nobody"
    pair = ours.login()
    ours.names["disabled"].add("ada")
    assert refreshed(ours, pair["refresh_token"]).status == 400
    assert ours.ask("/me", bearer=pair["access_token"]).status == 401


def test_keys_that_are_replaced(extended: Site, ours: Site) -> None:
    token = extended.login()["access_token"]
    extended.app.config["JWT_SECRET_KEY"] = "another-secret-of-at-least-32-characters"
    assert extended.ask("/me", bearer=token).status == 422
    pair = ours.names["lockwatch"].tokens.issue_token_pair_sync("ada")
    after = JWTConfig(jwt_secret=("another-secret-of-at-least-32-characters", SECRET))
    claims = LockWatch(jwt=after, spool_dir=None).tokens.read(pair.access_token)
    assert isinstance(claims, Claims)
    assert claims.subject == "ada"


def test_a_refresh_that_loses_its_answer(ours: Site) -> None:
    """Nothing happens there, because nothing was used up."""
    token = ours.login()["refresh_token"]
    refreshed(ours, token)
    again = json.loads(refreshed(ours, token).body)
    assert refreshed(ours, again["refresh_token"]).status == 200


# ------------------------------------------------------------ AuthX
@pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning")  # by AuthX
def test_a_revoked_cookie_with_implicit_refresh(ours: Site) -> None:
    site = Site(IMPLICIT)
    cookie = site.ask("/login", "POST").headers["set-cookie"].partition(";")[0]
    site.names["revoked"].add(cookie.partition("=")[2])
    seen = run(site.app, [Ask("/me", headers={"cookie": cookie})])[0]
    assert seen.status == 401
    renewed = seen.headers["set-cookie"].partition(";")[0]
    assert run(site.app, [Ask("/me", headers={"cookie": renewed})])[0].status == 200
    pair = ours.login()
    ours.names["lockwatch"].tokens.revoke_token_sync(pair["refresh_token"])
    assert [ours.ask("/me", bearer=pair["access_token"]).status, refreshed(ours, pair["refresh_token"]).status] == [401, 400]


def test_all_sessions_of_a_user_are_revoked(authx: Site, ours: Site) -> None:
    token = authx.login()["access_token"]
    assert authx.ask("/everywhere", "POST").body == "0"
    assert authx.ask("/me", bearer=token).status == 200
    token = ours.login()["access_token"]
    assert ours.ask("/auth/logout-all", "POST", token).status == 204
    assert ours.ask("/me", bearer=token).status == 401


def test_a_token_without_its_scheme(authx: Site, ours: Site) -> None:
    assert [site.ask("/me", bearer=site.login()["access_token"], scheme="").status for site in (authx, ours)] == [200, 401]


def test_leeway(authx: Site) -> None:
    assert authx.ask("/me", bearer=authx.login()["late"]).status != 200
    now = [1_800_000_000.0]
    from lockwatch import JWTRotationManager

    manager = JWTRotationManager(config=JWTConfig(jwt_secret=SECRET, leeway_seconds=300), clock=lambda: now[0])
    pair = manager.issue_token_pair_sync("ada")
    now[0] += 905
    assert manager.read(pair.access_token).subject == "ada"


def test_sessions_are_in_the_process_there(authx: Site) -> None:
    assert authx.ask("/session", "POST").body == "1"
    assert authx.ask("/session", "POST").body == "2"
    assert Site(AUTHX).ask("/session", "POST").body == "1", "another process knows of none of them"


# ------------------------------------------------------------ fastapi-users
def test_a_logout(users: Site, ours: Site) -> None:
    token = users.login()
    assert users.ask("/auth/jwt/logout", "POST", token).status == 204
    assert users.ask("/me", bearer=token).status == 200
    pair = ours.login()
    assert ours.ask("/auth/logout", "POST", said={"refresh_token": pair["refresh_token"]}).status == 204
    assert ours.ask("/me", bearer=pair["access_token"]).status == 401


def test_what_stands_in_redis(redis_server: str) -> None:
    import redis.asyncio

    strategy = f"RedisStrategy(redis.asyncio.Redis.from_url({redis_server!r}, decode_responses=True), 60)"
    site = Site("import redis.asyncio\n" + USERS.replace("STRATEGY", strategy))
    token = site.login()
    with redis.Redis.from_url(redis_server, decode_responses=True) as client:
        assert [token in key for key in client.scan_iter()] == [True]
        client.flushdb()
    lockwatch = LockWatch(redis_url=redis_server, jwt=JWTConfig(jwt_secret=SECRET), secret_key=SECRET, spool_dir=None)
    pair = lockwatch.tokens.issue_token_pair_sync("ada")
    with redis.Redis.from_url(redis_server) as client:
        dump = b"".join(key + (client.dump(key) or b"") for key in client.scan_iter())
    assert dump
    assert not [part for part in (*pair.access_token.split("."), pair.refresh_token) if part.encode() in dump]
    lockwatch.engine.close()


def test_every_request_loads_the_user_there(users: Site) -> None:
    token = users.login()
    for _ in range(3):
        assert users.ask("/me", bearer=token).status == 200
    assert users.names["observe"]() == [3]


def test_the_issuer_and_how_long_tokens_live(users: Site, ours: Site) -> None:
    from lockwatch.tokens.encoding import decode

    token = users.login()
    theirs = json.loads(decode(token.split(".")[1].encode()))
    assert "iss" not in theirs
    assert not [route for route in users.app.routes if "refresh" in getattr(route, "path", "")]
    mine = json.loads(ours.ask("/me", bearer=ours.login()["access_token"]).body)
    assert (mine["iss"], mine["exp"] - mine["iat"]) == ("lockwatch", 900)


# ------------------------------------------------------------ the pages
ROWS: Final = {
    "flask-jwt-extended.md": (
        "a refresh token is used twice",
        "a bad token",
        "`Authorization: bearer ...`",
        "custom claims with `sub` or `exp`",
        "no audience and no issuer configured",
        "a user who may not log in any more",
        "keys are replaced",
        "a refresh loses its answer",
    ),
    "authx.md": (
        "a refresh token is used twice",
        "a revoked cookie, with implicit refresh",
        "all sessions of a user are revoked",
        "a bad token",
        "`Authorization: bearer ...`",
        "a token without `Bearer` in front",
        "leeway is set to 600 seconds, the token is 5 s late",
        "sessions",
    ),
    "fastapi-users.md": (
        "a logout, with `JWTStrategy`",
        "what stands in Redis, with `RedisStrategy`",
        "a session is to last for weeks",
        "refresh tokens",
        "`iss`",
        "every request",
    ),
}


@pytest.mark.parametrize("page", ROWS)
def test_every_row_of_a_page_is_held_here(page: str) -> None:
    assert tuple(differences(page)) == ROWS[page]
    assert blocks_of(FOLDER / page)


@pytest.mark.parametrize(("page", "package"), [(page, page.removesuffix(".md")) for page in ROWS])
def test_a_page_names_the_release_that_was_run(page: str, package: str) -> None:
    assert f" {version(package)}." in (FOLDER / page).read_text("utf-8").partition("##")[0]
