"""The libraries people come from, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.benchmarks.environments import environment
from tests.migrating.drive import Ask, Seen, as_json

ROOT = Path(__file__).parent.parent.parent
SAME = (
    *[f"{name}=={version(name)}" for name in ("fastapi", "starlette")],
    *[r for r in requires("lockwatch") or () if "extra" not in r],
)
"""Both sides run on one FastAPI, and can run in one process."""


class Answer(NamedTuple):
    """What a peer's application did: answers in the order of the requests, and what its `observe` returned."""

    seen: list[Seen]
    observed: Any

    @property
    def statuses(self) -> list[int]:
        return [seen.status for seen in self.seen]


class Peer:
    """Another library. `run` executes an application of it and sends requests there."""

    def __init__(self, process: subprocess.Popen[str], errors: Any) -> None:
        self._process, self._errors = process, errors

    def run(self, code: str, *asks: Ask) -> Answer:
        """Raises: AssertionError with what the other process said, if the application could not be made."""
        found = self._ask(code, asks)
        assert not found["error"], f"{found['error']}\n{self._said()}"
        return Answer([Seen(**seen) for seen in found["seen"]], found["observed"])

    def error(self, code: str) -> str:
        """The error the application could not be made for, empty if it could."""
        return str(self._ask(code, ())["error"])

    def _ask(self, code: str, asks: tuple[Ask, ...]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"code": code, "asks": [as_json(ask) for ask in asks]}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process ended\n{self._said()}"
        return dict(json.loads(line))

    def _said(self) -> str:
        self._errors.seek(0)
        return str(self._errors.read()[-4000:])


@contextmanager
def started(python: Path | str) -> Iterator[Peer]:
    """A peer's process, until the block ends."""
    with tempfile.TemporaryFile("w+") as errors:
        command = [str(python), "-W", "ignore", "-m", "tests.migrating.peer"]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            yield Peer(process, errors)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs an environment makes it."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def here() -> Iterator[Peer]:
    """lockwatch, in a process whose clock can be moved."""
    with started(sys.executable) as peer:
        yield peer


@pytest.fixture(scope="session")
def slowapi() -> Iterator[Peer]:
    """slowapi 0.1.10, of the group `peers`."""
    with started(sys.executable) as peer:
        yield peer


@pytest.fixture(scope="session")
def flask_limiter() -> Iterator[Peer]:
    """Flask-Limiter 4.1.1, of the group `peers`."""
    with started(sys.executable) as peer:
        yield peer


@pytest.fixture(scope="session")
def fastapi_limiter() -> Iterator[Peer]:
    """fastapi-limiter 0.2.0, of the group `peers`."""
    with started(sys.executable) as peer:
        yield peer


@pytest.fixture(scope="session")
def fastapi_limiter_01() -> Iterator[Peer]:
    """fastapi-limiter 0.1.6: the one with Redis."""
    with started(environment("fastapi-limiter-0.1", ("fastapi-limiter==0.1.6", *SAME))) as peer:
        yield peer


@pytest.fixture(scope="session")
def redis_sdk() -> Iterator[Peer]:
    """fastapi-redis-sdk 0.9.1; it wants a newer redis-py than we do."""
    with started(environment("fastapi-redis-sdk", ("fastapi-redis-sdk==0.9.1", *SAME))) as peer:
        yield peer
