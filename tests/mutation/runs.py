"""Runs tests against a changed module: in a fork of a process that has loaded what tests need, but nothing of lockwatch."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from types import CodeType, ModuleType
from typing import Any, Final

from tests.mutation.points import Point, mutated

PRELOADED: Final = (
    "_pytest.assertion.rewrite _pytest.fixtures _pytest.python pytest_asyncio.plugin hypothesis _hypothesis_pytestplugin "
    "cryptography.hazmat.primitives.asymmetric.rsa cryptography.hazmat.primitives.serialization redis.sentinel fakeredis fastapi "
    "redis.asyncio starlette.testclient httpx jose.jws jwt flask click asyncio limits"
)
"""Separated by spaces."""
_LOADED: Final = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
OPTIONS: Final = (
    "-x",
    "-q",
    "-p",
    "no:randomly",
    "-p",
    "no:xdist",
    "-p",
    "no:cacheprovider",
    "-m",
    "not timing",
    "--no-header",
    *_LOADED,
)


class Changed(importlib.machinery.SourceFileLoader):
    """Finds and loads one module, changed."""

    def __init__(self, point: Point) -> None:
        name = ".".join(point.path.with_suffix("").parts).removesuffix(".__init__")
        super().__init__(name, str(point.path.resolve()))
        self._point = point

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> Any:
        """Only of that one."""
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None

    def get_code(self, fullname: str) -> CodeType | None:
        """Never from a cache."""
        return compile(mutated(self._point), self.path, "exec")


def preload() -> None:
    """Load what takes long, once for all runs."""
    for name in PRELOADED.split():
        importlib.import_module(name)
    assert not any(name == "lockwatch" or name.startswith("lockwatch.") for name in sys.modules)


def judge(
    points: Sequence[Point | None], tests: Sequence[str], patience: float, jobs: int = 1, ends: float = float("inf")
) -> Iterator[tuple[Point | None, str]]:
    """What becomes of the tests with each change, in the order in which they end: ``survived``, ``killed`` or ``timeout``.

    Args:
        points: the changes; None changes nothing.
        tests: arguments of pytest.
        patience: seconds until tests are given up.
        jobs: how many at once.
        ends: when no more are begun, of `time.monotonic`.
    """
    running: dict[int, tuple[Point | None, float]] = {}
    waiting = list(points)[::-1]
    while waiting or running:
        while waiting and len(running) < jobs:
            point = waiting.pop()
            child = os.fork()
            if not child:
                _test(point, nearest(point, tests))
            running[child] = point, time.monotonic()
        for child, (point, began) in list(running.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if not ended and time.monotonic() - began > patience:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
            elif not ended:
                continue
            del running[child]
            yield point, "timeout" if not ended else "killed" if status else "survived"
        if time.monotonic() > ends:
            waiting.clear()
        time.sleep(0.02)


def nearest(point: Point | None, tests: Sequence[str]) -> list[str]:
    """The tests, those first whose file is called after the module: they notice soonest."""
    name = "" if point is None else point.path.stem
    return sorted(tests, key=lambda test: not (name and test.endswith(f"test_{name}.py")))


def _test(point: Point | None, tests: Sequence[str]) -> None:
    """In the child: run the tests, and end."""
    os.setpgrp()
    nothing = os.open(os.devnull, os.O_RDWR)
    if not os.environ.get("MUTATION_LOUD"):
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
    if point is not None:
        sys.meta_path.insert(0, Changed(point))
    import pytest
    from hypothesis import settings

    settings.register_profile("mutation", max_examples=25, deadline=None, derandomize=True, database=None)
    settings.load_profile("mutation")
    status = 1
    try:
        status = int(pytest.main([*OPTIONS, *tests]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
