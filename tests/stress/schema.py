"""Schemathesis against the example applications: what fits their OpenAPI documents, and what does not. Nothing may be a 500.

Each request comes from an address of its own, as nobody, as a user or as an administrator, in half of the cases about something
that exists. All of it happens with limits in force, and in observe mode, in which no limit keeps a request from its endpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode

from docs.examples import chronobot, livestotell
from docs.examples.chronobot.accounts import Accounts as Chatters
from docs.examples.livestotell.accounts import Accounts as Authors
from docs.examples.livestotell.protection import lockwatch as of_flask
from lockwatch import TokenPair
from tests.examples.openapi import document

CHEAP = 2
"""What a password costs here; most of the time would go into hashing otherwise."""
CREDENTIALS = {"username": 32, "password": 128}
BODIES = {
    "sessions.register": CREDENTIALS,
    "sessions.login": CREDENTIALS,
    "stories.write": {"title": 200, "text": 20_000},
    "stories.comments.write": {"text": 2000},
    "lockwatch_auth.refresh": {"refresh_token": 200},
    "lockwatch_auth.logout": {"refresh_token": 200},
}
WHO = ("nobody", "ann", "admin")


@dataclass
class Target:
    """An application as Schemathesis asks it."""

    name: str
    schema: Any
    issue: Callable[[str], TokenPair]
    known: Callable[[], dict[str, str]]
    observing: Callable[[], Any]
    close: Callable[[], None]
    seen: Counter[int] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


def addresses() -> Iterator[str]:
    """One after another of a network for documentation and tests."""
    return (f"198.18.{n // 256 % 256}.{n % 256}" for n in count(1))


def of_chronobot() -> Target:
    """Chronobot, as its environment has it."""
    app = chronobot.create_app()
    place = Path(os.environ["CHRONOBOT_DATA"])
    accounts = app.state.accounts = Chatters(place / "accounts.db", CHEAP)
    accounts.add("ann", "correct horse")
    each = addresses()

    async def addressed(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": (next(each), 50_000)}, receive, send)

    lockwatch = app.state.lockwatch
    return Target(
        "chronobot",
        schemathesis.openapi.from_asgi("/openapi.json", addressed),
        lambda name: lockwatch.tokens.issue_token_pair_sync(name, accounts.claims(name)),
        lambda: {"name": "ann"},
        lambda: lockwatch.override(mode="observe"),
        lockwatch.engine.close,
    )


def of_livestotell() -> Target:
    """Livestotell, as its environment has it."""
    app = livestotell.create_app()
    place = Path(os.environ["LIVESTOTELL_DATA"])
    accounts = app.extensions["accounts"] = Authors(place / "accounts.db", CHEAP)
    accounts.add("ann", "correct horse")
    each = addresses()
    told = json.dumps(document(app, BODIES, {"admin.export": ("user",)})).encode()

    def addressed(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/openapi.json":
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(told)))])
            return [told]
        return app({**environ, "REMOTE_ADDR": next(each)}, start_response)

    def issue(name: str) -> TokenPair:
        with app.app_context():
            return of_flask.tokens.issue_token_pair_sync(name, accounts.claims(name))

    def known() -> dict[str, str]:
        return {"story": app.extensions["library"].add_story("ann", "The well", "Once upon a time")["id"]}

    engine = of_flask.engine_of(app)
    schema = schemathesis.openapi.from_wsgi("/openapi.json", addressed)
    return Target("livestotell", schema, issue, known, lambda: of_flask.override(mode="observe"), engine.close)


def explore(target: Target, examples: int, seed: int) -> None:
    """Ask every operation, with what its document allows and with what it does not. Notes what was answered."""
    for number, found in enumerate(target.schema.get_all_operations()):
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not _takes_anything(operation):
                continue
            _ask(target, operation, mode, examples, seed + number)


def _takes_anything(operation: Any) -> bool:
    return bool(list(operation.iter_parameters()) or operation.body)


def _ask(target: Target, operation: Any, mode: GenerationMode, examples: int, seed: int) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode), strategies.sampled_from(WHO), strategies.booleans())
    def check(case: Any, who: str, known: bool) -> None:
        pair = target.issue("ann" if who == "nobody" else who)
        headers = {} if who == "nobody" else {"Authorization": f"Bearer {pair.access_token}"}
        if known:
            _replace(case.path_parameters, target.known())
            _replace(case.body, {"refresh_token": pair.refresh_token, "token": pair.refresh_token})
        answer = case.call(headers=headers)
        target.seen[answer.status_code] += 1
        if answer.status_code >= 500:
            target.bad.append(f"{answer.status_code} for {case.as_curl_command()}")

    try:
        check()
    except hypothesis.errors.Unsatisfiable:
        if mode is GenerationMode.POSITIVE:
            raise


def _replace(values: Any, known: dict[str, str]) -> None:
    if isinstance(values, dict):
        values.update({name: value for name, value in known.items() if name in values})


@contextmanager
def fresh_directories() -> Iterator[None]:
    """The applications find nothing of anybody's."""
    place = tempfile.mkdtemp(prefix="lw-schema-")
    for name in ("CHRONOBOT_DATA", "LIVESTOTELL_DATA"):
        os.environ[name] = f"{place}/{name.lower()}"
    yield
    shutil.rmtree(place)


def told(target: Target) -> str:
    """What was answered."""
    statuses = ", ".join(f"{number} with {status}" for status, number in sorted(target.seen.items()))
    return f"{target.seen.total()} requests: {statuses}"


# ------------------------------------------------------------------------ program
def describe(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--examples", type=int, default=200, help="of requests, for each operation, mode and kind")
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> int:
    """Print what was answered; 1 when anything was a 500."""
    bad: list[str] = []
    with fresh_directories():
        for make in (of_chronobot, of_livestotell):
            target = make()
            for mode in ("enforce", "observe"):
                began, target.seen = time.monotonic(), Counter()
                if mode == "enforce":
                    explore(target, options.examples, options.seed)
                else:
                    with target.observing():
                        explore(target, options.examples, options.seed)
                print(f"{target.name}, {mode}: {told(target)}, in {time.monotonic() - began:.0f} s", flush=True)
            bad += target.bad
            target.close()
    print("\n".join(bad) or "no 500")
    return int(bool(bad))
