"""The application: accounts, chat and administration behind one LockWatch."""

import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from lockwatch import LockWatch

from . import admin, chat, login
from .accounts import Accounts
from .settings import ATTACKS, data_directory, secret_file, settings


def create_app() -> FastAPI:
    """An application, configured by the environment."""
    place = data_directory()
    accounts = Accounts(place / "accounts.db")
    app = FastAPI(title="Chronobot")
    app.state.accounts = accounts
    app.add_exception_handler(RequestValidationError, what_is_wrong)
    lockwatch = LockWatch(
        app,
        settings(place),
        application_limits="600/minute",
        default_limits="120/minute",
        auth_failures="60/minute",
        exempt_paths=("/health",),
        audit_exempt_paths=("/health",),
        anomaly=ATTACKS,
        load_claims=accounts.claims,
    )
    origins = os.environ.get("CHRONOBOT_ORIGINS", "").split()
    app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["authorization", "content-type"])
    for router in (login.router, lockwatch.auth_router(), chat.router, admin.router):
        app.include_router(router)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """For probes: whether protection is whole."""
        return {"status": lockwatch.health().status}

    _first_administrator(accounts, place)
    return app


async def what_is_wrong(request: Request, error: Exception) -> JSONResponse:
    """Says what is wrong with a request, and does not repeat it, as FastAPI would: there may be a password in it."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse({"detail": [{"loc": one["loc"], "msg": one["msg"]} for one in found]}, 422)


def _first_administrator(accounts: Accounts, place: Path) -> None:
    if accounts.claims("admin") is None:
        accounts.add("admin", secret_file(place / "admin-password").read_text(), plan="pro", role="admin")
