"""lockwatch with everything on: a limit, RS256 tokens and their revocation, bursts, quota headers, the audit log on PostgreSQL."""

import os
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse
from settings import AUDIT, LIMIT, REDIS, SPOOL

from lockwatch import Claims, JWTAuth, JWTConfig, LockWatch, RateLimit
from lockwatch.tokens.trust import Trust

REMEMBERS = os.environ.get("BENCH_REMEMBERS", "1") == "1"

options: dict[str, Any] = {"secret_key": "benchmark-secret-key-of-32-chars", "jwt": JWTConfig(algorithm="RS256")}
# On a busy machine an answer takes longer than 50 ms, and who cannot be asked about is refused.
options["store_timeout"] = 2.0
if REDIS:
    options["redis_url"] = REDIS
if AUDIT:
    # So many that no run makes a burst of them: what is measured is counting, not alerting.
    options |= {"audit_database_url": AUDIT, "spool_dir": SPOOL, "burst_threshold": 10_000, "burst_window_seconds": 1}

app = FastAPI()
lockwatch = LockWatch(app, **options)
identity = lockwatch.engine.identity
if not REMEMBERS and identity is not None and identity.manager is not None:
    identity.trust = Trust(identity.manager.verifier, leeway=identity.leeway)


@app.get("/token")
async def token() -> PlainTextResponse:
    """A token for `ping`."""
    return PlainTextResponse((await lockwatch.tokens.issue_token_pair("ada", {"roles": ["reader"]})).access_token)


@app.get("/ping", dependencies=[Depends(RateLimit(LIMIT))])
async def ping(claims: Claims = Depends(JWTAuth(roles=["reader"]))) -> dict[str, bool]:  # noqa: B008
    """The smallest answer to somebody who is known."""
    return {"pong": True}
