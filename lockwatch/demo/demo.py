"""The application of the demo: five routes, four limits, sessions, nothing else that a newcomer would not write."""

from __future__ import annotations

import secrets
from typing import Any, Final

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

from lockwatch import AnomalyConfig, JWTConfig, LockWatch, LockWatchConfig, RateLimit, TokenPair
from lockwatch.demo.receiver import Receiver

LIMITS: Final = {
    "GET /search": "10/5 seconds",
    "POST /login": "5/minute",
    "POST /upload": "1/minute",
    "GET /items": "1000/minute",
}
"""What is limited, and how. `GET /health` is not."""
GRACE: Final = 1
"""Seconds in which a refresh may be repeated; short, for who watches."""
USER: Final = "ada"
BURST: Final = 40
"""Requests of one address within ten seconds that make a burst."""


class Login(BaseModel):
    """The body of a login."""

    username: str
    password: str


def settings(redis_url: str | None, receiver: Receiver, spool: str) -> LockWatchConfig:
    """Settings of one run: buckets of its own, and nothing taken from the environment. `receiver` is alerted;
    what has to outlive the process goes to the directory `spool`, and so does the audit log.

    Raises: ConfigurationError.
    """
    return LockWatchConfig(
        redis_url=redis_url,
        namespace=f"lockwatch-demo-{secrets.token_hex(4)}",
        secret_key=secrets.token_urlsafe(32),  # else one would be kept in Redis for a year
        store_timeout=1,  # a Redis that is far away is slow, not down
        workers=1,
        jwt=JWTConfig(algorithm="ES256", refresh_grace_seconds=GRACE),
        trusted_proxies="private",  # the demo says itself whom it forwards for
        spool_dir=spool,
        audit_database_url=f"sqlite+aiosqlite:///{spool}/audit.db",
        anomaly=AnomalyConfig(
            burst_threshold=BURST,
            respond="ban",
            webhook_urls=receiver.url,
            webhook_secrets=receiver.secret,
            allow_private_webhooks=True,
        ),
    )


def application(lockwatch: LockWatch) -> FastAPI:
    """The application, protected by `lockwatch`."""
    app = FastAPI(title="lockwatch demo")
    lockwatch.init_app(app)
    app.include_router(lockwatch.auth_router())

    @app.get("/search", dependencies=[_limited("GET /search")])
    async def search(q: str = "") -> dict[str, str]:
        return {"q": q, "found": "a lighthouse"}

    @app.post("/login", dependencies=[_limited("POST /login")])
    async def login(body: Login) -> TokenPair:
        if (body.username, body.password) != (USER, "correct horse"):
            raise HTTPException(401, "wrong user name or password")
        return await lockwatch.tokens.issue_token_pair(body.username, device={"client": "the demo"})

    @app.post("/upload", dependencies=[_limited("POST /upload")])
    async def upload(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/items", dependencies=[_limited("GET /items")])
    async def items() -> list[str]:
        return ["lamp", "lens", "horn"]

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": lockwatch.health().status}

    return app


def _limited(route: str) -> Any:
    return Depends(RateLimit(LIMITS[route]))
