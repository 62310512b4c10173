"""fastapi-limiter 0.2 in memory, one limit on the route, as its README shows it."""

from fastapi import Depends, FastAPI
from fastapi_limiter.depends import RateLimiter
from pyrate_limiter import Limiter, Rate
from settings import AMOUNT, SECONDS

app = FastAPI()


@app.get("/ping", dependencies=[Depends(RateLimiter(limiter=Limiter(Rate(AMOUNT, SECONDS * 1000))))])
async def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}
