"""lockwatch: no limit, one or several on the route, or one on the application."""

from typing import Any

from fastapi import Depends, FastAPI
from settings import LIMIT, LIMITS, PLACE, REDIS

from lockwatch import LockWatch, RateLimit

# A deadline that a busy machine does not miss: it costs nothing while the store answers.
options: dict[str, Any] = {"secret_key": "benchmark-secret-key-of-32-chars", "store_timeout": 2.0}
if REDIS:
    options["redis_url"] = REDIS
if PLACE == "application":
    options["application_limits"] = LIMIT
limits = [Depends(RateLimit(LIMITS))] if PLACE == "route" else []

app = FastAPI()
lockwatch = LockWatch(app, **options)


@app.get("/ping", dependencies=limits)
async def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}


@app.get("/items/{number}", dependencies=limits)
async def item(number: int) -> dict[str, int]:
    """A parameter to convert."""
    return {"item": number}
