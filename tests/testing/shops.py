"""The same application in both frameworks, with a test client of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, WebSocket
from flask import Flask, request
from starlette.testclient import TestClient

import lockwatch_flask
from lockwatch import Claims, JWTAuth, LockWatch, RateLimit
from lockwatch.testing import isolated

SECRET = "a secret of at least 32 characters"


@dataclass
class Shop:
    """An application under test, its LockWatch, and a client that blocks."""

    app: Any
    lockwatch: Any
    client: Any


def settings(**options: Any) -> Any:
    """Settings of a shop."""
    return isolated(**{"jwt_secret": SECRET, "bans": True, "store_timeout": 10.0, **options})


def fastapi_shop(**options: Any) -> Shop:
    """In FastAPI."""
    app = FastAPI()
    lockwatch = LockWatch(app, config=settings(**options))

    @app.get("/search", dependencies=[Depends(RateLimit("5/minute"))])
    async def search() -> str:
        return "found"

    @app.post("/orders/{number:int}")
    async def order(number: int, claims: Annotated[Claims, Depends(JWTAuth(scopes=["orders:read", "orders:write"]))]) -> str:
        return claims.subject

    @app.get("/admin", dependencies=[Depends(JWTAuth(roles=["admin"], max_age="5m", locations=("header", "cookie")))])
    async def admin() -> str:
        return "well"

    @app.websocket("/feed")
    async def feed(socket: WebSocket, claims: Annotated[Claims, Depends(JWTAuth(locations=("subprotocol",)))]) -> None:
        await socket.accept("bearer")

    return Shop(app, lockwatch, TestClient(app, client=("192.0.2.1", 50_000)))


def flask_shop(**options: Any) -> Shop:
    """In Flask."""
    app = Flask(__name__)
    lockwatch = lockwatch_flask.LockWatch(app, config=settings(**options))

    @app.get("/search")
    @lockwatch.limit("5/minute")
    def search() -> str:
        return "found"

    @app.post("/orders/<int:number>")
    @lockwatch.jwt_required(scopes=["orders:read", "orders:write"])
    def order(number: int) -> str:
        return str(lockwatch_flask.current_claims["sub"])

    @app.get("/admin")
    @lockwatch.jwt_required(roles=["admin"], max_age="5m", locations=("header", "cookie"))
    def admin() -> str:
        return "well"

    @app.post("/notes")
    def note() -> str:
        return request.get_data(as_text=True)

    return Shop(app, lockwatch, app.test_client())


SHOPS = {"fastapi": fastapi_shop, "flask": flask_shop}


def waiting_client(app: Any) -> httpx.AsyncClient:
    """A client of an ASGI application that has to be awaited."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, client=("192.0.2.1", 50_000)), base_url="http://shop.example")
