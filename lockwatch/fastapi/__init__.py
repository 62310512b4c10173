"""FastAPI and Starlette: thin doors to the engine. Nothing here decides."""

from lockwatch.fastapi.dependency import RateLimit, rate_limit
from lockwatch.fastapi.extension import LockWatch

__all__ = ["LockWatch", "RateLimit", "rate_limit"]
