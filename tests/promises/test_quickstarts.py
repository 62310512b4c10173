"""The examples that 0.1.0 printed run as printed: only the addresses in them are those of servers on this machine."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lockwatch import AuditLogEntry, TokenError
from tests.alerts.receivers import Receiver, receiver
from tests.edges.asgi import http

FASTAPI = """\
from fastapi import FastAPI
from lockwatch import LockWatchMiddleware

app = FastAPI()

app.add_middleware(
    LockWatchMiddleware,
    redis_url="redis://localhost:6379",
    rate_limit_requests=100,               # allow 100 requests …
    rate_limit_window_seconds=60,          # … per 60-second sliding window
    burst_threshold=50,                    # anomaly alert if >50 req in 10s
    burst_window_seconds=10,
    webhook_urls=["https://hooks.example.com/lockwatch-alert"],
    audit_database_url="postgresql+asyncpg://user:pass@host/db",  # optional
)

@app.get("/items")
async def list_items():
    return {"items": []}
"""
FLASK = """\
from flask import Flask
from lockwatch.middleware import LockWatchFlaskMiddleware

app = Flask(__name__)
app.wsgi_app = LockWatchFlaskMiddleware(
    app.wsgi_app,
    redis_url="redis://localhost:6379",
    rate_limit_requests=200,
    rate_limit_window_seconds=60,
)
"""
FLASK_TOKENS = """\
from flask import Flask, g
from lockwatch import JWTRotationManager, JWTConfig
from lockwatch.middleware import flask_jwt_required, LockWatchFlaskMiddleware

app = Flask(__name__)

# Rate limiting + anomaly detection wired at the WSGI layer
app.wsgi_app = LockWatchFlaskMiddleware(
    app.wsgi_app,
    redis_url="redis://localhost:6379",
    rate_limit_requests=200,
    rate_limit_window_seconds=60,
    burst_threshold=50,        # enables anomaly detection; 0 = disabled
    burst_window_seconds=10,
    webhook_urls=["https://hooks.example.com/alert"],
)

# JWT verification per route via decorator
jwt_mgr = JWTRotationManager(redis_client, JWTConfig(rsa_private_key_pem=pem))

@app.route("/protected")
@flask_jwt_required(jwt_mgr)
def protected():
    return {"user": g.jwt_claims["sub"]}
"""
DETECTOR = """\
from lockwatch import AnomalyDetector, AnomalyConfig

detector = AnomalyDetector(
    redis_client=redis,
    config=AnomalyConfig(
        burst_threshold=50,
        burst_window_seconds=10,
        webhook_urls=["https://hooks.example.com/alert"],
    ),
)

is_burst = await detector.check(ip="1.2.3.4", endpoint="/api/login", method="POST")
"""
AUDIT = """\
from lockwatch import AuditLogger, AuditQuery

logger = AuditLogger(database_url="postgresql+asyncpg://user:pass@host/db")
await logger.init()   # creates table if not exists (idempotent)

