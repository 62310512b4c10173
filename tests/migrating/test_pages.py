"""The migration pages: their snippets do the same on both sides, their tables leave out nothing, their options exist."""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis

import lockwatch_flask
from lockwatch import JWTConfig, LockWatch, LockWatchConfig, RateLimit
from tests.migrating.conftest import Peer
from tests.migrating.drive import Ask, Seen, run
from tests.test_docs import PRINTED_URL, ROOT, blocks_of

FOLDER = ROOT / "docs" / "migrating"
PAGES = sorted(FOLDER.glob("*.md"))


def snippet(page: str, side: str, label: str, url: str) -> str:
    """The code under the mark, with the server of the tests."""
    found = [block.code for block in blocks_of(FOLDER / page) if f"<!-- {side}: {label} -->" in block.marks]
    assert len(found) == 1, f"{page} has {len(found)} blocks {side}: {label}"
    return found[0].replace(PRINTED_URL, url)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page here is about deadlines."""
    monkeypatch.setenv("LOCKWATCH_STORE_TIMEOUT", "5")


def ours(page: str, label: str, url: str, *asks: Ask) -> list[Seen]:
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(snippet(page, "ours", label, url), page, "exec", dont_inherit=True), namespace)
    return run(namespace["app"], list(asks))


# ------------------------------------------------------------ snippets
SEARCH = [*[Ask("/search")] * 6, Ask("/search", peer="192.0.2.2")]
SEARCHED = [200] * 5 + [429, 200]
SAME = [
    ("slowapi.md", "slowapi", "one limit", SEARCH, SEARCHED),
    (
        "slowapi.md",
        "slowapi",
        "many limits",
        [*[Ask("/search")] * 3, *[Ask("/export/csv"), Ask("/export/pdf")] * 2, *[Ask("/health")] * 3],
        [200, 200, 429, 200, 200, 200, 429, 200, 200, 200],
    ),
    (
        "fastapi-limiter.md",
        "fastapi_limiter_01",
        "counted in Redis",
        [*[Ask("/")] * 3, Ask("/often"), Ask("/often"), Ask("/", peer="192.0.2.2")],
        [200, 200, 429, 200, 429, 200],
    ),
    (
        "fastapi-limiter.md",
        "fastapi_limiter",
        "counted here",
        [*[Ask("/")] * 3, *[Ask("/health")] * 3],
        [200, 200, 429, *[200] * 3],
    ),
    (
        "fastapi-redis-sdk.md",
        "redis_sdk",
        "limits",
        [*[Ask("/search")] * 3, Ask("/export"), Ask("/export"), Ask("/export", peer="192.0.2.2")],
        [200, 200, 429, 200, 429, 200],
    ),
    (
        "flask-limiter.md",
        "flask_limiter",
        "keywords",
        [
            *[Ask("/search")] * 3,
            *[Ask("/notes")] * 2,
            *[Ask("/notes", "POST")] * 2,
            Ask("/notes", "POST", {"x-monitor": "1"}),
            *[Ask("/export/csv"), Ask("/export/pdf")] * 2,
            *[Ask("/health")] * 3,
        ],
        [200, 200, 429, 200, 200, 200, 429, 200, 200, 200, 200, 429, 200, 200, 200],
    ),
]
INVITE = ("fastapi-redis-sdk.md", "in code")
LOGINS = ("flask-limiter.md", "logins")
CHAT = ("fastapi-limiter.md", "messages")
IN_MODE = 'import os\nos.environ |= {{"LOCKWATCH_MODE": "{}", "LOCKWATCH_STORE_TIMEOUT": "5"}}\n'
AT_ONCE = [("slowapi.md", "slowapi"), ("fastapi-limiter.md", "fastapi_limiter_01"), ("fastapi-redis-sdk.md", "redis_sdk")]


@pytest.mark.parametrize(
    ("page", "peer", "label", "asks", "expected"), SAME, ids=lambda value: value if isinstance(value, str) else ""
)
def test_both_snippets_answer_the_same(
    page: str, peer: str, label: str, asks: list[Ask], expected: list[int], redis_server: str, request: pytest.FixtureRequest
) -> None:
    theirs: Peer = request.getfixturevalue(peer)
    assert theirs.run(snippet(page, "theirs", label, redis_server), *asks).statuses == expected
    assert [seen.status for seen in ours(page, label, redis_server, *asks)] == expected


def test_every_snippet_of_theirs_is_run() -> None:
    marked = {
        (page.name, *mark)
        for page in PAGES
        for block in blocks_of(page)
        for mark in re.findall(r"<!-- (theirs|ours): (.+?) -->", block.marks)
    }
    pairs = {(page, label) for page, _, label, *_ in SAME} | {CHAT, INVITE, LOGINS}
    run_here = {(page, side, label) for page, label in pairs for side in ("theirs", "ours")}
    assert marked == run_here | {(page, "theirs", "at once") for page, _ in AT_ONCE}


def test_both_snippets_count_the_same_in_code(redis_server: str, redis_sdk: Peer) -> None:
    page, label = INVITE
    asks = [Ask("/invite/a", "POST")] * 3
    assert [seen.body for seen in redis_sdk.run(snippet(page, "theirs", label, redis_server), *asks).seen] == [
        "true",
        "true",
        "false",
    ]
    assert [seen.body for seen in ours(page, label, redis_server, *asks)] == ["true", "true", "false"]


def test_both_snippets_answer_the_same_messages(redis_server: str, fastapi_limiter: Peer) -> None:
    page, label = CHAT
    said = Ask("/chat", texts=("one", "two"))
    assert fastapi_limiter.run(snippet(page, "theirs", label, redis_server), said).seen[0].texts == ["one", "slow down"]
    assert ours(page, label, redis_server, said)[0].texts == ["one", "slow down"]


@pytest.mark.parametrize(("page", "peer"), AT_ONCE)
def test_both_run_at_once_and_share_no_key(page: str, peer: str, redis_server: str, request: pytest.FixtureRequest) -> None:
    theirs: Peer = request.getfixturevalue(peer)
    code = snippet(page, "theirs", "at once", redis_server)
    seen = theirs.run(IN_MODE.format("observe") + code, *[Ask("/users/1"), Ask("/users/2")] * 2, Ask("/users/1")).seen
    with redis.Redis.from_url(redis_server, decode_responses=True) as client:
        keys = {key: client.pttl(key) for key in client.scan_iter()}
    buckets = {key for key in keys if key.startswith("lockwatch:") and "{" in key}
    assert [s.status for s in seen[:2]] == [200, 200]
    for s, allowed in zip(seen, (True, True, False, False, False), strict=True):
        assert s.status == 429 or json.loads(s.body) == [allowed]
    assert [re.sub("t=.*", "", s.headers["ratelimit"]) for s in seen[:3]] == [f'"2-per-minute";r={left};' for left in (1, 0, 0)]
    assert buckets
    assert {key for key in keys if not key.startswith("lockwatch:")}
    assert all(left > 0 for left in keys.values())
    off = theirs.run(IN_MODE.format("off") + code, Ask("/users/1", peer="192.0.2.2")).seen[0]
    assert (off.status, off.body, "ratelimit-policy" in off.headers) == (200, "[]", False)


def test_forty_wrong_logins_at_once(redis_server: str, flask_limiter: Peer) -> None:
    page, label = LOGINS
    wrong, right = Ask("/login", "POST", copies=40), Ask("/login", "POST", {"x-password": "correct"})
    observe = "def observe():\n    return len(attempts)\n"
    theirs = flask_limiter.run(snippet(page, "theirs", label, redis_server) + observe, wrong)
    assert (theirs.statuses, theirs.observed) == ([401] * 40, 40)
    seen = ours(page, label, redis_server, *[right] * 7, wrong, right)
    assert [s.status for s in seen[:7]] == [200] * 7
    assert Counter(s.status for s in seen[7:]) == {401: 5, 429: 36}


# ------------------------------------------------------------ tables
def rows(page: Path, heading: str) -> dict[str, str]:
    """The first two columns of the table below a heading, by the code in the first."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no heading {heading!r}"
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in found.group(1).splitlines() if line.startswith("| `")]
    return {code: right.strip() for left, right, *_ in cells for code in re.findall(r"`([^`]+)`", left)[:1]}


