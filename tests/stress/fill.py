"""Whether memory stops growing: one application in this process, more addresses and tokens than any of its tables holds.

Each request comes from an address that was never seen, every fifth with a token of its own. Everything is on, the store is memory.
Printed are live blocks of Python and pages after each step. Tables fill up to their bounds: from then on a step adds nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from lockwatch import Claims, JWTAuth, JWTConfig, LockWatch, RateLimit
from tests.stress.soak_memory import resident

GROWTH = 0.03
"""Of the blocks in the middle that may be added until the end."""


class Step(NamedTuple):
    """Requests so far, and what the process holds then."""

    requests: int
    blocks: int
    resident: int


def site(folder: Path, most: int) -> tuple[Any, LockWatch]:
    """An application with limits, tokens, detection, bans and an audit log."""
    from fastapi import Depends, FastAPI

    app = FastAPI()
    lockwatch = LockWatch(
        app,
        secret_key="a secret of a long run, 32 chars!",
        jwt=JWTConfig(),
        audit_database_url=f"sqlite+aiosqlite:///{folder / 'audit.db'}",
        spool_dir=str(folder / "spool"),
        max_buckets=most,
    )

    @app.get("/open", dependencies=[Depends(RateLimit("100/minute"))])
    async def opened() -> dict[str, bool]:
        return {"open": True}

    @app.get("/known", dependencies=[Depends(RateLimit("100/minute"))])
    async def known(claims: Claims = Depends(JWTAuth())) -> dict[str, bool]:  # noqa: B008
        return {"known": True}

    return app, lockwatch


async def fill(requests: int, steps: int, most: int, pause: float = 0.2) -> list[Step]:
    """Send so many requests, in steps, with a pause after each in which the background tells what it has to."""
    with tempfile.TemporaryDirectory() as folder:
        app, lockwatch = site(Path(folder), most)
        found = []
        async with app.router.lifespan_context(app):
            for step in range(steps):
                for number in range(step * requests // steps, (step + 1) * requests // steps):
                    await _send(app, lockwatch, number)
                await asyncio.sleep(pause)
                gc.collect()
                found.append(Step((step + 1) * requests // steps, sys.getallocatedblocks(), resident()))
                print(f"{found[-1].requests:10,} {found[-1].blocks:12,} {found[-1].resident / 2**20:8.1f}", flush=True)
    return found


async def _send(app: Any, lockwatch: LockWatch, number: int) -> None:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    headers, path = [(b"host", b"localhost"), (b"user-agent", b"fill")], "/open"
    if number % 5 == 0:
        pair = await lockwatch.tokens.issue_token_pair(f"user-{number}")
        headers, path = [*headers, (b"authorization", f"Bearer {pair.access_token}".encode())], "/known"
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "method": "GET", "path": path, "raw_path": path.encode()}
    scope |= {"server": ("127.0.0.1", 80), "client": (address, 40000), "root_path": "", "query_string": b"", "headers": headers}
    await app({**scope, "asgi": {"version": "3.0"}, "state": {}}, _receive, _answer)


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _answer(message: Any) -> None:
    assert message.get("status", 200) == 200, message


def grows(found: list[Step]) -> bool:
    """Whether the second half added more than a little."""
    return found[-1].blocks - found[len(found) // 2].blocks > GROWTH * found[len(found) // 2].blocks


def describe(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--max-buckets", type=int, default=10_000)


def run(options: argparse.Namespace) -> int:
    """Print the table; 1 when memory grows without an end."""
    print(f"{'requests':>10} {'blocks':>12} {'MiB':>8}")
    found = asyncio.run(fill(options.requests, options.steps, options.max_buckets, 2.0))
    print("grows" if grows(found) else "does not grow any more")
    return int(grows(found))
