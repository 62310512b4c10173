"""Log-ins: who says what became of them, what is counted, and who is challenged while under attack."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from lockwatch import AnomalyConfig, LockWatch, RateLimit
from lockwatch.anomaly.campaign import EVERYONE
from lockwatch.anomaly.challenge import Challenge, acquaint, known_key
from lockwatch.anomaly.packing import word_of
from lockwatch.event import Event
from tests.edges.asgi import Exchange, http

PASSWORDS = {"alice": "right", "bob": "right"}
HOME, ELSEWHERE = "203.0.113.7", "198.51.100.9"
KINDS = ("memory", "redis")


def make(style: str = "told", **options: Any) -> tuple[FastAPI, LockWatch, list[Event]]:
    app = FastAPI()
    lockwatch = LockWatch(app, **{"anomaly": AnomalyConfig(respond="challenge"), "secret_key": "0123456789abcdef"} | options)
    events: list[Event] = []
    lockwatch.engine.logins.report = events.append

    @app.post("/login", dependencies=[Depends(RateLimit("2/minute", count="failures"))])
    async def login(request: Request, name: str, password: str) -> Any:
        good = PASSWORDS.get(name) == password
        if style == "told":  # the status says nothing: 200 for all
            if good:
                await lockwatch.login_succeeded(request, username=name)
            else:
                await lockwatch.login_failed(request, username=name, reason="bad_password")
            return {"good": good}
        if style == "status":
            return JSONResponse({}, 200 if good else 401)
        async with lockwatch.login_attempt(request, name, limits="3/minute" if style == "limits" else None) as attempt:
            if style in ("attempt", "limits"):
                if not good:
                    raise HTTPException(401)
            elif style == "says":
                attempt.succeed() if good else attempt.fail("bad_password")
            elif style == "answers":
                return JSONResponse({}, 200 if good else 401)
            elif style == "breaks":
                raise RuntimeError("database")
        return {"good": good}

    return app, lockwatch, events


async def login(app: Any, name: str = "alice", password: str = "wrong", peer: str = HOME, **headers: str) -> Exchange:
    return await http(app, "POST", "/login", peer=peer, query_string=f"name={name}&password={password}".encode(), headers=headers)


async def outcomes(app: Any, *attempts: tuple[str, str]) -> list[int]:
    return [(await login(app, name, password)).status for name, password in attempts]


# ------------------------------------------------------------- what is decided
@pytest.mark.parametrize("style", ["told", "attempt", "says", "answers"])
async def test_whoever_says_so_a_failure_is_counted_and_a_success_given_back(style: str) -> None:
    app, lockwatch, events = make(style)
    refused = 401 if style in ("attempt", "answers") else 200
    good, bad = ("alice", "right"), ("alice", "wrong")
    assert await outcomes(app, good, good, bad, good, bad, good) == [200, 200, refused, 200, refused, 429]
    assert [event.outcome for event in events] == ["success", "success", "failure", "success", "failure"]
    assert {(event.kind, event.action, event.user, event.ip) for event in events} == {("auth", "login", "alice", HOME)}
    await lockwatch.aclose()


async def test_the_status_of_a_configured_route_says_what_nobody_said() -> None:
    app, lockwatch, events = make("status", anomaly=AnomalyConfig(login_routes=["POST /login"]))
    await outcomes(app, ("alice", "right"), ("alice", "wrong"))
    assert [(event.outcome, event.user) for event in events] == [("success", None), ("failure", None)]
    await lockwatch.aclose()


async def test_without_the_option_a_status_says_nothing() -> None:
    app, lockwatch, events = make("status")
    await outcomes(app, ("alice", "right"), ("alice", "wrong"))
    assert events == []
    await lockwatch.aclose()


async def test_what_is_told_is_not_inferred_again() -> None:
    app, lockwatch, events = make("attempt", anomaly=AnomalyConfig(login_routes=["POST /login"]))
    await outcomes(app, ("alice", "right"), ("alice", "wrong"))
    assert [event.outcome for event in events] == ["success", "failure"]
    await lockwatch.aclose()


async def test_a_bug_is_no_failed_login() -> None:
    app, lockwatch, events = make("breaks")
    with pytest.raises(RuntimeError, match="database"):
        await login(app)
    assert events == []
    await lockwatch.aclose()


async def test_a_limit_of_an_attempt_is_of_user_and_network() -> None:
    app, lockwatch, _ = make("limits")
    app.dependency_overrides = {}
    peers = [HOME, HOME, "203.0.113.99", "203.0.113.98", ELSEWHERE]
    found = [(await login(app, "alice", "wrong", peer)).status for peer in peers]
    assert found == [401, 401, 401, 429, 401]  # the third address is of the same network, the last is not
    assert (await login(app, "bob", "wrong", "203.0.113.97")).status == 401
    await lockwatch.aclose()


async def test_names_are_compared_without_case_width_and_space() -> None:
    app, lockwatch, events = make("told")
    for name in ("Alice", "%20alice", "%EF%BC%A1lice", "", "%20"):
        await http(app, "POST", "/login", peer=f"192.0.2.{len(events) + 1}", query_string=f"name={name}&password=x".encode())
    assert [event.user for event in events] == ["alice", "alice", "alice", None, None]
    await lockwatch.aclose()


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"origin": "http://test"}, False),
        ({"origin": "https://evil.example.com"}, True),
        ({"origin": "null"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site", "origin": "https://www.test"}, False),
    ],
)
async def test_what_another_site_sent_says_so(headers: dict[str, str], foreign: bool) -> None:
    app, lockwatch, events = make("told")
    await login(app, **headers)
    assert bool(events[0].details.get("cross_site")) == foreign
    await lockwatch.aclose()


# ------------------------------------------------------------------ step-up
async def under_attack(lockwatch: LockWatch, everyone: bool = True, name: str = "alice") -> None:
    buckets = await lockwatch.engine.link.buckets()
    logins = lockwatch.engine.logins
    key = EVERYONE if everyone else logins.names(buckets).user(name)
    logins.challenges.put(key, time.monotonic() + 3600, "c1", time.monotonic())


async def known(lockwatch: LockWatch, name: str, ip: str) -> None:
    buckets = await lockwatch.engine.link.buckets()
    network = word_of(lockwatch.engine.logins.names(buckets).network(ip))
    await lockwatch.engine.link.async_store().call(acquaint(known_key(buckets, name), network))


def store(kind: str, url: str) -> dict[str, Any]:
    return {"redis_url": url, "store_timeout": 2.0} if kind == "redis" else {}


@pytest.mark.parametrize("kind", KINDS)
async def test_under_attack_a_novel_pair_is_refused_with_a_reason_and_a_known_one_is_not(kind: str, redis_server: str) -> None:
    app, lockwatch, events = make("attempt", **store(kind, redis_server))
    await known(lockwatch, "alice", HOME)
    await under_attack(lockwatch)
    assert (await login(app, "alice", "right", HOME)).status == 200
    refused = await login(app, "alice", "right", ELSEWHERE)
    assert (refused.status, refused.header("content-type")) == (403, "application/problem+json")
    body = refused.json()
    assert (body["error"], body["reason"], body["campaign"]) == ("step_up_required", "novel_network", "c1")
    assert [(event.outcome, event.decision) for event in events] == [("success", None), ("refused", "challenged")]
    await lockwatch.aclose()


async def test_users_that_do_not_exist_look_like_those_who_were_never_here() -> None:
    app, lockwatch, _ = make("attempt")
    await under_attack(lockwatch)
    real, unreal = await login(app, "bob", "right", HOME), await login(app, "nobody", "right", ELSEWHERE)
    assert (real.status, real.body) == (unreal.status, unreal.body)
    assert [name for name, _ in real.headers] == [name for name, _ in unreal.headers]
    await lockwatch.aclose()


async def test_only_those_are_challenged_whom_the_attack_is_about() -> None:
    app, lockwatch, _ = make("attempt")
    await under_attack(lockwatch, everyone=False, name="alice")
    assert await outcomes(app, ("alice", "right"), ("bob", "right")) == [403, 200]
    lockwatch.engine.logins.challenges.end("c1")
    assert await outcomes(app, ("alice", "right")) == [200]
    await lockwatch.aclose()


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_hook_may_let_a_login_go_on(colour: str) -> None:
    asked: list[Challenge] = []

    def hook(request: Request, challenge: Challenge) -> bool:
        asked.append(challenge)
        return request.headers.get("x-otp") == "123"

    async def later(request: Request, challenge: Challenge) -> bool:
        return hook(request, challenge)

    config = AnomalyConfig(respond="challenge", step_up=hook if colour == "sync" else later)
    app, lockwatch, _ = make("attempt", anomaly=config)
    await under_attack(lockwatch)
    assert (await login(app, "alice", "right", **{"x-otp": "123"})).status == 200
    assert (await login(app, "alice", "right")).status == 403
    assert (asked[0].campaign, asked[0].reason, asked[0].username) == ("c1", "novel_network", "alice")
    await lockwatch.aclose()


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_modes_hold_for_challenges_too(mode: str) -> None:
    app, lockwatch, _ = make("attempt")
    await under_attack(lockwatch)
    with lockwatch.override(mode=mode):
        assert (await login(app, "alice", "right")).status == 200
    await lockwatch.aclose()


async def test_nobody_is_challenged_while_the_store_is_away() -> None:
    app, lockwatch, _ = make("attempt", redis_url="redis://127.0.0.1:1/0")
    await under_attack(lockwatch)
    assert (await login(app, "alice", "right")).status == 200
    await lockwatch.aclose()