LISTS = {
    ("slowapi.md", "slowapi"): """
import inspect
from slowapi import Limiter
from slowapi.extension import C

def names(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]

def observe():
    return {
        "Limiter": names(Limiter),
        "limit and shared_limit": list(dict.fromkeys(names(Limiter.limit) + names(Limiter.shared_limit))),
        "Environment and .env": [value for name, value in vars(C).items() if name.isupper()],
    }
""",
    ("flask-limiter.md", "flask_limiter"): """
import inspect
from flask_limiter import Limiter
from flask_limiter.constants import ConfigVars

def names(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]

def observe():
    return {
        "Limiter": names(Limiter),
        "limit and shared_limit": list(dict.fromkeys(names(Limiter.limit) + names(Limiter.shared_limit))),
        "Configuration": [value for name, value in vars(ConfigVars).items() if name.isupper()],
    }
""",
    ("flask-jwt-extended.md", "flask_limiter"): """
import inspect
from flask import Flask
import flask_jwt_extended as theirs

def names(*functions):
    return list(dict.fromkeys([name for function in functions for name in inspect.signature(function).parameters]))

def observe():
    app = Flask("theirs")
    app.config["JWT_SECRET_KEY"] = "at least 32 characters of a secret"
    theirs.JWTManager(app)
    proxied = [name for name, value in vars(theirs).items() if not name.startswith("_") and callable(value)]
    return {
        "Functions": proxied,
        "Options of jwt_required": names(theirs.jwt_required, theirs.verify_jwt_in_request),
        "Options of create_access_token and create_refresh_token": names(theirs.create_access_token, theirs.create_refresh_token),
        "Loaders": [name for name in vars(theirs.JWTManager) if not name.startswith("_")],
        "Every setting": [name for name in app.config if name.startswith("JWT_")],
    }
""",
    ("fastapi-limiter.md", "fastapi_limiter_01"): """
import inspect
from fastapi_limiter import FastAPILimiter
from fastapi_limiter.depends import RateLimiter

def observe():
    return {
        "FastAPILimiter.init, 0.1.6": list(inspect.signature(FastAPILimiter.init).parameters),
        "RateLimiter and WebSocketRateLimiter, 0.1.6": list(inspect.signature(RateLimiter).parameters),
    }
""",
    ("fastapi-redis-sdk.md", "redis_sdk"): """
import inspect
from redis_fastapi import FastAPIRedis, RedisSettings, rate_limit

ELSEWHERE = "session_", "default_ttl", "warn_unbounded_cache"

def names(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]

def observe():
    settings = [name for name in RedisSettings.model_fields if not name.startswith(ELSEWHERE)]
    return {
        "rate_limit": names(rate_limit),
        "rate_limiting": names(FastAPIRedis.rate_limiting),
        "Settings": ["REDIS_" + name.upper() for name in settings],
    }
""",
    ("fastapi-limiter.md", "fastapi_limiter"): """
import inspect
from fastapi_limiter.depends import RateLimiter

def observe():
    return {"RateLimiter and WebSocketRateLimiter, 0.2.0": list(inspect.signature(RateLimiter).parameters)}
""",
}