entries = await logger.query(AuditQuery(
    user_id="user:42",
    anomalies_only=True,
    limit=50,
))
"""


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Receivers of alerts are on this machine, and a busy store has time."""
    monkeypatch.setenv("LOCKWATCH_ALLOW_PRIVATE_WEBHOOKS", "true")
    monkeypatch.setenv("LOCKWATCH_STORE_TIMEOUT", "5")
    for name in ("REDIS_URL", "JWT_SECRET", "LOCKWATCH_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


async def execute(code: str, names: dict[str, Any], **places: str) -> dict[str, Any]:
    """Run lines as they were printed, `await` outside of functions included. `places` are where their servers really are."""
    printed = {
        "redis": "redis://localhost:6379",
        "hook": "https://hooks.example.com/lockwatch-alert",
        "alert": "https://hooks.example.com/alert",
        "database": "postgresql+asyncpg://user:pass@host/db",
    }
    for name, place in places.items():
        assert printed[name] in code
        code = code.replace(printed[name], place)
    code = code.replace("JWTConfig(rsa_private_key_pem=pem)", "JWTConfig(rsa_private_key_pem=pem), store_timeout=5")
    names["__name__"] = "example"
    waiting = eval(compile(code, "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), names)
    if inspect.isawaitable(waiting):
        await waiting
    return names


async def arrived(alerts: Receiver, ask: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """The first alert. Until it is there, `ask` goes on: a machine may be too busy for a burst at the first attempt."""
    ends = time.monotonic() + 20
    while not alerts.received and time.monotonic() < ends:
        for _ in range(60):
            if inspect.isawaitable(asked := ask()):
                await asked
        await asyncio.sleep(0.05)
    told: dict[str, Any] = json.loads(alerts.received[0].body)
    return told


def asyncpg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://")


async def test_fastapi(redis_server: str, postgres_url: str) -> None:
    async with receiver() as alerts:
        names = await execute(FASTAPI, {}, redis=redis_server, hook=alerts.url(), database=asyncpg(postgres_url))
        app = names["app"]
        answers = [await http(app, "GET", "/items") for _ in range(101)]
        assert [answer.status for answer in answers] == [200] * 100 + [429]
        assert answers[0].json() == {"items": []}
        refused = answers[-1]
        wait = int(refused.header("retry-after") or 0)
        assert 1 <= wait <= 60
        assert (refused.header("x-ratelimit-limit"), refused.header("x-ratelimit-remaining")) == ("100", "0")
        assert abs(int(refused.header("x-ratelimit-reset") or 0) - (time.time() + wait)) < 30
        assert {"error": "rate_limit_exceeded", "retry_after": wait}.items() <= refused.json().items()
        told = (await arrived(alerts, lambda: http(app, "GET", "/items")))["data"]
        assert (told["ip"], told["endpoint"], told["window_seconds"]) == ("192.0.2.1", "/items", 10)
        assert told["request_count"] >= 50
        assert "timestamp" in told
        middleware = middleware_of(app)
        await middleware.engine.flush()
        (row, *_) = await middleware.engine.audit.query(rate_limit_hits_only=True)
        assert (row.ip, row.endpoint, row.method, row.status_code) == ("192.0.2.1", "/items", "GET", 429)
        assert len(await middleware.engine.audit.query(endpoint_prefix="/items", limit=200)) >= 101
        await middleware.engine.aclose()
    assert len(alerts.received) == 1


def middleware_of(app: Any) -> Any:
    """The instance that the application made of the class."""
    found = app.middleware_stack
    while type(found).__name__ != "LockWatchMiddleware":
        found = found.app
    return found


async def test_flask(redis_server: str) -> None:
    app = (await execute(FLASK, {}, redis=redis_server))["app"]
    app.add_url_rule("/items", "items", lambda: {"items": []})
    client = app.test_client()
    answers = [client.get("/items") for _ in range(201)]
    assert [answer.status_code for answer in answers] == [200] * 200 + [429]
    assert answers[-1].json["error"] == "rate_limit_exceeded"
    assert app.wsgi_app.engine.anomaly is None
    app.wsgi_app.close()


async def test_flask_with_tokens_and_bursts(redis_server: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    with redis.Redis.from_url(redis_server) as client:
        async with receiver() as alerts:
            given = {"redis_client": client, "pem": pem}
            names = await execute(FLASK_TOKENS, given, redis=redis_server, alert=alerts.url())
            app, manager = names["app"], names["jwt_mgr"]
            token = (await manager.issue_token_pair("user:42")).access_token
            asked = app.test_client()
            assert asked.get("/protected").status_code == 401
            assert asked.get("/protected", headers={"authorization": f"Bearer {token}"}).json == {"user": "user:42"}
            told = (await arrived(alerts, lambda: asked.get("/protected", buffered=True)))["data"]
            assert (told["endpoint"], told["window_seconds"]) == ("/protected", 10)
            await manager.aclose()
            manager.close()
            app.wsgi_app.close()


@pytest.mark.parametrize("library", ["redis", "redis.asyncio"])
async def test_detector(library: str, redis_server: str) -> None:
    client: Any = (redis if library == "redis" else redis.asyncio).Redis.from_url(redis_server)
    async with receiver() as alerts:
        code = DETECTOR.replace("webhook_urls=[", "allow_private_webhooks=True, webhook_urls=[")
        names = await execute(code, {"redis": client}, alert=alerts.url())
        assert names["is_burst"] is False
        asked = 1
        while not await names["detector"].check("1.2.3.4", {"endpoint": "/api/login", "method": "POST"}):
            asked += 1  # a store that takes longer than 50 ms once is counted without, so it may take some more
            assert asked < 500
        assert asked >= 49
        assert (await arrived(alerts))["data"]["ip"] == "1.2.3.4"
        await names["detector"].aclose()
    if library == "redis":
        client.close()
    else:
        await client.aclose()


async def test_audit(postgres_url: str) -> None:
    names = await execute(AUDIT, {}, database=asyncpg(postgres_url))
    logger, query = names["logger"], names["AuditQuery"]
    assert names["entries"] == []
    await logger.log(AuditLogEntry(user_id="user:42", ip="192.0.2.1", endpoint="/a", method="GET", anomaly_detected=True))
    await logger.log(AuditLogEntry(user_id="user:42", ip="192.0.2.1", endpoint="/b", method="GET"))
    await logger.flush()
    (found,) = await logger.query(query(user_id="user:42", anomalies_only=True, limit=50))
    assert (found.endpoint, found.anomaly_detected) == ("/a", True)
    await logger.close()


async def test_what_its_plan_says_of_tokens(redis_server: str) -> None:
    from lockwatch import JWTConfig, JWTRotationManager

    async with redis.asyncio.Redis.from_url(redis_server) as client:
        manager = JWTRotationManager(client, JWTConfig(jwt_secret="a secret of at least 32 characters"), store_timeout=5)
        pair = await manager.issue_token_pair("user:42", {"role": "admin"})
        claims = await manager.verify_access(pair.access_token)
        await manager.blacklist(claims["jti"])
        with pytest.raises(TokenError):
            await manager.verify_access(pair.access_token)
        await manager.aclose()
