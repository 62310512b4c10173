"""FastAPI and Starlette: thin doors to the engine. Nothing here decides."""

from lockwatch.fastapi.auth import JWTAuth
from lockwatch.fastapi.dependency import RateLimit, rate_limit
from lockwatch.fastapi.extension import LockWatch

__all__ = ["JWTAuth", "LockWatch", "RateLimit", "rate_limit"]
