"""lockwatch 0.1.0 as published: limit and burst detection on Redis, in its middleware."""

from fastapi import FastAPI
from settings import AMOUNT, REDIS, SECONDS

from lockwatch import LockWatchMiddleware

app = FastAPI()
app.add_middleware(
    LockWatchMiddleware,
    redis_url=REDIS,
    rate_limit_requests=AMOUNT,
    rate_limit_window_seconds=SECONDS,
    burst_threshold=10**9,
)


@app.get("/ping")
async def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}
