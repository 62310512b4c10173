"""lockwatch for Flask: no limit, one on the route, one on the application, or everything."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from settings import AUDIT, LIMIT, PLACE, REDIS, SPOOL

from lockwatch import JWTConfig
from lockwatch_flask import LockWatch

# A deadline that a busy machine does not miss: it costs nothing while the store answers.
options: dict[str, Any] = {"secret_key": "benchmark-secret-key-of-32-chars", "store_timeout": 2}
if REDIS:
    options["redis_url"] = REDIS
if PLACE == "application":
    options["application_limits"] = LIMIT
if AUDIT:
    # A burst that no load reaches, so that it is counted and alerts nobody.
    options |= {"burst_threshold": 10_000, "burst_window_seconds": 0.1}
    options |= {"jwt": JWTConfig(), "audit_database_url": AUDIT, "spool_dir": SPOOL}

app = Flask(__name__)
lockwatch = LockWatch(app, **options)


def guarded(view: Callable[..., Any]) -> Callable[..., Any]:
    """`view` behind what is measured."""
    if AUDIT:
        view = lockwatch.jwt_required()(view)
    return lockwatch.limit(LIMIT)(view) if AUDIT or PLACE == "route" else view


@app.get("/ping")
@guarded
def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}


@app.get("/token")
def token() -> str:
    """A token for `ping`."""
    return lockwatch.tokens.issue_token_pair_sync("ann").access_token
