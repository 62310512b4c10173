"""fastapi-guard on Redis: its rate limit, without its request inspection (which costs far more)."""

from fastapi import FastAPI
from guard import SecurityConfig, SecurityMiddleware
from settings import AMOUNT, REDIS, SECONDS

config = SecurityConfig(
    enable_redis=True,
    redis_url=REDIS,
    rate_limit=AMOUNT,
    rate_limit_window=SECONDS,
    enable_penetration_detection=False,
)
app = FastAPI()
app.add_middleware(SecurityMiddleware, config=config)


@app.get("/ping")
async def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}
