"""lockwatch 0.1.0 as published: its middleware around a WSGI application."""

from typing import Any

from flask import Flask
from settings import AMOUNT, PLACE, REDIS, SECONDS

from lockwatch.middleware import LockWatchFlaskMiddleware

app = Flask(__name__)
burst: dict[str, Any] = {"burst_threshold": 10**9} if PLACE == "burst" else {}
app.wsgi_app = LockWatchFlaskMiddleware(  # type: ignore[method-assign]
    app.wsgi_app, redis_url=REDIS, rate_limit_requests=AMOUNT, rate_limit_window_seconds=SECONDS, **burst
)


@app.get("/ping")
def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}
