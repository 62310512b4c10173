"""Runs a module and looks every few milliseconds of its CPU time where its main thread is.

``python -m tests.benchmarks.sampled FILE MODULE ...``. The timer is that of the process (SIGPROF), not another thread: a thread
gets the interpreter mostly when the first one has just called the system, and would see nothing else. SIGUSR1 forgets what was
seen. In the end it is in FILE, as JSON: [[functions...], times].
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

EVERY = 0.001
"""Seconds of CPU time; the kernel's own clock may be coarser."""
_seen: Counter[tuple[CodeType, ...]] = Counter()


def _look(_signal: int, frame: FrameType | None) -> None:
    stack = []
    while frame is not None:
        stack.append(frame.f_code)
        frame = frame.f_back
    _seen[tuple(reversed(stack))] += 1


def _function(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_qualname}"


def main(words: list[str]) -> None:
    """Run a module under the timer, until it ends or is told to."""
    file, sys.argv = Path(words[0]), words[1:]
    signal.signal(signal.SIGPROF, _look)
    signal.signal(signal.SIGUSR1, lambda *_: _seen.clear())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_text(json.dumps([[list(map(_function, stack)), times] for stack, times in _seen.items()]), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
