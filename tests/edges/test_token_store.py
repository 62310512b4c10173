"""Sessions in a store of their own, and sessions that several applications share."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
import redis
from fastapi import Depends, FastAPI
from flask import Flask

from lockwatch import Claims, ConfigurationError, JWTAuth, JWTConfig, LockWatch, RateLimit, TokenError, by_user
from lockwatch.errors import RefreshRefused
from lockwatch.event import AUTH, Event
from lockwatch_flask import LockWatch as FlaskLockWatch
from tests import servers
from tests.edges.asgi import http

SECRET = "0123456789abcdef"
JWT = JWTConfig(jwt_secret="a secret of at least 32 characters", issuer="shop", audience="shop-api")


@pytest.fixture
def other() -> Iterator[servers.Proc]:
    """A Redis for sessions alone."""
    process = servers.start_redis("--maxmemory-policy", "noeviction")
    yield process
    process.stop()


def url(server: servers.Proc) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


def make(**options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    # Without a spool: what other tests revoked while their store was away would be said here again.
    lockwatch = LockWatch(app, **{"jwt": JWT, "secret_key": SECRET, "spool_dir": None, **options})

    @app.get("/me", dependencies=[Depends(RateLimit("3/minute", key=by_user))])
    async def me(claims: Annotated[Claims, Depends(JWTAuth())]) -> str:
        return claims.subject

    @app.get("/open", dependencies=[Depends(RateLimit("100/minute"))])
    async def opened() -> None: ...

    return app, lockwatch


@pytest.fixture
async def apart(redis_server: str, other: servers.Proc) -> AsyncIterator[tuple[FastAPI, LockWatch]]:
    app, lockwatch = make(redis_url=redis_server, token_redis_url=url(other))
    yield app, lockwatch
    await lockwatch.aclose()


def names(where: str) -> set[str]:
    """The kinds of keys a server holds."""
    with redis.Redis.from_url(where, decode_responses=True) as client:
        return {key.split(":")[2] for key in client.scan_iter()} - {"workers"}


async def test_sessions_and_buckets_are_kept_apart(
    apart: tuple[FastAPI, LockWatch], redis_server: str, other: servers.Proc
) -> None:
    app, lockwatch = apart
    pair = await lockwatch.tokens.issue_token_pair("alice")
    pair = await lockwatch.tokens.rotate(pair.refresh_token)
    bearer = {"authorization": f"Bearer {pair.access_token}"}
    assert [(await http(app, "GET", "/me", headers=bearer)).status for _ in range(4)] == [200, 200, 200, 429]
    assert names(redis_server) == {"sw"}
    assert names(url(other)) == {"sessions", "seal", "origin"}


async def test_a_revoked_token_never_touches_the_bucket_of_its_user(apart: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = apart
    stolen, own = [await lockwatch.tokens.issue_token_pair("alice") for _ in range(2)]
    await lockwatch.tokens.revoke_token(stolen.refresh_token)
    for _ in range(3):
        seen = await http(app, "GET", "/me", headers={"authorization": f"Bearer {stolen.access_token}"})
        assert seen.status == 401
    seen = await http(app, "GET", "/me", headers={"authorization": f"Bearer {own.access_token}"})
    assert (seen.status, seen.header("x-ratelimit-remaining")) == (200, "2")


async def test_when_the_store_of_sessions_is_down_tokens_are_not_believed_and_limits_go_on(
    apart: tuple[FastAPI, LockWatch], other: servers.Proc
) -> None:
    app, lockwatch = apart
    pair = await lockwatch.tokens.issue_token_pair("alice")
    assert lockwatch.health().status == "ok"
    other.stop()
    seen = await http(app, "GET", "/me", headers={"authorization": f"Bearer {pair.access_token}"})
    assert seen.status == 503
    seen = await http(app, "GET", "/open")
    assert (seen.status, seen.header("x-ratelimit-remaining")) == (200, "99")
    health = lockwatch.health()
    assert (health.status, health.store_ok) == ("degraded", True)
    assert [warning for warning in health.warnings if f"the store of sessions, 127.0.0.1:{other.port}" in warning]


async def test_when_only_the_buckets_are_down_tokens_are_still_asked_after(other: servers.Proc) -> None:
    app, lockwatch = make(redis_url=f"redis://127.0.0.1:{servers.free_port()}/0", token_redis_url=url(other))
    pair, ended = [await lockwatch.tokens.issue_token_pair("alice") for _ in range(2)]
    await lockwatch.tokens.revoke_token(ended.refresh_token)
    assert (await http(app, "GET", "/me", headers={"authorization": f"Bearer {pair.access_token}"})).status == 200
    assert (await http(app, "GET", "/me", headers={"authorization": f"Bearer {ended.access_token}"})).status == 401
    await lockwatch.aclose()


async def test_applications_share_sessions_by_name_and_nothing_else(redis_server: str) -> None:
    (_, shop), (_, admin), (_, stranger) = [
        make(redis_url=redis_server, namespace=name, token_namespace=shared)
        for name, shared in (("shop", "accounts"), ("admin", "accounts"), ("stranger", None))
    ]
    pair = await shop.tokens.issue_token_pair("alice")
    new = await admin.tokens.rotate(pair.refresh_token)
    assert (await shop.tokens.verify_access(new.access_token)).subject == "alice"
    with pytest.raises(RefreshRefused):
        await stranger.tokens.rotate(new.refresh_token)
    await admin.tokens.revoke_subject("alice")
    with pytest.raises(TokenError):
        await shop.tokens.verify_access(new.access_token)
    decisions = [await each.take("calls", "alice", "1/minute") for each in (shop, admin)]
    assert [decision.allowed for decision in decisions] == [True, True], "limits are their own"
    for each in (shop, admin, stranger):
        await each.aclose()


async def test_what_becomes_of_tokens_is_posted_to_whoever_listens() -> None:
    heard: list[Event] = []

    async def hear(events: list[Event]) -> None:
        heard.extend(events)

    app, lockwatch = make()
    lockwatch.engine.listen(hear)
    app.include_router(lockwatch.auth_router())
    pair = await lockwatch.tokens.issue_token_pair("alice", device={"agent": "phone"})
    sent = json.dumps({"refresh_token": pair.refresh_token}).encode()
    new = await http(app, "POST", "/auth/refresh", headers={"content-type": "application/json", "user-agent": "phone"}, body=sent)
    bearer = {"authorization": f"Bearer {new.json()['access_token']}"}
    assert (await http(app, "POST", "/auth/logout-all", headers=bearer)).status == 204
    await lockwatch.flush()
    assert await lockwatch.engine.flush()
    told = [event for event in heard if event.kind == AUTH]
    assert [(event.action, event.outcome, event.user) for event in told] == [
        ("token.issued", "success", "alice"),
        ("token.refreshed", "success", "alice"),
        ("token.revoked", "success", "alice"),
    ]
    assert told[0].session == told[1].session == told[2].details["ended"][0]
    assert [(event.ip, event.subject, event.user_agent) for event in told[1:]] == [
        ("192.0.2.1", "ip:192.0.2.1", "phone"),
        ("192.0.2.1", "ip:192.0.2.1", None),
    ]
    assert (told[0].ip, told[0].request_id) == (None, None), "no request asked for that"
    requests = [event for event in heard if event.kind == "http"]
    assert [event.request_id for event in told[1:]] == [event.request_id for event in requests]
    await lockwatch.aclose()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"token_redis_url": ""}, "token_redis_url is empty"),
        ({"token_redis_url": "ftp://localhost"}, "ftp"),
        ({"token_namespace": "a b"}, "token_namespace='a b'"),
        ({"trusted_origins": ["https://app.example.com/path"]}, "trusted_origins: 'https://app.example.com/path'"),
        ({"trusted_origins": ["*"]}, "trusted_origins: '\\*'"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make(**options)


def test_flask_asks_the_store_of_sessions_too(redis_server: str, other: servers.Proc) -> None:
    app = Flask("shop")
    told: dict[str, Any] = {"redis_url": redis_server, "token_redis_url": url(other), "spool_dir": None}
    lockwatch = FlaskLockWatch(app, jwt=JWT, secret_key=SECRET, **told)

    @app.get("/me")
    @lockwatch.jwt_required()
    @lockwatch.limit("3/minute", key=by_user)
    def me() -> str:
        return "you"

    stolen, own = [lockwatch.tokens.issue_token_pair_sync("alice") for _ in range(2)]
    lockwatch.tokens.revoke_token_sync(stolen.refresh_token)

    def status(token: str) -> int:
        return app.test_client().get("/me", headers={"authorization": f"Bearer {token}"}).status_code

    assert [status(stolen.access_token), *[status(own.access_token) for _ in range(4)]] == [401, 200, 200, 200, 429]
    assert names(redis_server) >= {"sw"}
    assert not names(redis_server) & {"sessions", "seal", "origin"}
    assert names(url(other)) == {"sessions", "origin"}
    other.stop()
    assert status(own.access_token) == 503
    lockwatch.close()


def test_in_flask_too_events_of_tokens_say_who_sent_the_request() -> None:
    heard: list[Event] = []

    async def hear(events: list[Event]) -> None:
        heard.extend(events)

    app = Flask("shop")
    lockwatch = FlaskLockWatch(app, jwt=JWT, secret_key=SECRET, spool_dir=None)
    lockwatch.engine.listen(hear)
    app.register_blueprint(lockwatch.auth_blueprint())
    pair = lockwatch.tokens.issue_token_pair_sync("alice")
    answer = app.test_client().post(
        "/auth/refresh", json={"refresh_token": pair.refresh_token}, environ_overrides={"REMOTE_ADDR": "192.0.2.7"}
    )
    assert answer.status_code == 200
    lockwatch.tokens.revoke_subject_sync("alice")
    assert lockwatch.engine.flush_sync()
    told = [(event.action, event.ip) for event in heard if event.kind == AUTH]
    assert told == [("token.issued", None), ("token.refreshed", "192.0.2.7"), ("token.revoked", None)]
    lockwatch.close()


@pytest.mark.parametrize(
    "secret", ["0123456789abcdef0123456789abcdef", ("0123456789abcdef0123456789abcdef", b"f" * 32)], ids=["one", "two"]
)
async def test_without_a_secret_key_names_are_hashed_with_a_key_of_the_secret_of_tokens(redis_server: str, secret: Any) -> None:
    left = []
    for options in ({"jwt": JWTConfig(jwt_secret=secret)}, {"jwt_secret": secret}):
        lockwatch = LockWatch(FastAPI(), redis_url=redis_server, **options)
        left.append((await lockwatch.take("letters", "ann", "9/day")).remaining)
        assert lockwatch.health().warnings == ()
        await lockwatch.aclose()
    assert left == [8, 7]
    with redis.Redis.from_url(redis_server) as client:
        assert not list(client.scan_iter("*:secret"))
