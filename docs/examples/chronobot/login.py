"""Accounts and log-ins. Refreshing and logging out are routes of lockwatch: see `app`."""

from asyncio import to_thread
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, Field

from lockwatch import Claims, JWTAuth, LockWatch, RateLimit, by_json

from .accounts import Accounts

router = APIRouter(tags=["accounts"])


class Credentials(BaseModel):
    """Name and password. Long passwords are refused because hashing them costs the server."""

    username: str = Field(pattern="^[a-z0-9_-]{1,32}$")
    password: str = Field(min_length=8, max_length=128)


class Tokens(BaseModel):
    """The access token goes into `Authorization: Bearer`, the refresh token to `/auth/refresh`."""

    access_token: str
    refresh_token: str
    token_type: str = "bearer"


@router.post("/accounts", status_code=201, dependencies=[Depends(RateLimit("10/hour"))])
async def register(credentials: Credentials, request: Request) -> dict[str, str]:
    """Make an account, on the free plan."""
    accounts: Accounts = request.app.state.accounts
    if not await to_thread(accounts.add, credentials.username, credentials.password):
        raise HTTPException(409, "somebody has that name")
    return {"username": credentials.username, "plan": "free"}


per_address = RateLimit("20/minute", count="failures")
per_account = RateLimit("5/minute", key=by_json("username"), count="failures")


@router.post("/login", dependencies=[Depends(per_address), Depends(per_account)])
async def login(credentials: Credentials, request: Request) -> Tokens:
    """Begin a session."""
    accounts: Accounts = request.app.state.accounts
    lockwatch: LockWatch = request.app.state.lockwatch
    name = credentials.username
    async with lockwatch.login_attempt(request, name):
        if not await to_thread(accounts.check, name, credentials.password):
            raise HTTPException(401, "wrong name or password")
    pair = await lockwatch.tokens.issue_token_pair(name, accounts.claims(name))
    return Tokens(access_token=pair.access_token, refresh_token=pair.refresh_token)


@router.get("/me")
async def me(claims: Annotated[Claims, Depends(JWTAuth())]) -> dict[str, object]:
    """Who asks."""
    return {"username": claims.subject, "plan": claims["plan"], "roles": sorted(claims.roles)}
