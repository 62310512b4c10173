"""What `lockwatch demo` does: serve, tell the story, sum it up, and invite."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from lockwatch import __version__
from lockwatch.demo.attack import ATTACKED
from lockwatch.demo.audited import AUDITED
from lockwatch.demo.limits import STEPS
from lockwatch.demo.screen import Screen
from lockwatch.demo.server import Running, serving, until_interrupt
from lockwatch.demo.sessions import STOLEN
from lockwatch.demo.story import Context, failed, tell
from lockwatch.demo.summary import ALTOGETHER
from lockwatch.demo.traffic import connected

SNIPPET: Final = """\
from fastapi import Depends, FastAPI
from lockwatch import LockWatch, RateLimit

app = FastAPI()
lockwatch = LockWatch(app)  # on Redis: LockWatch(app, redis_url="redis://localhost:6379/0")

@app.get("/search", dependencies=[Depends(RateLimit("10/5 seconds"))])
async def search(): ...
"""
"""What a newcomer copies."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command."""

    redis_url: str | None = None
    port: int = 0
    serve: bool = False
    as_json: bool = False


def run(options: Options) -> bool:
    """Run the demo; whether every claim held.

    Raises: LockwatchError, when it cannot run.
    """
    screen = Screen(story=not options.as_json)
    try:
        report = _story(options, screen)
    finally:
        screen.clear()
    screen.say("", _verdict(report))
    if options.as_json:
        click.echo(json.dumps(report, indent=2))
    if options.serve:
        _serve(options, screen)
    elif report["ok"]:
        screen.say(*_by_hand("http://127.0.0.1:8000", serve_command(os.environ)))
    return bool(report["ok"])


def _story(options: Options, screen: Screen) -> dict[str, Any]:
    screen.progress("starting a server", passing=True)
    began = time.perf_counter()
    with serving(options.redis_url, options.port) as server, connected(server.url, server.meter) as traffic:
        screen.say(_opening(server))
        told = tell((*STEPS, STOLEN, ATTACKED, ALTOGETHER, AUDITED), Context(server, traffic, screen))
        return _report(server, told, time.perf_counter() - began)


def _opening(server: Running) -> str:
    where = server.lockwatch.health().store
    counting = "in memory" if where == "memory" else f"in the Redis at {where}"
    return f"lockwatch {__version__}: a FastAPI application under uvicorn at {server.url}, counting {counting}"


def _report(server: Running, told: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    return {
        "lockwatch": __version__,
        "url": server.url,
        "store": server.lockwatch.health().store,
        "steps": told,
        "claims": sum(len(step["claims"]) for step in told),
        "failed": failed(told),
        "ok": not failed(told),
        "seconds": round(seconds, 2),
    }


def _verdict(report: dict[str, Any]) -> str:
    if report["ok"]:
        return f"All {report['claims']} claims were observed, in {report['seconds']:.1f} seconds."
    return f"{report['failed']} of {report['claims']} claims were not observed."


def _serve(options: Options, screen: Screen) -> None:
    """Serve until interrupted, with buckets nobody has used: those of the story are full."""
    with until_interrupt(), serving(options.redis_url, options.port) as server:
        screen.say(*_by_hand(server.url, None), "")
        screen.note(f"Serving on {server.url} until Ctrl-C.")
        server.wait()
    screen.note("Stopped.")


def serve_command(environ: Mapping[str, str]) -> str:
    """What to type to serve: a checkout that `uv run` works in has no `lockwatch` on the path of the shell."""
    run = "uv run --all-extras " if "UV_RUN_RECURSION_DEPTH" in environ else ""
    return f"{run}lockwatch demo --serve --port 8000"


def _by_hand(url: str, command: str | None) -> list[str]:
    body = '{"username": "ada", "password": "guess"}'
    lines = [
        "# twelve searches, of which ten are admitted",
        f"for i in $(seq 12); do curl -s -o /dev/null -w '%{{http_code}} ' {url}/search; done; echo",
        "# one more, to read the refusal",
        f"curl -i {url}/search",
        "# guess a password; the sixth guess in a minute is refused",
        f"curl -i {url}/login -H 'Content-Type: application/json' -d '{body}'",
    ]
    start = [f"   {command}", "   # then, in another terminal:"] if command else []
    own = ["", "In an application of your own:", "", *(f"   {line}".rstrip() for line in SNIPPET.splitlines())]
    return ["", "Try it by hand:", "", *start, *(f"   {line}" for line in lines), *own]