@pytest.mark.parametrize(("page", "peer"), LISTS, ids=lambda value: value)
def test_the_tables_leave_nothing_out(page: str, peer: str, request: pytest.FixtureRequest) -> None:
    theirs: Peer = request.getfixturevalue(peer)
    for heading, names in theirs.run(LISTS[page, peer]).observed.items():
        assert set(rows(FOLDER / page, heading)) == set(names), heading


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_pages_call_ours_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    options = {*inspect.signature(RateLimit).parameters, *(f.name for each in (LockWatchConfig, JWTConfig) for f in fields(each))}
    theirs = set(re.findall(r"^\| `([a-z_]+)`", text, re.MULTILINE))
    for name in re.findall(r"`([a-z_]+)=[^`]*`", text):
        assert name in options | theirs | {"dependencies"}, f"{page.name} speaks of the option {name!r}"
    for name in re.findall(r"\bLOCKWATCH_([A-Z_]+?)(?:_FILE)?\b", text):
        assert name.lower() in options, f"{page.name} speaks of the variable {name!r}"
    for name in re.findall(r"`lockwatch\.([a-z_]+)", text):
        assert hasattr(LockWatch, name) or hasattr(lockwatch_flask.LockWatch, name) or find_spec(f"lockwatch.{name}"), (
            f"{page.name} speaks of lockwatch.{name}"
        )
    if "algorithm=" in text:
        for name in re.findall(r'`algorithm="([a-z-]+)"`', text):
            RateLimit("5/minute", algorithm=name)
