"""slowapi with its defaults: a fixed window, one limit on the route."""

from fastapi import FastAPI, Request
from settings import LIMIT, REDIS
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address

limiter = Limiter(key_func=get_remote_address, storage_uri=REDIS or "memory://")
app = FastAPI()
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)


@app.get("/ping")
@limiter.limit(LIMIT)
async def ping(request: Request) -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}
