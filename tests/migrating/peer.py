"""A process that runs applications of another library: a job on each line in, what was seen on each line out.

It runs in the library's own environment, where warnings are its own business. Started by `tests.migrating.conftest`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from dataclasses import asdict
from types import ModuleType
from typing import Any

from tests.migrating.drive import Ask, run

_real = {name: getattr(time, name) for name in ("time", "monotonic", "time_ns", "monotonic_ns")}
_moved = 0


def main() -> None:
    """Answer jobs until the pipe closes. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    time.time, time.monotonic = lambda: _real["time"]() + _moved / 1e9, lambda: _real["monotonic"]() + _moved / 1e9
    time.time_ns, time.monotonic_ns = lambda: _real["time_ns"]() + _moved, lambda: _real["monotonic_ns"]() + _moved
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers)


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    """Run the code of a job as a module, send its requests to the module's `app`, then ask its `observe` if there is one."""
    global _moved
    _moved = 0
    module = ModuleType("application")
    sys.modules["application"] = module
    found: dict[str, Any] = {"seen": [], "observed": None, "error": ""}
    environment = dict(os.environ)
    try:
        exec(compile(job["code"], "application", "exec", dont_inherit=True), module.__dict__)
        asks = [Ask(**ask) for ask in job["asks"]]
        found["seen"] = [asdict(seen) for seen in run(getattr(module, "app", None), asks, _move)] if asks else []
        found["observed"] = module.observe() if hasattr(module, "observe") else None
    except Exception as error:
        traceback.print_exc()
        found["error"] = f"{type(error).__name__}: {error}"
    finally:
        os.environ.clear()
        os.environ.update(environment)
    return found


def _move(seconds: float) -> None:
    global _moved
    _moved += int(seconds * 1e9)


if __name__ == "__main__":
    main()
