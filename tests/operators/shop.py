"""An application with every kind of declaration, for the tests of what operators see."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.requests import HTTPConnection

from lockwatch import LockWatch, RateLimit, by_api_key, by_user

SECRET = "0123456789abcdef0123456789abcdef"


def authenticate() -> None:
    """A dependency of the application's own."""


def busy(connection: HTTPConnection) -> str:
    """Limits that only a request decides."""
    return "7/minute"


def create(**options: Any) -> FastAPI:
    """The application, counting where `options` say."""
    app = FastAPI(dependencies=[Depends(RateLimit("1000/hour", name="app"))])
    lockwatch = LockWatch(
        app,
        **{
            "namespace": "shop",
            "secret_key": SECRET,
            "application_limits": "100/minute",
            "default_limits": "50/minute",
            "store_timeout": 5,
        }
        | options,
    )
    nested = RateLimit("9/minute", name="nested", key=by_user)

    def checked(_: None = Depends(authenticate), __: None = Depends(nested)) -> None:
        """A dependency that has a limit among its own."""

    @app.get("/items/{number}", dependencies=[Depends(RateLimit("3/minute", name="route"))])
    @lockwatch.limit("20/hour", name="marked")
    async def item(number: int, _: None = Depends(RateLimit("8/minute", name="parameter"))) -> int:
        return number

    @app.post("/login", dependencies=[Depends(checked)])
    async def login() -> str:
        return "welcome"

    @app.get("/keyed", dependencies=[Depends(RateLimit("4/minute", name="keyed", key=by_api_key))])
    async def keyed() -> str:
        return "keyed"

    @app.get("/own", dependencies=[Depends(RateLimit("4/minute", name="own", key=lambda request: "everyone", shadow=True))])
    async def own() -> str:
        return "own"

    @app.get(
        "/tiers", dependencies=[Depends(RateLimit({"pro": "60/minute", "*": "2/minute"}, tier=lambda r: r.headers.get("tier")))]
    )
    async def tiers() -> str:
        return "tiers"

    @app.get("/busy", dependencies=[Depends(RateLimit(busy))])
    async def busy_route() -> str:
        return "busy"

    @app.get("/free")
    @lockwatch.exempt
    async def free() -> str:
        return "free"

    router = APIRouter(prefix="/reports", dependencies=[Depends(RateLimit("30/minute", name="router", shared="reports"))])

    @router.get("/daily")
    async def daily() -> str:
        return "daily"

    @router.get("/weekly")
    async def weekly() -> str:
        return "weekly"

    @router.websocket("/feed")
    async def feed(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    app.include_router(router, prefix="/v1", dependencies=[Depends(RateLimit("40/minute", name="including"))])
    return app


app = create()
